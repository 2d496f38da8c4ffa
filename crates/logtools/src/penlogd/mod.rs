//! `penlogd`: writes one log from the lines of all web servers, with the true clients.
//!
//! Balancers announce what clients send, web servers send their log lines, each as UDP datagrams
//! to one port. [`announced`] remembers and matches, `service` receives and writes.

pub mod announced;
mod service;

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;

use crate::daemon::{self, User};
use crate::options::{Args, Tool, UsageError, opt};
use crate::output::{complain, print};
use crate::syslog;
use service::{Service, Signals};

/// Everything about the program's command line.
pub static TOOL: Tool = Tool {
    name: "penlogd",
    about: "write one access log for all servers behind a balancer, with the true clients",
    synopsis: &["[OPTION]... PORT", "[OPTION]... ADDRESS:PORT"],
    description: "\
Receives on a UDP port what balancers announce about their clients (pen -l HOST:PORT) and the
access-log lines that web servers send through penlog, one per datagram. The first field of each
line, which is the balancer's address, is replaced by the client that last sent this request to the
server from which the line comes. Lines without an announcement are written unchanged.

Anybody who can reach the port can write to the log. List the networks of balancers and servers
with --allow, or listen on an internal address only.",
    options: &[
        opt('f', "foreground", "", "Stay in the foreground."),
        opt(
            'l',
            "log",
            "FILE",
            "Append to this file. Default: standard output. HUP closes and reopens it.",
        ),
        opt(
            'b',
            "line-buffered",
            "",
            "Write each line at once. Otherwise lines may wait for up to a second.",
        ),
        opt('n', "remember", "N", "The number of announcements to remember. Default 1000."),
        opt(
            'p',
            "pid-file",
            "FILE",
            "Write the process id to this file; it is removed at the end.",
        ),
        opt('u', "user", "USER", "Change to this user, with its groups, after the port is open."),
        opt(
            'j',
            "chroot",
            "DIR",
            "Change the root directory to this one, which contains log and pid file.",
        ),
        opt(
            'd',
            "debug",
            "",
            "Report what is received and dropped: on standard error with -f, otherwise to syslog. Repeat for more.",
        ),
        opt(
            ' ',
            "allow",
            "NET",
            "Accept datagrams only from this network or address. May be given several times. Default: from everywhere.",
        ),
        opt(
            ' ',
            "wait",
            "MS",
            "Hold a line for up to this long until its announcement arrives. Default 0.",
        ),
        opt(' ', "max-age", "SECONDS", "Forget announcements that are older. Default: never."),
        opt(' ', "json", "", "Write a JSON object per line."),
        opt(
            ' ',
            "stats",
            "SECONDS",
            "Report this often, on standard error (without -f in syslog), what was received, matched, dropped, and lost by the kernel.",
        ),
        opt(
            ' ',
            "legacy",
            "",
            "Behave as the classic program 0.34.1, with its bugs: only 99 bytes of a request are compared, prefixes match, N-1 announcements are remembered, nothing is written before 4 KiB, and an announcement for a server without an IPv4 address ends the program. Never use it on a port that strangers can reach.",
        ),
    ],
    sections: &[
        (
            "signals",
            "HUP: close and reopen the log file; if that fails, the old one is kept and the failure is reported. \
TERM, INT: write what is buffered, remove the pid file, exit with status 0.",
        ),
        (
            "exit status",
            "0: ended by a signal, or in the background and ready. 1: could not start. 2: wrong usage.",
        ),
        ("see also", "penlog(1), mergelogs(1), evenkeel(1)"),
    ],
};

/// Runs the program. `args` are those after its name.
pub fn main(argv0: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(argv0, args, |name, args| {
        if args.has("legacy") && listen(args).is_none() {
            return Ok(print(name, &TOOL.help()));
        }
        let settings = Settings::new(args)?;
        if !settings.foreground && !daemon::is_background() {
            return Ok(daemon::respawn().unwrap_or_else(|error| {
                complain(&format!("{name}: cannot go to the background: {error}"));
                ExitCode::FAILURE
            }));
        }
        Ok(match run(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{name}: {error}"));
                syslog::send(name, 3, &error.to_string());
                ExitCode::FAILURE
            }
        })
    })
}

/// Why the program could not start. Status 1.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be had.
    #[error("Problem binding {address}: {source}")]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("Can't open logfile {name}: {source}")]
    Log {
        /// The file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The pid file cannot be written.
    #[error("Can't create pidfile {name}: {source}")]
    PidFile {
        /// The file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no such user.
    #[error("Can't getpwnam({0}): no such user")]
    User(String),
    /// The user cannot be changed.
    #[error("cannot become user {name}: {source}")]
    Become {
        /// The user.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The root cannot be changed.
    #[error("Can't chroot({name}): {source}")]
    Root {
        /// The directory.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The event loop cannot be set up, or the log's reader has gone.
    #[error("cannot go on: {0}")]
    Run(#[from] io::Error),
}

/// What the command line means.
struct Settings {
    listen: Vec<SocketAddr>,
    foreground: bool,
    log: Option<OsString>,
    line_buffered: bool,
    remember: usize,
    pid_file: Option<OsString>,
    user: Option<String>,
    root: Option<OsString>,
    debug: usize,
    allow: Vec<IpNet>,
    wait: Duration,
    max_age: Option<Duration>,
    json: bool,
    stats: Option<Duration>,
    legacy: bool,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, UsageError> {
        let usage = |text: &str| UsageError(text.to_owned());
        let path = |long| args.value(long).map(OsStr::to_owned);
        let remember = args.parse("remember", "a number of announcements")?.unwrap_or(1000);
        if remember < 1 {
            return Err(usage("--remember must be at least 1"));
        }
        Ok(Self {
            listen: listen(args).ok_or_else(|| usage("PORT or ADDRESS:PORT expected"))?,
            foreground: args.has("foreground"),
            log: path("log"),
            line_buffered: args.has("line-buffered"),
            remember,
            pid_file: path("pid-file"),
            user: args.value("user").map(|u| u.to_string_lossy().into_owned()),
            root: path("chroot"),
            debug: args.count("debug"),
            allow: args.values("allow").map(network).collect::<Result<_, _>>()?,
            wait: Duration::from_millis(args.parse("wait", "milliseconds")?.unwrap_or(0)),
            max_age: args.duration("max-age")?,
            json: args.has("json"),
            stats: args.duration("stats")?.filter(|every| !every.is_zero()),
            legacy: args.has("legacy"),
        })
    }
}

/// All addresses of the port, or the one that was given.
fn listen(args: &Args) -> Option<Vec<SocketAddr>> {
    let [word] = &args.operands[..] else { return None };
    let word = word.to_str()?;
    if let Ok(port) = word.parse::<u16>() {
        return (port > 0).then(|| vec![([0; 4], port).into(), ([0u16; 8], port).into()]);
    }
    word.parse().ok().map(|address| vec![address])
}

fn network(text: &OsStr) -> Result<IpNet, UsageError> {
    let text = text.to_string_lossy();
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
        UsageError(format!("'{text}' is no network such as 10.0.0.0/8 or 2001:db8::/32"))
    })
}

/// Starts in the order that gives everything away only once: port, root, user, files. All in one
/// thread, since the system keeps users per thread.
fn run(settings: &Settings) -> Result<(), StartError> {
    let user = match &settings.user {
        Some(name) => Some((name, User::find(name).ok_or_else(|| StartError::User(name.clone()))?)),
        None => None,
    };
    let signals = Signals::new()?;
    let sockets = service::bind(&settings.listen)?;
    let shown = |name: &OsString| name.to_string_lossy().into_owned();
    if let Some(root) = &settings.root {
        daemon::change_root(root)
            .map_err(|source| StartError::Root { name: shown(root), source })?;
    }
    if let Some((name, user)) = user {
        user.assume().map_err(|source| StartError::Become { name: name.clone(), source })?;
    }
    let service = Service::new(settings, sockets)?;
    if let Some(file) = &settings.pid_file {
        daemon::write_pid(file)
            .map_err(|source| StartError::PidFile { name: shown(file), source })?;
    }
    let ended = service.run(signals, daemon::ready);
    if let Some(file) = &settings.pid_file {
        let _ = std::fs::remove_file(file);
    }
    ended
}
