//! What workers count for a listener.

use crate::event::Ended;
use balancing::{Distribution, Histogram, LATENCIES, LIFETIMES};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use terms::CloseReason;

/// What one worker has counted for one listener. Only that worker writes, so no lock is needed.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Ledger {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    retransmits: AtomicU64,
    forwarded: AtomicU64,
    /// By [`CloseReason`].
    ended: [AtomicU64; REASONS],
    lifetime: Histogram,
    round_trip: Histogram,
}

/// What all workers have counted for a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTotals {
    /// Bytes from clients to backends, of open sessions too.
    pub sent_bytes: u64,
    /// Bytes from backends to clients, of open sessions too.
    pub received_bytes: u64,
    /// Segments that were sent to clients again, in sessions that have ended.
    pub retransmits: u64,
    /// Sessions that have ended and that the kernel forwarded.
    pub forwarded: u64,
    /// Sessions that have ended, by [`CloseReason`].
    pub ended: [u64; REASONS],
    /// How long these sessions lasted.
    pub lifetime: Distribution,
    /// The kernel's estimate of the round-trip time to clients, at the end of each session.
    pub round_trip: Distribution,
}

const REASONS: usize = CloseReason::ALL.len();

impl Ledger {
    /// Counts bytes that have passed from a client, and to it.
    #[inline]
    pub fn count_passed(&self, sent: u64, received: u64) {
        add(&self.sent_bytes, sent);
        add(&self.received_bytes, received);
    }

    /// Sets what has been counted.
    pub fn set(&self, totals: &ListenerTotals) {
        self.sent_bytes.store(totals.sent_bytes, Relaxed);
        self.received_bytes.store(totals.received_bytes, Relaxed);
        self.retransmits.store(totals.retransmits, Relaxed);
        self.forwarded.store(totals.forwarded, Relaxed);
        for (counter, count) in self.ended.iter().zip(totals.ended) {
            counter.store(count, Relaxed);
        }
        self.lifetime.set(&totals.lifetime);
        self.round_trip.set(&totals.round_trip);
    }

    /// Counts a session that the kernel forwarded.
    pub fn count_forwarded(&self) {
        add(&self.forwarded, 1);
    }

    /// Counts a session that has ended.
    pub fn count_end(&self, ended: &Ended) {
        add(&self.ended[ended.reason as usize], 1);
        self.lifetime.count(ended.duration, &LIFETIMES);
        if let Some(path) = ended.client_path {
            if let Some(round_trip) = path.round_trip() {
                self.round_trip.count(round_trip, &LATENCIES);
            }
            if path.retransmits > 0 {
                add(&self.retransmits, path.retransmits.into());
            }
        }
    }
}

/// Adds without a locked instruction: there is one writer.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

impl ListenerTotals {
    pub(crate) fn of<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> Self {
        let mut sum = Self::default();
        for ledger in ledgers {
            sum.sent_bytes += ledger.sent_bytes.load(Relaxed);
            sum.received_bytes += ledger.received_bytes.load(Relaxed);
            sum.retransmits += ledger.retransmits.load(Relaxed);
            sum.forwarded += ledger.forwarded.load(Relaxed);
            for (sum, count) in sum.ended.iter_mut().zip(&ledger.ended) {
                *sum += count.load(Relaxed);
            }
            ledger.lifetime.add_to(&mut sum.lifetime);
            ledger.round_trip.add_to(&mut sum.round_trip);
        }
        sum
    }
}

impl std::ops::AddAssign<&Self> for ListenerTotals {
    fn add_assign(&mut self, other: &Self) {
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.retransmits += other.retransmits;
        self.forwarded += other.forwarded;
        for (sum, count) in self.ended.iter_mut().zip(other.ended) {
            *sum += count;
        }
        self.lifetime += other.lifetime;
        self.round_trip += other.round_trip;
    }
}
