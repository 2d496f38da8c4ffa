//! Carries out commands.

use crate::found::Found;
use crate::instance::{Bound, Instance};
use balancing::{AdminState, Backend, Excess};
use config::operand::parse_endpoint;
use config::{BackendSelector, ClientNetwork, Command, CommandError, Known, Reply, SessionQuery};
use dataplane::{ClientFilter, Recall, SessionFilter};
use std::collections::HashSet;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;
use terms::{Address, BackendId, CloseReason};

impl Instance {
    /// Carries out a command. `addresses` are those of its endpoint, if it has one. That a session
    /// may be killed, or sessions distributed anew, is only checked here: the caller does it.
    ///
    /// # Errors
    /// The reason, if the command was refused; nothing has changed then.
    pub(crate) fn apply(
        &mut self,
        command: &Command,
        addresses: &[Address],
    ) -> Result<Reply, CommandError> {
        if self.shutting_down {
            return Err(CommandError::ShuttingDown);
        }
        self.note_auto_disabled();
        match command {
            // These leave the configuration as it is, and a copy of it takes time.
            Command::KillSession { .. }
            | Command::Reload { .. }
            | Command::Confirm {}
            | Command::DrainAll { .. }
            | Command::CancelDrainAll {} => return Ok(Reply::Done),
            Command::Shutdown {} => {
                self.stop_listening();
                return Ok(Reply::Done);
            }
            _ => {}
        }
        let mut ids = self.ids.clone();
        let new_backend = ids.backend();
        let next = self.knowing(new_backend, |known| self.config.apply(command, known))?;
        match command {
            Command::AddBackend { endpoint, .. } | Command::SetEndpoint { endpoint, .. }
                if addresses.is_empty() =>
            {
                return Err(CommandError::InvalidEndpoint(endpoint.clone()));
            }
            Command::AddBackend { .. } => self.ids = ids,
            Command::SetAdminState { backend, state: AdminState::Enabled } => {
                let id = self.backend_id(backend)?;
                if self.probes.overrule(id, sys::clock::now()) && next == self.config {
                    return Ok(Reply::Done);
                }
            }
            Command::Quarantine { backend, seconds } => {
                let length = Duration::from_secs((*seconds).into());
                self.quarantine(self.backend_id(backend)?, length);
                return Ok(Reply::Done);
            }
            Command::ResetCounters { backend } => {
                let id = self.backend_id(backend)?;
                if let Some(backend) = self.running(id) {
                    self.baselines.insert(id, backend.state.totals());
                }
                return Ok(Reply::Done);
            }
            Command::Rebalance { .. } => return Ok(Reply::Done),
            _ => {}
        }
        if next == self.config {
            return Ok(Reply::Unchanged);
        }
        let found = match command {
            Command::AddBackend { endpoint, .. } | Command::SetEndpoint { endpoint, .. } => {
                let endpoint = parse_endpoint(endpoint, &sys::process::service_port);
                endpoint.map(|it| Found::only(&it, addresses)).unwrap_or_default()
            }
            _ => Found::default(),
        };
        self.commit(next, Bound::new(), &found);
        Ok(Reply::Done)
    }

    /// Which sessions of a pool end, so that backends have their shares, within `over`: of each
    /// backend at most this share, and only of tiers that are not before `from`.
    pub(crate) fn recall(
        &self,
        pool: Option<&str>,
        from: usize,
        share_percent: Option<NonZeroU8>,
        (over, reason): (Duration, CloseReason),
    ) -> Recall {
        let name = pool.or(self.config.pools.first().map(|it| it.name.as_str()));
        let pool = self.pool_called(name.unwrap_or_default());
        let excess = pool.excess(sys::clock::now()).into_iter().filter(|it| it.tier >= from);
        let part = |it: Excess| {
            let most = share_percent.map_or(it.of, |percent| {
                (u64::from(it.of) * u64::from(percent.get()) / 100).min(it.of.into()) as u32
            });
            (it.backend, it.sessions.min(most), it.of)
        };
        Recall::new(excess.map(part), over, reason)
    }

    /// What a query means for the workers.
    ///
    /// # Errors
    /// If it names a pool or a backend that there is not.
    pub(crate) fn session_filter(
        &self,
        query: &SessionQuery,
    ) -> Result<SessionFilter, CommandError> {
        let mut backends = match &query.pool {
            Some(name) => Some(self.ids_in(name)?),
            None => None,
        };
        if let Some(selector) = &query.backend {
            let id = self.backend_id(selector)?;
            match &mut backends {
                Some(backends) => backends.retain(|it| *it == id),
                None => backends = Some(HashSet::from([id])),
            }
        }
        let is_meant = |network: ClientNetwork| -> ClientFilter {
            Arc::new(move |client| network.contains(client))
        };
        Ok(SessionFilter {
            aged: None,
            backends,
            client: query.client.clone().map(is_meant),
            order: query.sort,
            limit: Some(query.limit).filter(|limit| *limit > 0),
        })
    }

    /// The backends of a pool, those that were removed from it included.
    fn ids_in(&self, name: &str) -> Result<HashSet<BackendId>, CommandError> {
        let mut pools = self.config.pools.iter().zip(&self.pools);
        let Some((_, pool)) = pools.find(|(config, _)| config.name == name) else {
            return Err(CommandError::UnknownPool(name.to_owned()));
        };
        let departed = self.departed_backends.iter().filter(|it| it.pool == name);
        let departed = departed.map(|it| it.backend.id);
        Ok(pool.all_backends().map(|it| it.id).chain(departed).collect())
    }

    fn quarantine(&self, id: BackendId, length: Duration) {
        for pool in &self.pools {
            if let Some((_, _, backend)) = pool.backends().find(|(_, _, it)| it.id == id) {
                backend.state.quarantine_for(length, &pool.health, sys::clock::now());
            }
        }
    }

    /// The id of the backend that a command selects.
    pub(crate) fn backend_id(&self, selector: &BackendSelector) -> Result<BackendId, CommandError> {
        self.knowing(BackendId::default(), |known| self.config.backend_id(selector, known))
    }

    /// Calls `ask` with what the configuration does not know.
    fn knowing<T>(&self, new_backend: BackendId, ask: impl FnOnce(&Known<'_>) -> T) -> T {
        let at = |text: &str| self.backends_at(text);
        ask(&Known { new_backend, at: &at, services: &sys::process::service_port })
    }

    fn backends_at(&self, text: &str) -> Vec<BackendId> {
        let mut found = Vec::new();
        for pool in &self.pools {
            let is_there = |it: &Backend| it.addresses.iter().any(|it| it.to_string() == text);
            let there = pool.backends().filter(|(_, _, backend)| is_there(backend));
            found.extend(there.map(|(_, _, backend)| backend.id));
        }
        found
    }

    fn running(&self, id: BackendId) -> Option<Arc<Backend>> {
        self.pools.iter().find_map(|pool| {
            let found = pool.backends().find(|(_, _, it)| it.id == id);
            found.map(|(_, _, backend)| Arc::clone(backend))
        })
    }
}
