//! TLS towards backends.

use std::fmt;
use std::sync::Arc;

/// Whether connections to backends use TLS, and what their certificates have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendTls {
    /// Plain bytes.
    #[default]
    Off,
    /// TLS, with backends whose certificates are by a trusted authority and have the right name.
    Verify,
    /// TLS with whoever answers.
    Insecure,
}

/// The number of a way to use TLS as a client: whom to trust, what to show, what to offer. Ways keep
/// their numbers for as long as the process runs, whatever becomes of their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectorId(pub u64);

/// How connections to one backend are encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Encryption {
    /// The way.
    pub connector: ConnectorId,
    /// The name to ask for, and to find in the certificate.
    pub name: Arc<str>,
}

/// Why a TLS handshake with a backend failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// No trusted authority has signed the certificate.
    Untrusted,
    /// The certificate is for another name.
    OtherName,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate cannot be used for another reason.
    Certificate,
    /// The backend has sent this alert.
    Alert(&'static str),
    /// The backend closed the connection.
    Ended,
    /// The backend does not speak TLS.
    NotTls,
    /// The backend has nothing in common with us, or violated the protocol.
    Refused,
    /// What is needed for TLS, such as a file, is missing here.
    Unprepared,
}

/// In plain words: `its certificate has expired`.
impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "no trusted authority has signed its certificate",
            Self::OtherName => "its certificate is for another name",
            Self::Expired => "its certificate has expired",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::Certificate => "its certificate cannot be used",
            Self::Alert(alert) => return write!(f, "the backend sent the alert {alert}"),
            Self::Ended => "the backend closed the connection",
            Self::NotTls => "the backend does not speak TLS",
            Self::Refused => {
                "the backend has no version or cipher in common with us, or broke the rules"
            }
            Self::Unprepared => "certificates for it, or its name, cannot be used",
        })
    }
}
