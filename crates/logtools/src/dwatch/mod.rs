//! `dwatch`: watches programs and starts those that died.
//!
//! ~~~text
//!   probes --health--> decide (pure, with what is remembered) --actions--> commands, tell
//!                          ^                 |
//!                          '----- state -----'   (a locked file, between runs)
//! ~~~
//!
//! One pass for cron, or staying in the foreground with a thread per watched program, so that a
//! slow one holds up nobody. Everything that prevents double starts is in three places: the lock
//! of [`state`], the grace of [`decide`], and the second look right before a start.

pub mod commands;
pub mod config;
pub mod decide;
mod pass;
pub mod probes;
pub mod processes;
pub mod state;
pub mod tell;

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::options::{Args, Tool, UsageError, opt};
use crate::output::{complain, print};
use config::Config;
use pass::Supervisor;
use state::State;

/// Everything about the program's command line.
pub static TOOL: Tool = Tool {
    name: "dwatch",
    about: "watch programs and start those that have died",
    synopsis: &["[OPTION]..."],
    description: "\
Checks the programs in its configuration file and starts those that are not well: in one pass, for
cron, or with -i continuously in the foreground. If systemd or another supervisor starts a program,
let it also restart the program (Restart=on-failure). dwatch is for programs that no supervisor
starts, and for checks that a supervisor cannot make.

Before a program that is not well is started, what is left of it is stopped. After a start it has its
grace period, and the pause after each failed start is doubled. After too many starts, dwatch gives
up, says so once, and ignores the program until it has been well once. Two instances of dwatch never
work with the same state file, and every check is repeated right before a start, so that nothing is
started twice.",
    options: &[
        opt('f', "file", "FILE", "The configuration file. Default /etc/dwatch.conf."),
        opt(' ', "once", "", "Make one pass and exit, for cron. This is the default."),
        opt('i', "interval", "SECONDS", "Stay in the foreground and check this often. HUP rereads the configuration."),
        opt('v', "verbose", "", "Report on standard output what is done. Otherwise a pass reports only failures and giving up."),
        opt('n', "dry-run", "", "Only report what would be done."),
        opt(' ', "check", "", "Only check the configuration."),
        opt(' ', "state", "FILE", "The file for what is remembered between passes. Default /run/dwatch.state."),
        opt(' ', "reset", "NAME", "Forget that dwatch gave up on this program."),
        opt('d', "debug", "", "Report on standard error what was checked."),
    ],
    sections: &[
        ("configuration", "\
TOML. Each [watch.NAME] is a program. It is well if it passes all checks that are given.

    [notify]                             # optional, about all changes
    mail = 'root'                        # through sendmail -t
    command = 'logger \"$DWATCH_NAME $DWATCH_CHANGE: $DWATCH_REASON\"'
    webhook = 'http://127.0.0.1:9000/'   # JSON by POST

    [watch.web]
    process = 'nginx'                    # a process of this name is running
    command-line = 'nginx: master'       # pattern in the whole command line
    user = 'root'                        # only processes of this user
    pid-file = '/run/nginx.pid'          # the process in this file is running
    tcp = '127.0.0.1:80'                 # accepts connections
    unix = '/run/app.sock'
    udp = { address = '127.0.0.1:53', send = 'ping' }   # answers
    http = 'http://127.0.0.1/health'     # answers with status 200 to 399
    exec = 'test -s /run/app/ok'         # ends with status 0
    timeout = '5s'                       # for each probe
    min = 1                              # processes, at least
    max = 8                              # at most; more are stopped
    start = 'service nginx start'
    stop = 'service nginx stop'          # before a start if something is left
    alert = 'beep'                       # as notify.command, for this one
    command-timeout = '60s'              # for start and stop
    grace = '30s'                        # to be well after a start
    backoff = '10s'                      # doubled after each failed start, up to 5 min
    retries = 5                          # starts
    within = '10m'                       # within this time, then give up

Commands are run by /bin/sh in a process group of their own, with standard input, output and error on
/dev/null, and see DWATCH_NAME, DWATCH_REASON and DWATCH_COUNT (processes that are running); alert and
notify also DWATCH_CHANGE: down, up, gave-up or too-many. A start command may be the daemon itself: it keeps running once all is well."),
        ("exit status", "0: all is well, or well again. 1: something is still not well, or another dwatch is running. 2: wrong usage or configuration."),
        ("examples", "\
From cron, and as a unit of systemd:

    * * * * *  root  dwatch -f /etc/dwatch.conf      # in /etc/cron.d/dwatch

    [Service]
    Type=notify
    ExecStart=/usr/bin/dwatch -i 10
    WatchdogSec=60
    Restart=always"),
        ("see also", "systemd.service(5), evenkeel(1)"),
    ],
};

/// Runs the program. `args` are those after its name.
pub fn main(argv0: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    TOOL.run(argv0, args, |name, args| {
        let settings = Settings::new(args)?;
        let failed = |error: &dyn Display, status| {
            complain(&format!("{name}: {error}"));
            Ok(ExitCode::from(status))
        };
        let config = match settings.read_config() {
            Ok(config) => config,
            Err(error) => return failed(&error, 2),
        };
        if args.has("check") {
            let (file, count) = (settings.file.display(), config.watch.len());
            return Ok(print(name, &format!("{file}: {count} to watch, no errors\n")));
        }
        let state = match State::open(&settings.state) {
            Ok(state) => state,
            Err(error) => return failed(&error, 1),
        };
        let supervisor = Supervisor::new(config, settings, state);
        Ok(match args.value("reset") {
            Some(program) => supervisor.reset(&program.to_string_lossy()),
            None => supervisor.run(),
        })
    })
}

/// What the command line means.
#[derive(Debug)]
pub(crate) struct Settings {
    file: PathBuf,
    state: PathBuf,
    interval: Option<Duration>,
    verbose: bool,
    dry_run: bool,
    debug: bool,
}

impl Settings {
    fn new(args: &Args) -> Result<Self, UsageError> {
        if !args.operands.is_empty() {
            return Err(UsageError("no operands expected".to_owned()));
        }
        let interval = args.duration("interval")?;
        if interval.is_some() && args.has("once") {
            return Err(UsageError("--once and --interval exclude each other".to_owned()));
        }
        if interval.is_some_and(|interval| interval.is_zero()) {
            return Err(UsageError("--interval must be more than 0".to_owned()));
        }
        let path =
            |long, default: &str| PathBuf::from(args.value(long).unwrap_or(default.as_ref()));
        Ok(Self {
            file: path("file", "/etc/dwatch.conf"),
            state: path("state", "/run/dwatch.state"),
            interval,
            verbose: args.has("verbose"),
            dry_run: args.has("dry-run"),
            debug: args.has("debug"),
        })
    }

    /// The error names the file, and the line where there is one.
    fn read_config(&self) -> Result<Config, String> {
        let shown = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| format!("cannot read '{shown}': {error}; name a file with -f"))?;
        let config = Config::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
        if config.watch.values().any(|w| w.counts_processes() || w.pid_file.is_some()) {
            processes::are_visible()?;
        }
        Ok(config)
    }
}
