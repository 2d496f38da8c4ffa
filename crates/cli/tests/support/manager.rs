//! A service manager such as systemd, as far as a service can see: a socket for reports, and
//! listening sockets that it passes.

use super::{PATIENCE, Place, Program};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The socket for reports, and those that have arrived.
pub struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
    heard: Vec<String>,
    /// Its store for file descriptors: what it keeps, with the names.
    store: Vec<(String, OwnedFd)>,
}

impl Manager {
    pub fn new(place: &Place) -> Self {
        let path = place.file("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { path, socket, heard: Vec::new(), store: Vec::new() }
    }

    /// Has the program report here.
    pub fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.path)
    }

    /// The assignments that have arrived, one per line.
    pub fn heard(&mut self) -> &[String] {
        while self.hear().is_some() {}
        &self.heard
    }

    fn hear(&mut self) -> Option<()> {
        let (mut buffer, mut space) = ([0; 4096], [MaybeUninit::uninit(); 64]);
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let got = recvmsg(&self.socket, &mut slices, &mut control, RecvFlags::empty()).ok()?;
        let text = String::from_utf8_lossy(&buffer[..got.bytes]).into_owned();
        let name = text.lines().find_map(|it| it.strip_prefix("FDNAME=")).unwrap_or_default();
        if text.starts_with("FDSTOREREMOVE=1") {
            self.store.retain(|(own, _)| own != name);
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                assert!(text.starts_with("FDSTORE=1"), "{text}");
                self.store.extend(descriptors.map(|it| (name.to_owned(), it)));
            }
        }
        self.heard.extend(text.lines().map(str::to_owned));
        Some(())
    }

    /// The names in its store, in order, each once.
    pub fn stored(&mut self) -> Vec<String> {
        self.heard();
        let mut names: Vec<_> = self.store.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Takes a descriptor with this name out of its store.
    pub fn take(&mut self, name: &str) -> OwnedFd {
        self.heard();
        let place = self.store.iter().position(|(own, _)| own == name);
        let descriptor = self.store.swap_remove(place.expect(name)).1;
        self.store.retain(|(own, _)| own != name); // copies of the same
        descriptor
    }

    /// The values that a variable has been given so far.
    pub fn values(&mut self, name: &str) -> Vec<String> {
        let start = format!("{name}=");
        self.heard().iter().filter_map(|it| it.strip_prefix(&start).map(str::to_owned)).collect()
    }

    /// The first value of a variable that fits, as soon as there is one.
    #[track_caller]
    pub fn wait(&mut self, name: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = self.values(name).into_iter().find(|value| fits(value)) {
                return value;
            }
            assert!(Instant::now() < deadline, "no {name}= that fits in {:?}", self.heard);
        }
    }

    /// Waits until `name=1` has been heard.
    #[track_caller]
    pub fn wait_for(&mut self, name: &str) {
        self.wait(name, |value| value == "1");
    }
}

/// Starts `command` as a service manager would that passes it up to two descriptors, from 3 on.
pub fn pass(command: &Command, passed: &[BorrowedFd<'_>], names: Option<&str>) -> Program {
    start_with(&mut passing(command, passed.len(), names), passed)
}

/// A command that starts `command` with the variables for `count` descriptors.
pub fn passing(command: &Command, count: usize, names: Option<&str>) -> Command {
    const SCRIPT: &str =
        "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=${PASS_TO-$$} exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT]).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    if let Some(names) = names {
        shell.env("LISTEN_FDNAMES", names);
    }
    shell.env("LISTEN_FDS", count.to_string());
    shell
}

/// Starts a command made by [`passing`].
pub fn start_with(shell: &mut Command, passed: &[BorrowedFd<'_>]) -> Program {
    let at = |place: usize| match passed.get(place) {
        Some(passed) => passed.try_clone_to_owned().unwrap().into(),
        None => Stdio::null(),
    };
    Program::spawn_between(shell, at(0), at(1))
}
