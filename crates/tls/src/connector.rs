//! What connections to backends use TLS with.

use crate::error::{MaterialError, at};
use crate::identity::{IdentityError, Keys, PemFile, certificates, chain, identity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Whom to trust and what to show, in the form in which connections use it.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(crate) config: Arc<ClientConfig>,
}

/// What a [`Connector`] is made of.
#[derive(Clone, Debug, Default)]
pub struct ConnectorMaterial {
    /// The certificates of the authorities to trust; `None` if anybody is trusted.
    pub authorities: Option<Vec<PemFile>>,
    /// The client's certificate chain. The key may be in the same file.
    pub certificate: Option<PemFile>,
    /// The client's key.
    pub key: Option<PemFile>,
    /// The protocols offered by ALPN, best first.
    pub protocols: Vec<String>,
}

impl Connector {
    /// Checks the material, and prepares it for use.
    ///
    /// # Errors
    /// See [`MaterialError`].
    pub fn new(material: &ConnectorMaterial) -> Result<Self, MaterialError> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &material.authorities {
            Some(files) => builder.with_root_certificates(roots(files)?),
            None => {
                let anybody = Arc::new(Anybody(provider));
                builder.dangerous().with_custom_certificate_verifier(anybody)
            }
        };
        let mut config = match &material.certificate {
            Some(certificate) => {
                let own = own_identity(certificate, material.key.as_ref())?;
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(own));
                builder.with_client_cert_resolver(resolver)
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = material.protocols.iter().map(|it| it.clone().into()).collect();
        Ok(Self { config: Arc::new(config) })
    }
}

fn own_identity(file: &PemFile, key: Option<&PemFile>) -> Result<CertifiedKey, MaterialError> {
    let PemFile { path, text } = file;
    let chain = chain(text).map_err(at(path))?;
    let own = Keys::read(text).map_err(at(path))?;
    let mut others = Keys::default();
    if let Some(PemFile { path, text }) = key {
        others = Keys::read(text).map_err(at(path))?;
        if others.is_empty() {
            return Err(at(path)(IdentityError::NoKey));
        }
    }
    identity(chain, &own, &others, None).map_err(at(path))
}

/// The authorities whose certificates are in these files. Of a system's many, some may be of a kind
/// that nobody can use; those are left out, unless none is left.
pub(crate) fn roots(files: &[PemFile]) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for PemFile { path, text } in files {
        let found = certificates(text).map_err(at(path))?;
        if found.is_empty() {
            return Err(at(path)(IdentityError::NoCertificate));
        }
        let (added, _) = roots.add_parsable_certificates(found);
        if added == 0 {
            return Err(at(path)(IdentityError::NoAuthority));
        }
    }
    Ok(roots)
}

/// Trusts every server, but has it prove that it has the key of its certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
