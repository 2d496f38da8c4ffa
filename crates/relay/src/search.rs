//! A session's way to a backend that answers: which address, which backend, when to wait, and
//! when to give up.

use std::time::Duration;
use terms::{CloseReason, ConnectFailure, Instant, Timeouts};

/// A session's search for a backend that answers.
///
/// ~~~text
///            .------------ Failed <-- last address --.
///            v                                       |
///        Choosing --offer--> Opening --socket--> Connecting --answer--> Connected
///            |                |   ^ \--next address--'                      |
///       none left   no socket v   | time passes       reset before the first byte: Failed
///            v               Waiting --too long--> Failed or GivenUp
///         GivenUp
/// ~~~
///
/// The worker asks for the [`Search::next_step`], performs it, and passes the result in through the
/// `on_*` methods. Whatever concerns a socket comes with the [`Incarnation`] that the socket was
/// opened under. What an earlier socket left behind in a batch of events is ignored.
#[derive(Debug)]
pub struct Search {
    state: State,
    incarnation: Incarnation,
    /// Addresses of the current backend, the one to try, and how many of them have failed.
    addresses: u16,
    address: u16,
    failed: u16,
    /// When the current connect began, or the connection.
    since: Instant,
    /// Set while no socket can be had for the current address.
    wait: Option<Wait>,
    last_failure: Option<ConnectFailure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Choosing,
    Opening,
    Waiting { retry_at: Instant },
    Connecting,
    Failed(ConnectFailure),
    Connected,
    GivenUp(CloseReason),
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    /// Between the last two attempts.
    pause: Duration,
}

/// Distinguishes the sockets that a session opens one after another; repeats after 256.
///
/// Closing a socket discards events that its poller has not reported, so only the rest of the
/// current batch can be stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(u8);

/// What to do next in a [`Search`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchStep {
    /// Take a place at the next backend: [`Search::on_offer`] or [`Search::on_none_left`].
    Choose,
    /// Open a socket and connect to this address of the backend: [`Search::on_started`] or
    /// [`Search::on_failed`].
    Connect(usize),
    /// The backend failed: report that and return its place, then call [`Search::on_reported`].
    Report(ConnectFailure),
    /// Wait for an event, at most until this moment: then call [`Search::on_deadline`].
    Wait(Instant),
    /// Relay: the backend has answered.
    Relay,
    /// End the session.
    GiveUp(CloseReason),
}

/// The first pause before another attempt to get a socket. It doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl Incarnation {
    /// The one of the next socket.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// As a number that an event can carry.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// From the number that an event carried.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }
}

impl Default for Search {
    fn default() -> Self {
        Self {
            state: State::Choosing,
            incarnation: Incarnation::default(),
            addresses: 0,
            address: 0,
            failed: 0,
            since: Instant::ZERO,
            wait: None,
            last_failure: None,
        }
    }
}

impl Search {
    /// What to do next.
    #[must_use]
    pub fn next_step(&self, timeouts: &Timeouts) -> SearchStep {
        match self.state {
            State::Choosing => SearchStep::Choose,
            State::Opening => SearchStep::Connect(self.address.into()),
            State::Waiting { retry_at } => SearchStep::Wait(retry_at),
            State::Connecting => SearchStep::Wait(self.since + timeouts.connect),
            State::Failed(failure) => SearchStep::Report(failure),
            State::Connected => SearchStep::Relay,
            State::GivenUp(reason) => SearchStep::GiveUp(reason),
        }
    }

    /// The incarnation to open the next socket under.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The address to try, or that answered.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address.into()
    }

    /// When the current connect began, or, once the backend has answered, the connection.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// A backend was offered. It has so many addresses, of which `preferred` is to be tried first.
    pub fn on_offer(&mut self, addresses: usize, preferred: usize) {
        self.addresses = u16::try_from(addresses).unwrap_or(u16::MAX);
        self.address = preferred.checked_rem(addresses).map_or(0, |address| address as u16);
        self.failed = 0;
        self.state = match addresses {
            0 => State::Failed(ConnectFailure::Unresolved),
            _ => State::Opening,
        };
    }

    /// No backend was offered. `none_tried` is why, in case that none was offered before either.
    pub fn on_none_left(&mut self, none_tried: CloseReason) {
        self.state = State::GivenUp(match self.last_failure {
            Some(ConnectFailure::TimedOut | ConnectFailure::Busy) => CloseReason::ConnectTimeout,
            Some(ConnectFailure::Tls(_) | ConnectFailure::NoTls) => CloseReason::BackendTlsFailed,
            Some(_) => CloseReason::ConnectRefused,
            None => none_tried,
        });
    }

    /// The connect is in progress.
    pub fn on_started(&mut self, now: Instant) {
        if self.state == State::Opening {
            self.state = State::Connecting;
            self.since = now;
            self.wait = None;
        }
    }

    /// The backend was sent its first datagram only now, so the time-out counts from here.
    pub fn on_asked(&mut self, now: Instant) {
        if self.state == State::Connecting {
            self.since = now;
        }
    }

    /// The connect of this incarnation failed. A shortage is waited out, within the connect
    /// time-out; anything else leads to the next address, and after the last to the next backend.
    pub fn on_failed(
        &mut self,
        incarnation: Incarnation,
        failure: ConnectFailure,
        timeouts: &Timeouts,
        now: Instant,
    ) {
        if !self.is_current(incarnation) {
            return;
        }
        self.incarnation = incarnation.next();
        if failure.is_ours() || failure == ConnectFailure::Busy {
            self.wait(failure, timeouts, now);
        } else {
            self.try_next_address(failure);
        }
    }

    /// The connect of this incarnation succeeded. Returns whether it was the current one.
    pub fn on_answered(&mut self, incarnation: Incarnation, now: Instant) -> bool {
        let is_news = self.state == State::Connecting && self.is_current(incarnation);
        if is_news {
            self.state = State::Connected;
            self.since = now;
        }
        is_news
    }

    /// The time of [`SearchStep::Wait`] may have come. Changes nothing if it has not.
    pub fn on_deadline(&mut self, timeouts: &Timeouts, now: Instant) {
        match self.state {
            State::Connecting if now.since(self.since) >= timeouts.connect => {
                self.on_failed(self.incarnation, ConnectFailure::TimedOut, timeouts, now);
            }
            State::Waiting { retry_at } if now >= retry_at => self.state = State::Opening,
            _ => {}
        }
    }

    /// The failure was reported, and the backend's place returned.
    pub fn on_reported(&mut self) {
        if let State::Failed(failure) = self.state {
            self.last_failure = Some(failure);
            self.state = State::Choosing;
        }
    }

    /// The backend reset the connection before the first byte. Returns whether that counts as a
    /// failed connect, which it does within the connect time-out after connecting. A backend that
    /// resets silent connections later is healthy, and the reset is passed on to the client.
    pub fn on_reset(&mut self, timeouts: &Timeouts, now: Instant) -> bool {
        let is_soon = self.may_start_over(timeouts, now);
        if is_soon {
            self.incarnation = self.incarnation.next();
            self.state = State::Failed(ConnectFailure::Reset);
        }
        is_soon
    }

    /// Whether a reset by the backend would now count as a failed connect.
    #[must_use]
    pub fn may_start_over(&self, timeouts: &Timeouts, now: Instant) -> bool {
        self.state == State::Connected && now.since(self.since) < timeouts.connect
    }

    /// Whether this is the incarnation of the connect in progress.
    #[must_use]
    pub fn is_current(&self, incarnation: Incarnation) -> bool {
        matches!(self.state, State::Opening | State::Connecting) && incarnation == self.incarnation
    }

    fn try_next_address(&mut self, failure: ConnectFailure) {
        self.wait = None;
        self.failed += 1;
        if self.failed < self.addresses {
            self.address = (self.address + 1) % self.addresses;
            self.state = State::Opening;
        } else {
            self.state = State::Failed(failure);
        }
    }

    /// Tries the same address again after a pause, unless the connect time-out is over.
    fn wait(&mut self, failure: ConnectFailure, timeouts: &Timeouts, now: Instant) {
        let wait = match self.wait {
            Some(Wait { since, pause }) => Wait { since, pause: (pause * 2).min(PAUSE_MAX) },
            None => Wait { since: now, pause: PAUSE_MIN },
        };
        if now.since(wait.since) < timeouts.connect {
            self.wait = Some(wait);
            self.state = State::Waiting { retry_at: now + wait.pause };
        } else if failure.is_ours() {
            self.state = State::GivenUp(CloseReason::NoSocket);
        } else {
            self.try_next_address(failure);
        }
    }
}
