//! `mergelogs`: merges the access logs of all servers by time and puts the true client into every line.
//!
//! ~~~text
//!   access logs --merge--> line --origins.find--> client --emit--> output
//!                                   ^
//!   balancer's logs --read_until----'   (an index between the two ends of the window)
//! ~~~
//!
//! By our own rules, or byte for byte as the classic program with `--legacy` ([`legacy`]).
//! Nothing is held but what the window needs, whatever the size of the files.

pub mod connections;
pub mod emit;
pub mod legacy;
pub mod merge;
pub mod origins;
pub mod pairing;
pub mod report;
pub mod requests;
mod settings;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use crate::input::{Complaints, InputError, Lines, Progress};
use crate::lines::access::Access;
use crate::output::{Output, complain, is_closed_pipe};
use emit::{Emitter, Resolved};
use merge::{Log, Merge, Reject};
use origins::{Answer, Origins, Servers, pen_key};
use pairing::{Pairing, Waiting};
use report::{ProgressLine, Report};
use settings::Settings;
pub use settings::TOOL;

/// Runs the program. `args` are those after its name.
pub fn main(argv0: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(argv0, args, |name, args| {
        if args.has("legacy") {
            settings::only_classic(args)?;
            return Ok(legacy::main(args));
        }
        Ok(match run(Settings::new(args)?) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                if !error.is_quiet() {
                    complain(&format!("{name}: {error}"));
                }
                ExitCode::FAILURE
            }
        })
    })
}

/// Why nothing, or not everything, could be merged. Status 1.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// No balancer's log was given.
    #[error("no balancer's log: give one with -p FILE")]
    NoOrigins,
    /// An operand has no file.
    #[error("Bogus server '{0}': SERVER:FILE expected, IPv6 as [ADDRESS]:FILE")]
    Operand(String),
    /// An input cannot be opened.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
    /// The rejected lines cannot be written.
    #[error("cannot write the rejected lines to '{name}': {source}")]
    Rejects {
        /// The file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl MergeError {
    /// A reader that had enough is not worth a message.
    fn is_quiet(&self) -> bool {
        matches!(self, Self::Output(error) if is_closed_pipe(error))
    }
}

/// What is left out: counted, kept if wanted, and complained about.
struct Left {
    rejected: u64,
    unread: u64,
    complaints: Complaints,
    file: Option<(String, BufWriter<File>)>,
    failed: Option<MergeError>,
}

impl Reject for Left {
    fn line(&mut self, line: &[u8]) {
        self.rejected += 1;
        let Some((name, file)) = &mut self.file else { return };
        let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
        if let Err(source) = written {
            self.failed = Some(MergeError::Rejects { name: name.clone(), source });
            self.file = None;
        }
    }

    fn input(&mut self, error: InputError) {
        match error {
            InputError::TooLong { .. } => self.rejected += 1,
            _ => self.unread += 1,
        }
        self.complaints.print("mergelogs", &error);
    }
}

/// A line that waits for its client in `--one-to-one`.
struct Held {
    line: Vec<u8>,
    access: Access,
    ambiguous: bool,
}

/// Merges; `false` when an input could not be read to its end.
fn run(settings: Settings) -> Result<bool, MergeError> {
    raise_file_limit();
    let progress = Progress::default();
    let mut servers = Servers::default();
    let mut logs = Vec::new();
    if settings.origins.is_empty() {
        return Err(MergeError::NoOrigins);
    }
    let open = |name: &OsString| Lines::open(name, &progress);
    let inputs = settings.origins.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for operand in &settings.logs {
        let (server, files) = settings::operand(operand)?;
        let id = servers.id(&server);
        let skew = settings.skews.iter().find(|(name, _)| servers.name(id) == name.as_bytes());
        for file in files {
            logs.push(Log::new(id, open(&file)?, skew.map_or(0, |(_, skew)| *skew)));
        }
    }
    let mut left = Left {
        rejected: 0,
        unread: 0,
        complaints: Complaints::default(),
        file: settings.rejects.as_deref().map(create_rejects).transpose()?,
        failed: None,
    };
    let output =
        Output::open(settings.output.as_deref(), settings.compress).map_err(MergeError::Output)?;
    let emitter = Emitter::new(output, settings.json, settings.keep_stamps, settings.sort);
    let mut job = Job {
        origins: Origins::new(inputs, settings.correction.clone(), settings.windows),
        servers,
        emitter,
        report: Report::default(),
        line: ProgressLine::new(progress, !settings.quiet),
    };
    job.report.servers.resize_with(job.servers.len(), Default::default);
    let merge = Merge::new(logs, settings.format.clone());
    let merged = if settings.one_to_one {
        job.pair(merge, &mut left, settings.windows.requests)
    } else {
        job.merge(merge, &mut left)
    };
    job.line.clear();
    let finished = merged.and_then(|()| job.emitter.finish()).map_err(MergeError::Output);
    job.report.rejected = left.rejected;
    job.report.damaged = job.origins.damaged;
    let kept = left.finish();
    // What could not be written was not merged, and nobody reads on.
    finished?;
    if !settings.quiet {
        complain(&job.report.summary());
    }
    if settings.stats {
        let name = |i| String::from_utf8_lossy(job.servers.name(i as u16)).into_owned();
        complain(&job.report.statistics(name));
    }
    kept
}

impl Left {
    fn finish(mut self) -> Result<bool, MergeError> {
        if let Some((name, mut file)) = self.file.take() {
            file.flush().map_err(|source| MergeError::Rejects { name, source })?;
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.unread == 0),
        }
    }
}

/// What a run works with.
struct Job {
    origins: Origins,
    servers: Servers,
    emitter: Emitter,
    report: Report,
    line: ProgressLine,
}

impl Job {
    /// Entries serve as many lines as they fit.
    fn merge(&mut self, mut merge: Merge, left: &mut Left) -> io::Result<()> {
        while let Some(log) = merge.next(left) {
            let (line, access) = (log.line(), log.access());
            self.origins.read_until(access.instant, 2, &self.servers, &mut |e| left.input(e));
            let answer = self.origins.find(log.server, access, line);
            let (client, distance) = match &answer {
                Answer::Client(client, distance) => (Some(client.as_bytes()), Some(*distance)),
                Answer::Ambiguous => {
                    self.report.ambiguous += 1;
                    (None, None)
                }
                Answer::Nobody => (None, None),
            };
            self.report.count(usize::from(log.server), distance);
            let server = self.servers.name(log.server);
            self.emitter.emit(&Resolved { line, access, server, client })?;
            self.line.tick(self.report.lines);
        }
        Ok(())
    }

    /// Every entry serves one line.
    fn pair(&mut self, mut merge: Merge, left: &mut Left, window: i64) -> io::Result<()> {
        let mut pairing = Pairing::new(window);
        let mut scratch = Vec::new();
        while let Some(log) = merge.next(left) {
            let (line, access) = (log.line(), log.access());
            self.origins.read_until(access.instant, 4, &self.servers, &mut |e| left.input(e));
            // Only connections answer at once; requests are what is paired.
            let answer = self.origins.find_connection(log.server, access, line);
            let client = match &answer {
                Answer::Client(client, far) => Some((client.clone(), *far)),
                _ => None,
            };
            pairing.push(Waiting {
                instant: access.instant,
                server: log.server,
                key: pen_key(&mut scratch, access.request(line)).into(),
                client,
                item: Held {
                    line: line.to_vec(),
                    access: access.clone(),
                    ambiguous: answer == Answer::Ambiguous,
                },
            });
            while let Some(held) = pairing.pop(self.origins.requests(), false) {
                self.emit_held(&held)?;
            }
            self.line.tick(self.report.lines);
        }
        while let Some(held) = pairing.pop(self.origins.requests(), true) {
            self.emit_held(&held)?;
        }
        Ok(())
    }

    fn emit_held(&mut self, held: &Waiting<Held>) -> io::Result<()> {
        let distance = held.client.as_ref().map(|(_, distance)| *distance);
        self.report.ambiguous += u64::from(held.item.ambiguous && distance.is_none());
        self.report.count(usize::from(held.server), distance);
        self.emitter.emit(&Resolved {
            line: &held.item.line,
            access: &held.item.access,
            server: self.servers.name(held.server),
            client: held.client.as_ref().map(|(client, _)| client.as_bytes()),
        })
    }
}

fn create_rejects(name: &std::ffi::OsStr) -> Result<(String, BufWriter<File>), MergeError> {
    let shown = name.to_string_lossy().into_owned();
    match File::create(name) {
        Ok(file) => Ok((shown, BufWriter::new(file))),
        Err(source) => Err(MergeError::Rejects { name: shown, source }),
    }
}

/// Any number of inputs can be open at once, so raise the limit of file descriptors as far as
/// possible.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it fewer files can be merged, and opening them says so.
    let _ = setrlimit(Resource::Nofile, limit);
}
