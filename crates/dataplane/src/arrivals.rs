//! Where clients may be waiting, and how many to accept in a turn.

/// The listening sockets at which clients may be waiting.
///
/// Most clients come alone, so one is accepted at first. After that, the next batch of events says
/// whether there are more, without a call that would find none. Only if the batch is full may the
/// socket's event be missing: it comes after those of all sessions that have one. Then accepting is
/// tried without it, so that a burst does not wait for them.
#[derive(Default)]
pub(crate) struct Arrivals {
    sockets: Vec<Arrival>,
}

struct Arrival {
    socket: usize,
    /// Whether the last batch of events had one of the socket.
    has_event: bool,
    /// Whether the turn before brought as many clients as were to be accepted.
    bursts: bool,
}

/// How many clients are accepted in a turn while there is a burst of them. With more, a flood comes in
/// waves, whose beginnings and ends make turns long: with 256, the others waited for 25 ms at the
/// 99th percentile, with 16 for 2, with 1 for 0.6. With 1, a session takes 8 % more processor time.
const BURST_SHARE: usize = 16;

impl Arrivals {
    /// An event says that clients are waiting at a socket.
    pub fn on_event(&mut self, socket: usize) {
        match self.sockets.iter_mut().find(|it| it.socket == socket) {
            Some(known) => known.has_event = true,
            None => self.sockets.push(Arrival { socket, has_event: true, bursts: false }),
        }
    }

    /// All events there are have been seen: nobody is waiting where there was none.
    pub fn on_all_events_seen(&mut self) {
        self.sockets.retain(|it| it.has_event);
    }

    /// The socket at a place among them, and how many clients to accept there in this turn. A burst
    /// of them comes in one by one beside established sessions, which would otherwise wait for it.
    pub fn at(&self, place: usize, are_established_in_use: bool) -> Option<(usize, usize)> {
        let arrival = self.sockets.get(place)?;
        let is_fast = arrival.bursts && !are_established_in_use;
        Some((arrival.socket, if is_fast { BURST_SHARE } else { 1 }))
    }

    /// Notes whether the socket at a place had as many clients as its share, so that there may be
    /// more of them, and returns the next place.
    pub fn on_accepted(&mut self, place: usize, all: bool) -> usize {
        if all {
            let arrival = &mut self.sockets[place];
            (arrival.has_event, arrival.bursts) = (false, true);
            return place + 1;
        }
        self.sockets.swap_remove(place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One turn: the sockets with events, whether these are all there are, and how many clients wait
    /// at each socket. Returns what was tried: the socket, and how many were to be accepted.
    fn turn(
        arrivals: &mut Arrivals,
        events: &[usize],
        is_all: bool,
        waiting: &mut [usize],
    ) -> Vec<(usize, usize)> {
        turn_beside(false, arrivals, events, is_all, waiting)
    }

    /// Likewise, while established sessions are in use or not.
    fn turn_beside(
        are_established_in_use: bool,
        arrivals: &mut Arrivals,
        events: &[usize],
        is_all: bool,
        waiting: &mut [usize],
    ) -> Vec<(usize, usize)> {
        events.iter().for_each(|&socket| arrivals.on_event(socket));
        if is_all {
            arrivals.on_all_events_seen();
        }
        let (mut place, mut tried) = (0, Vec::new());
        while let Some((socket, share)) = arrivals.at(place, are_established_in_use) {
            tried.push((socket, share));
            let accepted = waiting[socket].min(share);
            waiting[socket] -= accepted;
            place = arrivals.on_accepted(place, accepted == share);
        }
        tried
    }

    #[test]
    fn a_client_that_comes_alone_costs_no_second_try() {
        let arrivals = &mut Arrivals::default();
        for _ in 0..3 {
            assert_eq!(turn(arrivals, &[0], true, &mut [1]), [(0, 1)]);
            assert_eq!(turn(arrivals, &[], true, &mut [0]), []);
        }
    }

    #[test]
    fn a_burst_is_accepted_in_shares() {
        let (arrivals, waiting) = (&mut Arrivals::default(), &mut [40, 1]);
        assert_eq!(turn(arrivals, &[0, 1], true, waiting), [(0, 1), (1, 1)]);
        assert_eq!(turn(arrivals, &[0], true, waiting), [(0, 16)]);
        assert_eq!(turn(arrivals, &[0], true, waiting), [(0, 16)]);
        assert_eq!(turn(arrivals, &[0], true, waiting), [(0, 16)]);
        assert_eq!(waiting, &[0, 0]);
        assert_eq!(turn(arrivals, &[0], true, &mut [1, 0]), [(0, 1)], "the burst is over");
    }

    #[test]
    fn a_burst_comes_in_one_by_one_beside_established_sessions() {
        let (arrivals, waiting) = (&mut Arrivals::default(), &mut [20]);
        for _ in 0..3 {
            assert_eq!(turn_beside(true, arrivals, &[0], true, waiting), [(0, 1)]);
        }
        assert_eq!(turn(arrivals, &[0], true, waiting), [(0, 16)], "they are idle now");
    }

    #[test]
    fn a_burst_does_not_wait_for_events_that_are_held_back() {
        let (arrivals, waiting) = (&mut Arrivals::default(), &mut [20, 1]);
        assert_eq!(turn(arrivals, &[1, 0], false, waiting), [(1, 1), (0, 1)]);
        assert_eq!(turn(arrivals, &[], false, waiting), [(1, 16), (0, 16)]);
        assert_eq!(turn(arrivals, &[], false, waiting), [(0, 16)]);
        assert_eq!(turn(arrivals, &[], false, waiting), []);
        assert_eq!(waiting, &[0, 0]);
    }
}
