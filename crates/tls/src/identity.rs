//! A certificate chain with its key, from the contents of PEM files.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};
use std::path::PathBuf;
use std::sync::Arc;

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PemFile {
    /// Where it was.
    pub path: PathBuf,
    /// What was in it.
    pub text: Vec<u8>,
}

/// What is wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The text is not PEM.
    #[error("not in PEM format")]
    Pem(#[source] pem::Error),
    /// There is no certificate.
    #[error("there is no certificate in it; the file needs `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// No certificate can be used as that of an authority.
    #[error("there is no usable certificate of an authority in it")]
    NoAuthority,
    /// There is no list of revoked certificates.
    #[error(
        "there is no list of revoked certificates in it; the file needs `-----BEGIN X509 CRL-----`"
    )]
    NoRevocations,
    /// There is no key.
    #[error("there is no private key in it; the file needs `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The key is of a kind that cannot be used.
    #[error("the private key cannot be used")]
    Key(#[source] Error),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Certificate(#[source] Error),
    /// No key belongs to the certificate.
    #[error(
        "no private key belongs to the certificate; add the key to the file, or name its file with \
         --tls-key"
    )]
    NoKeyFits,
    /// There is no key of tickets.
    #[error("there is no ticket key in it; each line is one, as from `openssl rand -base64 48`")]
    NoTicketKey,
    /// A line is no key of tickets. Lines are counted from one.
    #[error(
        "line {0} is no ticket key: 32 bytes or more in base64, as from `openssl rand -base64 48`"
    )]
    TicketKey(usize),
}

/// The certificates of a file, the end entity's first.
pub(crate) fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = certificates(text)?;
    if chain.is_empty() { Err(IdentityError::NoCertificate) } else { Ok(chain) }
}

/// The certificates of a file, of whomever they are.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(IdentityError::Pem)
}

/// The keys of a file.
pub(crate) fn keys(text: &[u8]) -> Result<Vec<Arc<dyn SigningKey>>, IdentityError> {
    let key = |key: Result<PrivateKeyDer<'_>, _>| {
        any_supported_type(&key.map_err(IdentityError::Pem)?).map_err(IdentityError::Key)
    };
    PrivateKeyDer::pem_slice_iter(text).map(key).collect()
}

/// The chain with the first of the keys that belongs to it.
pub(crate) fn identity<'a>(
    chain: &[CertificateDer<'static>],
    keys: impl Iterator<Item = &'a Arc<dyn SigningKey>>,
    ocsp: Option<Vec<u8>>,
) -> Result<CertifiedKey, IdentityError> {
    for key in keys {
        let mut identity = CertifiedKey::new(chain.to_vec(), Arc::clone(key));
        match identity.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                identity.ocsp = ocsp;
                return Ok(identity);
            }
            Err(Error::InconsistentKeys(_)) => {}
            Err(error) => return Err(IdentityError::Certificate(error)),
        }
    }
    Err(IdentityError::NoKeyFits)
}

/// One identity that several names share.
pub(crate) type Identity = Arc<CertifiedKey>;
