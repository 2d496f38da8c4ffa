//! Sessions that ask and are answered all the time, and how long an upgrade holds them up.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::special::Load;
use crate::clients::{Client, Trouble};

/// An exchange: when it began, and how long it took.
pub type Exchange = (Instant, Duration);

/// Sends 64 bytes back and forth, with pauses, until the load is over.
pub fn talk(port: u16, pause: Duration, seed: u64, load: &Load) -> Vec<Exchange> {
    let mut exchanges = Vec::new();
    load.tally.sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut client = match Client::connect(port, seed) {
        Ok(client) => client,
        Err(error) => {
            load.tally.note(Trouble::Refused, &error);
            return exchanges;
        }
    };
    while !load.is_over() {
        thread::sleep(pause);
        let begun = Instant::now();
        if let Err(error) = client.exchange(BYTES) {
            load.note("interactive", Err(error));
            return exchanges;
        }
        exchanges.push((begun, begun.elapsed()));
    }
    load.note("interactive", client.finish());
    exchanges
}

/// The longest exchange of each session in each window: half of these are shorter than the first
/// result, and none is longer than the second.
pub fn stalls(sessions: &[Vec<Exchange>], windows: &[(Instant, Instant)]) -> [Duration; 2] {
    let mut longest = Vec::new();
    for exchanges in sessions {
        for &(from, to) in windows {
            // The one that is under way when the window begins counts, too.
            let first = exchanges.partition_point(|(begun, took)| *begun + *took < from);
            let within = exchanges[first..].iter().take_while(|(begun, _)| *begun < to);
            longest.extend(within.map(|(_, took)| *took).max());
        }
    }
    longest.sort_unstable();
    let median = longest.get(longest.len() / 2).copied().unwrap_or_default();
    [median, longest.last().copied().unwrap_or_default()]
}

const BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_exchange_of_each_window_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        let session = vec![(at(0), ms(1)), (at(8), ms(5)), (at(20), ms(2)), (at(40), ms(9))];
        let windows = [(at(10), at(15)), (at(19), at(30)), (at(31), at(35))];
        assert_eq!(stalls(&[session], &windows), [ms(5), ms(5)]);
        assert_eq!(stalls(&[], &windows), [Duration::ZERO; 2]);
    }
}
