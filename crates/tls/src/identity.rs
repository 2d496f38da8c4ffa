//! A certificate chain with its key, from the contents of PEM files.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};
use std::collections::HashMap;
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

/// Private keys by the public keys that belong to them, in the form that these have in certificates
/// (SubjectPublicKeyInfo: RFC 5280, section 4.1.2.7).
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<Box<[u8]>, Arc<dyn SigningKey>>);

impl Keys {
    /// The keys of a file.
    pub fn read(text: &[u8]) -> Result<Self, IdentityError> {
        let mut keys = Self::default();
        for key in PrivateKeyDer::pem_slice_iter(text) {
            let key = key.map_err(IdentityError::Pem)?;
            keys.add(any_supported_type(&key).map_err(IdentityError::Key)?)?;
        }
        Ok(keys)
    }

    fn add(&mut self, key: Arc<dyn SigningKey>) -> Result<(), IdentityError> {
        // All kinds of keys that can be read know it.
        let unknown = || IdentityError::Key(InconsistentKeys::Unknown.into());
        let public = key.public_key().ok_or_else(unknown)?.as_ref().into();
        self.0.insert(public, key);
        Ok(())
    }

    /// Takes over the keys of another file.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The chain with the key that belongs to it: one of its `own`, or else of the others.
pub(crate) fn identity(
    chain: Vec<CertificateDer<'static>>,
    own: &Keys,
    others: &Keys,
    ocsp: Option<Vec<u8>>,
) -> Result<CertifiedKey, IdentityError> {
    // That there is no key is reported even if the certificate cannot be read.
    if own.is_empty() && others.is_empty() {
        return Err(IdentityError::NoKeyFits);
    }
    let first = chain.first().ok_or(IdentityError::NoCertificate)?;
    let certificate = ParsedCertificate::try_from(first).map_err(IdentityError::Certificate)?;
    let public = certificate.subject_public_key_info();
    let key = own.0.get(public.as_ref()).or_else(|| others.0.get(public.as_ref()));
    let key = Arc::clone(key.ok_or(IdentityError::NoKeyFits)?);
    Ok(CertifiedKey { ocsp, ..CertifiedKey::new(chain, key) })
}

/// One identity that several names share.
pub(crate) type Identity = Arc<CertifiedKey>;

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use rustls::sign::Signer;
    use rustls::{SignatureAlgorithm, SignatureScheme};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A key that counts how often it is asked what its public key is.
    #[derive(Debug)]
    struct Counting {
        public: Vec<u8>,
        asked: Arc<AtomicUsize>,
    }

    impl SigningKey for Counting {
        fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            None
        }

        fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Some(self.public.as_slice().into())
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::ECDSA
        }
    }

    fn pair() -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().der().clone(), key)
    }

    #[test]
    fn a_certificate_does_not_ask_each_key() {
        let (pairs, asked) = ([(); 50].map(|()| pair()), Arc::new(AtomicUsize::new(0)));
        let mut keys = Keys::default();
        for (_, key) in pairs.iter().rev() {
            let (public, asked) = (key.subject_public_key_info(), Arc::clone(&asked));
            keys.add(Arc::new(Counting { public, asked })).unwrap();
        }
        for (certificate, key) in &pairs {
            let found = identity(vec![certificate.clone()], &Keys::default(), &keys, None).unwrap();
            let found = found.key.public_key().unwrap();
            assert_eq!(*found, *key.subject_public_key_info());
        }
        // Each was asked when it was added, and by this test when it was found.
        assert_eq!(asked.load(Ordering::Relaxed), 2 * pairs.len());
    }

    /// Numbers stand for pairs; `own` and `others` have their keys, and `own` a certificate of 0.
    #[track_caller]
    fn check(own: &[usize], others: &[usize], fits: bool) {
        let pairs = [(); 4].map(|()| pair());
        let text = |places: &[usize]| -> String {
            places.iter().map(|place| pairs[*place].1.serialize_pem()).collect()
        };
        let [own, others] = [own, others].map(|it| Keys::read(text(it).as_bytes()).unwrap());
        match identity(vec![pairs[0].0.clone()], &own, &others, None) {
            Ok(found) => found.keys_match().unwrap(),
            Err(IdentityError::NoKeyFits) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_key_that_belongs_to_a_certificate_is_found_wherever_it_is() {
        check(&[0], &[], true);
        check(&[], &[0], true);
        check(&[1, 0], &[2, 3], true);
        check(&[1], &[2, 3, 0], true);
        check(&[0], &[0, 0], true);
        check(&[1], &[], false);
        check(&[], &[1, 2, 3], false);
        check(&[], &[], false);
    }

    #[test]
    fn what_is_wrong_is_reported_as_it_matters() {
        let broken = || vec![CertificateDer::from(vec![1, 2, 3])];
        let (none, some) = (Keys::default(), Keys::read(pair().1.serialize_pem().as_bytes()));
        let error = identity(broken(), &none, &none, None).unwrap_err();
        assert!(matches!(error, IdentityError::NoKeyFits), "{error:?}");
        let error = identity(broken(), &none, &some.unwrap(), None).unwrap_err();
        assert!(matches!(error, IdentityError::Certificate(_)), "{error:?}");
    }
}
