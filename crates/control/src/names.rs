//! Names of backends, looked up again when their TTL expires or a connect has failed.

use crate::admin::Desk;
use crate::lookup::{Answer, LOOKUP_TIMEOUT, TTL_MIN};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use telemetry::{Level, Value};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The maximum number of lookups at a time.
const LOOKUPS_MAX: usize = 16;
/// How often to look for names that commands have added.
const NEWS_LOOK: Duration = Duration::from_secs(5);

/// Backends to which connects have failed, for [`keep_names`].
#[derive(Default)]
pub(crate) struct Failures {
    /// Each name once, however often it fails.
    names: Mutex<BTreeSet<String>>,
    news: Notify,
}

impl Failures {
    /// Adds backends by name.
    pub fn add<'a>(&self, failed: impl Iterator<Item = &'a str>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for name in failed {
            if !names.contains(name) {
                names.insert(name.to_owned());
                self.news.notify_one();
            }
        }
    }

    fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When a name was looked up, and until when the answer is valid.
#[derive(Clone, Copy)]
struct LookedUp {
    when: Instant,
    until: Instant,
}

/// Looks each named backend up again when its answer expires or a connect to it has failed.
///
/// An empty answer changes nothing: the last known addresses stay in use.
pub(crate) async fn keep_names(desk: Arc<Desk>, failures: Arc<Failures>) {
    let mut looked_up: HashMap<String, LookedUp> = HashMap::new();
    let mut under_way: JoinSet<(String, Answer)> = JoinSet::new();
    loop {
        let now = Instant::now();
        let named = desk.instance().named_backends();
        looked_up.retain(|name, _| named.iter().any(|(other, _)| other == name));
        for (name, endpoint) in named {
            let is_due = looked_up.get(&name).is_none_or(|it| it.until <= now);
            if is_due && under_way.len() < LOOKUPS_MAX {
                // Not again before this lookup is over.
                let until = now + 2 * LOOKUP_TIMEOUT;
                looked_up.insert(name.clone(), LookedUp { when: now, until });
                let desk = Arc::clone(&desk);
                under_way.spawn(async move { (name, desk.names.look_up(&endpoint).await) });
            }
        }
        // Due names that have found no room wait for the next answer.
        let next = looked_up.values().map(|it| it.until).filter(|it| *it > now).min();
        let news = now + NEWS_LOOK;
        tokio::select! {
            Some(Ok((name, answer))) = under_way.join_next() => {
                let when = Instant::now();
                looked_up.insert(name.clone(), LookedUp { when, until: when + answer.valid_for });
                apply(&desk, &name, &answer);
            }
            () = failures.news.notified() => {
                for name in failures.take() {
                    if let Some(it) = looked_up.get_mut(&name) {
                        it.until = it.until.min(it.when + TTL_MIN);
                    }
                }
            }
            () = sleep_until(next.map_or(news, |next| next.min(news))) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_backend_wait_once() {
        let failures = Failures::default();
        (0..1000).for_each(|_| failures.add(["a", "b"].into_iter()));
        assert_eq!(failures.take().len(), 2);
        assert!(failures.take().is_empty());
    }
}
