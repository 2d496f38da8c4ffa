//! Commands for the shell: in a process group of their own, without our files, and with a time-out.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this status; 128 and more after a signal, as the shell says it.
    Status(i32),
    /// It took too long.
    Killed,
}

/// What became of a command that starts a daemon.
#[derive(Debug)]
pub enum Started {
    /// It ended.
    Ended(Ended),
    /// It is still running and all is well: it is the daemon itself.
    Running(Child),
}

/// Runs a command to its end.
pub fn run(command: &str, environment: &[(&str, String)], timeout: Duration) -> io::Result<Ended> {
    match start(command, environment, timeout, &mut || false)? {
        Started::Ended(ended) => Ok(ended),
        // It is never well, so it ends or is killed.
        Started::Running(child) => kill(child),
    }
}

/// Runs a command that starts a daemon: to its end, or until all is well.
pub fn start(
    command: &str,
    environment: &[(&str, String)],
    timeout: Duration,
    well: &mut dyn FnMut() -> bool,
) -> io::Result<Started> {
    let end = Instant::now() + timeout;
    let mut child = spawn(command, environment)?;
    let mut next_look = Instant::now() + LOOK_EVERY;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            return Ok(Started::Ended(Ended::Status(status)));
        }
        let now = Instant::now();
        if now >= next_look {
            if well() {
                return Ok(Started::Running(child));
            }
            next_look = Instant::now() + LOOK_EVERY;
        }
        if now >= end {
            return kill(child).map(Started::Ended);
        }
        thread::sleep(pause.min(end - now));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Ours are closed when another program is started; what is left are the three standard ones.
fn spawn(command: &str, environment: &[(&str, String)]) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", command])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn kill(mut child: Child) -> io::Result<Ended> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()?;
    Ok(Ended::Killed)
}

const LOOK_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_command_ends_by_itself_or_is_killed_with_its_children() {
        assert_eq!(run("exit 3", &[], LONG).unwrap(), Ended::Status(3));
        assert_eq!(run("kill -9 $$", &[], LONG).unwrap(), Ended::Status(137));
        assert_eq!(
            run("test \"$A\" = b", &[("A", "b".to_owned())], LONG).unwrap(),
            Ended::Status(0)
        );
        let start = Instant::now();
        let ended = run("sleep 600 & wait", &[], Duration::from_millis(50)).unwrap();
        assert_eq!(ended, Ended::Killed);
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_command_that_is_the_daemon_goes_on() {
        let started = start("exec sleep 600", &[], LONG, &mut || true).unwrap();
        let Started::Running(mut child) = started else { panic!("{started:?}") };
        assert!(child.try_wait().unwrap().is_none());
        kill(child).unwrap();
    }
}
