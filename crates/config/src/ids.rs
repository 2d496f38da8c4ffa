//! The ids of listeners and backends, which are never reused.

use crate::{Backend, Config};
use terms::{BackendId, ListenerId};

/// Assigns the ids of one process.
#[derive(Clone, Debug)]
pub struct Ids {
    backend: BackendId,
    listener: ListenerId,
}

impl Default for Ids {
    fn default() -> Self {
        Self { backend: BackendId::new(1), listener: ListenerId::new(0) }
    }
}

impl Ids {
    /// An id for a backend that enters the running configuration.
    pub fn backend(&mut self) -> BackendId {
        let id = self.backend;
        self.backend = id.next();
        id
    }

    /// An id for a listener that enters the running configuration.
    pub fn listener(&mut self) -> ListenerId {
        let id = self.listener;
        self.listener = id.next();
        id
    }
}

impl Config {
    /// Assigns an id to each listener and backend that has none: that of the same place in
    /// `before`, the configuration that this one replaces, or else a new one.
    pub fn identify(&mut self, before: Option<&Self>, ids: &mut Ids) {
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            let before = before.and_then(|before| before.listeners.get(number));
            let id = before.and_then(|before| before.id);
            listener.id.get_or_insert_with(|| id.unwrap_or_else(|| ids.listener()));
            let before = before.map(|before| &before.pool);
            let mut identify = |backend: &mut Backend, before: Option<&Backend>| {
                let id = before.and_then(|before| before.id);
                backend.id.get_or_insert_with(|| id.unwrap_or_else(|| ids.backend()));
            };
            for (number, tier) in listener.pool.tiers.iter_mut().enumerate() {
                let before = before.and_then(|before| before.tiers.get(number));
                for (index, backend) in tier.backends.iter_mut().enumerate() {
                    identify(backend, before.and_then(|before| before.backends.get(index)));
                }
            }
            if let Some(reject) = &mut listener.pool.reject {
                identify(reject, before.and_then(|before| before.reject.as_ref()));
            }
        }
    }
}
