//! Listening sockets that the service manager has opened and passes (sd_listen_fds(3)).
//!
//! A socket with the name of a listener is for that listener, and must have one of its addresses.
//! Any other name is only a label, such as systemd's default, the name of the unit: then the address
//! decides. A passed socket stays open here for as long as the instance listens, so that a reload can
//! come back to its address.

use super::store::{PREFIX, stored_name};
use config::{Bind, Config, Family, Host, PassedError, PassedNames};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use sys::Errno;
use sys::datagram::cookie;
use sys::supervisor::{
    FIRST_PASSED, PassedAddress, Unfit, passed_address, prepare_passed, take_passed,
};
use terms::Address;

/// Why the sockets that a service manager passes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// The variables that announce them cannot be understood.
    #[error(transparent)]
    Variables(#[from] PassedError),
    /// A descriptor is not there.
    #[error("LISTEN_FDS announces {count} sockets, but file descriptor {number} is not open")]
    Missing {
        /// The number of announced sockets.
        count: u32,
        /// The descriptor.
        number: RawFd,
    },
    /// A descriptor is not fit for listening.
    #[error("{socket} {}; listeners need Accept=no and ListenStream=", unfit(*.problem))]
    Unfit {
        /// Which socket.
        socket: String,
        /// What is wrong with it.
        problem: Unfit,
    },
    /// A socket cannot be set up.
    #[error("{socket} cannot be set up: {problem}")]
    Broken {
        /// Which socket.
        socket: String,
        /// What the system says.
        problem: Errno,
    },
    /// A socket is for a listener, or in its way, and has another address.
    #[error("{socket} is bound to {address}, but listener {listener} is to listen on {binds}")]
    Disagreement {
        /// Which socket.
        socket: String,
        /// Its address.
        address: String,
        /// The listener.
        listener: String,
        /// The listener's addresses.
        binds: String,
    },
}

fn unfit(problem: Unfit) -> &'static str {
    match problem {
        Unfit::NotASocket => "is not a socket",
        Unfit::NotAStream => "is not a stream socket, as for TCP",
        Unfit::NotListening => "does not listen",
        Unfit::OtherFamily => "is neither for TCP nor a Unix socket",
    }
}

/// The passed sockets that are left, or in use.
#[derive(Debug, Default)]
pub(crate) struct PassedSockets(Vec<PassedSocket>);

/// A socket that the service manager has passed.
#[derive(Debug)]
pub(crate) struct PassedSocket {
    socket: OwnedFd,
    number: RawFd,
    name: Option<String>,
    at: PassedAddress,
    /// The listener that it is for; `None` if the address decides.
    owner: Option<String>,
    is_used: bool,
    /// It is an earlier process's own, which the service manager has kept.
    is_stored: bool,
}

impl PassedSockets {
    /// Takes over the announced sockets. To be called once, before this process opens anything.
    ///
    /// # Errors
    /// If one is missing or unfit. Those taken so far are closed.
    pub fn take_over(announced: &PassedNames) -> Result<Self, PassedSocketError> {
        let count = announced.count();
        let take = |(place, number)| {
            let socket =
                take_passed(number).map_err(|_| PassedSocketError::Missing { count, number })?;
            let name = announced.name(place);
            match PassedSocket::new(socket, number, name.map(str::to_owned)) {
                // One of ours, shut down after the service manager had got it.
                Err(PassedSocketError::Unfit { problem: Unfit::NotListening, .. })
                    if name.is_some_and(|name| name.starts_with(PREFIX)) =>
                {
                    Ok(None)
                }
                result => result.map(Some),
            }
        };
        let all = (0..count).zip(FIRST_PASSED..).map(take);
        all.filter_map(Result::transpose).collect::<Result<_, _>>().map(Self)
    }

    /// The names of those that the service manager has kept for this process.
    pub fn stored(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|it| it.is_stored).filter_map(|it| it.name.clone())
    }

    /// Gives each socket with the name of a listener to that listener. To be called before any
    /// address is bound.
    ///
    /// # Errors
    /// If such a socket has none of the listener's addresses. The name of a host may stand for any
    /// address; if it does not, [`close_unused`](Self::close_unused) says so.
    pub fn assign(&mut self, config: &Config) -> Result<(), PassedSocketError> {
        let binds = || config.listeners.iter().flat_map(|it| &it.binds);
        for it in
            self.0.extract_if(.., |it| it.is_stored && !binds().any(|bind| it.may_serve(bind)))
        {
            // It may be in the way of another address, and the service manager has it, too.
            sys::net::refuse_clients(it.socket.as_fd());
        }
        for socket in &mut self.0 {
            let name = socket.name.as_ref();
            let Some(listener) = config.listeners.iter().find(|it| Some(&it.name) == name) else {
                continue;
            };
            if !listener.binds.iter().any(|bind| socket.may_serve(bind)) {
                return Err(socket.disagreement(&listener.name, listener.bound_to()));
            }
            socket.owner = Some(listener.name.clone());
        }
        Ok(())
    }

    /// The sockets for all addresses of a listener's port, if there are enough of them: one for both
    /// protocols, or one for each.
    pub fn on_all_addresses(
        &mut self,
        listener: &str,
        port: u16,
        family: Family,
    ) -> Option<Vec<OwnedFd>> {
        let v4 = At { address: (Ipv4Addr::UNSPECIFIED, port).into(), is_dual_stack: false };
        let v6 = At { address: (Ipv6Addr::UNSPECIFIED, port).into(), is_dual_stack: false };
        let both = At { is_dual_stack: true, ..v6 };
        match family {
            Family::V4 => self.on(listener, &v4),
            Family::V6 => self.on(listener, &both),
            Family::Any => self.on(listener, &both).or_else(|| {
                let is_whole = self.has(listener, &v6) || !sys::net::has_ipv6();
                let mut sockets = is_whole.then(|| self.on(listener, &v4)).flatten()?;
                sockets.extend(self.on(listener, &v6).unwrap_or_default());
                Some(sockets)
            }),
        }
    }

    /// The sockets for an address of a listener, if there are any.
    pub fn on_address(&mut self, listener: &str, address: SocketAddr) -> Option<Vec<OwnedFd>> {
        self.take(listener, |it| it.is_on(address))
    }

    /// The sockets for a path of a listener, if there are any.
    pub fn on_path(&mut self, listener: &str, path: &Path) -> Option<Vec<OwnedFd>> {
        self.take(listener, |it| it.is_at(path))
    }

    fn on(&mut self, listener: &str, at: &At) -> Option<Vec<OwnedFd>> {
        self.take(listener, |it| it.is_exactly(at))
    }

    fn has(&self, listener: &str, at: &At) -> bool {
        self.0.iter().any(|it| it.is_for(listener) && it.is_exactly(at))
    }

    /// Copies of all sockets that fit; more than one only if the service manager shares the port.
    fn take(
        &mut self,
        listener: &str,
        fits: impl Fn(&PassedSocket) -> bool,
    ) -> Option<Vec<OwnedFd>> {
        let all = self.0.iter_mut().filter(|it| it.is_for(listener) && fits(it));
        let copies = all.filter_map(|it| {
            it.is_used = true;
            it.socket.try_clone().ok()
        });
        let copies: Vec<_> = copies.collect();
        (!copies.is_empty()).then_some(copies)
    }

    /// Closes the sockets that no listener has, and returns what they were. From now on, the address
    /// alone decides.
    ///
    /// # Errors
    /// If one of them is for a listener.
    pub fn close_unused(&mut self, config: &Config) -> Result<Vec<String>, PassedSocketError> {
        let mut unused = Vec::new();
        // Those of ours that are used are ours again.
        for socket in self.0.extract_if(.., |it| !it.is_used || it.is_stored) {
            if socket.is_stored {
                if !socket.is_used {
                    sys::net::refuse_clients(socket.socket.as_fd());
                }
                continue;
            }
            match config.listeners.iter().find(|it| Some(&it.name) == socket.owner.as_ref()) {
                Some(it) => return Err(socket.disagreement(&it.name, it.bound_to())),
                None => unused.push(format!("{socket}, bound to {}", socket.address())),
            }
        }
        self.0.iter_mut().for_each(|it| it.owner = None);
        Ok(unused)
    }

    /// The error if a passed socket is why an address of a listener could not be bound: it has the
    /// port, and not the same addresses.
    pub fn in_the_way_of(&self, listener: &str, bind: &Bind) -> Option<PassedSocketError> {
        let Bind::Tcp { port, .. } = bind else { return None };
        let has_port = |it: &&PassedSocket| match &it.at.address {
            Address::Ip(own) => own.port() == *port && !it.is_used,
            Address::Unix(_) => false,
        };
        let socket = self.0.iter().find(has_port)?;
        Some(socket.disagreement(listener, bind.to_string()))
    }

    /// Number and name of each, and copies of them.
    pub fn copies(&self) -> (Vec<(RawFd, Option<String>)>, Vec<OwnedFd>) {
        let copy =
            |it: &PassedSocket| Some(((it.number, it.name.clone()), it.socket.try_clone().ok()?));
        self.0.iter().filter_map(copy).unzip()
    }

    /// Adds those that an old process was passed.
    pub fn inherit(&mut self, passed: Vec<(RawFd, Option<String>, OwnedFd)>) {
        let sockets = passed.into_iter();
        let new = |(number, name, socket)| PassedSocket::new(socket, number, name).ok();
        self.0.extend(sockets.filter_map(new).map(|it| PassedSocket { is_used: true, ..it }));
    }

    /// Whether this is one of them, or a copy.
    pub fn includes(&self, socket: BorrowedFd<'_>) -> bool {
        let own = cookie(socket);
        self.0.iter().any(|it| cookie(it.socket.as_fd()) == own)
    }

    /// Whether there is a socket with this file.
    pub fn has_path(&self, path: &Path) -> bool {
        self.0.iter().any(|it| it.is_at(path))
    }
}

/// All addresses of a port, of one protocol or both.
#[derive(Clone, Copy)]
struct At {
    address: SocketAddr,
    is_dual_stack: bool,
}

impl PassedSocket {
    fn new(
        socket: OwnedFd,
        number: RawFd,
        name: Option<String>,
    ) -> Result<Self, PassedSocketError> {
        let shown = Shown { name: name.as_deref(), number };
        let at = passed_address(socket.as_fd())
            .map_err(|problem| PassedSocketError::Unfit { socket: shown.to_string(), problem })?;
        prepare_passed(socket.as_fd())
            .map_err(|problem| PassedSocketError::Broken { socket: shown.to_string(), problem })?;
        let is_stored = name.is_some() && name == stored_name(&at);
        Ok(Self { socket, number, name, at, owner: None, is_used: false, is_stored })
    }

    fn is_for(&self, listener: &str) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner == listener)
    }

    fn is_on(&self, address: SocketAddr) -> bool {
        let own = match &self.at.address {
            Address::Ip(own) => *own,
            Address::Unix(_) => return false,
        };
        (own.ip(), own.port()) == (address.ip(), address.port())
    }

    fn is_exactly(&self, at: &At) -> bool {
        self.is_on(at.address) && self.at.is_dual_stack == at.is_dual_stack
    }

    fn is_at(&self, path: &Path) -> bool {
        let absolute = std::path::absolute(path);
        matches!(&self.at.address, Address::Unix(own) if absolute.is_ok_and(|path| path == *own))
    }

    /// Whether it has an address that `bind` could stand for.
    fn may_serve(&self, bind: &Bind) -> bool {
        let (host, port, family) = match bind {
            Bind::Unix(path) => return self.is_at(path),
            Bind::Tcp { host, port, family } => (host, *port, family),
            Bind::Udp { .. } => return false,
        };
        let Address::Ip(own) = &self.at.address else { return false };
        own.port() == port
            && match (host, family) {
                (Some(Host::Address(address)), _) => own.ip() == *address,
                (Some(Host::Name(_)), _) => true,
                (None, Family::Any) => own.ip().is_unspecified(),
                (None, Family::V4) => own.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                (None, Family::V6) => self.at.is_dual_stack && own.ip().is_unspecified(),
            }
    }

    fn address(&self) -> String {
        match &self.at.address {
            Address::Ip(own) if own.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                let protocols = if self.at.is_dual_stack { "IPv6 and IPv4" } else { "IPv6 only" };
                format!("{own} ({protocols})")
            }
            Address::Ip(own) => own.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    fn disagreement(&self, listener: &str, binds: String) -> PassedSocketError {
        PassedSocketError::Disagreement {
            socket: self.to_string(),
            address: self.address(),
            listener: listener.to_owned(),
            binds,
        }
    }
}

impl fmt::Display for PassedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { name: self.name.as_deref(), number: self.number }.fmt(f)
    }
}

/// A passed socket as messages name it.
struct Shown<'a> {
    name: Option<&'a str>,
    number: RawFd,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, number } = self;
        match name {
            Some(name) => write!(f, "passed socket '{name}' (file descriptor {number})"),
            None => write!(f, "passed socket (file descriptor {number})"),
        }
    }
}
