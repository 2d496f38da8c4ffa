//! A session's way to a backend that answers: which address, which backend, when to wait, and
//! when to give up.

use std::time::Duration;
use terms::{CloseReason, ConnectFailure, Instant, Timeouts};

/// Where a session stands on its way to a backend that answers.
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
/// The worker asks for the [`Search::next_step`], performs it, and tells what came of it by the
/// `on_*` methods. What is heard of a socket comes with the [`Incarnation`] it was opened under;
/// what an earlier socket left behind in a queue of events is not heard.
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
    /// Set while attempts at one address find no socket.
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

/// Tells a session's sockets to its backends apart: each has another one than the last 255.
///
/// Closing a socket takes back what its poller has not reported, so that only the rest of one
/// batch can be stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incarnation(u8);

/// What to do next on the way to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchStep {
    /// Take a place at the next backend: [`Search::on_offer`] or [`Search::on_none_left`].
    Choose,
    /// Open a socket and connect to this address of the backend: [`Search::on_started`] or
    /// [`Search::on_failed`].
    Connect(usize),
    /// The backend failed: report that and give its place back, then [`Search::on_reported`].
    Report(ConnectFailure),
    /// Nothing, until an event or this moment: [`Search::on_deadline`].
    Wait(Instant),
    /// Relay: the backend has answered.
    Relay,
    /// End the session.
    GiveUp(CloseReason),
}

/// The first wait for a socket; each further one is twice as long, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl Incarnation {
    /// The one of the next socket.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// As a number, to be carried by an event.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The one that an event carries.
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

    /// What the next socket is opened under.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The address to try, or that answered.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address.into()
    }

    /// A backend was offered, with so many addresses; `preferred` is to be tried first.
    pub fn on_offer(&mut self, addresses: usize, preferred: usize) {
        self.addresses = u16::try_from(addresses).unwrap_or(u16::MAX);
        self.address = preferred.checked_rem(addresses).map_or(0, |address| address as u16);
        self.failed = 0;
        self.state = match addresses {
            0 => State::Failed(ConnectFailure::Unresolved),
            _ => State::Opening,
        };
    }

    /// No backend was offered; `is_denied` if that is because the client may not be served.
    pub fn on_none_left(&mut self, is_denied: bool) {
        self.state = State::GivenUp(match self.last_failure {
            Some(ConnectFailure::TimedOut | ConnectFailure::Busy) => CloseReason::ConnectTimeout,
            Some(_) => CloseReason::ConnectRefused,
            None if is_denied => CloseReason::Denied,
            None => CloseReason::NoBackend,
        });
    }

    /// A connect has begun.
    pub fn on_started(&mut self, now: Instant) {
        if self.state == State::Opening {
            self.state = State::Connecting;
            self.since = now;
            self.wait = None;
        }
    }

    /// The connect of this incarnation failed. A shortage is waited for, at one address and within
    /// the connect time-out; anything else leads to the next address, then to the next backend.
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

    /// The connect of this incarnation succeeded; whether that is news.
    pub fn on_answered(&mut self, incarnation: Incarnation, now: Instant) -> bool {
        let is_news = self.state == State::Connecting && self.is_current(incarnation);
        if is_news {
            self.state = State::Connected;
            self.since = now;
        }
        is_news
    }

    /// Time has passed. Says nothing before the moment that [`SearchStep::Wait`] names.
    pub fn on_deadline(&mut self, timeouts: &Timeouts, now: Instant) {
        match self.state {
            State::Connecting if now.since(self.since) >= timeouts.connect => {
                self.on_failed(self.incarnation, ConnectFailure::TimedOut, timeouts, now);
            }
            State::Waiting { retry_at } if now >= retry_at => self.state = State::Opening,
            _ => {}
        }
    }

    /// The failure was reported, and the backend's place given back.
    pub fn on_reported(&mut self) {
        if let State::Failed(failure) = self.state {
            self.last_failure = Some(failure);
            self.state = State::Choosing;
        }
    }

    /// The backend reset the connection before the first byte. Soon after connecting this is as if
    /// it had not answered; the result is whether it is. A backend that ends silent connections
    /// after a while is well: then the reset is the client's.
    pub fn on_reset(&mut self, timeouts: &Timeouts, now: Instant) -> bool {
        let is_soon = self.state == State::Connected && now.since(self.since) < timeouts.connect;
        if is_soon {
            self.incarnation = self.incarnation.next();
            self.state = State::Failed(ConnectFailure::Reset);
        }
        is_soon
    }

    /// Whether what is heard of this incarnation's socket is of the connect under way.
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

    /// Tries the same address again after a pause, unless that has gone on for too long.
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
