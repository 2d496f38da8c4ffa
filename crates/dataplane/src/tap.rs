//! What an operator watches of chosen sessions while it passes.
//!
//! A worker never waits for whoever watches: what finds no room is dropped and counted. Sessions that
//! nobody watches pay for one comparison when they are connected, and for nothing while data passes.

use crate::event::SessionInfo;
use crate::listing::ClientFilter;
use relay::{Fault, Received};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use terms::{CloseReason, Instant, ListenerId, Side};

/// Sessions to be watched, and where what passes in them goes. All workers share it.
pub struct Tap {
    which: TapFilter,
    limits: TapLimits,
    /// How many more sessions are watched.
    sessions_left: AtomicUsize,
    /// Bytes on their way to whoever watches.
    waiting: AtomicUsize,
    /// Bytes that could not be shown.
    lost: AtomicU64,
    is_over: AtomicBool,
    sink: Box<dyn Fn(Tapped) + Send + Sync>,
}

/// Which sessions are watched.
pub enum TapFilter {
    /// The one of this number, which is open.
    Session(u64),
    /// Those that get their backend from now on.
    New {
        /// Only those of this listener.
        listener: Option<ListenerId>,
        /// Only those of clients for which this is true.
        client: Option<ClientFilter>,
    },
}

/// How much is watched.
#[derive(Clone, Copy, Debug)]
pub struct TapLimits {
    /// How many sessions.
    pub sessions: usize,
    /// How many bytes of each, in both directions together.
    pub bytes: usize,
    /// Whether bytes are shown that TLS protects on the way from or to this process.
    pub shows_tls: bool,
    /// Nothing is watched after this moment.
    pub until: Instant,
}

/// Something to be seen.
pub enum Tapped {
    /// A session is watched from now on.
    Begun {
        /// When.
        at: Instant,
        /// The session.
        info: Box<SessionInfo>,
    },
    /// A watched session has another backend, because the first one has reset its connection at once.
    Served {
        /// When.
        at: Instant,
        /// The session.
        info: Box<SessionInfo>,
    },
    /// Bytes of a session, as they were received.
    Data {
        /// When.
        at: Instant,
        /// The session's number.
        session: u64,
        /// Who sent them.
        from: Side,
        /// How many bytes had come from there since the session was watched.
        offset: u64,
        /// How many there are.
        size: usize,
        /// The bytes, or the first of them; `None` if TLS protects them.
        bytes: Option<Box<[u8]>>,
    },
    /// A side of a session has sent everything.
    EndOfFile {
        /// When.
        at: Instant,
        /// The session's number.
        session: u64,
        /// Which side.
        from: Side,
        /// How many bytes had come from there since the session was watched.
        offset: u64,
    },
    /// A session is not watched any more.
    Ended {
        /// When.
        at: Instant,
        /// The session's number.
        session: u64,
        /// Why.
        why: TapEnd,
        /// How many of its bytes could not be shown, because those before them had not been read.
        lost: u64,
    },
}

/// Why a session is not watched any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapEnd {
    /// It has ended.
    Closed(CloseReason),
    /// Its limit of bytes is reached.
    Full,
    /// It went to another process.
    Left,
}

/// The maximum number of bytes on their way. Further ones are dropped.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// The most bytes that are passed on at once.
const PIECE_BYTES: usize = 64 << 10;

impl Tapped {
    /// What counts as waiting.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => {
                size_of::<Self>() + bytes.as_ref().map_or(0, |bytes| bytes.len())
            }
            // A few for each session.
            Self::Begun { .. } | Self::Served { .. } => 0,
            Self::EndOfFile { .. } | Self::Ended { .. } => 0,
        }
    }
}

impl Tap {
    /// Passes what is to be seen to `sink`, which must not block, and which has
    /// [`taken`](Self::taken) called for each.
    pub fn new(
        which: TapFilter,
        limits: TapLimits,
        sink: impl Fn(Tapped) + Send + Sync + 'static,
    ) -> Self {
        let sessions_left = AtomicUsize::new(limits.sessions);
        Self {
            which,
            limits,
            sessions_left,
            waiting: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            sink: Box::new(sink),
        }
    }

    /// Makes room: this has been seen.
    pub fn taken(&self, tapped: &Tapped) {
        self.waiting.fetch_sub(tapped.held_bytes(), Relaxed);
    }

    /// Nobody watches any more. Workers notice that when they next have something to show.
    pub fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Whether nobody watches any more.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_over.load(Relaxed) || now >= self.limits.until
    }

    /// How many bytes could not be shown, because those before them had not been read.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The session that is meant, if it is one that is open.
    pub(crate) fn session(&self) -> Option<u64> {
        match self.which {
            TapFilter::Session(number) => Some(number),
            TapFilter::New { .. } => None,
        }
    }

    /// Whether a session is meant that has just got its backend.
    pub(crate) fn wants(&self, listener: ListenerId, client: Option<SocketAddr>) -> bool {
        let TapFilter::New { listener: only, client: is_meant } = &self.which else { return false };
        self.sessions_left.load(Relaxed) > 0
            && only.is_none_or(|only| only == listener)
            && is_meant.as_ref().is_none_or(|is_meant| is_meant(client))
    }

    /// Takes another session, unless there are enough. `info` is only made of one that is taken.
    pub(crate) fn begin(
        self: &Arc<Self>,
        info: impl FnOnce() -> SessionInfo,
        now: Instant,
    ) -> Option<Box<SessionTap>> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.is_over(now) || self.sessions_left.fetch_update(Relaxed, Relaxed, one_less).is_err()
        {
            return None;
        }
        let info = Box::new(info());
        let session = info.session;
        (self.sink)(Tapped::Begun { at: now, info });
        let tap = Arc::clone(self);
        let left = self.limits.bytes;
        Some(Box::new(SessionTap {
            tap,
            session,
            now,
            is_tls: false,
            left,
            seen: [0; 2],
            lost: 0,
            has_ended: [false; 2],
            is_done: false,
        }))
    }

    /// Takes room for data with this number of bytes to show, if there is some.
    fn reserve(&self, bytes: usize) -> bool {
        let size = size_of::<Tapped>() + bytes;
        let has_room = self.waiting.fetch_add(size, Relaxed) + size <= WAITING_BYTES_MAX;
        if !has_room {
            self.waiting.fetch_sub(size, Relaxed);
        }
        has_room
    }
}

/// One session that is watched.
pub(crate) struct SessionTap {
    tap: Arc<Tap>,
    session: u64,
    /// The time of the present turn.
    now: Instant,
    /// Whether TLS protects what passes.
    is_tls: bool,
    left: usize,
    /// Bytes that have come, by side.
    seen: [u64; 2],
    lost: u64,
    /// Who has sent everything, by side.
    has_ended: [bool; 2],
    is_done: bool,
}

impl SessionTap {
    /// What is to be known before bytes pass in a turn.
    pub fn prepare(&mut self, is_tls: bool, now: Instant) {
        (self.is_tls, self.now) = (is_tls, now);
        self.is_done |= self.tap.is_over(now);
    }

    /// Whether there is nothing more to be seen.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether nobody watches it any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_done || self.tap.is_over(now)
    }

    /// Reports that the session has another backend.
    pub fn tell_backend(&mut self, info: SessionInfo, now: Instant) {
        if !self.is_over(now) {
            (self.tap.sink)(Tapped::Served { at: now, info: Box::new(info) });
        }
    }

    /// Reports the result of a read.
    pub fn tell(&mut self, from: Side, bytes: &[u8], result: Result<Received, Fault>) {
        if result.is_err() {
            return;
        }
        for piece in bytes.chunks(PIECE_BYTES) {
            if self.is_done {
                return;
            }
            self.tell_piece(from, piece);
        }
    }

    fn tell_piece(&mut self, from: Side, piece: &[u8]) {
        let is_hidden = self.is_tls && !self.tap.limits.shows_tls;
        let shown = piece.len().min(self.left);
        let offset = self.seen[from as usize];
        self.seen[from as usize] += piece.len() as u64;
        if !self.tap.reserve(if is_hidden { 0 } else { shown }) {
            self.lost += piece.len() as u64;
            self.tap.lost.fetch_add(piece.len() as u64, Relaxed);
            return;
        }
        (self.tap.sink)(Tapped::Data {
            at: self.now,
            session: self.session,
            from,
            offset,
            size: piece.len(),
            bytes: (!is_hidden).then(|| piece[..shown].into()),
        });
        self.left -= shown;
        if self.left == 0 {
            self.end(TapEnd::Full, self.now);
        }
    }

    /// Reports, once, that a side has sent everything.
    pub fn tell_end_of_file(&mut self, from: Side) {
        if !self.is_done && !std::mem::replace(&mut self.has_ended[from as usize], true) {
            let (at, session, offset) = (self.now, self.session, self.seen[from as usize]);
            (self.tap.sink)(Tapped::EndOfFile { at, session, from, offset });
        }
    }

    /// The session is not watched any more.
    pub fn end(&mut self, why: TapEnd, now: Instant) {
        if !std::mem::replace(&mut self.is_done, true) {
            let (at, session, lost) = (now, self.session, self.lost);
            (self.tap.sink)(Tapped::Ended { at, session, why, lost });
        }
    }
}

impl Drop for SessionTap {
    fn drop(&mut self) {
        self.end(TapEnd::Left, self.now);
    }
}
