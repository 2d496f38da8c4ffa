//! Makes a configuration the running one.
//!
//! First it prepares everything that can fail, then it publishes everything: a refused change has
//! changed nothing.

use crate::bind::{Sockets, StartError, listen_at_once};
use crate::instance::{Instance, Listening};
use crate::snapshot::{Before, backend_ids, next_pool, settings};
use config::{Config, Listener};
use terms::{Address, ListenerId};

/// Sockets for listeners that have none at their address yet.
type Ready = Vec<(Option<ListenerId>, Sockets)>;

impl Instance {
    /// Makes `next` the running configuration. The names of new backends are looked up later.
    ///
    /// # Errors
    /// If listening on an address fails, or it is a name; nothing has changed then.
    pub(crate) fn publish(&mut self, next: Config) -> Result<(), StartError> {
        let sockets = self.prepare(&next)?;
        self.commit(next, sockets, &[]);
        Ok(())
    }

    fn prepare(&self, next: &Config) -> Result<Ready, StartError> {
        let mut sockets = Vec::new();
        let needs_sockets = |wanted: &&Listener| {
            let before = self.config.listeners.iter().find(|it| it.id == wanted.id);
            !self.shutting_down && before.is_none_or(|before| before.bind != wanted.bind)
        };
        for wanted in next.listeners.iter().filter(needs_sockets) {
            sockets.push((wanted.id, listen_at_once(wanted)?));
        }
        Ok(sockets)
    }

    /// Publishes what differs from the running configuration. `found` has the addresses of a
    /// backend that is new or has another name.
    pub(crate) fn commit(&mut self, next: Config, mut sockets: Ready, found: &[Address]) {
        let config = std::mem::replace(&mut self.config, next.clone());
        let running = std::mem::take(&mut self.listeners);
        let pools: Vec<_> = running.iter().map(|it| it.listener.pool().clone()).collect();
        let before = Before::new(&config, &pools, found, self.plane.workers());
        let mut running: Vec<_> = config.listeners.iter().zip(running).collect();
        for wanted in &next.listeners {
            let at = sockets.iter().position(|(id, _)| *id == wanted.id);
            let sockets = at.map(|at| sockets.swap_remove(at).1);
            let at = running.iter().position(|(config, _)| config.id == wanted.id);
            let listening = match at.map(|at| running.swap_remove(at)) {
                Some((old, listening)) => self.change(listening, old, wanted, sockets, &before),
                None => {
                    let pool = before.first_pool(&wanted.pool);
                    self.begin(wanted, pool, sockets.unwrap_or_default())
                }
            };
            self.listeners.push(listening);
        }
        self.departed.retain(|it| it.listener.sessions() > 0);
        for (_, mut listening) in running {
            self.plane.stop_listening_on(listening.listener.id());
            listening.file = None;
            self.departed.push(listening);
        }
        let ids = backend_ids(&next);
        self.baselines.retain(|id, _| ids.contains(id));
    }

    fn change(
        &mut self,
        mut listening: Listening,
        old: &Listener,
        wanted: &Listener,
        sockets: Option<Sockets>,
        before: &Before<'_>,
    ) -> Listening {
        if let Some(sockets) = sockets {
            self.plane.stop_listening_on(listening.listener.id());
            for socket in sockets.fds {
                self.plane.listen(listening.listener.clone(), socket);
            }
            listening.file = sockets.file;
            listening.name = wanted.bind.to_string();
        }
        if old.pool != wanted.pool {
            let pool = next_pool(before, &listening.listener.pool(), &wanted.pool);
            listening.listener.publish_pool(pool);
        }
        let needs_countries = wanted.pool.needs_countries();
        if !has_same_settings(old, wanted) || old.pool.needs_countries() != needs_countries {
            let countries = self.countries.find(&wanted.pool);
            let settings = settings(wanted, self.observe, countries);
            self.plane.publish(&listening.listener, settings);
        }
        listening
    }
}

/// Whether two configurations of a listener differ at most in their pools and addresses.
fn has_same_settings(old: &Listener, wanted: &Listener) -> bool {
    let Listener { bind, pool, .. } = old.clone();
    Listener { bind, pool, ..wanted.clone() } == *old
}
