//! Accepting no clients for a while, with every address still bound.
//!
//! Clients of TCP and of Unix sockets are refused meanwhile, except at sockets of a service manager:
//! these are its own, and clients wait in their queues. Datagrams of new clients are dropped.

use crate::bind::{Sockets, StartError, StartErrors};
use crate::instance::{Bound, Door, Instance};
use config::Bind;
use dataplane::{DoorId, Listener};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use sys::datagram::{discard_waiting, is_datagram};
use sys::files::OwnFile;
use sys::net;

impl Instance {
    /// Accepts no more clients. Open sessions go on.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        let doors = self.listeners.iter().flat_map(|it| &it.doors);
        let doors: Vec<_> = doors.map(|door| door.id).collect();
        for (door, socket) in self.plane.stop_listening_on(&doors) {
            self.close_queue(door, socket);
        }
    }

    /// Copies of the listening sockets that are open to clients, except those of the service manager.
    pub(crate) fn own_sockets(&self) -> impl Iterator<Item = OwnedFd> {
        let copies = self.plane.copy_doors().into_iter().map(|(_, socket)| socket);
        copies.filter(|socket| !self.passed.includes(socket.as_fd()))
    }

    /// Accepts clients again.
    ///
    /// # Errors
    /// If that is impossible at any address, with the reasons. Then nothing has changed.
    pub(crate) fn resume(&mut self) -> Result<(), StartErrors> {
        let (mut bound, mut errors) = (Bound::new(), Vec::new());
        for door in self.listeners.iter().flat_map(|it| &it.doors) {
            if let Err(source) = self.open_queue(door, &mut bound) {
                errors.push(StartError::Listen { bind: door.bind.to_string(), source });
            }
        }
        if !errors.is_empty() {
            for (_, socket) in &self.left_doors {
                self.refuse_clients(socket);
            }
            return StartErrors::or((), errors);
        }
        self.replace_sockets(bound);
        self.is_paused = false;
        self.watch_doors();
        Ok(())
    }

    /// Gives doors at which this process does not accept these sockets instead of those that they had.
    fn replace_sockets(&mut self, mut bound: Bound) {
        for door in self.listeners.iter_mut().flat_map(|it| &mut it.doors) {
            if let Some(Sockets { fds, file }) = bound.remove(&door.bind) {
                self.left_doors.retain(|(id, _)| *id != door.id);
                self.left_doors.extend(fds.into_iter().map(|socket| (door.id, socket)));
                door.file = file;
            }
        }
    }

    /// Refuses clients at these addresses, which the process that serves now does not have. They stay
    /// bound, in case this process serves again.
    pub(crate) fn refuse_at(&mut self, binds: &[String]) {
        let doors = self.listeners.iter().flat_map(|it| &it.doors);
        let unwanted = doors.filter(|door| binds.contains(&door.bind.to_string()));
        self.refusing = unwanted.map(|door| door.id).collect();
        for (_, socket) in self.left_doors.iter().filter(|(id, _)| self.refusing.contains(id)) {
            self.refuse_clients(socket);
        }
    }

    /// Lets clients in again at these addresses. Returns why that is impossible at some, which are
    /// closed then.
    pub(crate) fn refuse_no_more(&mut self) -> Vec<StartError> {
        let refusing = std::mem::take(&mut self.refusing);
        let (mut bound, mut errors) = (Bound::new(), Vec::new());
        let mut lost = HashSet::new();
        let doors = self.listeners.iter().flat_map(|it| &it.doors);
        for door in doors.filter(|door| refusing.contains(&door.id)) {
            if let Err(source) = self.open_queue(door, &mut bound) {
                errors.push(StartError::Listen { bind: door.bind.to_string(), source });
                lost.insert(door.id);
            }
        }
        self.replace_sockets(bound);
        self.left_doors.retain(|(id, _)| !lost.contains(id));
        errors
    }

    /// Closes them for good: this process will not serve again. The files of Unix sockets are removed
    /// with their doors.
    pub(crate) fn give_refused_up(&mut self) {
        let Self { refusing, left_doors, listeners, .. } = self;
        left_doors.retain(|(id, _)| !refusing.contains(id));
        let doors = listeners.iter_mut().flat_map(|it| &mut it.doors);
        let refused = doors.filter(|door| refusing.contains(&door.id));
        refused.filter_map(|door| door.file.as_mut()).for_each(|file| file.keep(false));
    }

    /// Has the workers accept clients at these sockets; later, if the instance is paused.
    pub(crate) fn listen(&mut self, listener: &Arc<Listener>, sockets: Vec<OwnedFd>) -> DoorId {
        if !self.is_paused {
            return self.plane.listen(listener, sockets);
        }
        let door = self.plane.closed_door();
        sockets.into_iter().for_each(|socket| self.close_queue(door, socket));
        door
    }

    /// Stops accepting at these doors, and returns their sockets.
    pub(crate) fn take_sockets(&mut self, doors: &[DoorId]) -> Vec<(DoorId, OwnedFd)> {
        let mut sockets = self.plane.stop_listening_on(doors);
        sockets.extend(self.left_doors.extract_if(.., |(door, _)| doors.contains(door)));
        sockets
    }

    /// Keeps the socket of a door at which clients are refused.
    fn close_queue(&mut self, door: DoorId, socket: OwnedFd) {
        self.refuse_clients(&socket);
        self.left_doors.push((door, socket));
    }

    /// Refuses clients at a socket that is not the service manager's.
    pub(crate) fn refuse_clients(&self, socket: &OwnedFd) {
        if !is_datagram(socket.as_fd()) && !self.passed.includes(socket.as_fd()) {
            net::refuse_clients(socket.as_fd());
        }
    }

    /// Lets clients in again at a door's sockets. A Unix socket takes another one in its place, which
    /// goes to `bound`.
    fn open_queue(&self, door: &Door, bound: &mut Bound) -> std::io::Result<()> {
        let own = self.left_doors.iter().filter(|(id, _)| *id == door.id);
        let own = own.map(|(_, socket)| socket.as_fd());
        if door.bind.is_udp() {
            own.for_each(discard_waiting); // it is too late to answer them
            return Ok(());
        }
        let mut refusing = own.filter(|it| !self.passed.includes(*it));
        let Bind::Unix(path) = &door.bind else {
            return refusing.try_for_each(net::listen_again);
        };
        if refusing.next().is_some() {
            let fds = vec![net::listen_unix(path)?];
            let file = Some(OwnFile::at(path)?);
            bound.insert(door.bind.clone(), Sockets { fds, file });
        }
        Ok(())
    }
}
