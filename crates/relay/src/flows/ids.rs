//! Which connection ids a flow's datagrams make known.
//!
//! Whoever forges addresses or ids must not fill the table, nor get somebody else's backend:
//!
//! - A flow makes nothing known before its client has used an id that its backend has named in an
//!   answer, or one that was known when the flow began. Neither can be done without seeing answers.
//! - Servers give out more ids later, in packets that nobody else can read. Such an id is believed
//!   when the client uses it again after an answer, and it does not replace what is known.
//! - No flow has more than [`IDS_MAX`] ids in the table. Those used last stay.

use balancing::{ConnectionIds, IdKey};
use std::time::Duration;
use terms::{BackendId, Instant};

/// The ids of one flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowIds {
    /// Those in the table, the one used last first.
    known: [Option<IdKey>; IDS_MAX],
    /// What the backend has called itself last.
    named: Option<IdKey>,
    /// What the client has used, without anybody having named it to us, and whether an answer came.
    claimed: Option<(IdKey, bool)>,
    /// Whether the client sees answers.
    is_acquainted: bool,
    /// When an id was last reported to the table as in use.
    reported: Instant,
}

/// What a client's datagram means for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdStep {
    /// Nothing.
    Nothing,
    /// The id is in use.
    Use(IdKey),
    /// The id belongs to the flow's backend.
    Learn {
        /// The id.
        key: IdKey,
        /// Whether the backend itself has named it.
        is_certain: bool,
        /// An id that the table forgets in return.
        instead_of: Option<IdKey>,
    },
}

impl IdStep {
    /// Does it to the table, for a flow of this backend.
    pub fn apply(self, table: &ConnectionIds, backend: BackendId, now: Instant) {
        match self {
            Self::Nothing => {}
            Self::Use(key) => table.learn(key, backend, false, now),
            Self::Learn { key, is_certain, instead_of } => {
                if let Some(other) = instead_of {
                    table.forget(other, backend);
                }
                table.learn(key, backend, is_certain, now);
            }
        }
    }
}

/// Ids that one flow may have in the table. Most clients use one at a time, and a new one now and
/// then.
pub const IDS_MAX: usize = 4;
/// How often an id in use is reported to the table.
const USE_EVERY: Duration = Duration::from_secs(5);

impl FlowIds {
    /// The ids of a flow whose client sees answers, as an earlier flow has shown, or is only
    /// beginning.
    #[must_use]
    pub fn new(is_acquainted: bool) -> Self {
        Self { is_acquainted, ..Self::default() }
    }

    /// Whether the client sees answers.
    #[must_use]
    pub fn is_acquainted(&self) -> bool {
        self.is_acquainted
    }

    /// The backend has answered, and called itself this if it did.
    pub fn on_answer(&mut self, named: Option<IdKey>) {
        self.named = named.or(self.named);
        if let Some((_, is_answered)) = &mut self.claimed {
            *is_answered = true;
        }
    }

    /// The client has written to an id. `is_long` is as in [`ToServer`](super::ToServer).
    pub fn on_request(&mut self, key: IdKey, is_long: bool, now: Instant) -> IdStep {
        if let Some(place) = self.known.iter().position(|&it| it == Some(key)) {
            self.known[..=place].rotate_right(1);
            if now.since(self.reported) < USE_EVERY {
                return IdStep::Nothing;
            }
            self.reported = now;
            return IdStep::Use(key);
        }
        if self.named == Some(key) {
            self.is_acquainted = true;
            return self.learn(key, true, now);
        }
        if is_long || !self.is_acquainted {
            return IdStep::Nothing;
        }
        if self.claimed == Some((key, true)) {
            return self.learn(key, false, now);
        }
        if self.claimed.is_none_or(|(claimed, _)| claimed != key) {
            self.claimed = Some((key, false));
        }
        IdStep::Nothing
    }

    fn learn(&mut self, key: IdKey, is_certain: bool, now: Instant) -> IdStep {
        self.claimed = None;
        self.reported = now;
        self.known.rotate_right(1);
        let instead_of = self.known[0].replace(key);
        IdStep::Learn { key, is_certain, instead_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn key(number: u32) -> IdKey {
        ConnectionIds::with_sets((0, 0), 1).key(&number.to_be_bytes())
    }

    const NOTHING: IdStep = IdStep::Nothing;

    fn learned(number: u32, is_certain: bool) -> IdStep {
        IdStep::Learn { key: key(number), is_certain, instead_of: None }
    }

    #[test]
    fn what_a_backend_has_named_is_learned_when_its_client_uses_it() {
        let mut ids = FlowIds::new(false);
        assert_eq!(ids.on_request(key(0), true, at(1)), NOTHING, "the client's own idea");
        ids.on_answer(Some(key(1)));
        assert_eq!(ids.on_request(key(0), true, at(1)), NOTHING);
        assert_eq!(ids.on_request(key(1), true, at(1)), learned(1, true));
        assert_eq!(ids.on_request(key(1), false, at(2)), NOTHING, "it is known");
        assert_eq!(ids.on_request(key(1), false, at(6)), IdStep::Use(key(1)));
        assert_eq!(ids.on_request(key(1), false, at(7)), NOTHING);
    }

    #[test]
    fn who_sees_no_answers_makes_nothing_known() {
        let mut ids = FlowIds::new(false);
        for number in 0..100 {
            assert_eq!(ids.on_request(key(7), number % 2 == 0, at(1)), NOTHING);
            ids.on_answer(Some(key(number + 10)));
        }
    }

    #[test]
    fn a_later_id_is_believed_after_an_answer() {
        let mut ids = FlowIds::new(true);
        ids.on_answer(None);
        assert_eq!(ids.on_request(key(2), false, at(1)), NOTHING);
        assert_eq!(ids.on_request(key(2), false, at(1)), NOTHING);
        ids.on_answer(None);
        assert_eq!(ids.on_request(key(3), true, at(1)), NOTHING, "long headers do not count");
        assert_eq!(ids.on_request(key(2), false, at(1)), learned(2, false));
    }

    #[test]
    fn a_flow_keeps_the_ids_that_it_used_last() {
        let mut ids = FlowIds::new(false);
        let mut forgotten = Vec::new();
        for number in 0..7 {
            ids.on_answer(Some(key(number)));
            let step = ids.on_request(key(number), false, at(1));
            let IdStep::Learn { instead_of, is_certain: true, .. } = step else {
                panic!("{step:?}")
            };
            forgotten.extend(instead_of);
            assert_eq!(ids.on_request(key(0), false, at(1)), NOTHING, "in use all the time");
        }
        assert_eq!(forgotten, [1, 2, 3].map(key));
    }
}
