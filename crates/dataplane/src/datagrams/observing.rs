//! Reports datagrams that pass: pen's log and debugging.

use super::Datagrams;
use crate::tools::Tools;
use crate::wire::Watch;
use relay::Received;
use terms::Side;

impl Datagrams {
    /// Reports a datagram of a flow that has a backend, if its listener is observed.
    pub(super) fn observe(&self, key: usize, from: Side, bytes: &[u8], tools: &mut Tools) {
        let Some(flow) = self.flows.get(key) else { return };
        let observe = flow.listener.settings().observe;
        let Some(lease) = flow.lease.as_ref().filter(|_| observe.sees_data()) else { return };
        let mut watch = Watch {
            observe,
            client: self.flows.key(key).map(|key| key.client),
            backend: lease.backend(),
            end_reported: &mut true, // an empty datagram is no end
            events: &mut tools.outbox.events,
        };
        watch.tell_block(from, bytes, Ok(Received { bytes: bytes.len(), is_short: true }));
        if from == Side::Downstream {
            watch.tell_request(bytes);
        }
    }
}
