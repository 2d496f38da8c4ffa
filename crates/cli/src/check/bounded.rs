//! Work that may take long, in a bounded number of threads and for a bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// What `work` returns for each item, in their order; `None` if there was no time for it. Threads
/// that are still busy after `limit` are left behind; they end with the process.
pub fn each<T, R>(items: Vec<T>, limit: Duration, work: fn(&T) -> R) -> Vec<(T, Option<R>)>
where
    T: Clone + Send + Sync + 'static,
    R: Send + 'static,
{
    let deadline = Instant::now() + limit;
    let items: Arc<[T]> = items.into();
    let next = Arc::new(AtomicUsize::new(0));
    let (results, found) = channel();
    for _ in 0..items.len().min(THREADS_MAX) {
        let (items, next, results) = (Arc::clone(&items), Arc::clone(&next), results.clone());
        let take = move || {
            while let Some((at, item)) = taken(&items, &next) {
                if results.send((at, work(item))).is_err() {
                    break;
                }
            }
        };
        // With fewer threads it only takes longer.
        let _ = Builder::new().stack_size(STACK_BYTES).spawn(take);
    }
    drop(results);
    let mut all: Vec<(T, Option<R>)> = items.iter().map(|item| (item.clone(), None)).collect();
    while let Ok((at, result)) =
        found.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        if let Some((_, place)) = all.get_mut(at) {
            *place = Some(result);
        }
    }
    all
}

fn taken<'i, T>(items: &'i [T], next: &AtomicUsize) -> Option<(usize, &'i T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).map(|item| (at, item))
}

const THREADS_MAX: usize = 32;
/// Enough for a lookup by the C library.
const STACK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_what_takes_too_long_has_none() {
        let work = |number: &u64| {
            if *number == 3 {
                std::thread::park(); // nobody wakes it
            }
            number * 2
        };
        let results = each((0..100).collect(), Duration::from_secs(1), work);
        for (number, result) in results {
            assert_eq!(result, (number != 3).then_some(number * 2));
        }
    }
}
