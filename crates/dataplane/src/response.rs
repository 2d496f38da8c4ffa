//! How long a session's backend takes to say something.

use balancing::BackendState;
use std::time::Duration;
use terms::{CloseReason, Instant};

/// The wait for a backend's first byte. It is measured once per session, and says how fast the
/// backend is ([`BackendState::latency`]): what its connect took, and the time from the client's first byte on, or
/// from the connect if the server speaks first.
///
/// Kept as the age of the session, in microseconds, at which a wait of this length would have begun;
/// [`NOT_WAITING`] before the connect, and after the first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response(u32);

const NOT_WAITING: u32 = u32::MAX;
/// A backend that closes a connection later than that, to which the client has said nothing, has had
/// enough of the client rather than of its work.
const SOON: Duration = Duration::from_secs(1);

impl Response {
    pub const NONE: Self = Self(NOT_WAITING);

    /// The backend has accepted at this age of the session. The connect took so long.
    pub fn begin(age: Duration, connect: Duration) -> Self {
        let begun = age.saturating_sub(connect).as_micros();
        Self(u32::try_from(begun).unwrap_or(NOT_WAITING))
    }

    pub fn is_awaited(self) -> bool {
        self.0 != NOT_WAITING
    }

    /// The client has sent its first byte. The backend accepted at the age `connected`.
    pub fn on_request(&mut self, age: Duration, connected: Duration) {
        *self = Self::begin(age, self.waited(connected));
    }

    /// How long the backend has taken so far.
    pub fn waited(self, age: Duration) -> Duration {
        age.saturating_sub(Duration::from_micros(self.0.into()))
    }

    /// The session ends without an answer, after this many bytes from the client. `limit` is the most
    /// that a wait can say about a backend, because a client may wait for as long as it likes.
    pub fn on_end(
        self,
        age: Duration,
        (reason, sent_bytes): (CloseReason, u64),
        limit: Duration,
        (backend, worker): (&BackendState, usize),
        now: Instant,
    ) {
        let waited = self.waited(age);
        let by_backend = matches!(reason, CloseReason::BackendFin | CloseReason::BackendReset);
        let is_soon = waited < SOON;
        if by_backend && is_soon {
            backend.tally(worker).count_early_close();
        }
        if by_backend && (sent_bytes > 0 || is_soon) {
            backend.latency().punish(now);
        } else if sent_bytes > 0 {
            let waited = waited.min(limit);
            if backend.latency().observe_wait(waited, now) && !is_soon {
                backend.tally(worker).count_answer(waited);
            }
        }
    }
}
