//! A listener and its pool, as all workers see them.

use crate::event::{Ended, SourceFault};
use crate::ledger::{Ledger, ListenerTotals};
use crate::room::{Room, RoomLimits};
use crate::sync::AtomicU64;
use arc_swap::{ArcSwap, Guard};
use balancing::{
    Admission, ClientLimits, ConnectionIds, Country, Pool, ProxyPeers, Rate, Refused, Routes,
};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use terms::{Cut, FlowRules, Instant, ListenerId, Source, SpliceMode, Starttls, Timeouts};
use tls::Acceptor;

/// A listener's settings, its pool and its counters.
#[derive(Debug)]
pub struct Listener {
    id: ListenerId,
    /// The settings for sessions. Replaced while sessions continue.
    settings: ArcSwap<Settings>,
    /// The current snapshot of the pool.
    pool: ArcSwap<Pool>,
    /// The pools of TLS clients that ask for certain names or protocols.
    routing: ArcSwap<Routing>,
    /// Open sessions, those that are connecting (exactly the [`Connecting`]s alive), and whether
    /// accepting waits until some have ended.
    room: Room,
    /// Sessions accepted since the start.
    sessions_total: AtomicU64,
    /// Datagrams that no flow could begin with.
    dropped_total: AtomicU64,
    /// Who has how many sessions, from the first session under limits on.
    clients: OnceLock<Admission>,
    /// Which backends have connections of QUIC, from the first time that this is asked for.
    connection_ids: OnceLock<ConnectionIds>,
    /// Clients refused by their limits, by [`Refused`].
    refused: [AtomicU64; 3],
    /// What has been taken of [`Settings::rate_max`].
    busy_until: AtomicU64,
    /// One bit for each kind of [`crate::SourceFault`] that was reported under these settings.
    source_faults_told: AtomicU8,
    /// One for each worker that has had sessions, and one for the kernel if it has.
    ledgers: Box<[OnceLock<Box<Ledger>>]>,
    /// What an earlier process has counted, if there was one.
    inherited: OnceLock<Box<Ledger>>,
}

/// The settings for a listener's sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time-outs.
    pub timeouts: Timeouts,
    /// What ends UDP flows.
    pub flows: FlowRules,
    /// The number of open sessions at which accepting pauses, and UDP flows make room for others.
    pub sessions_max: Option<u32>,
    /// The number of connects in progress at which accepting pauses.
    pub connecting_max: Option<u32>,
    /// The limits of every client.
    pub clients: ClientLimits,
    /// How fast clients are accepted, and UDP flows begun.
    pub rate_max: Option<Rate>,
    /// The local address for connections to backends.
    pub source: Source,
    /// Whether bulk data passes through pipes.
    pub splice: SpliceMode,
    /// What peers see when the balancer ends a session.
    pub cut: Cut,
    /// Whether `X-Forwarded-Proto` and `X-Forwarded-For` are added to HTTP requests. Applies to
    /// sessions that begin later.
    pub forwarded_headers: bool,
    /// Whether clients are answered with a fixed page, without a backend. Applies to sessions that
    /// begin later.
    pub dummy: bool,
    /// The peers that announce their clients by a header of the PROXY protocol; others are not
    /// served. Applies to sessions that begin later.
    pub accept_proxy: Option<ProxyPeers>,
    /// How long clients may be silent before they go to the listener's own pool; `None` if nobody
    /// waits, because there are neither routes nor requests for TLS. Applies to sessions that begin later.
    pub hello_wait: Option<Duration>,
    /// What the clients' TLS is terminated with, if it is. Applies to sessions that begin later.
    pub tls: Option<Termination>,
    /// How clients may ask for TLS before their ClientHello. Applies to sessions that begin later.
    pub starttls: Option<Starttls>,
    /// Where addresses are registered, if that is known. Used if an access list needs it.
    pub countries: Option<Arc<dyn Countries>>,
    /// What is reported besides the end of each session.
    pub observe: Observe,
}

/// The pools of a listener's TLS clients, by what they ask for.
#[derive(Debug, Default)]
pub struct Routing {
    /// The routes.
    pub routes: Routes,
    /// The pool of each route.
    pub pools: Vec<Arc<Pool>>,
}

impl Routing {
    /// The pool of a client; see [`Routes::find`].
    pub(crate) fn find(
        &self,
        name: Option<&str>,
        offers: impl Fn(&str) -> bool,
    ) -> Option<Arc<Pool>> {
        self.pools.get(self.routes.find(name, offers)?).map(Arc::clone)
    }
}

/// What clients' TLS is terminated with.
#[derive(Clone, Debug)]
pub struct Termination {
    /// Certificates and rules. Without them, nobody is served.
    pub acceptor: Option<Acceptor>,
    /// How long a handshake may take.
    pub timeout: Duration,
}

/// Knows where addresses are registered.
pub trait Countries: Send + Sync + std::fmt::Debug {
    /// The country of an address, if it is known. Workers call this, so it must be fast and never
    /// wait.
    fn country(&self, address: IpAddr) -> Option<Country>;
}

/// What is reported besides the end of each session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// Each step of choosing and connecting ([`crate::Trace`]).
    pub steps: bool,
    /// Each block of data. Blocks then have at most 32 kB, and nothing is spliced.
    pub blocks: bool,
    /// The beginning of each piece of data from a client ([`crate::Event::Request`]). Data from
    /// clients is then not spliced.
    pub requests: bool,
    /// Each session that has been connected to a backend ([`crate::Event::Started`]).
    pub starts: bool,
}

impl Observe {
    /// Whether data is reported.
    pub(crate) fn sees_data(self) -> bool {
        self.blocks || self.requests
    }
}

/// A session whose backend has not answered yet. It is counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Connecting(Arc<Listener>);

impl Connecting {
    pub fn new(listener: &Arc<Listener>) -> Self {
        listener.room.begin_connecting();
        Self(Arc::clone(listener))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.room.end_connecting();
    }
}

impl Listener {
    /// Whether another session may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.room.has_room(self.limits())
    }

    /// Whether accepting has paused and may go on. To be asked after each step that makes room.
    pub(crate) fn may_resume(&self) -> bool {
        self.room.is_paused() && self.room.has_room(self.limits())
    }

    fn limits(&self) -> RoomLimits {
        let settings = self.settings();
        RoomLimits { sessions: settings.sessions_max, connecting: settings.connecting_max }
    }

    /// The current settings. Cheap; hold them for one event at most.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Replaces the settings; [`crate::DataPlane::publish`] also has workers act on them.
    pub(crate) fn set_settings(&self, settings: Settings) {
        let before = self.settings.swap(Arc::new(settings));
        if before.source != self.settings().source {
            self.source_faults_told.store(0, Relaxed);
        }
    }

    /// Whether a fault of this kind has not been reported yet under these settings.
    pub(crate) fn is_news(&self, fault: &SourceFault) -> bool {
        let (told, bit) = (&self.source_faults_told, fault.bit());
        // Looking first spares every session a write to what workers share.
        told.load(Relaxed) & bit == 0 && told.fetch_or(bit, Relaxed) & bit == 0
    }

    /// Where a new client's address is registered, if a rule of this pool needs that.
    #[must_use]
    pub fn country(&self, pool: &Pool, client: IpAddr) -> Option<Country> {
        let settings = self.settings();
        let countries = settings.countries.as_ref()?;
        pool.needs_country().then(|| countries.country(client.to_canonical()))?
    }

    /// The id by which events name it.
    #[must_use]
    pub const fn id(&self) -> ListenerId {
        self.id
    }

    /// The current pool for new sessions. Cheap; clone the `Arc` to keep it for longer.
    #[must_use]
    pub fn pool(&self) -> Guard<Arc<Pool>> {
        self.pool.load()
    }

    /// Sends new sessions to another pool. Open sessions keep theirs. Listeners that are given the
    /// same one share everything of it.
    pub fn publish_pool(&self, pool: Arc<Pool>) {
        self.pool.store(pool);
    }

    /// The current routes for new sessions.
    #[must_use]
    pub fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Replaces the routes, or their pools.
    pub fn publish_routing(&self, routing: Routing) {
        self.routing.store(Arc::new(routing));
    }

    /// Open sessions.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.room.sessions()
    }

    /// Sessions accepted since the start.
    #[must_use]
    pub fn sessions_total(&self) -> u64 {
        self.sessions_total.load(Relaxed)
    }

    /// Datagrams that no flow could begin with: they cannot be answered, or there was no room.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Relaxed)
    }

    /// Counts a datagram that no flow could begin with.
    pub(crate) fn count_dropped(&self) {
        self.dropped_total.fetch_add(1, Relaxed);
    }

    /// Whether there are as many sessions as its limit allows.
    pub(crate) fn is_full(&self) -> bool {
        self.settings().sessions_max.is_some_and(|most| self.sessions() >= most)
    }

    /// Takes one of the times at which clients may be accepted.
    ///
    /// # Errors
    /// When to try again, if there is none at `now`.
    pub(crate) fn take_turn(&self, now: Instant) -> Result<(), Instant> {
        match self.settings().rate_max {
            Some(rate) if !rate.take(&self.busy_until, now) => Err(rate.next(&self.busy_until)),
            _ => Ok(()),
        }
    }

    /// Gives back a time that was taken, because nobody was there.
    pub(crate) fn give_back_turn(&self) {
        if let Some(rate) = self.settings().rate_max {
            rate.give_back(&self.busy_until);
        }
    }

    /// Whether a client may begin a session at `now`. Returns whether that is counted, so that
    /// [`Self::release`] is due at its end.
    pub(crate) fn admit(&self, client: Option<SocketAddr>, now: Instant) -> Result<bool, Refused> {
        let settings = self.settings();
        let (limits, Some(client)) = (&settings.clients, client) else { return Ok(false) };
        if !limits.are_any() {
            return Ok(false);
        }
        let admitted = self.clients(limits).admit(client.ip(), limits, now);
        if let Err(refused) = admitted {
            self.refused[refused as usize].fetch_add(1, Relaxed);
        }
        admitted
    }

    /// Counts a session of a client that has begun in another process, if clients have limits.
    pub(crate) fn adopt(&self, client: Option<SocketAddr>, now: Instant) -> bool {
        let settings = self.settings();
        let (limits, Some(client)) = (&settings.clients, client) else { return false };
        limits.are_any() && self.clients(limits).adopt(client.ip(), now)
    }

    fn clients(&self, limits: &ClientLimits) -> &Admission {
        // Random, so that nobody can choose addresses that share a set.
        let seed = || RandomState::new().hash_one(self.id);
        self.clients.get_or_init(|| Admission::new(limits, seed()))
    }

    /// Which backends have the connections that clients write to, by their ids.
    pub(crate) fn connection_ids(&self) -> &ConnectionIds {
        // Random, as above.
        let seed = |number: u64| RandomState::new().hash_one(number);
        self.connection_ids.get_or_init(|| ConnectionIds::new((seed(0), seed(1))))
    }

    /// Counts the end of a client's session that was counted.
    pub(crate) fn release(&self, client: Option<SocketAddr>) {
        if let (Some(clients), Some(client)) = (self.clients.get(), client) {
            clients.release(client.ip());
        }
    }

    /// Clients refused by their limits, by [`Refused`].
    #[must_use]
    pub fn refused_total(&self) -> [u64; 3] {
        self.refused.each_ref().map(|it| it.load(Relaxed))
    }

    /// Counts a new session.
    pub(crate) fn begin_session(&self) {
        self.sessions_total.fetch_add(1, Relaxed);
        self.room.begin_session();
    }

    /// Continues to count where another process was: sessions accepted, and datagrams dropped.
    pub fn count_from(&self, sessions_total: u64, dropped_total: u64) {
        self.sessions_total.fetch_add(sessions_total, Relaxed);
        self.dropped_total.fetch_add(dropped_total, Relaxed);
    }

    /// Sets what else an earlier process has counted. Only one thread may call this.
    pub fn inherit(&self, totals: &ListenerTotals) {
        self.inherited.get_or_init(Box::default).set(totals);
    }

    /// Counts a session that another process has accepted.
    pub fn adopt_session(&self) {
        self.room.begin_session();
    }

    /// Counts the end of a session.
    pub(crate) fn end_session(&self) {
        self.room.end_session();
    }

    /// Records that accepting waits until sessions have ended; ask [`Self::has_room`] once more
    /// afterwards.
    pub(crate) fn pause(&self) {
        self.room.pause();
    }

    /// Records that accepting continues.
    pub(crate) fn unpause(&self) {
        self.room.unpause();
    }

    /// Whether accepting waits until sessions have ended.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.room.is_paused()
    }

    /// Sessions whose backend has not answered yet.
    #[must_use]
    pub fn connecting(&self) -> u32 {
        self.room.connecting()
    }

    /// What a worker counts.
    pub(crate) fn ledger(&self, worker: usize) -> &Ledger {
        self.ledgers[worker].get_or_init(Box::default)
    }

    /// Counts a session that has ended and that no worker has had, because the kernel forwarded it.
    /// There must be one caller.
    pub fn count_forwarded(&self, ended: &Ended) {
        let ledger = self.ledger(self.ledgers.len() - 1);
        ledger.count_passed(ended.sent_bytes, ended.received_bytes);
        ledger.count_forwarded();
        ledger.count_end(ended);
    }

    /// What all workers have counted, and the kernel.
    #[must_use]
    pub fn totals(&self) -> ListenerTotals {
        let all = self.ledgers.iter().chain([&self.inherited]);
        ListenerTotals::of(all.filter_map(|it| Some(&**it.get()?)))
    }

    /// A listener without counts and without routes, for `workers` workers.
    #[must_use]
    pub fn new(id: ListenerId, settings: Settings, pool: Arc<Pool>, workers: usize) -> Self {
        Self {
            id,
            settings: ArcSwap::from_pointee(settings),
            pool: ArcSwap::new(pool),
            routing: ArcSwap::default(),
            room: Room::new(),
            sessions_total: AtomicU64::new(0),
            dropped_total: AtomicU64::new(0),
            clients: OnceLock::new(),
            connection_ids: OnceLock::new(),
            refused: Default::default(),
            busy_until: Default::default(),
            source_faults_told: AtomicU8::new(0),
            inherited: OnceLock::new(),
            ledgers: (0..=workers).map(|_| OnceLock::new()).collect(),
        }
    }
}
