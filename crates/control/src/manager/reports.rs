//! Reports to the service manager: what each says, and when it is sent.

use super::store::Store;
use std::os::fd::OwnedFd;
use std::time::Duration;
use sys::supervisor::{Report, ReportSocket};

/// Reports to the service manager; without one, nothing happens.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    socket: Option<ReportSocket>,
    /// Turns in the life of the instance that the manager could not take yet.
    owed: Vec<String>,
    /// The last status that was sent.
    status: String,
    is_stopping: bool,
    /// Its store for file descriptors, if it has one for this service.
    store: Option<Store>,
}

/// How much longer a stop may take than its sessions may continue: their ends are logged, files
/// removed.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// The maximum number of turns that are owed. If the manager misses more, the earliest are dropped.
const OWED_MAX: usize = 8;

impl Reports {
    pub fn new(socket: Option<ReportSocket>, has_store: bool) -> Self {
        let store = (socket.is_some() && has_store).then(Store::default);
        Self { socket, store, ..Self::default() }
    }

    /// Whether anybody listens.
    pub fn are_heard(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether the manager keeps sockets for the next process.
    pub fn has_store(&self) -> bool {
        self.store.is_some() && !self.is_stopping
    }

    /// Notes that the manager keeps sockets of these names.
    pub fn keeps(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(store) = &mut self.store {
            store.has(names);
        }
    }

    /// Has the manager keep exactly these sockets for the next process.
    pub fn keep(&mut self, sockets: impl IntoIterator<Item = OwnedFd>) {
        if let Some(store) = &mut self.store {
            store.keep(sockets);
            self.pay();
        }
    }

    /// The instance serves: after the start, and after a reload, whether or not that has changed
    /// anything.
    pub fn ready(&mut self) {
        if !self.is_stopping {
            self.turn("READY=1".to_owned());
        }
    }

    /// As [`ready`](Self::ready), from the process that has started this one in the background and
    /// is about to exit: its place is taken by the process `main`.
    pub fn ready_in_background(&mut self, main: i32) {
        self.turn(format!("MAINPID={main}\nREADY=1"));
    }

    /// Another process is the instance now. This must be the last report: the manager hears only the
    /// main process.
    pub fn replaced_by(&mut self, main: i32) {
        self.turn(format!("MAINPID={main}\nREADY=1"));
        self.socket = None;
    }

    /// The configuration is being reloaded. [`ready`](Self::ready) must follow.
    pub fn reloading(&mut self) {
        if !self.is_stopping {
            let now = sys::clock::monotonic_micros();
            self.turn(format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
    }

    /// The instance accepts no more clients. Its sessions may continue for up to `limit`, and the
    /// report asks the manager to wait that long. If there is no limit, the manager's own applies.
    pub fn stopping(&mut self, limit: Option<Duration>) {
        if std::mem::replace(&mut self.is_stopping, true) {
            return;
        }
        let limit = limit.map(|limit| limit.saturating_add(STOP_MARGIN).as_micros());
        let limit = limit.and_then(|micros| u64::try_from(micros).ok());
        let extension = limit.map(|micros| format!("\nEXTEND_TIMEOUT_USEC={micros}"));
        self.turn(format!("STOPPING=1{}", extension.unwrap_or_default()));
    }

    /// The instance is alive: the control plane and every worker.
    pub fn alive(&mut self) {
        self.pay();
        self.send("WATCHDOG=1");
    }

    /// The state of the instance, as one line for people. Call it every few seconds.
    pub fn status(&mut self, line: &str) {
        self.pay();
        // Names are in it; a line end in one would begin another assignment.
        let line = line.replace(char::is_control, "?");
        if line != self.status && self.send(&format!("STATUS={line}")) {
            self.status = line;
        }
    }

    fn turn(&mut self, text: String) {
        if self.socket.is_none() {
            return;
        }
        if self.owed.len() >= OWED_MAX {
            self.owed.remove(0);
        }
        self.owed.push(text);
        self.pay();
    }

    /// Sends what is owed, in its order.
    fn pay(&mut self) {
        while let Some(text) = self.owed.first().cloned()
            && self.send(&text)
        {
            self.owed.remove(0);
        }
        if let (Some(store), Some(socket)) = (&mut self.store, &mut self.socket) {
            while let Some((text, kept)) = store.next()
                && socket.send(&text, kept) != Report::Later
            {
                store.done();
            }
        }
    }

    /// Sends a report, and returns whether it needs no other attempt.
    fn send(&mut self, text: &str) -> bool {
        self.socket.as_mut().is_none_or(|socket| socket.send(text, None) != Report::Later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use tempfile::TempDir;

    struct Manager {
        socket: UnixDatagram,
        _dir: TempDir,
    }

    impl Manager {
        fn new() -> (Self, Reports) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let reports = Reports::new(ReportSocket::connect(path.as_os_str()), true);
            (Self { socket, _dir: dir }, reports)
        }

        /// Everything that has arrived, a report in each item.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 200];
            let mut heard = Vec::new();
            while let Ok(length) = self.socket.recv(&mut buffer) {
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            heard
        }
    }

    #[test]
    fn a_status_is_sent_when_it_changes() {
        let (manager, mut reports) = Manager::new();
        for line in ["1 session", "1 session", "2 sessions"] {
            reports.status(line);
        }
        assert_eq!(manager.heard(), ["STATUS=1 session", "STATUS=2 sessions"]);
    }

    #[test]
    fn a_status_is_one_line_whatever_is_in_it() {
        let (manager, mut reports) = Manager::new();
        reports.status("pool a\nSTOPPING=1");
        assert_eq!(manager.heard(), ["STATUS=pool a?STOPPING=1"]);
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let (manager, mut reports) = Manager::new();
        let before = sys::clock::monotonic_micros();
        reports.reloading();
        reports.ready();
        let heard = manager.heard();
        let began = heard[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!((before..=sys::clock::monotonic_micros()).contains(&began.parse().unwrap()));
        assert_eq!(heard[1..], ["READY=1"]);
    }

    #[test]
    fn nothing_follows_a_stop() {
        let (manager, mut reports) = Manager::new();
        reports.stopping(Some(Duration::from_secs(30)));
        reports.reloading();
        reports.ready();
        reports.stopping(None);
        assert_eq!(manager.heard(), ["STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000"]);
    }

    #[test]
    fn a_stop_without_a_limit_leaves_the_managers() {
        let (manager, mut reports) = Manager::new();
        reports.stopping(None);
        assert_eq!(manager.heard(), ["STOPPING=1"]);
    }

    #[test]
    fn a_manager_that_was_busy_hears_of_every_turn_later() {
        let (manager, mut reports) = Manager::new();
        while reports.send("WATCHDOG=1") {}
        reports.ready();
        reports.status("lost if nobody asks again");
        reports.stopping(None);
        assert!(manager.heard().iter().all(|text| text == "WATCHDOG=1"));
        reports.status("stopping");
        assert_eq!(manager.heard(), ["READY=1", "STOPPING=1", "STATUS=stopping"]);
    }

    #[test]
    fn a_manager_that_is_gone_stops_nothing() {
        let (manager, mut reports) = Manager::new();
        drop(manager);
        reports.ready();
        reports.alive();
        reports.status("alone");
        reports.stopping(None);
        assert_eq!(reports.owed.len(), 0);
    }
}
