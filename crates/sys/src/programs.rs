//! Programs of others that are run within limits, with everything that they start.

use crate::process::{User, copy, end_with};
use crate::signals::mask;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus,
    getpid, getrlimit, getsid, kill_process, kill_process_group, pidfd_open, set_child_subreaper,
    setrlimit, setsid, waitid, waitpid,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts programs. What they leave behind becomes a child of this process.
pub struct Runner {
    parent: Pid,
    /// What keeps programs from sending signals to others, if the kernel has it.
    cage: Option<OwnedFd>,
}

/// A program that runs, the leader of a session of its own.
pub struct Running {
    leader: Pid,
    life: OwnedFd,
    output: OwnedFd,
}

/// How a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// What a program may use: bytes of data, of each file that it writes, and files that are open.
const DATA_MAX: u64 = 1 << 30;
const FILE_MAX: u64 = 16 << 20;
const FILES_MAX: u64 = 256;
/// Processes and threads of its user in all, not counted for root.
const PROCESSES_MAX: u64 = 1024;

impl Runner {
    /// Has this process inherit what programs leave behind.
    ///
    /// # Errors
    /// If the system does not have that.
    pub fn new() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        Ok(Self { parent: getpid(), cage: cage() })
    }

    /// Starts a program with these arguments and nothing else in its environment. It may use so much
    /// time of processors, is killed when this thread ends, and has no file but its output, which
    /// are its standard output and error together.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn start(
        &self,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        cpu: Duration,
    ) -> io::Result<Running> {
        let (output, its) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let (parent, cage) = (self.parent, self.cage.as_ref().map(AsRawFd::as_raw_fd));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(its.try_clone()?)
            .stderr(its);
        let seconds = cpu.as_secs().saturating_add(1);
        let confine = move || confine(parent, cage, seconds);
        // SAFETY: between fork and exec, the closure makes system calls only; it neither allocates nor
        // locks anything.
        unsafe { command.pre_exec(confine) };
        let child = command.spawn()?;
        drop(command); // and with it our copies of its end of the pipe
        let leader = Pid::from_child(&child);
        match pidfd_open(leader, PidfdFlags::empty()) {
            Ok(life) => Ok(Running { leader, life, output }),
            Err(error) => {
                let _ = kill_process_group(leader, Signal::KILL);
                Err(error.into())
            }
        }
    }

    /// Ends what programs that are over have left, and returns whether some of it may still be there.
    /// Those of `running` keep theirs.
    pub fn end_strays<'a>(&self, running: impl Iterator<Item = &'a Running>) -> bool {
        let leaders: Vec<_> = running.map(|it| it.leader).collect();
        end_strays(&leaders)
    }
}

/// What a program does before it becomes one.
fn confine(parent: Pid, cage: Option<RawFd>, cpu_seconds: u64) -> io::Result<()> {
    setsid()?;
    end_with(parent)?;
    mask(libc::SIG_SETMASK, []); // this process holds signals that programs may want to use
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, cpu_seconds)?;
    limit(Resource::Data, DATA_MAX)?;
    limit(Resource::Fsize, FILE_MAX)?;
    limit(Resource::Nofile, FILES_MAX)?;
    limit(Resource::Nproc, PROCESSES_MAX)?;
    if let Some(cage) = cage {
        // SAFETY: plain numbers. If it fails, the program runs without this.
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, cage, 0) };
    }
    Ok(())
}

/// Lowers a limit.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum.map_or(most, |it| it.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })?)
}

/// Rules for processes that may send no signals, and make no abstract Unix connections, to others
/// than those they start (landlock(7), from Linux 6.12 on).
fn cage() -> Option<OwnedFd> {
    // A `struct landlock_ruleset_attr`: no rules about files and ports.
    let attributes = [0u64, 0, SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL];
    // SAFETY: pointer and length describe a local array that the kernel only reads before returning.
    let made = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            size_of_val(&attributes),
            0,
        )
    };
    let made = RawFd::try_from(made).ok().filter(|it| *it >= 0)?;
    // SAFETY: the descriptor has just been made, closed at exec, and nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(made) })
}

/// From <linux/landlock.h>.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1 << 0;
const SCOPE_SIGNAL: u64 = 1 << 1;

impl Running {
    /// What becomes readable when the program ends.
    #[must_use]
    pub fn life(&self) -> BorrowedFd<'_> {
        self.life.as_fd()
    }

    /// What it prints.
    #[must_use]
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Reads what it has printed, without waiting; zero is the end.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.output, buffer)?)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::PidFd(self.life()), look), Ok(None))
    }

    /// Kills it, if it has not ended, and its whole process group. Returns how it had ended.
    #[must_use]
    pub fn end(self) -> Option<Ended> {
        let had_ended = self.has_ended();
        // It has not been waited for, so the number is still its own.
        let _ = kill_process_group(self.leader, Signal::KILL);
        let (_, status) = waitpid(Some(self.leader), WaitOptions::NOHANG).ok().flatten()?;
        had_ended.then(|| ended(status)).flatten()
    }
}

fn ended(status: WaitStatus) -> Option<Ended> {
    let signal = || status.terminating_signal().map(Ended::Signal);
    status.exit_status().map(Ended::Status).or_else(signal)
}

/// Ends children of this thread, except these and those of their sessions; returns whether there were
/// others. Even if all of them are over, what they had begun may have become children of this thread.
fn end_strays(leaders: &[Pid]) -> bool {
    let Ok(children) = std::fs::read_to_string("/proc/thread-self/children") else {
        // Without /proc, at least those that have ended do not stay.
        while leaders.is_empty() && matches!(waitpid(None, WaitOptions::NOHANG), Ok(Some(_))) {}
        return false;
    };
    let children = children.split_whitespace().filter_map(|it| Pid::from_raw(it.parse().ok()?));
    let mut were_there = false;
    for child in children.filter(|it| !leaders.contains(it)) {
        let is_kept = getsid(Some(child)).is_ok_and(|session| leaders.contains(&session));
        if !is_kept {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = waitpid(Some(child), WaitOptions::NOHANG);
        were_there |= !is_kept;
    }
    were_there
}

/// Does `work` in a process of its own, and again if that ends otherwise than by returning, once what
/// it has left behind is gone. `work` ends with this process, and is told whether it is done again.
///
/// # Errors
/// If the system has no room for another process.
///
/// # Panics
/// If this process has more than one thread: the copy would be without the others.
pub fn oversee(work: impl Fn(bool)) -> io::Result<()> {
    set_child_subreaper(Some(getpid()))?;
    for is_again in std::iter::once(false).chain(std::iter::repeat(true)) {
        let parent = getpid();
        let child = copy(|| {
            if end_with(parent).is_ok() {
                work(is_again);
            }
            true
        })?;
        let status = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
        while end_strays(&[]) {
            std::thread::sleep(STRAYS_PAUSE);
        }
        if status.is_some_and(|(_, status)| status.exit_status() == Some(0)) {
            break;
        }
        std::thread::sleep(AGAIN_AFTER);
    }
    Ok(())
}

/// Time between two looks at processes that are being killed.
const STRAYS_PAUSE: Duration = Duration::from_millis(10);
/// Time before work that has failed begins again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Whether this is a program that this user, or else this process, may run.
///
/// # Errors
/// Why not.
pub fn can_run(program: &Path, user: Option<&User>) -> io::Result<()> {
    let metadata = program.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    match user {
        Some(user) if !user.may_execute(&metadata) => Err(io::ErrorKind::PermissionDenied.into()),
        Some(_) => Ok(()),
        None => Ok(accessat(CWD, program, Access::EXEC_OK, AtFlags::EACCESS)?),
    }
}
