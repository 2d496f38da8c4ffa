//! The process that runs the commands of probes.
//!
//! This process gives up its privileges and must not start programs. Another one, begun before, does
//! it instead: the broker. It has no privilege, no file of this process, and a list of the programs
//! that were configured at the start. Requests say which of them to run, for which backend and for
//! how long; what they cannot say is a shell's command, another program, or an environment. The
//! broker ends a command with all that it has started, keeps little of what it prints, and never
//! lets one delay another ([`runs`]).
//!
//! A third process watches the broker, and begins it again if it fails ([`sys::programs::oversee`]).

mod runs;

use config::Config;
use probing::Ending;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::helper::Task;
use sys::process::User;

/// The broker, begun while this process may still do so.
pub(crate) struct Begun {
    /// What it may run. Empty if no broker is needed.
    pub programs: BTreeSet<PathBuf>,
    /// The way to it, or why there is none.
    pub broker: Result<Broker, String>,
}

impl Begun {
    /// Begins the broker if probes run commands.
    pub fn new(config: &Config, user: Option<&User>) -> Self {
        let programs: BTreeSet<_> =
            config.programs().map(|(_, program)| program.to_owned()).collect();
        if programs.is_empty() {
            return Self { programs, broker: Err("no probe runs a command".to_owned()) };
        }
        let work = |stream: UnixStream| {
            // A failure cannot be reported from here; this process sees that the stream has ended.
            let _ = sys::programs::oversee(|_| runs::serve(&stream, &programs));
        };
        let stream = sys::helper::begin(Task::Programs, user, work);
        let broker = stream.and_then(|stream| {
            stream.set_nonblocking(true)?;
            Ok(Broker { stream })
        });
        let broker = broker.map_err(|error| format!("no process can be started: {error}"));
        Self { programs, broker }
    }
}

/// Whether this program can be run as a probe, by `user` if there is one.
///
/// # Errors
/// Why not.
pub fn can_run(program: &Path, user: Option<&User>) -> io::Result<()> {
    sys::programs::can_run(program, user)
}

/// The way to the broker.
pub(crate) struct Broker {
    stream: UnixStream,
}

/// What the broker is asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a command.
    Run(Run),
    /// End the run of this number. There is no answer.
    End(u64),
}

/// A run of a command.
#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    /// The number that its answer has.
    pub number: u64,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub about: About,
    pub timeout: Duration,
}

/// The backend that a command is to check, for its environment variables.
#[derive(Serialize, Deserialize)]
pub(crate) struct About {
    /// An IP address, or the path of a Unix socket.
    pub address: String,
    pub port: Option<u16>,
    pub backend: String,
    pub pool: String,
}

/// What it answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It has begun. What was running before, if anything, is over.
    Begun,
    /// A command has ended, or was ended.
    Ended { number: u64, how: Ending, output: String },
    /// It was not run, or not seen in time: that says nothing about the backend.
    Void { number: u64 },
    /// It cannot be run.
    NotRun { number: u64, why: String },
}

/// The longest message; an argument or a backend's name takes at most six bytes for each of its own.
const MESSAGE_MAX: usize = 160 << 10;

impl Broker {
    /// Asks for something, without waiting.
    ///
    /// # Errors
    /// If the broker does not take it now.
    pub fn send(&self, request: &Request) -> io::Result<()> {
        send(&self.stream, request)
    }

    /// What it has answered; `None` if there is nothing yet.
    ///
    /// # Errors
    /// If it has ended.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Answer>> {
        receive(&self.stream, buffer)
    }
}

impl AsFd for Broker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() > MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    stream.write(&text).map(drop) // a message is taken as a whole, or not
}

/// The next message that can be read; `None` if there is none yet.
fn receive<T: for<'de> Deserialize<'de>>(
    mut stream: &UnixStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<T>> {
    buffer.resize(MESSAGE_MAX, 0);
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                if let Ok(message) = serde_json::from_slice(&buffer[..length]) {
                    return Ok(Some(message));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
