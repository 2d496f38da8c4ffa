//! What lookups have found before a change.

use crate::certificates::Read;
use crate::discoveries::Discovered;
use config::{Endpoint, Host};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use terms::Address;

/// The addresses of names that are new.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Those of backends, by their endpoints. Others get theirs later.
    pub backends: HashMap<String, Vec<Address>>,
    /// Those of new listening hosts, or why there are none: a listener on such a name is refused.
    pub hosts: HashMap<String, Result<Vec<IpAddr>, String>>,
    /// What names stand for that stand for several backends.
    pub discovered: Vec<(String, Discovered)>,
    /// What TLS is terminated with, and what backends are reached with.
    pub certificates: Read,
}

impl Found {
    /// The addresses of one backend, whatever it is called.
    pub fn only(endpoint: &Endpoint, addresses: &[Address]) -> Self {
        let backends = HashMap::from([(endpoint.to_string(), addresses.to_vec())]);
        Self { backends, ..Self::default() }
    }

    /// The addresses of an endpoint; none for a name that was not found.
    pub fn addresses(&self, endpoint: &Endpoint) -> Vec<Address> {
        match endpoint {
            Endpoint::Unix(path) => vec![Address::Unix(path.clone())],
            Endpoint::Discovered(_) => Vec::new(),
            Endpoint::Tcp { host: Host::Address(address), port } => {
                vec![Address::Ip(SocketAddr::new(*address, *port))]
            }
            Endpoint::Tcp { host: Host::Name(_), .. } => {
                self.backends.get(&endpoint.to_string()).cloned().unwrap_or_default()
            }
        }
    }
}
