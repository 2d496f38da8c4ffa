//! Events that workers have reported and the control thread has not yet taken.

use dataplane::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The maximum number of bytes of waiting events. Further events are dropped.
const EVENTS_BYTES_MAX: usize = 32 << 20;

/// The receiving end of the channel in which workers report events.
pub(crate) struct Backlog {
    batches: UnboundedReceiver<Vec<Event>>,
    size: Arc<Size>,
}

/// The sending end. Each worker gets its own sink.
pub(crate) struct Sinks {
    batches: UnboundedSender<Vec<Event>>,
    size: Arc<Size>,
}

#[derive(Default)]
struct Size {
    bytes: AtomicUsize,
    dropped: AtomicUsize,
}

impl Backlog {
    /// An empty one.
    pub fn new() -> (Sinks, Self) {
        let (sender, receiver) = unbounded_channel();
        let size = Arc::new(Size::default());
        (Sinks { batches: sender, size: Arc::clone(&size) }, Self { batches: receiver, size })
    }

    /// The next batch, as soon as there is one; `None` when no workers are left.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        let batch = self.batches.recv().await?;
        self.size.bytes.fetch_sub(held_bytes(&batch), Relaxed);
        Some(batch)
    }

    /// The batches that are waiting now. More may arrive meanwhile.
    pub fn waiting(&mut self) -> Vec<Vec<Event>> {
        let waiting: Vec<_> =
            (0..self.batches.len()).map_while(|_| self.batches.try_recv().ok()).collect();
        let bytes = waiting.iter().map(|batch| held_bytes(batch)).sum();
        self.size.bytes.fetch_sub(bytes, Relaxed);
        waiting
    }

    /// The number of events dropped since the last call.
    pub fn take_dropped(&self) -> usize {
        self.size.dropped.swap(0, Relaxed)
    }
}

impl Sinks {
    /// A worker's sink. It never blocks, and drops events instead of growing.
    pub fn sink(&self) -> Box<dyn FnMut(Vec<Event>) + Send> {
        let (size, batches) = (Arc::clone(&self.size), self.batches.clone());
        Box::new(move |batch| {
            let bytes = held_bytes(&batch);
            if size.bytes.fetch_add(bytes, Relaxed) > EVENTS_BYTES_MAX {
                size.bytes.fetch_sub(bytes, Relaxed);
                size.dropped.fetch_add(batch.len(), Relaxed);
            } else {
                let _ = batches.send(batch);
            }
        })
    }
}

fn held_bytes(batch: &[Event]) -> usize {
    batch.iter().map(|event| size_of::<Event>() + event.copied_bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::Trouble;

    #[test]
    fn what_nobody_takes_is_bounded_and_the_rest_is_counted() {
        let (sinks, mut backlog) = Backlog::new();
        let mut sink = sinks.sink();
        let most = EVENTS_BYTES_MAX / size_of::<Event>() + 1;
        (0..3 * most).for_each(|_| sink(vec![Event::Trouble(Trouble::Ports)]));
        assert_eq!(backlog.take_dropped(), 2 * most);
        assert_eq!(backlog.waiting().len(), most);
        // There is room again.
        sink(vec![Event::Trouble(Trouble::Ports)]);
        assert_eq!((backlog.take_dropped(), backlog.waiting().len()), (0, 1));
    }
}
