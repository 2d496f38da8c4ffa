//! Going to the background, changing user, and pid files.
//!
//! The background process is the program started again with the same arguments. The parent waits
//! until it reports that it is ready, so that a start that fails is seen by whoever started it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Gid, Uid};

/// Set in the environment of the background process, whose standard input is then the line to
/// its parent.
const MARK: &str = "EVENKEEL_BACKGROUND";

/// Whether this is the background process.
pub fn is_background() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this program again in the background and waits until it calls [`ready`]. Gives the
/// status to exit with: success, or that of the background process when it ended before.
pub fn respawn() -> io::Result<ExitCode> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut words = std::env::args_os();
    let own = Path::new("/proc/self/exe");
    let program = if own.exists() { own.to_owned() } else { std::env::current_exe()? };
    let mut command = Command::new(program);
    command.arg0(words.next().unwrap_or_default()).args(words).env(MARK, "1");
    let mut child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn()?;
    // The command holds the other end too; without it the end of the child is an end of file.
    drop(command);
    let mut answer = Vec::new();
    let _ = ours.read_to_end(&mut answer);
    if !answer.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait()?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// Tells the parent that all is well, and leaves its session and terminal. Standard output and
/// error stay. Nothing happens in the foreground.
pub fn ready() -> io::Result<()> {
    if !is_background() {
        return Ok(());
    }
    // The only session leader that cannot call this is a group leader, which a child is not.
    let _ = rustix::process::setsid();
    let parent = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    UnixStream::from(parent).write_all(b"ready\n")
}

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl User {
    /// Finds a user by name or number, in the files or by `getent` for directories such as LDAP.
    pub fn find(name: &str) -> Option<Self> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        if let Some(user) = Self::parse(&passwd, &groups, name) {
            return Some(user);
        }
        let getent = Command::new("getent").args(["passwd", "--", name]).output().ok()?;
        Self::parse(&String::from_utf8_lossy(&getent.stdout), &groups, name)
    }

    fn parse(passwd: &str, group: &str, name: &str) -> Option<Self> {
        let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = fields.into_iter().find(|f| f.len() > 3 && (f[0] == name || f[2] == name))?;
        let (uid, gid) = (user[2].parse().ok()?, user[3].parse().ok()?);
        let mut groups = vec![gid];
        for line in group.lines() {
            let fields: Vec<_> = line.split(':').collect();
            if let [_, _, number, members] = fields[..]
                && members.split(',').any(|member| member == user[0])
                && let Ok(number) = number.parse()
            {
                groups.push(number);
            }
        }
        Some(Self { uid, gid, groups })
    }

    /// Its number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Becomes this user, with its groups and no way back. To be called while there is one
    /// thread only, since the system keeps users per thread.
    pub fn assume(&self) -> io::Result<()> {
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let groups: Vec<Gid> = self.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        if rustix::process::geteuid() == uid && !uid.is_root() {
            return Ok(());
        }
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

/// Makes `directory` the root and the current directory.
pub fn change_root(directory: &OsStr) -> io::Result<()> {
    rustix::process::chroot(directory)?;
    std::env::set_current_dir("/")
}

/// Writes our process id, digits without newline.
pub fn write_pid(path: &OsStr) -> io::Result<()> {
    fs::write(path, std::process::id().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_comes_with_all_its_groups() {
        let passwd = "root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nbroken\n";
        let group = "root:x:0:\ndaemon:x:1:\nlog:x:7:root,daemon\nadm:x:4:daemonx\n";
        let user = User { uid: 1, gid: 1, groups: vec![1, 7] };
        assert_eq!(User::parse(passwd, group, "daemon"), Some(user.clone()));
        assert_eq!(User::parse(passwd, group, "1"), Some(user));
        assert_eq!(User::parse(passwd, group, "nobody"), None);
        assert!(User::find("root").is_some());
        assert!(User::find("no-such-user-x").is_none());
    }
}
