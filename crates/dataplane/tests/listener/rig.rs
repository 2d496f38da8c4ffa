//! A data plane with one listener, and what tests ask of it.

use balancing::{AdminState, Backend, BackendState, HealthLimits, Pool, Tier};
use dataplane::{
    DataPlane, DoorId, Ended, Event, Listener, Observe, Options, SessionFilter, SessionInfo,
    Settings, Victims,
};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use terms::{
    Address, CloseReason, Cut, Limit, ListenerId, SendProxy, Source, SpliceMode, Timeouts,
};

/// Nothing that a test waits for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Rig {
    pub plane: DataPlane,
    pub listener: Arc<Listener>,
    pub address: SocketAddr,
    events: Receiver<Vec<Event>>,
    seen: Vec<Event>,
}

pub fn settings() -> Settings {
    Settings {
        timeouts: Timeouts {
            idle: None,
            half_close: None,
            backend_half_close: None,
            connect: PATIENCE,
            linger: PATIENCE,
            ..Timeouts::default()
        },
        sessions_max: None,
        connecting_max: None,
        clients: Default::default(),
        rate_max: None,
        source: Source::System,
        splice: SpliceMode::Auto,
        cut: Cut::Reset,
        forwarded_headers: false,
        dummy: false,
        accept_proxy: None,
        flows: terms::FlowRules::default(),
        hello_wait: None,
        tls: None,
        starttls: None,
        countries: None,
        observe: Observe::default(),
    }
}

/// A pool of these backends in one tier.
pub fn pool(addresses: &[SocketAddr]) -> Pool {
    pool_of(addresses.iter().map(|&address| vec![Address::Ip(address)]).collect())
}

/// A pool of backends with several addresses each.
pub fn pool_of(backends: Vec<Vec<Address>>) -> Pool {
    let backends = backends.into_iter().map(|addresses| {
        let name = addresses.first().map(ToString::to_string).unwrap_or_default();
        let state = Arc::new(BackendState::new(2, AdminState::Enabled, Limit::None));
        Arc::new(Backend::new(name, addresses, state))
    });
    let health = HealthLimits { quarantine: Duration::ZERO, ..HealthLimits::default() };
    Pool {
        tiers: vec![Tier { backends: backends.collect(), ..Tier::default() }],
        health,
        ..Pool::default()
    }
}

/// The same pool, whose backends are told who the client is.
pub fn announcing(pool: Pool, format: SendProxy) -> Pool {
    Pool { send_proxy: Some(format), ..pool }
}

pub fn backend() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Rig {
    pub fn new(settings: Settings, pool: Pool) -> Self {
        let (sender, events) = channel();
        let options = Options { workers: 2, spin: None };
        let sink = |_| -> Box<dyn FnMut(Vec<Event>) + Send> {
            let sender = sender.clone();
            Box::new(move |batch| drop(sender.send(batch)))
        };
        let plane = DataPlane::start(options, Default::default(), sink).unwrap();
        let listener =
            Arc::new(Listener::new(ListenerId::new(0), settings, Arc::new(pool), plane.workers()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut rig = Self { plane, listener, address, events, seen: Vec::new() };
        rig.listen();
        rig
    }

    /// Listens on a new port.
    pub fn listen(&mut self) -> DoorId {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = sys::net::listen_tcp(any, false, false).unwrap();
        self.address = sys::net::local_address(socket.as_fd()).unwrap();
        self.plane.listen(&self.listener, vec![socket])
    }

    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Waits for an event, and tells what is made of it; events before it are kept.
    pub fn await_event<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some((index, found)) =
                self.seen.iter().enumerate().find_map(|(index, event)| Some((index, pick(event)?)))
            {
                self.seen.remove(index);
                return found;
            }
            let batch = self.events.recv_timeout(PATIENCE);
            self.seen.extend(batch.unwrap_or_else(|_| panic!("only saw {:?}", self.seen)));
        }
    }

    pub fn await_end(&mut self) -> Ended {
        let mut ended = None;
        while ended.is_none() {
            let place = self.seen.iter().position(|event| matches!(event, Event::Ended(_)));
            match place.map(|place| self.seen.remove(place)) {
                Some(Event::Ended(it)) => ended = Some(it),
                _ => self.seen.extend(self.events.recv_timeout(PATIENCE).unwrap()),
            }
        }
        ended.unwrap()
    }

    /// How many connects failed, of what was told and not awaited.
    pub fn failures(&self) -> usize {
        self.seen.iter().filter(|event| matches!(event, Event::ConnectFailed(_))).count()
    }

    /// What was told and not awaited.
    pub fn seen(&self) -> &[Event] {
        &self.seen
    }

    /// Returns when every worker has gone through its loop once more than it had to: what was
    /// ready for it before, it has seen.
    pub fn settle(&self) {
        for _ in 0..3 {
            let _ = self.list();
        }
    }

    /// The open sessions of all workers.
    pub fn list(&self) -> Vec<SessionInfo> {
        self.list_with(SessionFilter::default())
    }

    /// Some open sessions of all workers.
    pub fn list_with(&self, filter: SessionFilter) -> Vec<SessionInfo> {
        let (sender, lists) = channel();
        let filter = Arc::new(filter);
        self.plane.list(&filter, move |list| sender.send(list).unwrap());
        filter.merge(lists.iter().flatten().collect())
    }

    /// Ends one session, or all, and returns how many.
    pub fn cut(&self, session: Option<u64>, reason: CloseReason) -> usize {
        let (sender, counts) = channel();
        let whom = session.map_or(Victims::All, Victims::Session);
        self.plane.cut(whom, reason, move |count| sender.send(count).unwrap());
        counts.iter().sum()
    }
}

/// Waits for a condition.
#[track_caller]
pub fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads as many bytes as are expected, and compares.
#[track_caller]
pub fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expected));
}

/// Reads up to the end of file.
#[track_caller]
pub fn expect_rest(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expected));
}
