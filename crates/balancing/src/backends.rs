//! The backends of a tier, in order, each found by its id without a search through all.

use crate::backend::Backend;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use terms::BackendId;

/// The backends of a tier. It can only be read or extended, so that every backend stays at the
/// place where its id leads.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    all: Vec<Arc<Backend>>,
    /// Where the backend with an id is.
    places: BTreeMap<BackendId, u32>,
}

impl Backends {
    /// The place of the backend with this id, if it is one of them.
    #[must_use]
    pub fn place(&self, id: BackendId) -> Option<usize> {
        self.places.get(&id).map(|&place| place as usize)
    }
}

impl Deref for Backends {
    type Target = [Arc<Backend>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Extend<Arc<Backend>> for Backends {
    fn extend<I: IntoIterator<Item = Arc<Backend>>>(&mut self, more: I) {
        let first = self.all.len();
        self.all.extend(more);
        let new = self.all[first..].iter().zip(first as u32..);
        self.places.extend(new.map(|(backend, place)| (backend.id, place)));
    }
}

impl FromIterator<Arc<Backend>> for Backends {
    fn from_iter<I: IntoIterator<Item = Arc<Backend>>>(all: I) -> Self {
        let mut backends = Self::default();
        backends.extend(all);
        backends
    }
}

impl<'a> IntoIterator for &'a Backends {
    type Item = &'a Arc<Backend>;
    type IntoIter = std::slice::Iter<'a, Arc<Backend>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
