//! A vector that never moves its elements, so that no single push is slow.

use std::ops::{Index, IndexMut};

/// A vector in chunks.
#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

/// How many elements are allocated together. Memory is touched only when elements are added.
const CHUNK: usize = 4096;

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T> Chunks<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn push(&mut self, element: T) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[self.len / CHUNK].push(element);
        self.len += 1;
    }

    /// The elements from `start` on, at most `count`, which divides `start` and the chunk's size.
    pub fn group(&self, start: usize, count: usize) -> &[T] {
        let chunk = &self.chunks[start / CHUNK];
        let start = start % CHUNK;
        &chunk[start..chunk.len().min(start + count)]
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;
    fn index(&self, index: usize) -> &T {
        &self.chunks[index / CHUNK][index % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }
}
