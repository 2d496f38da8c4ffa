//! How far one session has come in finding a backend.

use crate::client::Client;
use crate::hash::client_hash;

/// How far one session has come in finding a backend that answers.
///
/// An owned value, since a connect takes many turns of the loop.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "the box is what keeps it small")]
pub struct Attempt {
    pub(crate) client: Client,
    pub(crate) seed: u64,
    pub(crate) tier: u16,
    /// Whether the first backend has been asked for.
    pub(crate) is_begun: bool,
    pub(crate) is_denied: bool,
    pub(crate) last_resort: bool,
    /// Whether anything was passed over that a last resort would try.
    pub(crate) left_out: bool,
    /// The place in the current tier that was tried last.
    pub(crate) last_index: Option<u32>,
    /// The place in the first tier that the affinity table has for the client.
    pub(crate) remembered: Option<u32>,
    /// Places in the whole pool that failed this session. Boxed, since most never fail: every
    /// session under way carries this.
    pub(crate) tried: Option<Box<Vec<u32>>>,
}

impl Attempt {
    /// A session of this client; `seed` feeds random choices.
    #[must_use]
    pub fn new(client: Client, seed: u64) -> Self {
        Self {
            client,
            seed,
            tier: 0,
            is_begun: false,
            is_denied: false,
            last_resort: false,
            left_out: false,
            last_index: None,
            remembered: None,
            tried: None,
        }
    }

    /// Tier and place of the backend taken last. The reject backend's is the first one behind all
    /// tiers.
    #[must_use]
    pub fn place(&self) -> Option<(usize, usize)> {
        self.last_index().map(|index| (usize::from(self.tier), index))
    }

    /// Whose session it is.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The classic hash of the client's address; zero for clients of Unix sockets.
    #[must_use]
    pub fn client_hash(&self) -> u32 {
        self.client.address.map_or(0, client_hash)
    }

    /// Whether the pool's access list refused the client, so that only the reject backend could
    /// take it. Tells nothing before the first [`Pool::next_backend`].
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.is_denied
    }

    /// How many backends have failed this session.
    #[must_use]
    pub fn tried_count(&self) -> usize {
        self.tried.as_ref().map_or(0, |tried| tried.len())
    }

    pub(crate) fn last_index(&self) -> Option<usize> {
        self.last_index.map(|index| index as usize)
    }

    pub(crate) fn has_tried(&self, ordinal: usize) -> bool {
        let tried = self.tried.iter().flat_map(|tried| tried.iter());
        tried.copied().any(|tried| tried as usize == ordinal)
    }

    /// Whether backends in quarantine are offered too, since nothing else is left.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.last_resort
    }

    /// Goes on to the first backend of `tier`.
    pub(crate) fn enter(&mut self, tier: usize) {
        self.tier = tier as u16;
        self.last_index = None;
    }
}
