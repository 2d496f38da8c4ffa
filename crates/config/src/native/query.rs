//! What can be asked of a running instance about its sessions and events.

use super::access::Clients;
use crate::words::Choice;
use crate::{BackendSelector, EventKind};
use balancing::{ProxyPeers, Subject};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use terms::SessionOrder;

/// Which open sessions to list: the query of `GET /v1/sessions`, and the options of `ctl sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct SessionQuery {
    /// Only sessions with backends of this pool
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// Only sessions with this backend: TIER.INDEX, name or address
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_parser = BackendSelector::parse)]
    pub backend: Option<BackendSelector>,
    /// Only sessions of clients with this address, in this network (10.0.0.0/8), or of unix sockets
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "CLIENTS")]
    pub client: Option<ClientNetwork>,
    /// Which come first: the oldest (age), those with the most bytes per second since they began
    /// (rate), the most bytes, the longest round-trip time to the client (rtt), or those that have
    /// been silent for the longest time (idle)
    #[arg(long, value_name = "ORDER", default_value = "age", hide_possible_values = true)]
    #[arg(value_parser = SessionOrder::parser())]
    pub sort: SessionOrder,
    /// The maximum number of sessions; 0 for all
    #[arg(long, value_name = "N", default_value_t = SESSIONS_LISTED)]
    pub limit: usize,
}

/// How many sessions are listed unless a query says otherwise.
const SESSIONS_LISTED: usize = 50;

impl Default for SessionQuery {
    fn default() -> Self {
        let (pool, backend, client) = (None, None, None);
        Self { pool, backend, client, sort: SessionOrder::default(), limit: SESSIONS_LISTED }
    }
}

/// Which events to report: the query of `GET /v1/events`, and the options of `ctl events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// Only these: ends of sessions (ends), or all others (changes)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[arg(long, value_name = "KIND", value_parser = EventKind::parser())]
    pub only: Option<EventKind>,
}

/// Some clients: those with an address, in a network, or of Unix sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientNetwork {
    text: String,
    clients: Arc<ProxyPeers>,
}

impl ClientNetwork {
    /// Whether a client is one of them; `None` stands for a client of a Unix socket.
    #[must_use]
    pub fn contains(&self, client: Option<SocketAddr>) -> bool {
        self.clients.contains(client)
    }
}

impl FromStr for ClientNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "clients are an address, a network such as 10.0.0.0/8 or 2001:db8::/32, or unix"
                .to_owned()
        };
        let clients = match text.parse::<Clients>() {
            _ if text == "unix" => ProxyPeers::new(Vec::new(), true),
            Ok(Clients(Subject::Country(_))) => return Err(form()),
            Ok(Clients(network)) => ProxyPeers::new(vec![network], false),
            Err(error) if error.is_about_form() => return Err(form()),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Self { text: text.to_owned(), clients: Arc::new(clients) })
    }
}

impl TryFrom<String> for ClientNetwork {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClientNetwork> for String {
    fn from(network: ClientNetwork) -> Self {
        network.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, client: &str, expected: bool) {
        let client = client.parse().ok().map(|address| SocketAddr::new(address, 1));
        assert_eq!(network.parse::<ClientNetwork>().unwrap().contains(client), expected);
    }

    #[test]
    fn clients_are_selected_by_address_network_or_socket() {
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("10.0.0.0/8", "unix", false);
        check("2001:db8::1", "2001:db8::1", true);
        check("unix", "unix", true);
        check("unix", "10.1.2.3", false);
    }

    #[test]
    fn other_words_are_refused_with_the_form() {
        for text in ["", "10.0.0", "country:SE", "everyone"] {
            let error = text.parse::<ClientNetwork>().unwrap_err();
            assert!(error.contains("10.0.0.0/8") && error.ends_with("unix"), "{error}");
        }
        let error = "10.0.0.1/8".parse::<ClientNetwork>().unwrap_err();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }
}
