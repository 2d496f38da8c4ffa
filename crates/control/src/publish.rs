//! Makes a configuration the running one.
//!
//! First it prepares everything that can fail, then it publishes everything: a refused change has
//! changed nothing.

use crate::bind::{Sockets, StartError, StartErrors, listen_at_once};
use crate::found::Found;
use crate::instance::{Bound, Door, Instance, Listening, places};
use crate::shown::called;
use crate::snapshot::{Before, backend_ids};
use config::{Bind, Config, Listener};
use dataplane::DoorId;
use std::collections::{HashMap, HashSet};
use std::io;
use terms::ListenerId;

impl Instance {
    /// Makes `next` the running configuration. The names of new backends that are not `found` are
    /// looked up later.
    ///
    /// # Errors
    /// If listening on an address fails, or it is an unknown name, or two listeners have it, or files of
    /// certificates cannot be used; nothing has changed then.
    pub(crate) fn publish(&mut self, next: Config, found: &Found) -> Result<(), StartErrors> {
        let bound = self.prepare(&next, found)?;
        self.commit(next, bound, found);
        Ok(())
    }

    /// Binds the addresses of `next` that nobody listens on yet, and takes over its certificates.
    fn prepare(&mut self, next: &Config, found: &Found) -> Result<Bound, StartErrors> {
        let (mut bound, mut errors) = (Bound::new(), Vec::new());
        if self.shutting_down {
            return Ok(bound);
        }
        let open: HashSet<&Bind> =
            self.listeners.iter().flat_map(|it| &it.doors).map(|door| &door.bind).collect();
        refuse_duplicates(next)?;
        let workers = self.plane.workers();
        for listener in &next.listeners {
            for bind in listener.binds.iter().filter(|bind| !open.contains(bind)) {
                match listen_at_once(listener, bind, &mut self.passed, workers, found) {
                    Ok(sockets) => drop(bound.insert(bind.clone(), sockets)),
                    Err(error) => errors.push(self.in_the_way(bind, error)),
                }
            }
        }
        let unusable = self.certificates.unusable(&found.certificates);
        errors.extend(unusable.into_iter().map(StartError::from));
        if errors.is_empty()
            && let Err(error) = self.certificates.take(next, &found.certificates)
        {
            errors.push(error.into());
        }
        StartErrors::or(bound, errors)
    }

    /// Says so if the reason why `bind` is in use is an address of this process with the same port,
    /// such as `*:80`, which stays open until the change is made.
    fn in_the_way(&self, bind: &Bind, error: StartError) -> StartError {
        let port = |bind: &Bind| Some((bind.port()?, bind.is_udp()));
        let mut doors = self.listeners.iter().flat_map(|it| &it.doors);
        let own = doors.find(|it| port(&it.bind).is_some() && port(&it.bind) == port(bind));
        match (error, own) {
            (StartError::Listen { bind, source }, Some(own))
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                StartError::ListenBeside { bind, own: own.bind.to_string() }
            }
            (error, _) => error,
        }
    }

    /// Publishes what differs from the running configuration. `bound` has the sockets of addresses
    /// that are new, and `found` the addresses of backends that are new or have another name.
    pub(crate) fn commit(&mut self, next: Config, mut bound: Bound, found: &Found) {
        let before = std::mem::replace(&mut self.config, next);
        let ids = backend_ids(&self.config);
        let workers = self.plane.workers();
        let departed = &self.departed_backends;
        let certificates = &self.certificates;
        let state = Before::new(&before, &self.pools, departed, found, workers, certificates);
        let (pools, removed) = (state.next_pools(&self.config.pools), state.without(&ids));
        (self.pools, self.places) = (pools, places(&self.config));
        self.has_judged_pools = self.pools.iter().any(|pool| pool.is_judged());
        self.probes.update(&self.config, self.pools.iter().map(|it| &**it));
        self.keep_limits();
        let running = std::mem::take(&mut self.listeners);
        let mut running: HashMap<_, _> =
            running.into_iter().map(|it| (it.listener.id(), it)).collect();
        self.close_doors(&mut running, &mut bound);
        let known = by_id(&before);
        let by_country = [with_countries(&before), with_countries(&self.config)];
        for wanted in self.config.listeners.clone() {
            let old = wanted.id.and_then(|id| known.get(&id).copied());
            let running = wanted.id.and_then(|id| running.remove(&id));
            let listening = match old.zip(running) {
                Some((old, mut listening)) => {
                    self.open_doors(&mut listening, &wanted, &mut bound);
                    let [was, is] = &by_country;
                    if !has_same_settings(old, &wanted)
                        || needs_country(old, was) != needs_country(&wanted, is)
                    {
                        let settings = self.settings(&wanted);
                        self.plane.publish(&listening.listener, settings);
                    }
                    if old.routes != wanted.routes {
                        listening.listener.publish_routing(self.routing_of(&wanted));
                    }
                    listening
                }
                None => self.begin(&wanted, &mut bound),
            };
            self.listeners.push(listening);
        }
        self.publish_pools();
        self.departed_backends.retain(|it| !ids.contains(&it.backend.id));
        self.departed_backends.extend(removed);
        self.forget_departed();
        // Not at once: the last sessions' lines, which name the listener, may be on their way.
        let gone = before.listeners.into_iter().filter_map(|config| {
            let listening = running.remove(&config.id?)?;
            Some((config, listening))
        });
        self.departed.extend(gone);
    }

    /// Forgets removed listeners and backends without sessions. Those that searches still know, or a
    /// reload that may be taken back, are forgotten later.
    pub(crate) fn forget_departed(&mut self) {
        let is_over = |(_, it): &mut (Listener, Listening)| it.listener.sessions() == 0;
        for (config, it) in self.departed.extract_if(.., is_over) {
            self.retired.add_listener(&config.name, &it.listener);
        }
        for it in self.departed_backends.extract_if(.., |it| !it.is_in_use()) {
            let name = called(&it.config, &it.backend);
            self.retired.add_backend(&it.pool, name, &it.backend.state);
        }
        // It may have had thousands.
        self.departed_backends.shrink_to_fit();
        let backends = self.pools.iter().flat_map(|pool| pool.all_backends());
        let departed = self.departed_backends.iter().map(|it| &it.backend);
        let known: HashSet<_> = backends.chain(departed).map(|it| it.id).collect();
        self.baselines.retain(|id, _| known.contains(id));
        self.changes.keep(|id| known.contains(&id));
    }

    /// Closes the addresses that nobody is to listen on any more. The sockets of those that another
    /// listener is to have go to `bound`, and stay open.
    fn close_doors(&mut self, running: &mut HashMap<ListenerId, Listening>, bound: &mut Bound) {
        let mut leaving: HashMap<DoorId, (Bind, Sockets)> = HashMap::new();
        let listeners = by_id(&self.config);
        for (id, listening) in running {
            let wanted = listeners.get(id);
            let stays = |bind: &Bind| wanted.is_some_and(|wanted| wanted.binds.contains(bind));
            for Door { id, bind, file } in listening.doors.extract_if(.., |it| !stays(&it.bind)) {
                leaving.insert(id, (bind, Sockets { fds: Vec::new(), file }));
            }
        }
        let ids: Vec<_> = leaving.keys().copied().collect();
        for (id, socket) in self.take_sockets(&ids) {
            if let Some((_, sockets)) = leaving.get_mut(&id) {
                sockets.fds.push(socket);
            }
        }
        let wanted: HashSet<_> = self.config.listeners.iter().flat_map(|it| &it.binds).collect();
        for (bind, sockets) in leaving.into_values() {
            if wanted.contains(&bind) {
                bound.insert(bind, sockets);
            } else {
                // The service manager may have copies, at which clients would wait.
                sockets.fds.iter().for_each(|socket| self.refuse_clients(socket));
            }
        }
    }
}

fn by_id(config: &Config) -> HashMap<ListenerId, &Listener> {
    config.listeners.iter().filter_map(|it| Some((it.id?, it))).collect()
}

/// The names of the pools that have a rule about countries.
fn with_countries(config: &Config) -> HashSet<String> {
    let pools = config.pools.iter().filter(|pool| pool.needs_countries());
    pools.map(|pool| pool.name.clone()).collect()
}

/// Whether any pool of a listener is among `pools`.
fn needs_country(listener: &Listener, pools: &HashSet<String>) -> bool {
    listener.pools().any(|pool| pools.contains(pool))
}

/// Refuses an address that is listed twice. The kernel would not, if the port is shared.
pub(crate) fn refuse_duplicates(config: &Config) -> Result<(), StartError> {
    let mut seen = HashSet::new();
    let mut all = config.listeners.iter().flat_map(|it| &it.binds);
    match all.find(|bind| !seen.insert(*bind)) {
        Some(bind) => Err(StartError::ListenTwice { bind: bind.to_string() }),
        None => Ok(()),
    }
}

/// Whether two configurations of a listener differ at most in names and addresses.
fn has_same_settings(old: &Listener, wanted: &Listener) -> bool {
    let Listener { name, binds, pool, .. } = old.clone();
    Listener { name, binds, pool, ..wanted.clone() } == *old
}
