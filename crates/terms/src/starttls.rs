//! Protocols that begin TLS after a request in plain text.

/// How a client asks for TLS before its ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starttls {
    /// PostgreSQL's SSLRequest. A client that begins with TLS at once needs none, as those of
    /// version 17 can (`sslnegotiation=direct`).
    Postgresql,
    /// The StartTLS operation of LDAP.
    Ldap,
    /// STARTTLS of SMTP. As with IMAP and POP3, the server speaks first.
    Smtp,
    /// STARTTLS of IMAP.
    Imap,
    /// STLS of POP3.
    Pop3,
}
