//! A session's search for a backend.

use crate::client::Client;
use crate::hash::client_hash;
use terms::BackendId;

/// A session's search for a backend that answers, and how far it has come.
///
/// It is an owned value, because a connect takes many turns of the loop.
#[derive(Debug)]
pub struct Attempt {
    pub(crate) client: Client,
    pub(crate) seed: u64,
    pub(crate) tier: u16,
    /// Whether the first backend has been asked for.
    pub(crate) is_begun: bool,
    pub(crate) is_denied: bool,
    pub(crate) reach: Reach,
    /// Whether a backend was skipped that a last resort would try.
    pub(crate) left_out: bool,
    /// Whether a backend was skipped because nothing is known about it.
    pub(crate) has_unknown: bool,
    /// The place in the current tier that was tried last.
    pub(crate) last_index: Option<u32>,
    /// The place in the first tier that the affinity table has for the client.
    pub(crate) remembered: Option<u32>,
    /// The backend that has the client's connection already, if the client has only moved.
    pub(crate) wanted: Option<BackendId>,
    /// Whether the backend taken last was that one.
    pub(crate) is_led: bool,
    /// Places in the whole pool that failed for this session. Boxed, because most never fail, and
    /// every search has this field.
    pub(crate) tried: Option<Box<Tried>>,
}

/// A set of places. Each search of a session asks for each place of a tier whether it is there.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    count: usize,
    /// A bit for each place, up to the last one that is there.
    bits: Vec<u64>,
}

impl Tried {
    pub fn insert(&mut self, ordinal: usize) {
        let (word, bit) = (ordinal / 64, 1 << (ordinal % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.count += usize::from(self.bits[word] & bit == 0);
        self.bits[word] |= bit;
    }

    pub fn contains(&self, ordinal: usize) -> bool {
        self.bits.get(ordinal / 64).is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }
}

/// Which backends a search considers. It goes on to the next when nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that are not skipped.
    Available,
    /// Those about which nothing is known, too.
    Unknown,
    /// All of them.
    LastResort,
}

impl Attempt {
    /// The search for a session of this client. `seed` feeds random choices.
    #[must_use]
    pub fn new(client: Client, seed: u64) -> Self {
        Self {
            client,
            seed,
            tier: 0,
            is_begun: false,
            is_denied: false,
            reach: Reach::Available,
            left_out: false,
            has_unknown: false,
            last_index: None,
            remembered: None,
            wanted: None,
            is_led: false,
            tried: None,
        }
    }

    /// Begins with this backend, which has the client's connection already: the client has only
    /// moved. To be said before the first [`crate::Pool::next_backend`].
    pub fn follow(&mut self, backend: BackendId) {
        self.wanted = Some(backend);
    }

    /// Tier and place of the backend taken last. The reject backend has the first place after all
    /// tiers.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.last_index().map(|index| (usize::from(self.tier), index))
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The classic hash of the client's address; zero for clients of Unix sockets.
    #[must_use]
    pub fn client_hash(&self) -> u32 {
        self.client.address.map_or(0, client_hash)
    }

    /// Whether the pool's access list denied the client, so that only the reject backend can take
    /// it. Meaningless before the first [`crate::Pool::next_backend`].
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.is_denied
    }

    /// How many backends have failed for this session.
    #[must_use]
    pub fn tried_count(&self) -> usize {
        self.tried.as_ref().map_or(0, |tried| tried.count)
    }

    pub(crate) fn last_index(&self) -> Option<usize> {
        self.last_index.map(|index| index as usize)
    }

    pub(crate) fn has_tried(&self, ordinal: usize) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.contains(ordinal))
    }

    /// Considers more backends, because none of the others is left; returns whether there are any.
    pub(crate) fn reach_further(&mut self, last_resort: bool) -> bool {
        self.reach = match self.reach {
            Reach::Available if self.has_unknown => Reach::Unknown,
            Reach::Available | Reach::Unknown if self.left_out && last_resort => Reach::LastResort,
            Reach::Available | Reach::Unknown | Reach::LastResort => return false,
        };
        self.enter(0);
        true
    }

    /// Continues with the first backend of `tier`.
    pub(crate) fn enter(&mut self, tier: usize) {
        self.tier = tier as u16;
        self.last_index = None;
    }
}
