//! Clients of QUIC that move to another address: the ids by which their backends are found again.

use super::Datagrams;
use super::flow::Flow;
use crate::listener::Listener;
use relay::{FlowIds, id_of_server, id_to_server};
use terms::{BackendId, HashOn, Instant};

/// The backend that has the connection which an unknown client's first datagram belongs to, if that
/// is known.
pub(super) fn backend_of(
    listener: &Listener,
    hash_on: Option<HashOn>,
    datagram: &[u8],
    now: Instant,
) -> Option<BackendId> {
    let to = id_to_server(datagram, hash_on?.cid_bytes())?;
    let ids = listener.connection_ids();
    ids.find(ids.key(to.id), now)
}

impl Datagrams {
    /// Learns from a client's datagram, if its flow has a backend.
    pub(super) fn learn_from_client(
        flow: &mut Flow,
        hash_on: Option<HashOn>,
        datagram: &[u8],
        now: Instant,
    ) {
        let Some(hash_on) = hash_on else { return };
        let (Some(seen), Some(lease)) = (&mut flow.ids, &flow.lease) else { return };
        let Some(to) = id_to_server(datagram, hash_on.cid_bytes()) else { return };
        let ids = flow.listener.connection_ids();
        let step = seen.on_request(ids.key(to.id), to.is_long, now);
        step.apply(ids, lease.backend().id, now);
    }

    /// Notes what the backend calls itself in an answer.
    pub(super) fn learn_from_backend(flow: &mut Flow, hash_on: Option<HashOn>, answer: &[u8]) {
        let Some(hash_on) = hash_on else { return };
        let named = id_of_server(answer, hash_on.cid_bytes());
        let named = named.map(|id| flow.listener.connection_ids().key(id));
        if named.is_some() || flow.ids.is_some() {
            flow.ids.get_or_insert_with(|| Box::new(FlowIds::new(false))).on_answer(named);
        }
    }
}
