//! Names of backends, looked up again when their TTL expires or a connect has failed.

use crate::desk::Desk;
use crate::discover::discover;
use crate::discoveries::Discovered;
use crate::lookup::{LOOKUP_TIMEOUT, TTL_MIN, look_up};
use config::Endpoint;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
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
    names: HashMap<Arc<str>, Name>,
    /// All names, each at the time when it is due.
    queue: BTreeSet<(Instant, Arc<str>)>,
    under_way: JoinSet<(Arc<str>, Answer, Duration)>,
    /// When to look for names that commands have added.
    news_due: Instant,
}

struct Name {
    endpoint: Endpoint,
    /// Its place in the queue.
    due: Instant,
    /// When the last answer came; absent before the first, and while a lookup is under way.
    looked_up: Option<Instant>,
}

impl NameKeeper {
    /// Its lookups ask at `desk` for the resolver.
    pub fn new(desk: Desk) -> Self {
        let (names, queue, under_way) = (HashMap::new(), BTreeSet::new(), JoinSet::new());
        Self { desk, names, queue, under_way, news_due: Instant::now() }
    }

    /// Waits until there is an answer or a name is due. In both cases the next call is to
    /// [`NameKeeper::look_up_due`]. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<(Arc<str>, Answer)> {
        let first = self.queue.first().filter(|_| self.under_way.len() < LOOKUPS_MAX);
        let due = first.map_or(self.news_due, |(due, _)| self.news_due.min(*due));
        tokio::select! {
            Some(Ok((name, answer, valid_for))) = self.under_way.join_next() => {
                let now = Instant::now();
                if let Some(it) = self.names.get_mut(&name) {
                    it.looked_up = Some(now);
                    it.move_to(now + valid_for, &name, &mut self.queue);
                }
                Some((name, answer))
            }
            () = sleep_until(due) => None,
        }
    }

    /// Begins to look up those of the backends that are due. From time to time it asks which there
    /// are.
    pub fn look_up_due(&mut self, named: impl FnOnce() -> Vec<(String, Endpoint)>) {
        let now = Instant::now();
        if self.news_due <= now {
            self.news_due = now + NEWS_LOOK;
            self.keep_only(named(), now);
        }
        // Due names that find no room wait for the next answer.
        while self.under_way.len() < LOOKUPS_MAX {
            let Some((_, name)) = self.queue.first().filter(|(due, _)| *due <= now) else { break };
            let name = Arc::clone(name);
            let Some(it) = self.names.get_mut(&name) else { break };
            it.looked_up = None;
            // Not again before this lookup is over.
            it.move_to(now + 2 * LOOKUP_TIMEOUT, &name, &mut self.queue);
            let (endpoint, desk) = (it.endpoint.clone(), self.desk.clone());
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

    /// A connect to this backend has failed: its name is due, though at most once in the shortest
    /// TTL.
    pub fn connect_failed(&mut self, name: &str) {
        let Some((name, _)) = self.names.get_key_value(name) else { return };
        let name = Arc::clone(name);
        if let Some(it) = self.names.get_mut(&name)
            && let Some(looked_up) = it.looked_up
        {
            it.move_to(it.due.min(looked_up + TTL_MIN), &name, &mut self.queue);
        }
    }

    /// Forgets the names that are not among these; new ones are due.
    fn keep_only(&mut self, named: Vec<(String, Endpoint)>, now: Instant) {
        let mut before = std::mem::take(&mut self.names);
        for (name, endpoint) in named {
            let known = before.remove(&*name);
            let (due, looked_up) = known.map_or((now, None), |it| (it.due, it.looked_up));
            // Pools may share a name.
            let place = self.names.entry(Arc::from(name));
            place.or_insert(Name { endpoint, due, looked_up });
        }
        self.queue = self.names.iter().map(|(name, it)| (it.due, Arc::clone(name))).collect();
    }
}

impl Name {
    fn move_to(
        &mut self,
        due: Instant,
        name: &Arc<str>,
        queue: &mut BTreeSet<(Instant, Arc<str>)>,
    ) {
        if self.due != due {
            queue.remove(&(self.due, Arc::clone(name)));
            queue.insert((due, Arc::clone(name)));
            self.due = due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Host;
    use std::collections::HashSet;

    #[tokio::test]
    async fn an_answer_does_not_go_through_all_names() {
        let (desk, _requests) = Desk::new(None, Default::default(), None);
        let mut names = NameKeeper::new(desk);
        let address = Host::Address("127.0.0.1".parse().unwrap()); // answered without a lookup
        let endpoint = |port| Endpoint::Tcp { host: address.clone(), port };
        let mut asked = 0;
        let mut answered = HashSet::new();
        while answered.len() < 1000 {
            names.look_up_due(|| {
                asked += 1;
                // Each is in two pools.
                (0..2000).map(|it| it % 1000).map(|it| (it.to_string(), endpoint(it))).collect()
            });
            if let Some((name, _)) = names.next().await {
                assert!(answered.insert(name), "looked up twice");
            }
        }
        assert_eq!(asked, 1);
    }

    #[tokio::test]
    async fn a_failed_connect_makes_a_name_due_but_not_at_once() {
        let (desk, _requests) = Desk::new(None, Default::default(), None);
        let mut names = NameKeeper::new(desk);
        let address = Host::Address("127.0.0.1".parse().unwrap()); // answered without a lookup
        let named = || vec![("a".to_owned(), Endpoint::Tcp { host: address.clone(), port: 1 })];
        names.look_up_due(named);
        let (name, answer) = names.next().await.unwrap();
        let Answer::Addresses(found) = answer else { panic!() };
        assert_eq!((&*name, found.len()), ("a", 1));
        names.look_up_due(named);
        let begin = Instant::now();
        (0..1000).for_each(|_| names.connect_failed("a"));
        assert!(names.next().await.is_none());
        assert!(begin.elapsed() > TTL_MIN / 2);
        names.look_up_due(named);
        assert!(names.next().await.is_some());
    }
}
