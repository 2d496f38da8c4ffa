//! Certificates of clients: whom a listener trusts, and what a client is called.

use crate::connector::roots;
use crate::error::{MaterialError, at};
use crate::identity::{IdentityError, PemFile};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use webpki::EndEntityCert;

/// Which certificates of clients are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientsMaterial {
    /// Whether every client must have one.
    pub are_required: bool,
    /// The certificates of the authorities.
    pub authorities: Vec<PemFile>,
    /// Lists of revoked certificates.
    pub revocations: Vec<PemFile>,
}

/// What verifies the certificates of clients.
pub(crate) fn verifier(
    material: &ClientsMaterial,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
    let ClientsMaterial { are_required, authorities, revocations } = material;
    let mut lists = Vec::new();
    for PemFile { path, text } in revocations {
        let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
        let found = found.map_err(|error| at(path)(IdentityError::Pem(error)))?;
        if found.is_empty() {
            return Err(at(path)(IdentityError::NoRevocations));
        }
        lists.extend(found);
    }
    let roots = Arc::new(roots(authorities)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = builder.with_crls(lists);
    let builder = if *are_required { builder } else { builder.allow_unauthenticated() };
    Ok(builder.build()?)
}

/// The common name of the subject of a certificate, in the text that it is written in.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }; webpki gives
    // what is inside of the outermost one.
    let mut names = certificate.subject();
    let mut last = None;
    while let Some((SET, mut set)) = element(&mut names) {
        while let Some((SEQUENCE, mut pair)) = element(&mut set) {
            if let (Some((OBJECT_IDENTIFIER, COMMON_NAME)), Some((_, value))) =
                (element(&mut pair), element(&mut pair))
            {
                last = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    last
}

/// Takes an element of DER off the front: its tag and contents.
pub(crate) fn element<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = from.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        length @ 0..=0x7f => (length, rest),
        count @ 0x81..=0x82 => {
            let (bytes, rest) = rest.split_at_checked(count - 0x80)?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some((tag, contents))
}

const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// 2.5.4.3 (X.520).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
