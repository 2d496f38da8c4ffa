//! A service manager such as systemd, as far as a service can see: a socket for reports, and
//! listening sockets that it passes.

use super::{PATIENCE, Place};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The socket for reports, and those that have arrived.
pub struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    pub fn new(place: &Place) -> Self {
        let path = place.file("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { path, socket, heard: Vec::new() }
    }

    /// Has the program report here.
    pub fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.path)
    }

    /// The assignments that have arrived, one per line.
    pub fn heard(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
        &self.heard
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
