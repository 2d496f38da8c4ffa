//! A backend: its address, and what all workers know about it.

use crate::crowd::Crowd;
use crate::health::{Health, HealthLimits, Outcome};
use crate::histogram::{Distribution, Histogram, LATENCIES, bump};
use crate::latency::Latency;
use crate::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::warmth::Warmth;
use crate::{AccessList, AdminState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use terms::{Address, BackendId, Encryption, FailureKind, Instant, Limit, SendProxy};

/// A backend as one snapshot describes it. Its [`BackendState`] outlives snapshots.
#[derive(Debug)]
pub struct Backend {
    /// The backend's identity in the configuration, independent of its place.
    pub id: BackendId,
    /// The address as configured, such as `db1:5432`.
    pub name: Arc<str>,
    /// The resolved addresses, the preferred one first; a name may have several. Empty while a name
    /// cannot be resolved, which makes every attempt fail.
    pub addresses: Vec<Address>,
    /// The share of sessions under [`crate::Policy::Weighted`]. Zero means none. Default 1.
    pub weight: u32,
    /// The rank under [`crate::Policy::Priority`]; the lowest is used first.
    pub priority: i32,
    /// Which clients may be sent here.
    pub access: Arc<AccessList>,
    /// The form of the PROXY header that announces the client, if it is not the pool's.
    pub send_proxy: Option<SendProxy>,
    /// How connections are encrypted, if they are.
    pub encryption: Option<Encryption>,
    /// The age at which its sessions end, if there is one.
    pub age_max: Option<Duration>,
    /// What workers share about the backend.
    pub state: Arc<BackendState>,
    /// Where its sessions are counted together with those of its tier, if they are.
    pub crowd: Option<Arc<Crowd>>,
}

impl Backend {
    /// A backend of weight 1, without an id, a rank, an access list, a PROXY header or TLS.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        addresses: Vec<Address>,
        state: Arc<BackendState>,
    ) -> Self {
        Self {
            id: BackendId::default(),
            name: name.into(),
            addresses,
            weight: 1,
            priority: 0,
            access: AccessList::everyone(),
            send_proxy: None,
            encryption: None,
            age_max: None,
            state,
            crowd: None,
        }
    }

    /// The same backend at other addresses.
    #[must_use]
    pub fn with_addresses(&self, addresses: Vec<Address>) -> Self {
        Self {
            id: self.id,
            name: Arc::clone(&self.name),
            addresses,
            weight: self.weight,
            priority: self.priority,
            access: Arc::clone(&self.access),
            send_proxy: self.send_proxy,
            encryption: self.encryption.clone(),
            age_max: self.age_max,
            state: Arc::clone(&self.state),
            crowd: self.crowd.clone(),
        }
    }

    /// The same backend, with its sessions counted in `crowd`.
    pub(crate) fn counted_in(&self, crowd: Option<Arc<Crowd>>) -> Self {
        Self { crowd, ..self.with_addresses(self.addresses.clone()) }
    }

    pub(crate) fn is_counted_in(&self, crowd: Option<&Arc<Crowd>>) -> bool {
        self.crowd.as_ref().map(Arc::as_ptr) == crowd.map(Arc::as_ptr)
    }
}

/// What workers share about a backend. Atomic, so that changes need no new snapshot. What a choice
/// looks at is in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub struct BackendState {
    /// Open sessions and connects in progress: exactly the number of [`Lease`]s.
    sessions: AtomicU32,
    /// Open sessions that the kernel forwards by itself, when they were last counted.
    forwarded: AtomicU32,
    /// [`NO_LIMIT`] for [`Limit::None`].
    sessions_max: AtomicU32,
    /// The limit for clients that are remembered with this backend, if it is higher.
    sessions_max_affine: AtomicU32,
    /// Two bits of [`AdminState`] on top of a packed [`Health`].
    word: AtomicU64,
    /// The time of the last failure in nanoseconds, whatever came after it; zero if there was none.
    last_failure: AtomicU64,
    /// The address that answered last.
    preferred: AtomicU32,
    latency: Latency,
    warmth: Warmth,
    /// The part in percent of its sessions that its agent grants it; zero for none.
    granted: AtomicU32,
    tallies: Box<[Tally]>,
    /// What an earlier process has counted, if there was one.
    inherited: OnceLock<Box<Tally>>,
}

/// What one worker counted for one backend. Only that worker writes, so no lock is needed.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Tally {
    attempts: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    /// When the backend last answered by UDP, in nanoseconds.
    answered: AtomicU64,
    /// By [`FailureKind`].
    failures: [AtomicU64; KINDS],
    retransmits: AtomicU64,
    /// See [`Quality`].
    answers: AtomicU64,
    answer_micros: AtomicU64,
    early_closes: AtomicU64,
    /// A backend that has served nobody has none.
    timings: OnceLock<Box<Histograms>>,
}

const KINDS: usize = FailureKind::ALL.len();

/// What one worker has timed.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Histograms {
    connect: Histogram,
    first_byte: Histogram,
    round_trip: Histogram,
}

/// How quickly a backend has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From beginning to connect until the backend has answered.
    pub connect: Distribution,
    /// From being connected until the backend's first byte; for UDP, from a flow's first datagram
    /// until the first answer.
    pub first_byte: Distribution,
    /// The kernel's estimate of the round-trip time, at the end of each session.
    pub round_trip: Distribution,
}

impl std::ops::AddAssign for Timings {
    fn add_assign(&mut self, other: Self) {
        self.connect += other.connect;
        self.first_byte += other.first_byte;
        self.round_trip += other.round_trip;
    }
}

/// The sum over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connects begun, failed ones included.
    pub attempts: u64,
    /// Connects that failed, by [`FailureKind`].
    pub failures: [u64; KINDS],
    /// Bytes from clients to the backend.
    pub sent_bytes: u64,
    /// Bytes from the backend to clients.
    pub received_bytes: u64,
    /// Segments that were sent to the backend again, in sessions that have ended.
    pub retransmits: u64,
}

impl Totals {
    /// The counts since `baseline`; zero for a counter that is below it.
    #[must_use]
    pub fn since(self, baseline: Self) -> Self {
        self.with(baseline, u64::saturating_sub)
    }

    /// Connects that failed.
    #[must_use]
    pub fn all_failures(&self) -> u64 {
        self.failures.iter().sum()
    }

    fn with(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        let failures = std::array::from_fn(|kind| join(self.failures[kind], other.failures[kind]));
        Self {
            attempts: join(self.attempts, other.attempts),
            failures,
            sent_bytes: join(self.sent_bytes, other.sent_bytes),
            received_bytes: join(self.received_bytes, other.received_bytes),
            retransmits: join(self.retransmits, other.retransmits),
        }
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = self.with(other, |one, more| one + more);
    }
}

/// What has become of the sessions that a backend was given, as far as it says something about the
/// backend. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Sessions with an answer.
    pub answers: u64,
    /// How long they had to wait for it, in microseconds, all together.
    pub answer_micros: u64,
    /// Sessions without one: connects that failed, and connections that the backend closed at once.
    pub failures: u64,
}

/// A place at a backend. Dropping the lease returns the place.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
}

/// A change of a backend that operators want to know about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChange {
    /// It failed and is skipped for a while.
    Quarantined,
    /// It answers again.
    Recovered,
    /// It failed and was disabled until an operator enables it.
    AutoDisabled,
}

impl BackendState {
    /// A state with nothing counted yet, for `workers` workers.
    #[must_use]
    pub fn new(workers: usize, admin: AdminState, sessions_max: Limit) -> Self {
        Self {
            sessions: AtomicU32::new(0),
            forwarded: AtomicU32::new(0),
            sessions_max: AtomicU32::new(count(sessions_max)),
            sessions_max_affine: AtomicU32::new(0),
            word: AtomicU64::new(admin_bits(admin)),
            last_failure: AtomicU64::new(0),
            preferred: AtomicU32::new(0),
            latency: Latency::new(),
            warmth: Warmth::new(),
            granted: AtomicU32::new(WHOLE),
            tallies: (0..workers).map(|_| Tally::default()).collect(),
            inherited: OnceLock::new(),
        }
    }

    /// A state of its own that is like another, but for the counters.
    pub(crate) fn copy(other: &Self) -> Self {
        Self {
            sessions: AtomicU32::new(other.sessions.load(Relaxed)),
            forwarded: AtomicU32::new(other.forwarded.load(Relaxed)),
            sessions_max: AtomicU32::new(other.sessions_max.load(Relaxed)),
            sessions_max_affine: AtomicU32::new(other.sessions_max_affine.load(Relaxed)),
            word: AtomicU64::new(other.word.load(Relaxed)),
            last_failure: AtomicU64::new(other.last_failure.load(Relaxed)),
            preferred: AtomicU32::new(other.preferred.load(Relaxed)),
            latency: Latency::copy(&other.latency),
            warmth: Warmth::copy(&other.warmth),
            granted: AtomicU32::new(other.granted.load(Relaxed)),
            tallies: Box::default(),
            inherited: OnceLock::new(),
        }
    }

    /// Open sessions and connects in progress of this process.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Relaxed)
    }

    /// All open sessions and connects in progress, with those that the kernel forwards by itself.
    #[must_use]
    pub fn all_sessions(&self) -> u32 {
        self.sessions().saturating_add(self.forwarded.load(Relaxed))
    }

    /// Notes how many sessions the kernel forwards by itself. Returns how many it did.
    pub fn set_forwarded(&self, sessions: u32) -> u32 {
        self.forwarded.swap(sessions, Relaxed)
    }

    /// The maximum number of sessions.
    #[must_use]
    pub fn sessions_max(&self) -> Limit {
        match self.sessions_max.load(Relaxed) {
            NO_LIMIT => Limit::None,
            most => Limit::AtMost(most),
        }
    }

    /// Changes the limit. Open sessions count, and none is ended.
    pub fn set_sessions_max(&self, sessions_max: Limit) {
        self.sessions_max.store(count(sessions_max), Relaxed);
    }

    /// The limit for clients that are remembered with this backend. It applies if it is higher than
    /// [`Self::sessions_max`].
    #[must_use]
    pub fn sessions_max_affine(&self) -> u32 {
        self.sessions_max_affine.load(Relaxed)
    }

    /// Changes the limit for remembered clients.
    pub fn set_sessions_max_affine(&self, sessions_max: u32) {
        self.sessions_max_affine.store(sessions_max, Relaxed);
    }

    /// The operator's decision.
    #[must_use]
    pub fn admin(&self) -> AdminState {
        match self.word.load(Relaxed) >> ADMIN_SHIFT {
            0 => AdminState::Enabled,
            1 => AdminState::Disabled,
            _ => AdminState::Draining,
        }
    }

    /// Applies an operator's decision; returns whether that changes anything. Enabling ends a
    /// quarantine, because the operator says that the backend is well. What probes say stays.
    pub fn set_admin(&self, admin: AdminState) -> bool {
        let change = |word: u64| {
            let health = match Health::unpack(word & HEALTH_MASK) {
                Health::Quarantined { .. } | Health::Healthy { .. } | Health::Ejected { .. }
                    if admin == AdminState::Enabled =>
                {
                    0
                }
                health => health.pack(),
            };
            (word >> ADMIN_SHIFT != admin_bits(admin) >> ADMIN_SHIFT)
                .then(|| admin_bits(admin) | health)
        };
        self.word.fetch_update(Relaxed, Relaxed, change).is_ok()
    }

    /// The health according to connects and probes.
    #[must_use]
    pub fn health(&self) -> Health {
        Health::unpack(self.word.load(Relaxed) & HEALTH_MASK)
    }

    /// When a connect last failed, or would have failed to have the effect of
    /// [`Self::quarantine_for`]; `None` if never. A success does not change it.
    #[must_use]
    pub fn last_failure(&self) -> Option<Instant> {
        match self.last_failure.load(Relaxed) {
            0 => None,
            nanos => Some(Instant::from_nanos(nanos)),
        }
    }

    /// Skips the backend for exactly `length` from `now`, whatever its health. Zero ends a
    /// quarantine at once. One that is down stays so. Source: penctl(1), `server N blacklist`.
    pub fn quarantine_for(&self, length: Duration, limits: &HealthLimits, now: Instant) {
        if !matches!(self.health(), Health::Down { .. }) {
            self.set_health(Health::left_out_for(length, limits, now));
        }
    }

    /// It has just become available, and gets its share step by step where the pool wants that.
    pub fn warm_up(&self, now: Instant) {
        self.warmth.begin(now);
    }

    /// The part in percent of its usual sessions that the backend gets, according to its agent.
    #[must_use]
    pub fn granted_percent(&self) -> u32 {
        self.granted.load(Relaxed)
    }

    /// Grants the backend this part of its usual sessions: 100 for all, zero for none. Open sessions
    /// continue.
    pub fn grant_percent(&self, percent: u32) {
        self.granted.store(percent.min(WHOLE), Relaxed);
    }

    /// Whether neither an operator nor an agent keeps new sessions away.
    #[must_use]
    pub fn is_in_service(&self) -> bool {
        self.admin() == AdminState::Enabled && self.granted_percent() > 0
    }

    pub(crate) fn warmth(&self) -> &Warmth {
        &self.warmth
    }

    /// Folds in a verdict of the probes; returns whether it changes anything. One that was down is
    /// warming up from now on, and one that is new, since only now it gets sessions.
    pub fn judge(&self, is_up: bool, now: Instant) -> bool {
        match self.health() {
            Health::Down { .. } if is_up => self.warmth.begin(now),
            Health::Unknown if is_up => self.warmth.begin_again(now),
            _ => {}
        }
        let next = |word: u64| {
            let health = Health::unpack(word & HEALTH_MASK).judge(is_up, now).pack();
            (health != word & HEALTH_MASK).then_some(word & !HEALTH_MASK | health)
        };
        self.word.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Marks a backend as unknown, if no connect to it was tried.
    pub fn doubt(&self) {
        let is_untried = self.totals().attempts == 0;
        let next = |word: u64| {
            (is_untried && word & HEALTH_MASK == 0).then(|| word | Health::Unknown.pack())
        };
        // Declined if something is known.
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// There are no probes any more, so that what they have said no longer counts.
    pub fn forget_verdict(&self) {
        let next = |word: u64| match Health::unpack(word & HEALTH_MASK) {
            Health::Unknown | Health::Down { .. } => Some(word & !HEALTH_MASK),
            Health::Healthy { .. } | Health::Quarantined { .. } | Health::Ejected { .. } => None,
        };
        // Declined if there is nothing to forget.
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// Sets the health: that of an earlier process, or one that an operator wants.
    pub fn set_health(&self, health: Health) {
        if let Health::Quarantined { since, .. } = health {
            self.last_failure.store(since.as_nanos().max(1), Relaxed);
        }
        let change = |word: u64| Some(word & !HEALTH_MASK | health.pack());
        // The closure never declines.
        let _ = self.word.fetch_update(Relaxed, Relaxed, change);
    }

    /// The index of the address to try first.
    #[must_use]
    pub fn preferred(&self) -> usize {
        self.preferred.load(Relaxed) as usize
    }

    /// Remembers which address answered.
    pub fn set_preferred(&self, index: usize) {
        let index = u32::try_from(index).unwrap_or(0);
        if self.preferred.load(Relaxed) != index {
            self.preferred.store(index, Relaxed);
        }
    }

    /// How long it takes to answer.
    #[must_use]
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// The counters of worker `worker`.
    ///
    /// # Panics
    /// If `worker` is not below the number given to [`Self::new`].
    #[must_use]
    pub fn tally(&self, worker: usize) -> &Tally {
        &self.tallies[worker]
    }

    /// The sum of all workers' counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        let inherited = self.inherited.get().map(|it| &**it);
        for tally in self.tallies.iter().chain(inherited) {
            sum += Totals {
                attempts: tally.attempts.load(Relaxed),
                failures: std::array::from_fn(|kind| tally.failures[kind].load(Relaxed)),
                sent_bytes: tally.sent_bytes.load(Relaxed),
                received_bytes: tally.received_bytes.load(Relaxed),
                retransmits: tally.retransmits.load(Relaxed),
            };
        }
        sum
    }

    /// What has become of the sessions that all workers gave it.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let mut sum = Quality::default();
        for tally in &self.tallies {
            let refused: u64 = tally.failures.iter().map(|it| it.load(Relaxed)).sum();
            sum.answers += tally.answers.load(Relaxed);
            sum.answer_micros += tally.answer_micros.load(Relaxed);
            sum.failures += refused + tally.early_closes.load(Relaxed);
        }
        sum
    }

    /// What all workers have timed.
    #[must_use]
    pub fn timings(&self) -> Timings {
        let mut sum = Timings::default();
        self.add_timings_to(&mut sum);
        sum
    }

    /// Adds how quickly it has answered to `sum`.
    pub fn add_timings_to(&self, sum: &mut Timings) {
        let inherited = self.inherited.get().map(|it| &**it);
        let tallies = self.tallies.iter().chain(inherited);
        for timed in tallies.filter_map(|tally| tally.timings.get()) {
            timed.connect.add_to(&mut sum.connect);
            timed.first_byte.add_to(&mut sum.first_byte);
            timed.round_trip.add_to(&mut sum.round_trip);
        }
    }

    /// Sets what an earlier process has counted and timed, and when it last saw a failure. Only one
    /// thread may call this.
    pub fn inherit(&self, totals: Totals, timings: &Timings, last_failure: Option<Instant>) {
        let inherited = self.inherited.get_or_init(Box::default);
        inherited.attempts.store(totals.attempts, Relaxed);
        for (counter, count) in inherited.failures.iter().zip(totals.failures) {
            counter.store(count, Relaxed);
        }
        inherited.retransmits.store(totals.retransmits, Relaxed);
        inherited.sent_bytes.store(totals.sent_bytes, Relaxed);
        inherited.received_bytes.store(totals.received_bytes, Relaxed);
        if *timings != Timings::default() {
            let timed = inherited.timings.get_or_init(Box::default);
            timed.connect.set(&timings.connect);
            timed.first_byte.set(&timings.first_byte);
            timed.round_trip.set(&timings.round_trip);
        }
        let last = last_failure.map_or(0, Instant::as_nanos);
        self.last_failure.fetch_max(last, Relaxed);
    }

    /// Whether the backend has answered anybody by UDP since this time.
    #[must_use]
    pub fn has_answered_since(&self, since: Instant) -> bool {
        self.tallies.iter().any(|tally| tally.answered.load(Relaxed) >= since.as_nanos().max(1))
    }

    /// Folds in the result of a connect, and returns what changed.
    pub(crate) fn observe(
        &self,
        outcome: Outcome,
        limits: &HealthLimits,
        auto_disable: bool,
        now: Instant,
    ) -> Option<BackendChange> {
        let before = self.word.load(Relaxed);
        if outcome == Outcome::Success && before & HEALTH_MASK == 0 {
            return None; // the common case: well and stays well, no write
        }
        if outcome == Outcome::Failure {
            self.last_failure.store(now.as_nanos().max(1), Relaxed);
        }
        let may_disable = auto_disable && outcome == Outcome::Failure;
        let after = |word: u64| {
            let is = Health::unpack(word & HEALTH_MASK).observe(outcome, limits, now);
            let disables = may_disable && word >> ADMIN_SHIFT == 0 && is.has_failed(limits);
            (is, disables)
        };
        let next = |word: u64| {
            let (is, disables) = after(word);
            let disabled = admin_bits(AdminState::Disabled);
            let admin = if disables { disabled } else { word & !HEALTH_MASK };
            Some(admin | is.pack())
        };
        let before = self.word.fetch_update(Relaxed, Relaxed, next).unwrap_or(before);
        let was = Health::unpack(before & HEALTH_MASK);
        let (is, disables) = after(before);
        match (was, is) {
            _ if disables => Some(BackendChange::AutoDisabled),
            (Health::Healthy { .. } | Health::Unknown, Health::Quarantined { .. }) => {
                Some(BackendChange::Quarantined)
            }
            (Health::Quarantined { .. }, Health::Healthy { .. }) => {
                self.warmth.begin(now);
                Some(BackendChange::Recovered)
            }
            _ => None,
        }
    }

    /// Takes a place if the limit allows, in one atomic step.
    fn reserve(&self, is_remembered: bool, most: u32) -> bool {
        let limit = self.limit(is_remembered).min(most);
        let take = |sessions| (sessions < limit).then_some(sessions + 1);
        self.sessions.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// How many sessions this process may have when one more client comes: the limit without those that
    /// the kernel forwards, as they may have been open before there was a limit.
    fn limit(&self, is_remembered: bool) -> u32 {
        let limit = self.sessions_max.load(Relaxed);
        let limit = if is_remembered { limit.max(self.sessions_max_affine()) } else { limit };
        limit.saturating_sub(self.forwarded.load(Relaxed))
    }

    /// Whether the backend can take a session: it is in service and not full.
    pub(crate) fn is_usable(&self, is_remembered: bool) -> bool {
        self.sessions() < self.limit(is_remembered) && self.is_in_service()
    }
}

/// All of its sessions, in percent.
const WHOLE: u32 = 100;
/// A count that is never reached.
const NO_LIMIT: u32 = u32::MAX;

fn count(limit: Limit) -> u32 {
    match limit {
        Limit::None => NO_LIMIT,
        Limit::AtMost(most) => most,
    }
}

impl Tally {
    /// Counts sessions that the kernel has begun, those of them that the backend has refused, and the
    /// bytes from clients and to them.
    pub fn count_forwarded(
        &self,
        sessions: u64,
        refusals: u64,
        [sent_bytes, received_bytes]: [u64; 2],
    ) {
        bump(&self.attempts, sessions);
        bump(&self.failures[FailureKind::Refused as usize], refusals);
        bump(&self.sent_bytes, sent_bytes);
        bump(&self.received_bytes, received_bytes);
    }

    /// Notes that the backend has answered by UDP.
    pub fn note_answer(&self, now: Instant) {
        self.answered.store(now.as_nanos(), Relaxed);
    }

    /// Counts a connect.
    pub fn count_attempt(&self) {
        bump(&self.attempts, 1);
    }

    /// Counts a failed connect.
    pub fn count_failure(&self, kind: FailureKind) {
        bump(&self.failures[kind as usize], 1);
    }

    /// Counts a connect that has succeeded.
    pub fn count_connect(&self, took: Duration) {
        self.timed().connect.count(took, &LATENCIES);
    }

    /// Counts the first byte, or the first answer, of a session's backend.
    pub fn count_first_byte(&self, took: Duration) {
        self.timed().first_byte.count(took, &LATENCIES);
    }

    /// Counts a session with an answer, for which its client had to wait so long.
    pub fn count_answer(&self, waited: Duration) {
        bump(&self.answers, 1);
        bump(&self.answer_micros, u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a session that the backend closed at once, without an answer.
    pub fn count_early_close(&self) {
        bump(&self.early_closes, 1);
    }

    /// Counts what the kernel knows of a connection that is over.
    pub fn count_path(&self, round_trip: Option<Duration>, retransmits: u32) {
        if let Some(round_trip) = round_trip {
            self.timed().round_trip.count(round_trip, &LATENCIES);
        }
        if retransmits > 0 {
            bump(&self.retransmits, retransmits.into());
        }
    }

    fn timed(&self) -> &Histograms {
        self.timings.get_or_init(Box::default)
    }

    /// Counts bytes from a client.
    pub fn count_sent(&self, bytes: usize) {
        bump(&self.sent_bytes, bytes as u64);
    }

    /// Counts bytes to a client.
    pub fn count_received(&self, bytes: usize) {
        bump(&self.received_bytes, bytes as u64);
    }
}

impl Lease {
    /// Takes a place at `backend` if it is in service and not full, for a client that may be
    /// remembered with it.
    pub(crate) fn take(backend: &Arc<Backend>, is_remembered: bool) -> Option<Self> {
        Self::take_below(backend, is_remembered, NO_LIMIT)
    }

    /// Likewise, if the backend has fewer than `most` sessions.
    pub(crate) fn take_below(
        backend: &Arc<Backend>,
        is_remembered: bool,
        most: u32,
    ) -> Option<Self> {
        let state = &backend.state;
        let free = state.is_in_service() && state.reserve(is_remembered, most);
        free.then(|| Self::of_reserved(backend))
    }

    /// Takes a place for a session that continues from another address of its client, if the backend
    /// is not full.
    pub(crate) fn take_moved(backend: &Arc<Backend>) -> Option<Self> {
        backend.state.reserve(true, NO_LIMIT).then(|| Self::of_reserved(backend))
    }

    /// The place that was reserved at `backend`.
    fn of_reserved(backend: &Arc<Backend>) -> Self {
        backend.crowd.iter().for_each(|crowd| crowd.enter());
        Self { backend: Arc::clone(backend) }
    }

    /// Takes a place for a session that another process has had until now, whatever the limit.
    #[must_use]
    pub fn adopt(backend: &Arc<Backend>) -> Self {
        backend.state.sessions.fetch_add(1, Relaxed);
        Self { backend: Arc::clone(backend) }
    }

    /// The backend of the place.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.state.sessions.fetch_sub(1, Relaxed);
        self.backend.crowd.iter().for_each(|crowd| crowd.leave());
    }
}

fn admin_bits(admin: AdminState) -> u64 {
    let bits = match admin {
        AdminState::Enabled => 0,
        AdminState::Disabled => 1,
        AdminState::Draining => 2,
    };
    bits << ADMIN_SHIFT
}

const ADMIN_SHIFT: u32 = 62;
const HEALTH_MASK: u64 = (1 << ADMIN_SHIFT) - 1;
