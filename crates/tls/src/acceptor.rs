//! What a listener terminates TLS with.

use crate::clients::{ClientsMaterial, verifier};
use crate::error::{MaterialError, at};
use crate::identity::{IdentityError, Keys, PemFile, chain, identity};
use crate::names::ByName;
use crate::tickets::{Purpose, Tickets};
use crate::validity::first_end;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terms::Ciphers;

/// Certificates, keys and rules in the form in which connections use them.
#[derive(Clone, Debug)]
pub struct Acceptor {
    pub(crate) config: Arc<ServerConfig>,
    /// What tickets are valid for.
    purpose: Purpose,
    has_shared_keys: bool,
    /// When the first certificate of each file expires, in the order of the paths.
    expiries: Arc<[(PathBuf, u64)]>,
}

/// What an [`Acceptor`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Certificate chains, the default first. The keys may be in the same files.
    pub certificates: Vec<CertificateFile>,
    /// Keys, in any order.
    pub keys: Vec<PemFile>,
    /// The protocols offered by ALPN, best first.
    pub protocols: Vec<String>,
    /// Which certificates of clients are asked for, if any are.
    pub clients: Option<ClientsMaterial>,
    /// Keys of tickets that several hosts share. Otherwise, see [`Acceptor::with_tickets`].
    pub ticket_keys: Option<PemFile>,
    /// Whether only TLS 1.3 is spoken.
    pub is_1_3_only: bool,
    /// Which ciphers of TLS 1.2 are spoken.
    pub ciphers: Ciphers,
}

/// A certificate chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CertificateFile {
    /// The file.
    pub file: PemFile,
    /// A name besides those in the certificate.
    pub name: Option<String>,
    /// The answer of the authority about its revocation (OCSP), in DER. Clients that ask get it.
    pub staple: Option<Vec<u8>>,
}

impl Acceptor {
    /// Checks the material, and prepares it for use.
    ///
    /// # Errors
    /// See [`MaterialError`].
    pub fn new(material: &Material) -> Result<Self, MaterialError> {
        let mut names = ByName::default();
        let (mut all_keys, mut expiries) = (Keys::default(), Vec::new());
        for PemFile { path, text } in &material.keys {
            let found = Keys::read(text).map_err(at(path))?;
            if found.is_empty() {
                return Err(at(path)(IdentityError::NoKey));
            }
            all_keys.extend(found);
        }
        for CertificateFile { file: PemFile { path, text }, name, staple } in &material.certificates
        {
            let chain = chain(text).map_err(at(path))?;
            expiries.extend(first_end(&chain).map(|end| (path.clone(), end)));
            let own = Keys::read(text).map_err(at(path))?;
            let identity = identity(chain, &own, &all_keys, staple.clone()).map_err(at(path))?;
            names.add(Arc::new(identity), name.as_deref()).map_err(at(path))?;
        }
        let mut provider = default_provider();
        provider.cipher_suites.retain(|it| {
            let name = it.suite().as_str();
            it.tls13().is_some() || name.is_some_and(|name| material.ciphers.has(name))
        });
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let versions: &[_] = if material.is_1_3_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let builder = builder.with_protocol_versions(versions)?;
        let builder = match &material.clients {
            Some(clients) => builder.with_client_cert_verifier(verifier(clients, &provider)?),
            None => builder.with_no_client_auth(),
        };
        expiries.sort();
        let mut config = builder.with_cert_resolver(Arc::new(names));
        config.alpn_protocols = material.protocols.iter().map(|it| it.clone().into()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let purpose = Purpose::new(material.clients.as_ref());
        if let Some(PemFile { path, text }) = &material.ticket_keys {
            config.ticketer = Tickets::read(text).map_err(at(path))?.with(purpose);
        }
        Ok(Self {
            config: Arc::new(config),
            purpose,
            has_shared_keys: material.ticket_keys.is_some(),
            expiries: expiries.into(),
        })
    }

    /// When the first certificate in this file, or in the files of this directory, expires, in
    /// seconds since 1970. Costs a binary search, and a look at each file found.
    #[must_use]
    pub fn first_expiry(&self, path: &Path) -> Option<u64> {
        // In this order, whatever is below a path directly follows it.
        let begin = self.expiries.partition_point(|(file, _)| file.as_path() < path);
        let within = self.expiries[begin..].iter().take_while(|(file, _)| file.starts_with(path));
        within.map(|(_, expires)| *expires).min()
    }

    /// The same, with these keys for resumption, unless it has some that are shared.
    #[must_use]
    pub fn with_tickets(&self, tickets: &Tickets) -> Self {
        if self.has_shared_keys {
            return self.clone();
        }
        let mut config = ServerConfig::clone(&self.config);
        config.ticketer = tickets.with(self.purpose);
        Self { config: Arc::new(config), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(path: &str, last_year: i32) -> CertificateFile {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 1, 1);
        let text = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let file = PemFile { path: path.into(), text: text.into_bytes() };
        CertificateFile { file, ..CertificateFile::default() }
    }

    #[test]
    fn the_first_expiry_is_that_of_the_files_below_a_path() {
        let files = [
            ("/d/b.pem", 2031),
            ("/d.pem", 2025),
            ("/d/a.pem", 2032),
            ("/d-e/a.pem", 2026),
            ("/d/e/c.pem", 2030),
            ("d/a.pem", 2027),
            ("/d/a", 2029),
            ("/d/b.pem", 2033), // a file that is listed twice
            ("/c/a.pem", 2028),
        ];
        let certificates = files.map(|(path, year)| certificate(path, year)).into();
        let acceptor = Acceptor::new(&Material { certificates, ..Material::default() }).unwrap();
        let check = |path: &str, year: Option<i32>| {
            let seconds = |year| date_time_ymd(year, 1, 1).unix_timestamp().try_into().unwrap();
            assert_eq!(acceptor.first_expiry(Path::new(path)), year.map(seconds), "{path}");
        };
        check("/d", Some(2029));
        check("/d/", Some(2029));
        check("/d//a.pem", Some(2032));
        check("/d/b.pem", Some(2031));
        check("/d/e", Some(2030));
        check("/d-e", Some(2026));
        check("/d.pem", Some(2025));
        check("/c", Some(2028));
        check("d", Some(2027));
        check("/", Some(2025));
        check("/d/a.pe", None);
        check("/b", None);
        check("/z", None);
    }
}
