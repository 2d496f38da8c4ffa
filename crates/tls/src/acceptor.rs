//! What a listener terminates TLS with.

use crate::error::{MaterialError, at};
use crate::identity::{IdentityError, chain, identity, keys};
use crate::names::ByName;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use std::path::PathBuf;
use std::sync::Arc;

/// Certificates, keys and rules in the form in which connections use them.
#[derive(Clone, Debug)]
pub struct Acceptor {
    pub(crate) config: Arc<ServerConfig>,
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PemFile {
    /// Where it was.
    pub path: PathBuf,
    /// What was in it.
    pub text: Vec<u8>,
}

/// What an [`Acceptor`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Certificate chains, the default first. The keys may be in the same files.
    pub certificates: Vec<PemFile>,
    /// Keys, in any order.
    pub keys: Vec<PemFile>,
    /// The protocols offered by ALPN, best first.
    pub protocols: Vec<String>,
}

impl Acceptor {
    /// Checks the material, and prepares it for use.
    ///
    /// # Errors
    /// See [`MaterialError`].
    pub fn new(material: &Material) -> Result<Self, MaterialError> {
        let mut names = ByName::default();
        let mut all_keys = Vec::new();
        for PemFile { path, text } in &material.keys {
            let found = keys(text).map_err(at(path))?;
            if found.is_empty() {
                return Err(at(path)(IdentityError::NoKey));
            }
            all_keys.extend(found);
        }
        for PemFile { path, text } in &material.certificates {
            let chain = chain(text).map_err(at(path))?;
            let own = keys(text).map_err(at(path))?;
            let identity = identity(&chain, own.iter().chain(&all_keys), None).map_err(at(path))?;
            names.add(Arc::new(identity)).map_err(at(path))?;
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(names));
        config.alpn_protocols = material.protocols.iter().map(|it| it.clone().into()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config) })
    }

    /// The same, with these keys for resumption.
    #[must_use]
    pub fn with_tickets(&self, tickets: &Tickets) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.ticketer = Arc::clone(&tickets.0);
        Self { config: Arc::new(config) }
    }
}

/// Keys that tickets for resumption are encrypted with. They replace themselves every six hours, and
/// outlive a change of certificates.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new() -> Result<Self, MaterialError> {
        Ok(Self(Ticketer::new()?))
    }
}
