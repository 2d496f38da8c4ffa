//! A UDP socket that clients write to.

use crate::listener::Listener;
use crate::shared::DoorId;
use crate::token::Token;
use crate::tools::Tools;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use sys::{datagram, net};

/// A UDP socket that clients write to, and that answers leave from.
pub(super) struct Door {
    /// What new flows belong to.
    pub listener: Arc<Listener>,
    pub id: DoorId,
    pub socket: OwnedFd,
    pub address: Option<SocketAddr>,
    /// Whether new flows may begin. Those that exist go on after that.
    pub is_open: bool,
    /// Whether another process may have the socket, which may come back.
    pub is_lent: bool,
    number: usize,
    is_watched: bool,
    reports_marks: bool,
}

impl Door {
    /// Watches a socket, if the system can.
    pub fn open(
        listener: Arc<Listener>,
        id: DoorId,
        socket: OwnedFd,
        number: usize,
        tools: &Tools,
    ) -> Option<Self> {
        let address = net::local_address(socket.as_fd());
        let _ = datagram::report_destinations(socket.as_fd());
        tools.poller.add_listener(&socket, Token::Door(number).to_number()).ok()?;
        Some(Self {
            listener,
            id,
            socket,
            address,
            is_open: true,
            is_lent: false,
            number,
            is_watched: true,
            reports_marks: false,
        })
    }

    /// Leaves what clients send to another process. Answers still leave from here.
    pub fn unwatch(&mut self, tools: &Tools) {
        if std::mem::take(&mut self.is_watched) {
            let _ = tools.poller.remove(&self.socket);
        }
    }

    /// Receives what clients send again.
    pub fn watch(&mut self, tools: &Tools) {
        if !self.is_watched {
            let token = Token::Door(self.number).to_number();
            self.is_watched = tools.poller.add_listener(&self.socket, token).is_ok();
        }
    }

    /// Whether datagrams come with their marks (ECN) from now on.
    pub fn report_marks(&mut self, is_wanted: bool) {
        if self.reports_marks != is_wanted {
            datagram::report_marks(self.socket(), is_wanted);
            self.reports_marks = is_wanted;
        }
    }

    /// The address that a client has written to, if it is `local` where the socket has several.
    pub fn destination(&self, local: Option<IpAddr>) -> Option<SocketAddr> {
        let address = self.address?;
        Some(SocketAddr::new(local.unwrap_or(address.ip()), address.port()))
    }

    /// Whether what clients send is received.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
