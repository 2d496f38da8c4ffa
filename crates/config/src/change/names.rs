//! Says in words what a change does.

use super::Change;
use crate::{Backend, Config};
use std::collections::BTreeMap;
use terms::{BackendId, ListenerId};

/// What listeners and backends are called, in two configurations.
pub struct Names {
    listeners: BTreeMap<ListenerId, String>,
    backends: BTreeMap<BackendId, String>,
}

impl Names {
    /// The names before and after a change; the latter take precedence.
    #[must_use]
    pub fn new(before: &Config, after: &Config) -> Self {
        let (mut listeners, mut backends) = (BTreeMap::new(), BTreeMap::new());
        for config in [before, after] {
            let named = config.listeners.iter();
            listeners.extend(named.filter_map(|it| Some((it.id?, it.name.clone()))));
            for pool in &config.pools {
                let name = |it: &Backend| Some((it.id?, format!("{}/{}", pool.name, it.called())));
                backends.extend(pool.all_backends().filter_map(name));
            }
        }
        Self { listeners, backends }
    }

    /// What a change does: `pool web: policy of tier 0`.
    #[must_use]
    pub fn describe(&self, change: &Change) -> String {
        let listener = |id: &ListenerId| self.listeners.get(id).map_or("", String::as_str);
        let backend = |id: &BackendId| self.backends.get(id).map_or("", String::as_str);
        match change {
            Change::SetProcess(setting) => format!("process: {}", setting.key()),
            Change::RemoveListener(id) => format!("listener {}: removed", listener(id)),
            Change::AddListener { listener, .. } => format!("listener {}: added", listener.name),
            Change::MoveListener { listener: id, .. } => {
                format!("listener {}: moved", listener(id))
            }
            Change::SetListener(id, setting) => {
                format!("listener {}: {}", listener(id), setting.key())
            }
            Change::RemovePool(name) => format!("pool {name}: removed"),
            Change::AddPool { pool, .. } => format!("pool {}: added", pool.name),
            Change::MovePool { pool, .. } => format!("pool {pool}: moved"),
            Change::SetPool(name, setting) => format!("pool {name}: {}", setting.key()),
            Change::RemoveBackend(id) => format!("backend {}: removed", backend(id)),
            Change::RemoveTier { pool, tier } => format!("pool {pool}: tier {tier} removed"),
            Change::AddTier { pool, tier, .. } => format!("pool {pool}: tier {tier} added"),
            Change::SetPolicy { pool, tier, .. } => format!("pool {pool}: policy of tier {tier}"),
            Change::AddBackend { pool, backend, .. } => {
                format!("backend {pool}/{}: added", backend.called())
            }
            Change::MoveBackend { backend: id, .. } => format!("backend {}: moved", backend(id)),
            Change::SetBackend(id, setting) => {
                format!("backend {}: {}", backend(id), setting.key())
            }
        }
    }
}
