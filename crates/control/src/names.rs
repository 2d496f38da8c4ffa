//! Names that stand for backends, resolved again when their time has come or a connect failed.
//!
//! The first look-up, at start, asks the system as every other program does. Later ones ask DNS
//! themselves, since the system does not tell how long an answer holds; names that only the
//! system knows (NIS, mDNS) are asked for there again, at a fixed pace.

use crate::admin::Desk;
use config::{Endpoint, Host};
use hickory_resolver::TokioResolver;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Level, Value};
use terms::Address;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

/// How long an answer of the system, or a failure, holds.
const UNKNOWN_TTL: Duration = Duration::from_secs(30);
/// However short or long an answer says that it holds.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3600);

/// Looks names up; made when the first name needs it.
#[derive(Default)]
pub(crate) struct Names {
    resolver: Option<TokioResolver>,
}

/// What a look-up found, and how long that holds.
pub(crate) struct Answer {
    /// Empty if nothing was found: what was known before is then kept.
    pub addresses: Vec<Address>,
    pub valid_for: Duration,
}

impl Names {
    /// Looks an endpoint up anew.
    pub async fn look_up(&mut self, endpoint: &Endpoint) -> Answer {
        match endpoint {
            Endpoint::Unix(path) => {
                Answer { addresses: vec![Address::Unix(path.clone())], valid_for: TTL_MAX }
            }
            Endpoint::Tcp { host: Host::Address(address), port } => {
                let address = Address::Ip(SocketAddr::new(*address, *port));
                Answer { addresses: vec![address], valid_for: TTL_MAX }
            }
            Endpoint::Tcp { host: Host::Name(name), port } => self.look_up_name(name, *port).await,
        }
    }

    async fn look_up_name(&mut self, name: &str, port: u16) -> Answer {
        if self.resolver.is_none() {
            // Without a usable resolv.conf only the system's own way is left.
            let builder = TokioResolver::builder_tokio().ok();
            self.resolver = builder.and_then(|builder| builder.build().ok());
        }
        if let Some(resolver) = &self.resolver
            && let Ok(found) = resolver.lookup_ip(name).await
        {
            let until = found.valid_until();
            let valid_for = until.saturating_duration_since(std::time::Instant::now());
            let addresses = found.iter().map(|ip| Address::Ip(SocketAddr::new(ip, port)));
            let valid_for = valid_for.clamp(TTL_MIN, TTL_MAX);
            return Answer { addresses: addresses.collect(), valid_for };
        }
        let found = tokio::net::lookup_host((name, port)).await;
        let mut addresses: Vec<_> =
            found.map(|found| found.map(Address::Ip).collect()).unwrap_or_default();
        addresses.dedup();
        Answer { addresses, valid_for: UNKNOWN_TTL }
    }
}

/// Looks at each named backend again when its answer expires or a connect to it has failed.
///
/// An empty answer changes nothing: the last known addresses stay.
pub(crate) async fn keep_names(desk: Arc<Desk>, mut failures: UnboundedReceiver<String>) {
    let mut looked_up: HashMap<String, (Instant, Instant)> = HashMap::new(); // when, valid until
    loop {
        let named = desk.instance().named_backends();
        looked_up.retain(|name, _| named.iter().any(|(other, _)| other == name));
        for (name, endpoint) in named {
            let due = looked_up.get(&name).is_none_or(|(_, until)| *until <= Instant::now());
            if due {
                let answer = desk.names.lock().await.look_up(&endpoint).await;
                let now = Instant::now();
                looked_up.insert(name.clone(), (now, now + answer.valid_for));
                apply(&desk, &name, &answer);
            }
        }
        let next = looked_up.values().map(|(_, until)| *until).min();
        let idle = Instant::now() + UNKNOWN_TTL; // commands may have added names
        tokio::select! {
            () = sleep_until(next.unwrap_or(idle)) => {}
            Some(failed) = failures.recv() => {
                let mut failed = Some(failed);
                while let Some(name) = failed {
                    if let Some((when, until)) = looked_up.get_mut(&name) {
                        *until = (*until).min(*when + TTL_MIN);
                    }
                    failed = failures.try_recv().ok();
                }
            }
        }
    }
}

fn apply(desk: &Desk, name: &str, answer: &Answer) {
    if !answer.addresses.is_empty() && desk.instance().set_addresses(name, &answer.addresses) {
        let addresses: Vec<_> = answer.addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(" ");
        let fields = [("backend", Value::Text(&name)), ("addresses", Value::Text(&addresses))];
        desk.note(Level::Info, "backend has new addresses", &fields);
    }
}
