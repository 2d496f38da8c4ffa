//! Child processes that end when their owner does: a proxy, a server, a client.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::{
    deadline::{wait_for, wait_until},
    procnet,
    report::{Check, Failure},
};

/// A running program in a process group of its own, stopped together with its children on drop.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    /// Set once it has been reaped: from then on its number may be somebody else's.
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; `what` names it in messages.
    ///
    /// # Errors
    /// When the program is missing or cannot be run.
    pub fn spawn(what: impl Into<String>, command: &mut Command) -> Check<Self> {
        let what = what.into();
        match command.process_group(0).spawn() {
            Ok(child) => Ok(Self { what, child, status: None }),
            Err(error) => {
                let program = command.get_program().to_string_lossy();
                Err(Failure::new(format!("{what} to start"), format!("{program}: {error}")))
            }
        }
    }

    /// Its process id, which is also its group's.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended; its number stays reserved until it is reaped.
    pub fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some()
            || !matches!(rustix::process::waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub fn wait(&mut self, deadline: Instant) -> Check<ExitStatus> {
        let expected = format!("{} to end by itself", self.what);
        if !wait_until(deadline, || self.has_ended()) {
            return Err(Failure::new(expected, "it running at the deadline"));
        }
        self.reap().ok_or_else(|| Failure::new(expected, "no exit status"))
    }

    /// Waits until it listens on `port`, for TCP or UDP.
    ///
    /// # Errors
    /// When it ends, or does not listen before the deadline.
    pub fn wait_listening(&mut self, port: u16, deadline: Instant) -> Check {
        let is_ready = wait_for(deadline, || {
            let is_listening = procnet::is_listening(port) || procnet::takes_datagrams(port);
            (is_listening || self.has_ended()).then_some(is_listening)
        });
        let expected = format!("{} to listen on port {port}", self.what);
        match is_ready {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(expected, self.last_words())),
            None => Err(Failure::new(expected, "no listener before the deadline")),
        }
    }

    /// Fails when it has ended although nobody told it to.
    ///
    /// # Errors
    /// Its exit status.
    pub fn check_alive(&mut self) -> Check {
        if !self.has_ended() {
            return Ok(());
        }
        Err(Failure::new(format!("{} to keep running", self.what), self.last_words()))
    }

    /// Asks it and everything it started to end, then makes them; returns when it is gone.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        // Some daemons wait for their sessions first; nobody here needs them to.
        wait_until(Instant::now() + Duration::from_secs(1), || self.has_ended());
        self.kill();
    }

    /// Ends it and everything it started without giving it a chance to say good-bye.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Sends `signal` to it and everything it started.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // No such group: it ended just now, which no sender of signals can exclude.
            let _ = rustix::process::kill_process_group(self.pid(), signal);
        }
    }

    fn reap(&mut self) -> Option<ExitStatus> {
        // What it left behind in its group would otherwise outlive the run.
        if self.has_ended() {
            self.signal(Signal::KILL);
        }
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        self.status
    }

    fn last_words(&mut self) -> String {
        match self.reap() {
            Some(status) => format!("it end with {status}"),
            None => "it end".to_owned(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_stopped_process_takes_its_children_along() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & sleep 1000"]);
        let mut process = Process::spawn("a shell", &mut shell).unwrap();
        let pid = process.pid();
        assert!(process.check_alive().is_ok());
        process.stop();
        assert!(process.check_alive().is_err());
        let is_gone = || rustix::process::test_kill_process_group(pid).is_err();
        assert!(wait_until(soon(), is_gone));
    }

    #[test]
    fn an_early_end_is_told_from_a_slow_start() {
        let mut process = Process::spawn("it", Command::new("sh").args(["-c", "exit 3"])).unwrap();
        let failure = process.wait_listening(1, soon()).unwrap_err();
        assert!(failure.seen.contains("exit status: 3"), "{failure}");
        let missing = Process::spawn("it", &mut Command::new("/nonexistent")).unwrap_err();
        assert!(missing.seen.contains("/nonexistent"), "{missing}");
    }
}
