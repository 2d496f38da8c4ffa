//! Listening sockets that the service manager keeps for the process that comes after this one, in
//! its store for file descriptors: clients wait in their queues instead of being refused, also after
//! a crash. Source: sd_notify(3), `FDSTORE=1`; systemd.service(5), `FileDescriptorStoreMax=`.
//!
//! Only sockets of TCP are kept. A Unix socket is reached by its file, which goes with the process,
//! and UDP has no queue of clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::supervisor::{PassedAddress, passed_address};
use terms::Address;

/// The sockets that the store should have, and the changes that have not been sent to it yet.
#[derive(Debug, Default)]
pub(super) struct Store {
    kept: BTreeSet<String>,
    /// A socket to keep, or a name whose sockets are to be closed.
    due: VecDeque<(String, Option<OwnedFd>)>,
}

impl Store {
    /// Notes that the store already has sockets with these names.
    pub fn has(&mut self, names: impl IntoIterator<Item = String>) {
        self.kept.extend(names);
    }

    /// Has exactly these sockets kept. Those that are kept already may come again.
    pub fn keep(&mut self, sockets: impl IntoIterator<Item = OwnedFd>) {
        let named = |socket: OwnedFd| Some((name_of(socket.as_fd())?, socket));
        let sockets: BTreeMap<_, _> = sockets.into_iter().filter_map(named).collect();
        let names = sockets.keys().cloned().collect();
        let before = std::mem::replace(&mut self.kept, names);
        // The names that are still to be removed are in `due` only.
        self.due.retain(|(name, socket)| socket.is_none() && !sockets.contains_key(name));
        self.due.extend(before.difference(&self.kept).map(|name| (name.clone(), None)));
        self.due.extend(sockets.into_iter().map(|(name, socket)| (name, Some(socket))));
    }

    /// The next report, and the socket that comes with it.
    pub fn next(&self) -> Option<(String, Option<BorrowedFd<'_>>)> {
        let (name, socket) = self.due.front()?;
        let order = if socket.is_some() { "FDSTORE=1" } else { "FDSTOREREMOVE=1" };
        Some((format!("{order}\nFDNAME={name}"), socket.as_ref().map(AsFd::as_fd)))
    }

    /// Notes that the next report needs no other attempt.
    pub fn done(&mut self) {
        self.due.pop_front();
    }
}

/// The name in the store of a socket that listens; `None` if it is not kept there.
pub(crate) fn name_of(socket: BorrowedFd<'_>) -> Option<String> {
    stored_name(&passed_address(socket).ok()?)
}

/// The name of a socket with this address in the store.
pub(super) fn stored_name(at: &PassedAddress) -> Option<String> {
    match &at.address {
        // Names are separated by colons.
        Address::Ip(address) => Some(format!("{PREFIX}{address}").replace(':', "_")),
        Address::Unix(_) => None,
    }
}

/// The beginning of all names in the store.
pub(super) const PREFIX: &str = "evenkeel.";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    fn sent(store: &mut Store) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((text, _)) = store.next() {
            sent.push(text);
            store.done();
        }
        sent
    }

    #[test]
    fn the_store_has_what_listens_now() {
        let [one, two] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let name = |it: &TcpListener| name_of(it.as_fd()).unwrap();
        assert_eq!(name(&one), format!("evenkeel.127.0.0.1_{}", one.local_addr().unwrap().port()));
        let copy = |it: &TcpListener| it.as_fd().try_clone_to_owned().unwrap();
        let mut store = Store::default();
        store.has(["evenkeel.[__1]_80".to_owned()]);
        store.keep([copy(&one)]);
        let kept = |it: &TcpListener| format!("FDSTORE=1\nFDNAME={}", name(it));
        let gone = "FDSTOREREMOVE=1\nFDNAME=evenkeel.[__1]_80".to_owned();
        assert_eq!(sent(&mut store), [gone, kept(&one)]);
        // A removal that has not been sent yet is not forgotten.
        store.keep([copy(&two)]);
        store.keep([copy(&two)]);
        let gone = format!("FDSTOREREMOVE=1\nFDNAME={}", name(&one));
        assert_eq!(sent(&mut store), [gone, kept(&two)]);
    }

    #[test]
    fn only_what_listens_for_tcp_is_kept() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(name_of(udp.as_fd()), None);
        let mut store = Store::default();
        store.keep([udp.into()]);
        assert!(store.next().is_none());
    }
}
