//! Names of backends, looked up again when their TTL expires or a connect has failed.

use crate::desk::Desk;
use crate::discover::discover;
use crate::discoveries::Discovered;
use crate::lookup::{LOOKUP_TIMEOUT, TTL_MIN, look_up};
use config::Endpoint;
use std::collections::HashMap;
use std::time::Duration;
use terms::Address;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The maximum number of lookups at a time.
const LOOKUPS_MAX: usize = 16;
/// How often to look for names that commands have added.
const NEWS_LOOK: Duration = Duration::from_secs(5);

/// What a lookup has found.
pub(crate) enum Answer {
    /// The addresses of a backend; empty if nothing was found, and the known ones are then kept.
    Addresses(Vec<Address>),
    /// The backends that a name stands for.
    Backends(Discovered),
}

/// Knows when each named backend is to be looked up: when its answer expires, or when a connect to
/// it has failed.
pub(crate) struct NameKeeper {
    desk: Desk,
    looked_up: HashMap<String, LookedUp>,
    under_way: JoinSet<(String, Answer, Duration)>,
    /// When the first name is due.
    due: Instant,
}

/// When a name was looked up, and until when the answer is valid.
#[derive(Clone, Copy)]
struct LookedUp {
    when: Instant,
    until: Instant,
}

impl NameKeeper {
    /// Its lookups ask at `desk` for the resolver.
    pub fn new(desk: Desk) -> Self {
        let (looked_up, under_way) = (HashMap::new(), JoinSet::new());
        Self { desk, looked_up, under_way, due: Instant::now() }
    }

    /// Waits until there is an answer or a name is due. In both cases the next call is to
    /// [`NameKeeper::look_up_due`]. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<(String, Answer)> {
        tokio::select! {
            Some(Ok((name, answer, valid_for))) = self.under_way.join_next() => {
                let when = Instant::now();
                let looked_up = LookedUp { when, until: when + valid_for };
                self.looked_up.insert(name.clone(), looked_up);
                Some((name, answer))
            }
            () = sleep_until(self.due) => None,
        }
    }

    /// Begins to look up those of the `named` backends that are due.
    pub fn look_up_due(&mut self, named: Vec<(String, Endpoint)>) {
        let now = Instant::now();
        self.looked_up.retain(|name, _| named.iter().any(|(other, _)| other == name));
        for (name, endpoint) in named {
            let is_due = self.looked_up.get(&name).is_none_or(|it| it.until <= now);
            if is_due && self.under_way.len() < LOOKUPS_MAX {
                // Not again before this lookup is over.
                let until = now + 2 * LOOKUP_TIMEOUT;
                self.looked_up.insert(name.clone(), LookedUp { when: now, until });
                let desk = self.desk.clone();
                self.under_way.spawn(async move {
                    if let Endpoint::Discovered(discovery) = &endpoint {
                        let found = discover(discovery, &desk).await;
                        let valid_for = found.valid_for;
                        return (name, Answer::Backends(found), valid_for);
                    }
                    let found = look_up(&endpoint, &desk).await;
                    (name, Answer::Addresses(found.addresses), found.valid_for)
                });
            }
        }
        // Due names that have found no room wait for the next answer.
        let next = self.looked_up.values().map(|it| it.until).filter(|it| *it > now).min();
        let news = now + NEWS_LOOK;
        self.due = next.map_or(news, |next| next.min(news));
    }

    /// A connect to this backend has failed: its name is due, though at most once in the shortest
    /// TTL.
    pub fn connect_failed(&mut self, name: &str) {
        if let Some(it) = self.looked_up.get_mut(name) {
            it.until = it.until.min(it.when + TTL_MIN);
            self.due = self.due.min(it.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Host;

    #[tokio::test]
    async fn a_failed_connect_makes_a_name_due_but_not_at_once() {
        let (desk, _requests) = Desk::new(None, Default::default(), None);
        let mut names = NameKeeper::new(desk);
        let address = Host::Address("127.0.0.1".parse().unwrap()); // answered without a lookup
        let named = || vec![("a".to_owned(), Endpoint::Tcp { host: address.clone(), port: 1 })];
        names.look_up_due(named());
        let (name, answer) = names.next().await.unwrap();
        let Answer::Addresses(found) = answer else { panic!() };
        assert_eq!((&*name, found.len()), ("a", 1));
        names.look_up_due(named());
        let begin = Instant::now();
        (0..1000).for_each(|_| names.connect_failed("a"));
        assert!(names.next().await.is_none());
        assert!(begin.elapsed() > TTL_MIN / 2);
        names.look_up_due(named());
        assert!(names.next().await.is_some());
    }
}
