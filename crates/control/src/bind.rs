//! The part of a start that can fail while the user is watching: names and sockets.

use crate::certificates::CertificateError;
use crate::found::Found;
use crate::hand_over::error::TakeOverError;
use crate::manager::{PassedSocketError, PassedSockets};
use config::{Bind, Family, Host, Role};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use sys::datagram::bind_udp_group;
use sys::errors::with_causes;
use sys::files::OwnFile;

/// Why a start failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host of a listening address cannot be resolved.
    #[error("cannot resolve the listening address {host}")]
    ResolveListener {
        /// As configured.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// None of the backends can be resolved.
    #[error("cannot resolve any backend; the first one is {host}")]
    ResolveBackend {
        /// The first one's host.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// A listening address cannot be bound.
    #[error("cannot listen on {bind}{}", bind_hint(bind, source))]
    Listen {
        /// As configured.
        bind: String,
        /// The cause.
        source: io::Error,
    },
    /// Another listening address of this process has the same port, and is still open.
    #[error(
        "cannot listen on {bind} while this process listens on {own}; remove {own} in a change of \
         its own first"
    )]
    ListenBeside {
        /// As configured.
        bind: String,
        /// The open one, as configured.
        own: String,
    },
    /// A listening address is listed twice.
    #[error("{bind} is listed twice as a listening address")]
    ListenTwice {
        /// As configured.
        bind: String,
    },
    /// A listener cannot terminate TLS.
    #[error(transparent)]
    Certificate(#[from] Arc<CertificateError>),
    /// What a service manager has passed for listening cannot be used.
    #[error(transparent)]
    Passed(#[from] PassedSocketError),
    /// The instance that this process is to take over goes on.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    /// The interface that says whether the instance is ready cannot be made.
    #[error("cannot make the network interface {name}{}", interface_hint(source))]
    ReadyInterface {
        /// Its name.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// A backend is an address that this process itself listens on.
    #[error(
        "backend {backend} is this process's own listener ({bind}): it would connect to itself"
    )]
    Loop {
        /// As configured.
        backend: String,
        /// The listener, as configured.
        bind: String,
    },
    /// The admin socket cannot be created.
    #[error("cannot create the admin socket {}; choose another path with --admin", path.display())]
    Admin {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no such user or group.
    #[error("{name} cannot have the role {role}")]
    Role {
        /// As configured.
        name: String,
        /// Which.
        role: Role,
        /// The cause.
        source: io::Error,
    },
    /// The file of the tokens cannot be used.
    #[error("cannot use the tokens of {}", path.display())]
    Tokens {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Nothing can listen at the address for `admin-listen`.
    #[error("cannot serve the admin socket at {address}")]
    AdminListen {
        /// As configured.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// Nothing can listen at the address of the metrics.
    #[error("cannot serve metrics at {address}")]
    Metrics {
        /// As configured.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The file of the log cannot be opened.
    #[error("cannot open the log {}", path.display())]
    Log {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The pid file cannot be written.
    #[error("cannot write the pid file {}", path.display())]
    PidFile {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The root directory cannot be changed.
    #[error("cannot change the root directory to {}", path.display())]
    Root {
        /// The new root directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The personality's companion cannot open a file that it needs.
    #[error("{what}")]
    Companion {
        /// What failed, in the personality's words.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The process cannot change to that user.
    #[error("cannot change to user {user}")]
    User {
        /// The name of the user.
        user: String,
        /// The cause.
        source: io::Error,
    },
    /// The system cannot create another process or thread.
    #[error("cannot start {what}")]
    System {
        /// What could not be started.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// Why a change was refused: one reason at least.
#[derive(Debug)]
pub(crate) struct StartErrors(pub StartError, pub Vec<StartError>);

impl StartErrors {
    /// `result`, unless there are errors.
    pub fn or<T>(result: T, errors: Vec<StartError>) -> Result<T, Self> {
        let mut errors = errors.into_iter();
        match errors.next() {
            None => Ok(result),
            Some(first) => Err(Self(first, errors.collect())),
        }
    }

    /// Each error with its cause.
    pub fn texts(&self) -> Vec<String> {
        let Self(first, more) = self;
        std::iter::once(first).chain(more).map(|error| with_causes(error)).collect()
    }
}

impl From<StartError> for StartErrors {
    fn from(error: StartError) -> Self {
        Self(error, Vec::new())
    }
}

fn interface_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (this takes root or CAP_NET_ADMIN)",
        io::ErrorKind::ResourceBusy => " (another process has it)",
        io::ErrorKind::NotFound => " (the kernel, or this container, has no /dev/net/tun)",
        io::ErrorKind::InvalidInput => " (there is an interface of another kind with this name)",
        _ => "",
    }
}

fn bind_hint(bind: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if bind.starts_with("unix:") => {
            " (another program uses it, or a file is in the way; `ss -lxp` shows which)"
        }
        io::ErrorKind::AddrInUse => " (another program uses it; `ss -lntup` shows which)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 require root or CAP_NET_BIND_SERVICE)"
        }
        io::ErrorKind::AddrNotAvailable => " (this machine does not have the address)",
        _ => "",
    }
}

/// Like [`listen`], without blocking: a name must have been looked up before.
pub(crate) fn listen_at_once(
    listener: &config::Listener,
    bind: &Bind,
    passed: &mut PassedSockets,
    workers: usize,
    found: &Found,
) -> Result<Sockets, StartError> {
    listen(listener, bind, passed, workers, &|host, port| match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => match found.hosts.get(name) {
            Some(Ok(found)) => Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
            Some(Err(error)) => Err(io::Error::other(error.clone())),
            None => Err(io::Error::other("a new listening address must be literal")),
        },
    })
}

/// The sockets of a `bind`.
pub(crate) struct Sockets {
    pub fds: Vec<OwnedFd>,
    /// The file of a Unix socket, to be removed when the listener ends. That of a passed socket
    /// is the service manager's.
    pub file: Option<OwnFile>,
}

/// Finds all addresses of a host.
type Find<'a> = &'a dyn Fn(&Host, u16) -> io::Result<Vec<SocketAddr>>;

/// Listens on all addresses of `bind`, which is one of the listener's. A socket that the service
/// manager has passed comes before one of our own.
pub(crate) fn listen(
    listener: &config::Listener,
    bind: &Bind,
    passed: &mut PassedSockets,
    workers: usize,
    find: Find<'_>,
) -> Result<Sockets, StartError> {
    match listen_as(&listener.name, bind, listener.shared_port, workers, passed, find) {
        Err(StartError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            let culprit = passed.in_the_way_of(&listener.name, bind).map(StartError::Passed);
            Err(culprit.unwrap_or(StartError::Listen { bind: bind.to_string(), source }))
        }
        result => result,
    }
}

fn listen_as(
    listener: &str,
    bind: &Bind,
    shared_port: bool,
    workers: usize,
    passed: &mut PassedSockets,
    find: Find<'_>,
) -> Result<Sockets, StartError> {
    let failed = |source| StartError::Listen { bind: bind.to_string(), source };
    match bind {
        Bind::Unix(path) => match passed.on_path(listener, path) {
            Some(fds) => Ok(Sockets { fds, file: None }),
            None => {
                let fds = vec![sys::net::listen_unix(path).map_err(failed)?];
                Ok(Sockets { fds, file: Some(OwnFile::at(path).map_err(failed)?) })
            }
        },
        // A socket for each worker.
        Bind::Udp { host, port, family } => {
            let listen = |address, dual| bind_udp_group(address, dual, shared_port, workers);
            let mut fds = Vec::new();
            match host {
                Some(host) => {
                    for address in addresses(host, *port, *family, find)? {
                        fds.extend(listen(address, mapped(&address)).map_err(failed)?);
                    }
                }
                None => fds = on_every_address(*port, *family, listen).map_err(failed)?,
            }
            Ok(Sockets { fds, file: None })
        }
        Bind::Tcp { host: None, port, family } => {
            let fds = match passed.on_all_addresses(listener, *port, *family) {
                Some(fds) => fds,
                None => vec![on_all_addresses(*port, *family, shared_port).map_err(failed)?],
            };
            Ok(Sockets { fds, file: None })
        }
        Bind::Tcp { host: Some(host), port, family } => {
            let addresses = addresses(host, *port, *family, find)?;
            let listen = |address| sys::net::listen_tcp(address, mapped(&address), shared_port);
            let mut fds = Vec::new();
            for address in addresses {
                match passed.on_address(listener, address) {
                    Some(passed) => fds.extend(passed),
                    None => fds.push(listen(address).map_err(failed)?),
                }
            }
            Ok(Sockets { fds, file: None })
        }
    }
}

/// The addresses of a host that are of this family.
fn addresses(
    host: &Host,
    port: u16,
    family: Family,
    find: Find<'_>,
) -> Result<impl Iterator<Item = SocketAddr>, StartError> {
    let found = find(host, port)
        .map_err(|source| StartError::ResolveListener { host: host.to_string(), source })?;
    let is_any = matches!(host, Host::Address(_)) || family == Family::Any;
    Ok(found.into_iter().filter(move |it| is_any || it.is_ipv4() == (family == Family::V4)))
}

/// Whether an IPv6 address stands for one of IPv4.
fn mapped(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
        IpAddr::V4(_) => false,
    }
}

fn on_all_addresses(port: u16, family: Family, shared_port: bool) -> io::Result<OwnedFd> {
    on_every_address(port, family, |address, is_dual_stack| {
        sys::net::listen_tcp(address, is_dual_stack, shared_port)
    })
}

/// Listens with a wildcard address: dual stack, or IPv4 where that is asked for or all there is.
fn on_every_address<T>(
    port: u16,
    family: Family,
    listen: impl Fn(SocketAddr, bool) -> io::Result<T>,
) -> io::Result<T> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match family {
        Family::V4 => listen(v4, false),
        Family::V6 => listen(v6, true),
        Family::Any => match listen(v6, true) {
            Err(error) if has_no_ipv6(&error) => listen(v4, false),
            result => result,
        },
    }
}

/// Whether listening on `bind` is possible now. Blocks if its host is a name.
///
/// # Errors
/// Why not.
pub fn can_listen(bind: &Bind) -> Result<(), StartError> {
    listen_as("", bind, false, 1, &mut PassedSockets::default(), &resolve).map(drop)
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let errno = sys::Errno::from_io_error(error);
    errno == Some(sys::Errno::AFNOSUPPORT) || errno == Some(sys::Errno::ADDRNOTAVAIL)
}

/// All addresses of a host, as the system's own programs find them. Blocks.
pub(crate) fn resolve(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) => {
            let mut found: Vec<_> = (name.as_str(), port).to_socket_addrs()?.collect();
            found.dedup();
            Ok(found)
        }
    }
}

/// The first IPv4 address of a name, which balance(1) uses. Blocks.
#[must_use]
pub fn first_ipv4(name: &str) -> Option<Ipv4Addr> {
    (name, 0).to_socket_addrs().ok()?.find_map(|address| match address.ip() {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    })
}
