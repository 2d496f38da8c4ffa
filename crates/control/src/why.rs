//! Says why a client would be sent where it would be sent: what [`Pool::explain`] finds, in words.

use balancing::{
    AccessList, Because, Client, Decision, Explanation, Place, Policy, Pool, Reason, Verdict,
};
use config::native::entry_words;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Why, WhyBackend, WhyReason, WhyTier};
use terms::{BackendId, Instant, Limit};

/// The question: the query of `GET /v1/why`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyQuery {
    /// The client: an address, an address with a port, or `unix`.
    pub client: String,
    /// The listener's name, port or address, if there are several.
    pub listener: Option<String>,
    /// The name of the server that a TLS client asks for.
    pub sni: Option<String>,
    /// The protocols that a TLS client offers, with commas between them.
    pub alpn: Option<String>,
}

/// Everything that the answer is made of, so that the owner of the instance need not make it.
pub(crate) struct Circumstances {
    pub client: Client,
    pub listener: String,
    pub binds: Vec<String>,
    pub pool_name: String,
    pub pool_because: String,
    pub pool: Arc<Pool>,
    /// What people call the backends of each tier.
    pub called: Vec<Vec<String>>,
    /// What the agents of backends have said, in words.
    pub agents: HashMap<BackendId, Said>,
    pub reject: Option<String>,
    pub notes: Vec<String>,
    pub now: Instant,
}

/// What an agent has said, in words.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub text: String,
    /// Whether its backend is down for this.
    pub is_down: bool,
}

impl Circumstances {
    /// The answer. It takes time in proportion to the number of backends.
    pub fn explain(self) -> Why {
        // Random choices come out differently every time; this is one of them.
        let seed = self.now.as_nanos();
        let explained = self.pool.explain(self.client, seed, self.now);
        let mut tries = explained.tries.iter().map(|place| self.called(*place).to_owned());
        let backend = tries.next();
        let then = tries.collect();
        let tiers = self.pool.tiers.iter().zip(&explained.reasons).zip(&self.called);
        let tiers = tiers.map(|((tier, reasons), called)| WhyTier {
            policy: tier.policy,
            backends: (reasons.iter().zip(called).enumerate())
                .map(|(index, (reason, called))| WhyBackend {
                    backend: called.clone(),
                    reason: word(*reason),
                    because: self.because(*reason, tier, index, &explained),
                })
                .collect(),
        });
        let plain = self.client.plain_address();
        let client = match (plain, self.client.port) {
            (None, _) => "unix".to_owned(),
            (Some(address), 0) => address.to_string(),
            (Some(address), port) => SocketAddr::new(address, port).to_string(),
        };
        Why {
            client,
            country: self.client.country.map(|country| country.to_string()),
            because: self.outcome(&explained),
            tiers: tiers.collect(),
            is_permitted: explained.access.verdict == Verdict::Permit,
            access_because: access_because(explained.access, &self.pool.access),
            remembered: explained.remembered.and_then(|id| {
                let place = self.pool.tiers.first()?.backends.place(id)?;
                Some(self.called(Place::InTier { tier: 0, index: place }).to_owned())
            }),
            backend,
            then,
            listener: self.listener,
            binds: self.binds,
            pool: self.pool_name,
            pool_because: self.pool_because,
            notes: self.notes,
        }
    }

    fn called(&self, place: Place) -> &str {
        let name = match place {
            Place::Reject => self.reject.as_ref(),
            Place::InTier { tier, index } => self.called.get(tier).and_then(|it| it.get(index)),
        };
        name.map_or("", String::as_str)
    }

    /// Why the session goes where it goes.
    fn outcome(&self, explained: &Explanation) -> String {
        match explained.tries.first() {
            Some(Place::Reject) => {
                "the access rules deny the client, and the reject backend takes those".to_owned()
            }
            Some(Place::InTier { tier, index }) => {
                self.because(Reason::Chosen, &self.pool.tiers[*tier], *index, explained)
            }
            None if explained.access.verdict == Verdict::Deny => {
                "the access rules deny the client: it is refused".to_owned()
            }
            None if self.pool.backends().next().is_none() => "the pool has no backend".to_owned(),
            None => "no backend is available: the client is refused".to_owned(),
        }
    }

    fn because(
        &self,
        reason: Reason,
        tier: &balancing::Tier,
        index: usize,
        explained: &Explanation,
    ) -> String {
        let backend = &tier.backends[index];
        let said = self.agents.get(&backend.id);
        match reason {
            Reason::Chosen => {
                let why = match explained.remembered {
                    Some(id) if explained.returns && id == backend.id => {
                        "the client returns to the backend that it had before"
                    }
                    Some(_) if explained.returns => "it replaces the backend that the client had",
                    _ => selected(tier.policy),
                };
                let mut why = why.to_owned();
                if explained.is_last_resort {
                    why += "; skipped backends are tried, because nothing else is left";
                }
                if backend.addresses.is_empty() {
                    why += "; its name has no address, so the connect fails";
                }
                why
            }
            Reason::Denied => "the pool's access rules deny the client".to_owned(),
            Reason::Disabled => "disabled by an operator, or after a failure".to_owned(),
            Reason::Draining => "drained by an operator".to_owned(),
            Reason::Declined => said.map_or_else(String::new, |it| it.text.clone()),
            Reason::Quarantined(rest) => format!("failed; skipped for another {}", seconds(rest)),
            Reason::Down(since) => {
                let since = seconds(self.now.since(since));
                match said.filter(|it| it.is_down) {
                    Some(Said { text, .. }) => format!("down for {since}: {text}"),
                    None => format!("probes have failed for {since}"),
                }
            }
            Reason::Ejected(rest) => {
                format!(
                    "ejected, because its sessions failed; skipped for another {}",
                    seconds(rest)
                )
            }
            Reason::Refusing => {
                "too few backends of its tier are available: the tier takes no new sessions"
                    .to_owned()
            }
            Reason::Unknown => "nothing is known about it yet".to_owned(),
            Reason::Full(Limit::AtMost(most)) => {
                format!("full: {most} sessions at most{}", also(said))
            }
            Reason::Full(Limit::None) => "full".to_owned(),
            Reason::NotPermitted(decision) => {
                format!(
                    "its own rules deny the client: {}",
                    access_because(decision, &backend.access)
                )
            }
            Reason::NoWeight => "its weight is zero".to_owned(),
            Reason::NoStandIn => {
                "available, but the policy selects another backend, which may not be replaced"
                    .to_owned()
            }
            Reason::LaterTier => "available, but an earlier tier comes first".to_owned(),
            Reason::NotReached => "the search ends in an earlier tier".to_owned(),
            Reason::ClientReturns => "available, but the client returns to another one".to_owned(),
            Reason::NotSelected => {
                format!("available, but not selected{}{}", passed_over(tier, index), also(said))
            }
        }
    }
}

fn also(said: Option<&Said>) -> String {
    said.map_or_else(String::new, |it| format!("; {}", it.text))
}

/// Why a policy has selected a backend.
fn selected(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin | Policy::Rotation | Policy::WeightedTurn => "it is its turn",
        Policy::Hash | Policy::AddressHash => {
            "the client's address selects it, or one that it replaces"
        }
        Policy::AddressPortHash => {
            "the client's address and port select it, or one that it replaces"
        }
        Policy::LeastSessions => "it has the fewest sessions",
        Policy::Random => "drawn at random: the next draw may differ",
        Policy::Weighted | Policy::LeastWeighted => "it has the fewest sessions for its weight",
        Policy::Two => {
            "of two drawn at random, it has the fewest sessions for its weight: the next draw may differ"
        }
        Policy::Fastest => {
            "of two drawn at random, it is likely to answer sooner: the next draw may differ"
        }
        Policy::Maglev | Policy::Rendezvous => {
            "the client's network selects it, or one that it replaces"
        }
        Policy::Priority => "it has the lowest priority number",
    }
}

/// The figure by which a policy passed a backend over.
fn passed_over(tier: &balancing::Tier, index: usize) -> String {
    let backend = &tier.backends[index];
    let sessions = backend.state.sessions();
    match tier.policy {
        Policy::RoundRobin | Policy::Rotation | Policy::WeightedTurn => ": not its turn".to_owned(),
        Policy::LeastSessions => format!(": {sessions} sessions"),
        Policy::Weighted | Policy::LeastWeighted | Policy::Two | Policy::Fastest => {
            format!(": {sessions} sessions, weight {}", backend.weight)
        }
        Policy::Priority => format!(": priority {}", backend.priority),
        Policy::Hash | Policy::AddressHash | Policy::AddressPortHash | Policy::Random => {
            String::new()
        }
        Policy::Maglev | Policy::Rendezvous => String::new(),
    }
}

fn access_because(decision: Decision, list: &AccessList) -> String {
    match decision.because {
        Because::NoEntries => "there are no access rules".to_owned(),
        Because::Unix => "clients of Unix sockets are always permitted".to_owned(),
        Because::NoMatch => {
            "no access rule matches, so the opposite of the last one applies".to_owned()
        }
        Because::Entry(index) => {
            let words = list.entries().get(index).and_then(entry_words);
            let words = words.unwrap_or_else(|| "an entry of the access list".to_owned());
            format!("rule {}: {words}", index + 1)
        }
    }
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..600 => format!("{} s", time.as_secs_f64().ceil()),
        600..36_000 => format!("{} min", time.as_secs() / 60),
        _ => format!("{} h", time.as_secs() / 3600),
    }
}

fn word(reason: Reason) -> WhyReason {
    match reason {
        Reason::Chosen => WhyReason::Chosen,
        Reason::Denied => WhyReason::Denied,
        Reason::Disabled => WhyReason::Disabled,
        Reason::Draining | Reason::Declined => WhyReason::Draining,
        Reason::Quarantined(_) => WhyReason::Quarantined,
        Reason::Down(_) => WhyReason::Down,
        Reason::Ejected(_) => WhyReason::Ejected,
        Reason::Refusing => WhyReason::Refusing,
        Reason::Unknown => WhyReason::Unknown,
        Reason::Full(_) => WhyReason::Full,
        Reason::NotPermitted(_) => WhyReason::NotPermitted,
        Reason::NoWeight => WhyReason::NoWeight,
        Reason::NoStandIn => WhyReason::NoStandIn,
        Reason::LaterTier => WhyReason::LaterTier,
        Reason::NotReached => WhyReason::NotReached,
        Reason::ClientReturns => WhyReason::ClientReturns,
        Reason::NotSelected => WhyReason::NotSelected,
    }
}
