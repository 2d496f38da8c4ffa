//! The parts of commands that can take time: reading files, resolving names, opening logs, and
//! writing files. All of it blocks, so a running pen does it in separate threads.

use super::messages::Messages;
use super::names::first_addresses;
use super::traffic::{TrafficLog, open_log};
use classics::pen::{FactsNeeded, Names, Script};
use config::Host;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use sys::errors::reason;
use sys::process::service_port;

/// When commands are loaded.
#[derive(Clone)]
pub enum Stage {
    /// Before the start. Files may be pipes, as a shell makes them, and logs are opened later, as
    /// the user that pen becomes.
    Start,
    /// Before the start, to print what the settings mean: names are kept.
    Print,
    /// While pen runs. The messages report dropped log entries.
    Running(Messages),
}

/// How long a pipe that is read before the start may take to end.
const PIPE_LIMIT: Duration = Duration::from_secs(10);

/// Commands with everything they need, so that running them waits for nothing.
pub struct Loaded {
    pub script: Script,
    pub facts: FactsNeeded,
    hosts: HashMap<String, IpAddr>,
    /// Whether names stay names.
    keeps_names: bool,
    logs: HashMap<String, Result<TrafficLog, String>>,
}

impl Loaded {
    /// The first line of what was received.
    pub fn line(text: &[u8], stage: &Stage) -> Self {
        Self::new(Script::line(text, &mut read(stage)), stage)
    }

    /// The commands of a file.
    ///
    /// # Errors
    /// When it cannot be read: a message.
    pub fn file(path: &str, stage: &Stage) -> Result<Self, String> {
        Ok(Self::new(Script::file(path, &mut read(stage))?, stage))
    }

    fn new(script: Script, stage: &Stage) -> Self {
        let needs = script.needs();
        let keeps_names = matches!(stage, Stage::Print);
        let hosts = if keeps_names { HashMap::new() } else { first_addresses(&needs.hosts) };
        let logs = match stage {
            Stage::Start | Stage::Print => HashMap::new(),
            Stage::Running(messages) => {
                let open = |text: String| (text.clone(), open_log(&text, messages));
                needs.logs.into_iter().map(open).collect()
            }
        };
        Self { script, facts: needs.facts, hosts, keeps_names, logs }
    }

    /// Passes the resolved names to `f`.
    pub fn with_names<T>(&self, f: impl FnOnce(Names<'_>) -> T) -> T {
        let hosts = |name: &str| match self.keeps_names {
            true => Some(Host::Name(name.to_owned())),
            false => self.hosts.get(name).copied().map(Host::Address),
        };
        f(Names { hosts: &hosts, services: &service_port })
    }

    /// Why a log cannot be written.
    pub fn log_fault(&self, text: &str) -> Option<String> {
        self.logs.get(text)?.as_ref().err().cloned()
    }

    /// A log that was opened.
    pub fn log(&self, text: &str) -> Option<TrafficLog> {
        self.logs.get(text)?.as_ref().ok().cloned()
    }
}

fn read(stage: &Stage) -> impl FnMut(&str, usize) -> Result<Vec<u8>, String> {
    let pipe_limit = match stage {
        Stage::Start | Stage::Print => Some(PIPE_LIMIT),
        Stage::Running(_) => None,
    };
    move |path, bytes_max| {
        let text = sys::bounded_files::read(Path::new(path), bytes_max, pipe_limit);
        text.map_err(|error| reason(&error))
    }
}

/// Writes files with their contents.
pub fn write_files(files: &[(String, String)], messages: &Messages) {
    for (path, text) in files {
        if let Err(error) = sys::bounded_files::write(Path::new(path), text.as_bytes()) {
            messages.say(&format!("Can't write '{path}': {}", reason(&error)));
        }
    }
}
