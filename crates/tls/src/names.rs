//! Chooses a certificate by the name that a client asks for.

use crate::identity::{Identity, IdentityError};
use rustls::Error;
use rustls::server::{ClientHello, ResolvesServerCert};
use std::collections::HashMap;
use std::sync::Arc;
use webpki::EndEntityCert;

/// Certificates by the names in them: the exact name, then the wildcard of its domain, then the
/// default, which is the first certificate.
#[derive(Debug, Default)]
pub(crate) struct ByName {
    /// Several of one name differ in the kind of their keys.
    names: HashMap<Box<str>, Vec<Identity>>,
    default: Vec<Identity>,
}

impl ByName {
    /// Adds a certificate under all of its names, and one more. The earliest one of each name and
    /// kind of key is preferred.
    pub fn add(&mut self, identity: Identity, more: Option<&str>) -> Result<(), IdentityError> {
        let unreadable = |error| IdentityError::Certificate(Error::General(format!("{error}")));
        let certificate = identity.cert.first().ok_or(IdentityError::NoCertificate)?;
        let certificate = EndEntityCert::try_from(certificate).map_err(unreadable)?;
        let mut names: Vec<_> = certificate
            .valid_dns_names()
            .chain(more)
            .map(|name| name.to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        names.dedup();
        let is_same = self.default.is_empty()
            || names.iter().any(|name| {
                let first = self.names.get(name.as_str()).and_then(|it| it.first());
                first.is_some_and(|it| Arc::ptr_eq(it, &self.default[0]))
            });
        if is_same {
            self.default.push(identity.clone());
        }
        for name in names {
            self.names.entry(name.into()).or_default().push(identity.clone());
        }
        Ok(())
    }

    fn find(&self, name: Option<&str>) -> &[Identity] {
        let Some(name) = name else { return &self.default };
        let lower = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, domain) = lower.split_once('.')?;
            self.names.get(format!("*.{domain}").as_str())
        };
        self.names.get(lower.as_str()).or_else(wildcard).map_or(&self.default, Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Identity> {
        let found = self.find(hello.server_name());
        let fits = |it: &&Identity| it.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(fits).or_else(|| self.default.iter().find(fits)).cloned()
    }
}
