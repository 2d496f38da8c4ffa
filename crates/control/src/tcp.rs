//! HTTP by TCP: the address of the metrics, and the one of the admin socket's pages.

use crate::door::{Guests, Limits, Visitor};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// An address before it is served.
pub(crate) enum TcpSocket {
    Listening(TcpListener),
    /// Somebody else has it, perhaps an instance that waits for its last sessions to end.
    Taken(SocketAddr),
}

impl TcpSocket {
    /// Listens at an address.
    ///
    /// # Errors
    /// If that fails, unless it is because somebody else has the address.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        match TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Listening(listener))
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(Self::Taken(address)),
            Err(error) => Err(error),
        }
    }

    /// The address, if it is listened at.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Listening(listener) => listener.local_addr().ok(),
            Self::Taken(_) => None,
        }
    }

    /// Serves what `routes` has until the process ends, as soon as the address is free.
    pub async fn serve(mut self, routes: Router) {
        let listener = loop {
            self = match self {
                Self::Listening(listener) => break listener,
                Self::Taken(address) => {
                    sleep(TAKEN_PAUSE).await;
                    Self::open(address).unwrap_or(Self::Taken(address))
                }
            };
        };
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        let is_local = listener.local_addr().is_ok_and(|it| it.ip().is_loopback());
        let routes = match is_local {
            true => routes.layer(axum::middleware::from_fn(for_this_machine)),
            false => routes,
        };
        // Ends only with the process: accept errors are retried inside, after a pause.
        let _ = axum::serve(Gate { listener, guests: Guests::new(Limits::USUAL) }, routes).await;
    }
}

/// How long to wait before an address that somebody else has is tried again.
const TAKEN_PAUSE: Duration = Duration::from_millis(500);

/// Refuses requests for other hosts than this machine: a web page can have a name of its own lead
/// to an address of this machine, and its browser then takes the answers for the page's.
async fn for_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|it| it.to_str().ok());
    match host.is_none_or(is_this_machine) {
        true => next.run(request).await,
        false => {
            let message = "this address is served as 127.0.0.1, [::1] or localhost only\n";
            (StatusCode::MISDIRECTED_REQUEST, message).into_response()
        }
    }
}

/// Whether a host, perhaps with a port, is an address of this machine or its usual name.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An address at which everybody who reaches it may connect.
struct Gate {
    listener: tokio::net::TcpListener,
    guests: Guests,
}

impl axum::serve::Listener for Gate {
    type Io = Visitor<TcpStream, ()>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (self.guests.let_in(stream, ()), ()),
                Err(_) => sleep(TAKEN_PAUSE).await, // most likely out of file descriptors
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, expected: bool) {
        assert_eq!(is_this_machine(host), expected, "{host}");
    }

    #[test]
    fn only_this_machine_is_meant() {
        check("localhost", true);
        check("LocalHost:9188", true);
        check("127.0.0.1:9188", true);
        check("127.8.0.1", true);
        check("[::1]:9188", true);
        check("[::1]", true);
        check("evil.example", false);
        check("evil.example:9188", false);
        check("localhost.evil.example", false);
        check("192.0.2.1:9188", false);
        check("", false);
        check("127.0.0.1.evil.example:9188", false);
    }
}
