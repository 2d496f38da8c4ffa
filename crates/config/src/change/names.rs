//! Says in words what a change does.

use super::Change;
use crate::{Backend, Config};
use std::collections::{BTreeMap, BTreeSet};
use terms::{BackendId, ListenerId};

/// What the listeners and backends of some changes are called.
pub struct Names {
    listeners: BTreeMap<ListenerId, String>,
    backends: BTreeMap<BackendId, String>,
}

impl Names {
    /// The names in configurations before and after `changes`; later ones take precedence.
    #[must_use]
    pub fn new<'a, const N: usize>(
        configs: [&Config; N],
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Self {
        let wanted: BTreeSet<_> = changes.into_iter().filter_map(backend_id).collect();
        let (mut listeners, mut backends) = (BTreeMap::new(), BTreeMap::new());
        for config in configs {
            let named = config.listeners.iter();
            listeners.extend(named.filter_map(|it| Some((it.id?, it.name.clone()))));
            for pool in &config.pools {
                let named = pool.all_backends().filter_map(|it| Some((it.id?, it)));
                let named = named.filter(|(id, _)| wanted.contains(id));
                let name = |it: &Backend| format!("{}/{}", pool.name, it.called());
                backends.extend(named.map(|(id, it)| (id, name(it))));
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

/// The backend that a change names by its id.
fn backend_id(change: &Change) -> Option<BackendId> {
    match change {
        Change::RemoveBackend(id)
        | Change::MoveBackend { backend: id, .. }
        | Change::SetBackend(id, _) => Some(*id),
        _ => None,
    }
}
