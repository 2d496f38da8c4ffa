//! `evenkeel check`: what is wrong with a configuration file, and whether this machine can serve it.

mod bounded;
mod machine;
mod online;

use crate::config_file::{INPUT, default_path, is_input, read_input};
use crate::output::finish;
use config::file::{Code, Places, Report, Severity, Source, read};
use config::native::{CheckArgs, CheckFormat};
use config::{Config, ExitStatus};
use std::path::Path;
use std::process::ExitCode;
use sys::errors::with_causes;
use sys::process::service_port;

/// Checks a file and prints all reports. The status is that of a failure if the file cannot be used,
/// or if there are warnings and they count.
pub fn check(args: &CheckArgs) -> ExitCode {
    let path = args.file.clone().unwrap_or_else(default_path);
    let name = if is_input(&path) { INPUT.to_owned() } else { path.display().to_string() };
    let checked = Checked::new(&path, &name, args);
    let is_at_fault = |report: &Report| args.strict || report.severity() == Severity::Error;
    let is_fine = checked.config.is_some() && !checked.reports.iter().any(is_at_fault);
    let status = if is_fine { ExitStatus::Success } else { ExitStatus::Failure };
    let text = match args.format {
        CheckFormat::Text => checked.text(&name),
        CheckFormat::Json => checked.json(),
    };
    finish("evenkeel", &text, status)
}

struct Checked {
    config: Option<Config>,
    reports: Vec<Report>,
    left_out: usize,
}

impl Checked {
    fn new(path: &Path, name: &str, args: &CheckArgs) -> Self {
        let sources = match sources(path) {
            Ok(sources) => sources,
            Err(message) => {
                let report = Report::about(Code::File, name, &message);
                return Self { config: None, reports: vec![report], left_out: 0 };
            }
        };
        let reading = read(&sources, &|name| std::env::var(name).ok(), &service_port);
        let (mut reports, mut left_out) = (reading.reports, reading.left_out);
        if let Some(config) = reading.config.as_ref().filter(|_| !args.offline) {
            let mut places = Places::new(&sources);
            machine::check(config, &mut places);
            if args.online {
                online::check(config, &mut places);
            }
            let (more, also_left_out) = places.finish();
            reports.extend(more);
            left_out += also_left_out;
        }
        Self { config: reading.config, reports, left_out }
    }

    /// The reports as text, and a line that sums up.
    fn text(&self, name: &str) -> String {
        let mut text: String = self.reports.iter().map(ToString::to_string).collect();
        let count = |severity| self.reports.iter().filter(|it| it.severity() == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut parts = Vec::new();
        if errors > 0 {
            parts.push(counted(errors, "error"));
        }
        if warnings > 0 {
            parts.push(counted(warnings, "warning"));
        }
        if self.left_out > 0 {
            parts.push(format!("{} more are not shown", self.left_out));
        }
        if let Some(config) = self.config.as_ref().filter(|_| parts.is_empty()) {
            let listeners = counted(config.listeners.len(), "listener");
            parts.push(format!("valid ({listeners}, {})", counted(config.pools.len(), "pool")));
        }
        text.push_str(&format!("{name}: {}\n", parts.join(", ")));
        text
    }

    /// The reports as lines of JSON, and how many were left out, if any.
    fn json(&self) -> String {
        let mut text: String = self.reports.iter().map(|it| it.to_json() + "\n").collect();
        if self.left_out > 0 {
            text.push_str(&format!("{{\"left_out\":{}}}\n", self.left_out));
        }
        text
    }
}

/// The file, and those in `conf.d` beside it; or standard input.
fn sources(path: &Path) -> Result<Vec<Source>, String> {
    if is_input(path) {
        return read_input().map(|text| vec![Source { name: INPUT.to_owned(), text }]);
    }
    control::load(path).map_err(|error| with_causes(&error))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
