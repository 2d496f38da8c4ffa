//! The running instance: its configuration, and what the data plane serves from it.
//!
//! Every change is another [`Config`]. [`commands`](crate::commands) makes one from a command,
//! [`Instance::reconfigure`] one from what a companion wants, and [`publish`](crate::publish) makes
//! it the running one.

use crate::answers::Answers;
use crate::bind::{Sockets, StartError, listen};
use crate::countries::CountryBook;
use crate::snapshot::{first_pool, settings};
use balancing::{Pool, Totals};
use config::{Config, Endpoint, Host, Ids};
use dataplane::{DataPlane, Listener, Observe, SessionInfo, Settings};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use sys::files::OwnFile;
use terms::{Address, BackendId, CloseReason, Instant, ListenerId};

/// The running listeners and backends, as the control plane holds them.
pub struct Instance {
    pub(crate) plane: DataPlane,
    /// The running configuration. The data plane's own decisions, which are to disable failed
    /// backends, are taken over before each change.
    pub(crate) config: Config,
    pub(crate) ids: Ids,
    /// One for each listener of the configuration, in the same order.
    pub(crate) listeners: Vec<Listening>,
    /// Removed listeners that still have sessions.
    pub(crate) departed: Vec<Listening>,
    /// The values of the counters at the last reset.
    pub(crate) baselines: HashMap<BackendId, Totals>,
    pub(crate) observe: Observe,
    pub(crate) started: Instant,
    pub(crate) shutting_down: bool,
    pub(crate) countries: CountryBook,
    /// The last configuration from the companion; at first the one of the start.
    given: Config,
}

/// A running listener.
pub(crate) struct Listening {
    /// The listening address as text, for log lines.
    pub name: String,
    pub listener: Arc<Listener>,
    /// The file of a Unix socket, removed with the listener.
    pub file: Option<OwnFile>,
}

/// A listener that has not been given to workers yet.
pub(crate) struct Bound {
    config: config::Listener,
    pool: Pool,
    sockets: Sockets,
}

impl Bound {
    /// The pool with the addresses found at the start.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The listener's configuration.
    pub fn config(&self) -> &config::Listener {
        &self.config
    }

    /// The listening address.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets.fds
    }
}

/// Resolves and binds a listener.
pub(crate) fn bind_listener(
    config: &config::Listener,
    workers: usize,
) -> Result<Bound, StartError> {
    let sockets = listen(config)?;
    let pool = first_pool(&config.pool, workers)?;
    Ok(Bound { config: config.clone(), pool, sockets })
}

impl Instance {
    /// Hands the listeners of `config`, which are `bound`, to the workers.
    pub(crate) fn start(
        plane: DataPlane,
        config: Config,
        ids: Ids,
        bound: Vec<Bound>,
        observe: Observe,
        countries: CountryBook,
    ) -> Self {
        let mut instance = Self {
            plane,
            given: config.clone(),
            config,
            ids,
            listeners: Vec::new(),
            departed: Vec::new(),
            baselines: HashMap::new(),
            observe,
            started: sys::clock::now(),
            shutting_down: false,
            countries,
        };
        for Bound { config, pool, sockets } in bound {
            let listening = instance.begin(&config, pool, sockets);
            instance.listeners.push(listening);
        }
        instance
    }

    /// Makes the workers accept clients of a new listener.
    pub(crate) fn begin(
        &mut self,
        config: &config::Listener,
        pool: Pool,
        sockets: Sockets,
    ) -> Listening {
        let id = config.id.unwrap_or_else(|| self.ids.listener());
        let settings = settings(config, self.observe, self.countries.find(&config.pool));
        let listener = Arc::new(Listener::new(id, settings, pool));
        for socket in sockets.fds {
            self.plane.listen(Arc::clone(&listener), socket);
        }
        Listening { name: config.bind.to_string(), listener, file: sockets.file }
    }

    /// The number of open sessions.
    pub(crate) fn session_count(&self) -> usize {
        self.plane.sessions()
    }

    /// Has the workers list the open sessions.
    pub(crate) fn list(&self) -> Answers<Vec<SessionInfo>> {
        let (reply, answers) = Answers::new();
        self.plane.list(reply);
        answers
    }

    /// Has the workers end one session, or all. Each answers with the number.
    pub(crate) fn cut(&self, session: Option<u64>, reason: CloseReason) -> Answers<usize> {
        let (reply, answers) = Answers::new();
        self.plane.cut(session, reason, reply);
        answers
    }

    /// The pool of the listener at this place of the configuration, as it is now.
    #[must_use]
    pub fn pool(&self, place: usize) -> Arc<Pool> {
        self.listeners.get(place).map(|it| Arc::clone(&it.listener.pool())).unwrap_or_default()
    }

    /// Applies what has changed in `wanted` since the last call: see
    /// [`crate::Operator::reconfigure`].
    pub(crate) fn reconfigure(&mut self, wanted: &Config) -> Result<(), StartError> {
        let mut wanted = wanted.clone();
        wanted.identify(Some(&self.given), &mut self.ids);
        self.note_auto_disabled();
        let next = self.config.with(self.given.diff(&wanted));
        self.publish(next)?;
        self.given = wanted;
        Ok(())
    }

    /// Takes over the data plane's own decisions.
    pub(crate) fn note_auto_disabled(&mut self) {
        for (config, listening) in self.config.listeners.iter_mut().zip(&self.listeners) {
            for (tier, index, backend) in listening.listener.pool().backends() {
                if let Some(tier) = config.pool.tiers.get_mut(tier)
                    && let Some(config) = tier.backends.get_mut(index)
                {
                    config.admin = backend.state.admin();
                }
            }
        }
    }

    /// Why a country database is needed and missing; returned once.
    pub(crate) fn take_country_error(&mut self) -> Option<String> {
        self.countries.take_error()
    }

    /// Changes what is observed about sessions.
    pub(crate) fn observe(&mut self, observe: Observe) {
        if std::mem::replace(&mut self.observe, observe) == observe {
            return;
        }
        for listening in &self.listeners {
            let settings = Settings { observe, ..Settings::clone(&listening.listener.settings()) };
            self.plane.publish(&listening.listener, settings);
        }
    }

    /// What a listener is bound to, as configured.
    #[must_use]
    pub fn listener_name(&self, listener: ListenerId) -> &str {
        let mut all = self.listeners.iter().chain(&self.departed);
        all.find(|it| it.listener.id() == listener).map_or("", |it| &it.name)
    }

    /// What all listeners are bound to, as configured, those with sessions left included.
    pub(crate) fn listener_names(&self) -> HashMap<ListenerId, String> {
        let all = self.listeners.iter().chain(&self.departed);
        all.map(|it| (it.listener.id(), it.name.clone())).collect()
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    pub(crate) fn stop_listening(&mut self) {
        self.shutting_down = true;
        self.plane.stop_listening();
        self.listeners.iter_mut().for_each(|it| it.file = None);
    }

    /// How long sessions may continue after a shutdown.
    pub(crate) fn shutdown_limit(&self) -> Option<Duration> {
        let limits = self.config.listeners.iter().map(|it| it.timeouts.shutdown);
        limits.max_by_key(|limit| limit.unwrap_or(Duration::MAX)).flatten()
    }

    /// All backends whose host is a name, reject backends included.
    pub(crate) fn named_backends(&self) -> Vec<(String, Endpoint)> {
        let pools = self.config.listeners.iter().map(|it| &it.pool);
        let all = pools
            .flat_map(|pool| pool.backends().map(|(_, _, backend)| backend).chain(&pool.reject));
        let is_named =
            |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp { host: Host::Name(_), .. });
        let named = all.map(|backend| &backend.endpoint).filter(|endpoint| is_named(endpoint));
        named.map(|endpoint| (endpoint.to_string(), endpoint.clone())).collect()
    }

    /// Gives all backends called `name` these addresses; returns whether they are new.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[Address]) -> bool {
        let mut changed = false;
        for listening in &self.listeners {
            let mut pool = Pool::clone(&listening.listener.pool());
            let backends = pool.tiers.iter_mut().flat_map(|tier| &mut tier.backends);
            let mut is_other = false;
            for backend in backends.chain(&mut pool.reject) {
                if backend.name == name && !same_set(&backend.addresses, addresses) {
                    is_other = true;
                    *backend = Arc::new(backend.with_addresses(addresses.to_vec()));
                }
            }
            if is_other {
                changed = true;
                listening.listener.publish_pool(pool);
            }
        }
        changed
    }
}

/// Whether two answers agree. Their order may differ from one lookup to the next.
fn same_set(one: &[Address], other: &[Address]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

#[cfg(test)]
pub(crate) mod tests;
