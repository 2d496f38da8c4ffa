//! Protocols that begin TLS after a request in plain text.

/// How a client asks for TLS before its ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starttls {
    /// PostgreSQL's SSLRequest. A client that begins with TLS at once needs none, as those of
    /// version 17 can (`sslnegotiation=direct`).
    Postgresql,
}
