//! The running `pen`, and its operators' tools.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::Settings;
use crate::{Check, Claim, Failure, Ports, Process, expand, wait_until};

/// A `pen -f` with a control port, in a directory of its own.
#[derive(Debug)]
pub struct Balancer {
    // First, so that it has ended before its ports and files go.
    process: Process,
    penctl: Vec<String>,
    listen: Claim,
    control: Claim,
    dir: TempDir,
}

impl Balancer {
    /// Starts it with these options besides those that all scenarios share, in a directory of its
    /// own with `config` as `pen.cfg`.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub fn start(settings: &Settings, config: &str, options: &str, servers: &[u16]) -> Check<Self> {
        let broken = |error: io::Error| Failure::new("a place for pen", error);
        let dir = tempfile::tempdir().map_err(broken)?;
        let file = dir.path().join("pen.cfg");
        fs::write(&file, config).map_err(broken)?;
        let user = user()?;
        if user == "nobody" {
            for path in [dir.path(), &file] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).map_err(broken)?;
            }
        }
        let (listen, control) = (Claim::new().map_err(broken)?, Claim::new().map_err(broken)?);
        let words = format!(
            "-f -u {user} -C 127.0.0.1:{} -p pen.pid {options} 127.0.0.1:{}",
            control.port(),
            listen.port()
        );
        let program = words_of(&settings.pen)?;
        let mut command = Command::new(&program[0]);
        command
            .args(&program[1..])
            .args(words.split_whitespace())
            .args(servers.iter().map(|port| format!("127.0.0.1:{port}")))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process::spawn("pen", &mut command)?;
        process.wait_listening(listen.port(), soon())?;
        let penctl = words_of(&settings.penctl)?;
        Ok(Self { process, penctl, listen, control, dir })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listen.port()
    }

    /// Where its control port is, on 127.0.0.1.
    pub fn control_port(&self) -> u16 {
        self.control.port()
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `penctl` with a command; gives its answer.
    pub fn ctl(&self, command: &str) -> Check<String> {
        let expected = || format!("penctl to carry out {command:?}");
        let output = Command::new(&self.penctl[0])
            .args(&self.penctl[1..])
            .arg(format!("127.0.0.1:{}", self.control.port()))
            .args(command.split(' '))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::new(expected(), error))?;
        if !output.status.success() {
            return Err(Failure::new(expected(), String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `penctl` with commands that answer nothing.
    pub fn set(&self, command: &str) -> Check {
        match self.ctl(command)?.as_str() {
            "" => Ok(()),
            answer => Err(Failure::new(format!("no answer to {command:?}"), answer)),
        }
    }

    /// Fails unless `penctl pid` and the pid file tell the process's number.
    pub fn check_pid(&self) -> Check {
        let pid = self.process.pid().to_string();
        let told = self.ctl("pid")?;
        let written = fs::read_to_string(self.file("pen.pid")).unwrap_or_default();
        if told.trim() == pid && written == pid {
            return Ok(());
        }
        Err(Failure::new(format!("pid {pid}"), format!("{told:?}, and {written:?} in the file")))
    }

    /// Sends a signal, as a cron job does.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Renames the log and has a new one made; gives the old one's place.
    pub fn rotate(&self, log: &Path, number: usize) -> Check<PathBuf> {
        let old = log.with_extension(number.to_string());
        fs::rename(log, &old).map_err(|error| Failure::new("a log to rename", error))?;
        self.signal(Signal::HUP);
        if wait_until(soon(), || log.exists()) {
            return Ok(old);
        }
        Err(Failure::new("a new log after HUP", "none"))
    }

    /// Ends it as an operator does; its pid file must go.
    pub fn end(&mut self) -> Check {
        self.process.check_alive()?;
        self.signal(Signal::TERM);
        let status = self.process.wait(soon())?;
        if status.code() == Some(0) && !self.file("pen.pid").exists() {
            return Ok(());
        }
        Err(Failure::new("status 0 and no pid file after TERM", status))
    }
}

/// Does what operators do, one thing after the other, until `deadline`; at least once each.
pub fn operate(deadline: Instant, pause: Duration, mut step: impl FnMut(usize), steps: usize) {
    let mut number = 0;
    while number < steps || Instant::now() < deadline {
        step(number);
        number += 1;
        thread::sleep(pause);
    }
}

/// When what must happen at once is late.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn words_of(command: &str) -> Check<Vec<String>> {
    let none = Ports { listener: 0, backends: [0, 0] };
    expand(command, none).map_err(|error| Failure::new("a command line", error))
}

/// Who pen shall become: root gives up its rights, others stay who they are.
fn user() -> Check<String> {
    if rustix::process::geteuid().is_root() {
        return Ok("nobody".to_owned());
    }
    let output = Command::new("id").arg("-un").output();
    let output = output.map_err(|error| Failure::new("a user name", error))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The number of `nobody` on every Linux.
const NOBODY: u32 = 65_534;
