//! Seeded simulation of a session's way to a backend: backends refuse, vanish, reset and keep
//! silent, sockets run out, and events come late or twice. Whatever happens, every session ends or
//! is served, no backend is blamed for what another socket left behind, and none is tried twice.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

use relay::{Incarnation, Search, SearchStep};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use terms::{CloseReason, ConnectFailure, Instant, Timeouts};
use testing::{Rng, sweep};

/// What one address of a backend does with a connect.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    /// Fails as soon as it is asked.
    AtOnce(ConnectFailure),
    /// Fails by an event.
    Later(ConnectFailure),
    /// Never answers.
    Silent,
    /// Answers.
    Well,
    /// Answers, then resets within the connect time-out.
    Resets,
    /// Answers, and resets the silent client long after.
    EndsSilence,
}

/// What an event of a socket says.
#[derive(Clone, Copy, Debug)]
enum News {
    Failed(ConnectFailure),
    Answered,
    Reset,
}

/// A socket as the system has it.
struct Socket {
    incarnation: Incarnation,
    backend: usize,
    nature: Nature,
    opened: Instant,
    has_answered: bool,
}

/// What is to happen when.
struct Due {
    at: Instant,
    backend: usize,
    incarnation: Incarnation,
    news: News,
}

struct World {
    seed: u64,
    rng: Rng,
    timeouts: Timeouts,
    backends: Vec<Vec<Nature>>,
    /// Attempts that find no socket from now on, and for want of what.
    shortage: Option<(u32, ConnectFailure)>,
    now: Instant,
    next_backend: usize,
    lease: Option<usize>,
    socket: Option<Socket>,
    /// What the system knows and has not told, of closed sockets too.
    due: Vec<Due>,
    blamed: Vec<usize>,
    /// Addresses of the current backend that really failed.
    failures: usize,
    /// Whether it was connected to, and reset that soon.
    has_reset: bool,
    /// Since when there has been no socket for the current address.
    short_since: Option<Instant>,
}

#[derive(Debug, PartialEq)]
enum End {
    Served(usize),
    ResetToClient,
    GivenUp(CloseReason),
}

const NATURES: [Nature; 8] = [
    Nature::AtOnce(ConnectFailure::Unreachable),
    Nature::AtOnce(ConnectFailure::NoAddress),
    Nature::Later(ConnectFailure::Refused),
    Nature::Later(ConnectFailure::Reset),
    Nature::Silent,
    Nature::Well,
    Nature::Resets,
    Nature::EndsSilence,
];

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let backends = (0..rng.below(5)).map(|_| {
            let addresses = rng.below(4);
            (0..addresses).map(|_| NATURES[rng.below(NATURES.len())]).collect()
        });
        let backends = backends.collect();
        let connect = Duration::from_millis([50, 1000, 5000][rng.below(3)]);
        let mut world = Self {
            seed,
            rng,
            timeouts: Timeouts { connect, ..Timeouts::default() },
            backends,
            shortage: None,
            now: Instant::from_millis(1),
            next_backend: 0,
            lease: None,
            socket: None,
            due: Vec::new(),
            blamed: Vec::new(),
            failures: 0,
            has_reset: false,
            short_since: None,
        };
        world.run_short();
        world
    }

    fn run_short(&mut self) {
        let kinds = [ConnectFailure::NoPort, ConnectFailure::NoSocket, ConnectFailure::Busy];
        let kind = kinds[self.rng.below(3)];
        let length = if self.rng.one_in(4) { u32::MAX } else { self.rng.below(6) as u32 };
        self.shortage = self.rng.one_in(3).then_some((length, kind));
    }

    fn offer(&mut self, search: &mut Search) {
        assert_eq!(self.lease, None, "seed {}: two places taken", self.seed);
        assert!(self.socket.is_none(), "seed {}: a socket without a backend", self.seed);
        if self.next_backend == self.backends.len() {
            search.on_none_left(CloseReason::NoBackend);
            return;
        }
        let backend = self.next_backend;
        self.next_backend += 1;
        self.lease = Some(backend);
        (self.failures, self.has_reset, self.short_since) = (0, false, None);
        let addresses = self.backends[backend].len();
        search.on_offer(addresses, self.rng.below(5));
    }

    fn connect(&mut self, search: &mut Search, address: usize) {
        let backend = self.lease.expect("a place is taken before connecting");
        let incarnation = search.incarnation();
        if let Some((attempts, kind)) = self.shortage {
            self.shortage = attempts.checked_sub(1).map(|left| (left, kind));
            let since = *self.short_since.get_or_insert(self.now);
            let is_over = self.now.since(since) >= self.timeouts.connect;
            if is_over && kind == ConnectFailure::Busy {
                self.failures += 1;
                self.short_since = None;
            }
            search.on_failed(incarnation, kind, &self.timeouts, self.now);
            return;
        }
        self.short_since = None;
        let nature = self.backends[backend][address];
        if let Nature::AtOnce(failure) = nature {
            self.failures += 1;
            search.on_failed(incarnation, failure, &self.timeouts, self.now);
            return;
        }
        let opened = self.now;
        self.socket = Some(Socket { incarnation, backend, nature, opened, has_answered: false });
        search.on_started(self.now);
        let news = match nature {
            Nature::Later(failure) => Some(News::Failed(failure)),
            Nature::Well | Nature::Resets | Nature::EndsSilence => Some(News::Answered),
            Nature::Silent | Nature::AtOnce(_) => None,
        };
        if let Some(news) = news {
            // Also too late: the connect has been given up by then.
            let most = self.timeouts.connect.as_millis() as usize * 5 / 4;
            let delay = Duration::from_millis(self.rng.below(most.max(1)) as u64);
            self.due.push(Due { at: self.now + delay, backend, incarnation, news });
        }
    }

    /// Closes the socket, if there is one. What a poller has in hand by then is told even so.
    fn close(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        let now = self.now;
        let rng = &mut self.rng;
        self.due.retain(|due| due.incarnation != socket.incarnation || due.at <= now);
        if rng.one_in(2) {
            let kinds = [News::Failed(ConnectFailure::Refused), News::Answered];
            let news = kinds[rng.below(2)];
            let (backend, incarnation) = (socket.backend, socket.incarnation);
            self.due.push(Due { at: now, backend, incarnation, news });
        }
    }

    /// Lets time pass up to the next thing that happens; `None` if nothing ever will.
    fn pass(&mut self, search: &mut Search, timer: Option<Instant>) -> Option<End> {
        let event = self.due.iter().enumerate().min_by_key(|(_, due)| due.at);
        let event = event.map(|(index, due)| (index, due.at));
        match (event, timer) {
            (Some((index, at)), _) if timer.is_none_or(|timer| at <= timer) => {
                self.now = self.now.max(at);
                let due = self.due.swap_remove(index);
                return self.tell(search, due);
            }
            (_, Some(timer)) => {
                // A timer may fire early, and late after a pause of the process.
                let early = self.rng.one_in(4) && timer > self.now;
                let late = Duration::from_millis(self.rng.below(20) as u64);
                self.now = if early { self.now } else { self.now.max(timer) + late };
                if let Some(socket) = &self.socket
                    && !socket.has_answered
                    && self.now.since(socket.opened) >= self.timeouts.connect
                {
                    self.failures += 1;
                }
                search.on_deadline(&self.timeouts, self.now);
                if early {
                    self.now = self.now + Duration::from_millis(1);
                }
            }
            _ => panic!("seed {}: waits for nothing: {search:?}", self.seed),
        }
        None
    }

    fn tell(&mut self, search: &mut Search, due: Due) -> Option<End> {
        let Due { backend, incarnation, news, .. } = due;
        let is_open = self.socket.as_ref().is_some_and(|it| it.incarnation == incarnation);
        match news {
            News::Failed(failure) => {
                search.on_failed(incarnation, failure, &self.timeouts, self.now);
                if is_open {
                    self.failures += 1;
                    self.socket = None;
                }
            }
            News::Answered => {
                let heard = search.on_answered(incarnation, self.now);
                assert!(!heard || is_open, "seed {}: served by a closed socket", self.seed);
                assert!(heard || !is_open, "seed {}: an answer is lost", self.seed);
                if let Some(socket) = self.socket.as_mut().filter(|_| heard) {
                    socket.has_answered = true;
                    let later = match socket.nature {
                        Nature::Resets => self.timeouts.connect / 2,
                        Nature::EndsSilence => self.timeouts.connect * 3,
                        _ => return None,
                    };
                    let at = self.now + later;
                    self.due.push(Due { at, backend, incarnation, news: News::Reset });
                }
            }
            News::Reset if is_open => {
                if !search.on_reset(&self.timeouts, self.now) {
                    return Some(End::ResetToClient);
                }
                self.has_reset = true;
                self.socket = None;
            }
            News::Reset => {}
        }
        None
    }

    fn report(&mut self, search: &mut Search, failure: ConnectFailure) {
        let seed = self.seed;
        self.close(); // a connect that timed out
        let backend = self.lease.take().expect("only a backend that was offered can fail");
        assert!(!self.blamed.contains(&backend), "seed {seed}: {backend} blamed twice");
        assert!(!failure.is_ours(), "seed {seed}: {backend} blamed for our shortage");
        let is_guilty = self.failures == self.backends[backend].len() || self.has_reset;
        assert!(is_guilty, "seed {seed}: {backend} is well, and blamed: {failure}");
        self.blamed.push(backend);
        search.on_reported();
    }
}

fn run(seed: u64, step: &Cell<usize>) -> End {
    let mut world = World::new(seed);
    let mut search = Search::default();
    for number in 0..10_000 {
        step.set(number);
        if world.rng.one_in(20) {
            world.run_short();
        }
        let timer = match search.next_step(&world.timeouts) {
            SearchStep::Choose => {
                world.offer(&mut search);
                continue;
            }
            SearchStep::Connect(address) => {
                world.close(); // the last address's, if that timed out
                world.connect(&mut search, address);
                continue;
            }
            SearchStep::Report(failure) => {
                world.report(&mut search, failure);
                continue;
            }
            SearchStep::GiveUp(reason) => {
                world.close();
                return check_end(&world, reason);
            }
            SearchStep::Wait(until) => Some(until),
            SearchStep::Relay => {
                let socket = world.socket.as_ref().expect("relaying needs a socket");
                assert_eq!(Some(socket.backend), world.lease, "seed {seed}");
                if world.due.is_empty() {
                    return End::Served(socket.backend);
                }
                None
            }
        };
        if let Some(end) = world.pass(&mut search, timer) {
            return end;
        }
    }
    panic!("seed {seed}: never ends: {search:?}");
}

fn check_end(world: &World, reason: CloseReason) -> End {
    let seed = world.seed;
    match reason {
        CloseReason::NoSocket => {
            // Every backend before the one that was waited for has been tried.
            assert!(world.lease.is_some(), "seed {seed}: waited without a backend");
        }
        CloseReason::NoBackend => assert!(world.backends.is_empty(), "seed {seed}"),
        CloseReason::ConnectRefused | CloseReason::ConnectTimeout => {
            assert_eq!(world.blamed.len(), world.backends.len(), "seed {seed}: gave up early");
        }
        other => panic!("seed {seed}: ended for {other}"),
    }
    End::GivenUp(reason)
}

#[test]
fn every_session_is_served_or_ends_and_only_the_guilty_are_blamed() {
    let ends: RefCell<Vec<End>> = RefCell::default();
    sweep(2000, |seed, step| ends.borrow_mut().push(run(seed, step)));
    let ends = ends.into_inner();
    if ends.len() < 2000 {
        return; // a replay
    }
    // The sweep must have seen everything that can become of a session.
    for reason in [CloseReason::NoSocket, CloseReason::NoBackend, CloseReason::ConnectRefused] {
        assert!(ends.contains(&End::GivenUp(reason)), "none given up for {reason}");
    }
    assert!(ends.contains(&End::ResetToClient));
    assert!(ends.iter().any(|end| matches!(end, End::Served(_))));
}
