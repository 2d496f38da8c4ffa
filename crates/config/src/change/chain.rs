//! A list in which an element is found, moved or removed without a look at the others.

use std::collections::BTreeMap;

/// A doubly linked list of elements, most of which have a key.
#[derive(Debug)]
pub(super) struct Chain<K, T> {
    nodes: Vec<Node<T>>,
    places: BTreeMap<K, usize>,
    first: Option<usize>,
    last: Option<usize>,
}

/// An element with its neighbours. Its place stays empty after it was removed.
#[derive(Debug)]
struct Node<T> {
    element: Option<T>,
    previous: Option<usize>,
    next: Option<usize>,
}

impl<K, T> Default for Chain<K, T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), places: BTreeMap::new(), first: None, last: None }
    }
}

impl<K: Ord, T> Chain<K, T> {
    /// These elements with their keys, in this order.
    pub fn new(elements: impl IntoIterator<Item = (Option<K>, T)>) -> Self {
        let mut chain = Self::default();
        for (key, element) in elements {
            chain.link(chain.last, key, element);
        }
        chain
    }

    pub fn contains(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut T> {
        self.nodes[*self.places.get(key)?].element.as_mut()
    }

    /// Inserts an element directly after the one with the key `after`, or first if there is none;
    /// last if the key is unknown.
    pub fn insert(&mut self, after: Option<&K>, key: Option<K>, element: T) {
        let previous = after.and_then(|after| self.places.get(after).copied().or(self.last));
        self.link(previous, key, element);
    }

    pub fn remove(&mut self, key: &K) -> Option<T> {
        let place = self.places.remove(key)?;
        let Node { previous, next, .. } = self.nodes[place];
        match previous {
            Some(previous) => self.nodes[previous].next = next,
            None => self.first = next,
        }
        match next {
            Some(next) => self.nodes[next].previous = previous,
            None => self.last = previous,
        }
        self.nodes[place].element.take()
    }

    /// The elements in their order.
    pub fn into_elements(mut self) -> impl Iterator<Item = T> {
        let mut place = self.first;
        std::iter::from_fn(move || {
            let node = &mut self.nodes[place?];
            place = node.next;
            node.element.take()
        })
    }

    fn link(&mut self, previous: Option<usize>, key: Option<K>, element: T) {
        let next = match previous {
            Some(previous) => self.nodes[previous].next,
            None => self.first,
        };
        let place = self.nodes.len();
        self.nodes.push(Node { element: Some(element), previous, next });
        match previous {
            Some(previous) => self.nodes[previous].next = Some(place),
            None => self.first = Some(place),
        }
        match next {
            Some(next) => self.nodes[next].previous = Some(place),
            None => self.last = Some(place),
        }
        if let Some(key) = key {
            self.places.insert(key, place);
        }
    }
}
