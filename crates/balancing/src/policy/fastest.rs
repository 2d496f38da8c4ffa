//! The backend that answers soonest, of two random ones.

use super::View;

/// Whether `first` is likely to keep a session waiting for longer than `second`: its latency times
/// its sessions, one more included, for its weight.
///
/// One of which nothing is known yet is as fast as the other.
pub(super) fn is_slower(view: &View<'_>, first: usize, second: usize) -> bool {
    let latency = |index: usize| view.tier.backends[index].state.latency().read(view.now);
    let (of_first, of_second) = (latency(first), latency(second));
    let cost = |index, latency: Option<f32>, other: Option<f32>| {
        view.load(index) * f64::from(latency.or(other).unwrap_or(1.0))
    };
    cost(first, of_first, of_second) > cost(second, of_second, of_first)
}
