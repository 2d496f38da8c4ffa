//! Certificates of clients.

/// Whether TLS clients are asked for certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    Off,
    /// They may show one, which must then be valid.
    Request,
    /// They must show one.
    Require,
}
