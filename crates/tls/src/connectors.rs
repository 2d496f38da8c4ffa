//! Connectors by their numbers, which all workers share.

use crate::connector::Connector;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use terms::ConnectorId;

/// A table of connectors. What a number stands for can be replaced, as when files are renewed; it
/// then counts for connections that begin later.
#[derive(Debug, Default)]
pub struct Connectors(ArcSwap<HashMap<ConnectorId, Connector>>);

impl Connectors {
    /// The connector of this number.
    #[must_use]
    pub fn find(&self, id: ConnectorId) -> Option<Connector> {
        self.0.load().get(&id).cloned()
    }

    /// Replaces all.
    pub fn replace(&self, all: HashMap<ConnectorId, Connector>) {
        self.0.store(all.into());
    }
}
