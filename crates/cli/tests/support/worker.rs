//! A worker of the program, seen and stopped as a debugger does.

use super::{Program, until};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;

/// A thread of the program that is held by this one. It goes on when this is dropped.
pub struct Worker {
    thread: Pid,
    stat: PathBuf,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It has stopped, at the beginning or the end of a system call.
    Stopped,
    /// It waits for events.
    Waiting,
    Running,
}

impl Worker {
    pub fn seize(program: &Program, name: &str) -> Self {
        let tasks = format!("/proc/{}/task", program.pid().as_raw_nonzero());
        let mut tasks = fs::read_dir(tasks).unwrap().map(|task| task.unwrap().path());
        let has_name =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap().trim() == name;
        let task = tasks.find(has_name).expect("a worker");
        let thread = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        Self { thread, stat: task.join("stat") }
    }

    fn state(&self) -> char {
        let stat = fs::read_to_string(&self.stat).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    pub fn stop(&mut self) {
        ptrace::interrupt(self.thread).unwrap();
        until("the worker to stop", || self.state() == 't');
    }

    pub fn look(&mut self) -> Doing {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::__WALL;
        match waitpid(self.thread, Some(flags)).unwrap() {
            WaitStatus::StillAlive if self.state() == 'S' => Doing::Waiting,
            WaitStatus::StillAlive => Doing::Running,
            _ => Doing::Stopped,
        }
    }

    pub fn go_on_until_it_waits(&mut self) {
        until("the worker to wait", || {
            let doing = self.look();
            if doing == Doing::Stopped {
                self.go_on();
            }
            doing == Doing::Waiting
        });
    }

    /// Lets it go on until its next system call begins or ends.
    pub fn go_on(&mut self) {
        ptrace::syscall(self.thread, None).unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Only a thread that has stopped can be let go. One that is not lets nobody end.
        while ptrace::detach(self.thread, None) == Err(Errno::ESRCH) && self.stat.exists() {
            let _ = ptrace::interrupt(self.thread);
            let _ = waitpid(self.thread, Some(WaitPidFlag::__WALL));
        }
    }
}
