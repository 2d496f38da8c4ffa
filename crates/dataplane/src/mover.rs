//! Takes sessions out of the workers and brings them in, from any thread.

use crate::listener::Listener;
use crate::moving::{FlowState, Freezing, FreezingFlows, Moving, MovingFlow, Portion};
use crate::shared::{Order, Reply, Shared};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Moves sessions to and from other processes.
#[derive(Clone)]
pub struct Mover {
    shared: Arc<Shared>,
}

impl Mover {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Open sessions and flows of the workers.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.workers.iter().map(|worker| worker.sessions.load(Relaxed) as usize).sum()
    }

    /// Has a worker give up sessions from `first_key` on, and `reply` with them on its own thread,
    /// where it must not block.
    pub fn freeze(
        &self,
        worker: usize,
        first_key: usize,
        portion: Portion,
        reply: impl FnOnce(Freezing) + Send + 'static,
    ) {
        let reply: Reply<Freezing> = Box::new(reply);
        self.shared.workers[worker].order(Order::Freeze { first_key, portion, reply });
    }

    /// Has a worker give up flows, as in [`Self::freeze`].
    pub fn freeze_flows(
        &self,
        worker: usize,
        first_key: usize,
        count: usize,
        reply: impl FnOnce(FreezingFlows) + Send + 'static,
    ) {
        let reply: Reply<FreezingFlows> = Box::new(reply);
        self.shared.workers[worker].order(Order::FreezeFlows { first_key, count, reply });
    }

    /// Closes this process's copies of the sockets of flows that another process continues.
    pub fn let_go_of_flows(&self, flows: Vec<MovingFlow>) {
        for MovingFlow { listener, upstream, .. } in flows {
            drop(upstream);
            self.is_elsewhere(&listener);
        }
    }

    /// Continues flows, each on the worker that has the socket that its client writes to. Returns
    /// those for which there is none.
    pub fn adopt_flows(&self, flows: Vec<MovingFlow>) -> Vec<MovingFlow> {
        let mut homeless = Vec::new();
        for it in flows {
            match it.worker.or_else(|| self.shared.worker_with(it.state.door)) {
                Some(worker) => {
                    let worker = &self.shared.workers[worker];
                    worker.count_flow();
                    worker.order(Order::ContinueFlow(Box::new(it)));
                }
                None => homeless.push(it),
            }
        }
        homeless
    }

    /// Whether a worker has the socket that the client of a flow writes to.
    #[must_use]
    pub fn has_door_of(&self, flow: &FlowState) -> bool {
        self.shared.worker_with(flow.door).is_some()
    }

    /// Has workers receive nothing at UDP sockets until flows have come, at most for some seconds.
    pub fn await_flows(&self) {
        self.shared.workers.iter().for_each(|worker| worker.order(Order::AwaitFlows));
    }

    /// Has workers receive at all UDP sockets.
    pub fn flows_are_over(&self) {
        self.shared.workers.iter().for_each(|worker| worker.order(Order::FlowsAreOver));
    }

    /// Closes this process's copies of connections that another process continues. Nobody notices.
    pub fn let_go(&self, sessions: Vec<Moving>) {
        for Moving { listener, lease, sockets, .. } in sessions {
            drop((lease, sockets));
            self.is_elsewhere(&listener);
        }
    }

    /// A session of this listener counts in another process from now on.
    fn is_elsewhere(&self, listener: &Listener) {
        listener.end_session();
        self.shared.made_room(listener);
    }

    /// Continues sessions, each on the worker that has the fewest.
    pub fn adopt(&self, sessions: Vec<Moving>) {
        for it in sessions {
            let worker = self.shared.claim_least_loaded(0);
            self.shared.workers[worker].order(Order::Continue(Box::new(it)));
        }
    }

    /// Continues a session on this worker.
    pub fn adopt_at(&self, worker: usize, session: Moving) {
        let worker = &self.shared.workers[worker];
        worker.sessions.fetch_add(1, Relaxed);
        worker.order(Order::Continue(Box::new(session)));
    }

    /// Asks each worker for the number of its next session.
    pub fn next_number(&self, reply: impl FnOnce(u64) + Clone + Send + 'static) {
        for worker in &self.shared.workers {
            worker.order(Order::NextNumber(Box::new(reply.clone())));
        }
    }

    /// Gives sessions that begin from now on this number, or a higher one.
    pub fn number_from(&self, number: u64) {
        for worker in &self.shared.workers {
            worker.order(Order::NumberFrom(number));
        }
    }
}
