//! The data plane as the control plane sees it.

use crate::event::{Event, SessionInfo};
use crate::listener::{Listener, Settings};
use crate::listing::{SessionFilter, Victims};
use crate::mover::Mover;
use crate::retiring::Recall;
use crate::shared::{DoorId, Handle, Order, Orders, Shared, Stop};
use crate::tap::Tap;
use crate::worker::Worker;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;
use sys::datagram::is_datagram;
use sys::net;
use terms::CloseReason;
use tls::Connectors;

/// The options of the data plane.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of threads, at least one.
    pub workers: usize,
    /// How long to poll after the last event before sleeping.
    pub spin: Option<Duration>,
}

/// Running workers.
pub struct DataPlane {
    shared: Arc<Shared>,
}

/// A way to ask whether the workers are alive.
#[derive(Clone)]
pub struct RollCall {
    shared: Arc<Shared>,
}

impl RollCall {
    /// The number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// Asks each worker to call `reply` after it has carried out all earlier orders, and returns at
    /// once. Workers call it on their own threads, so it must not block.
    pub fn begin(&self, reply: impl FnOnce(()) + Clone + Send + 'static) {
        for worker in &self.shared.workers {
            worker.order(Order::Answer(Box::new(reply.clone())));
        }
    }
}

/// How many file descriptors there is room for from the start, so that a burst of clients does not
/// wait while the kernel makes room. Each takes 8 bytes of kernel memory.
const DESCRIPTORS_RESERVED: usize = 1 << 15;

/// The time-out for a worker's answer, which never takes more than a few short turns.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl DataPlane {
    /// Starts the workers. Each passes its events to its own sink, which must not block. Backends
    /// refer to `connectors`.
    ///
    /// # Errors
    /// If the system has no room for the threads or their descriptors.
    pub fn start(
        options: Options,
        connectors: Arc<Connectors>,
        mut sink: impl FnMut(usize) -> Box<dyn FnMut(Vec<Event>) + Send>,
    ) -> io::Result<Self> {
        let mut inboxes: Vec<Orders> = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..options.workers.max(1) {
            let (sender, receiver) = channel();
            workers.push(Handle::new(sender)?);
            inboxes.push(receiver);
        }
        sys::process::reserve_descriptors(workers[0].waker(), DESCRIPTORS_RESERVED);
        let limit = sys::process::descriptor_limit();
        let pipes_most = (limit / 16 / workers.len()).min(PIPES_MOST);
        let seed = sys::clock::wall_nanos().cast_unsigned() ^ u64::from(std::process::id()) << 40;
        let shared = Arc::new(Shared::new(workers, pipes_most, seed, connectors));
        for (index, orders) in inboxes.into_iter().enumerate() {
            let (shared, sink) = (Arc::clone(&shared), sink(index));
            let (started, is_up) = channel();
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .stack_size(WORKER_STACK_BYTES)
                .spawn(move || {
                let _guard = EndWithWorker;
                match Worker::new(index, shared, orders, options.spin, sink) {
                    Ok(worker) => {
                        let _ = started.send(Ok(()));
                        worker.run();
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            })?;
            is_up.recv().unwrap_or_else(|_| Err(io::Error::other("worker did not start")))?;
        }
        Ok(Self { shared })
    }

    /// The number of workers.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.workers.len()
    }

    /// A way to ask whether the workers are alive.
    #[must_use]
    pub fn roll_call(&self) -> RollCall {
        RollCall { shared: Arc::clone(&self.shared) }
    }

    /// A way to move sessions to and from other processes.
    #[must_use]
    pub fn mover(&self) -> Mover {
        Mover::new(Arc::clone(&self.shared))
    }

    /// Waits until each worker has carried out all earlier orders, for at most five seconds per
    /// worker.
    pub fn settle(&self) {
        let (sender, done) = channel();
        self.roll_call().begin(move |()| {
            let _ = sender.send(());
        });
        for _ in 0..self.workers() {
            let _ = done.recv_timeout(ANSWER_TIMEOUT);
        }
    }

    /// Open sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.workers.iter().map(|worker| worker.sessions.load(Relaxed) as usize).sum()
    }

    /// The file descriptors that these have.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.shared.descriptors() as usize
    }

    /// Open sessions of each worker.
    #[must_use]
    pub fn sessions_by_worker(&self) -> Vec<usize> {
        self.shared.workers.iter().map(|worker| worker.sessions.load(Relaxed) as usize).collect()
    }

    /// Accepts clients on these sockets from now on.
    pub fn listen(&self, listener: &Arc<Listener>, sockets: Vec<OwnedFd>) -> DoorId {
        let door = self.shared.new_door();
        let mut datagrams: HashMap<Option<SocketAddr>, usize> = HashMap::new();
        for socket in sockets {
            let worker = match is_datagram(socket.as_fd()) {
                // Of each address, one for each worker; the kernel distributes clients among them.
                true => {
                    let place = datagrams.entry(net::local_address(socket.as_fd())).or_default();
                    *place += 1;
                    (*place - 1) % self.workers()
                }
                false => self.shared.home_of(listener.id()),
            };
            self.shared.open_door(door, socket.as_fd(), worker);
            let worker = &self.shared.workers[worker];
            worker.order(Order::Listen(Arc::clone(listener), door, socket));
        }
        door
    }

    /// Replaces a listener's settings, also for open sessions. Accepting continues if it was paused
    /// by a limit that is higher now.
    pub fn publish(&self, listener: &Listener, settings: Settings) {
        listener.set_settings(settings);
        for worker in &self.shared.workers {
            worker.order(Order::Refresh(listener.id()));
        }
    }

    /// Closes all listening sockets; they are closed when this returns.
    pub fn stop_listening(&self) {
        self.close_doors(Stop { doors: None, is_handed_over: false });
    }

    /// Stops accepting on the sockets of these doors, and returns the sockets. Dropping one closes
    /// it; if it is [listened](Self::listen) on again, the clients in its queue are accepted. Open
    /// sessions continue.
    pub fn stop_listening_on(&self, doors: &[DoorId]) -> Vec<(DoorId, OwnedFd)> {
        match doors {
            [] => Vec::new(),
            doors => self.close_doors(Stop { doors: Some(doors.into()), is_handed_over: false }),
        }
    }

    /// The id of a door that is not open, whose sockets may be listened on later.
    #[must_use]
    pub fn closed_door(&self) -> DoorId {
        self.shared.new_door()
    }

    /// Leaves the clients of all doors to another process, and returns the sockets.
    pub fn hand_over_doors(&self) -> Vec<(DoorId, OwnedFd)> {
        self.close_doors(Stop { doors: None, is_handed_over: true })
    }

    /// Copies of all listening sockets, in the order of the workers.
    #[must_use]
    pub fn copy_doors(&self) -> Vec<(DoorId, OwnedFd)> {
        self.ask_for_sockets(Order::CopyDoors)
    }

    fn close_doors(&self, stop: Stop) -> Vec<(DoorId, OwnedFd)> {
        self.shared.close_doors(stop.doors.as_deref());
        self.ask_for_sockets(|sender| Order::StopListening(stop.clone(), sender))
    }

    fn ask_for_sockets(
        &self,
        order: impl Fn(Sender<Vec<(DoorId, OwnedFd)>>) -> Order,
    ) -> Vec<(DoorId, OwnedFd)> {
        let ask = |worker: &Handle| {
            let (sender, sockets) = channel();
            worker.order(order(sender));
            sockets
        };
        // In the order of the workers, so that each gets its own back if they are listened on again.
        let answers: Vec<_> = self.shared.workers.iter().map(ask).collect();
        let answers = answers.iter().map(|sockets| sockets.recv_timeout(ANSWER_TIMEOUT));
        answers.flatten().flatten().collect()
    }

    /// Has sessions watched, without waiting for it. If one is meant that is open, the worker that has
    /// it replies whether it is watched: not if somebody else watches it. All others reply `None`.
    /// Each calls its `reply` on its own thread, where it must not block.
    pub fn tap(&self, tap: &Arc<Tap>, reply: impl FnOnce(Option<bool>) + Clone + Send + 'static) {
        for worker in &self.shared.workers {
            worker.order(Order::Tap(Arc::clone(tap), Box::new(reply.clone())));
        }
    }

    /// Has each worker list the first of its open sessions, in no particular order, without waiting
    /// for it; [`SessionFilter::merge`] makes one list of theirs. Each calls its `reply` on its own
    /// thread, where it must not block.
    pub fn list(
        &self,
        filter: &Arc<SessionFilter>,
        reply: impl FnOnce(Vec<SessionInfo>) + Clone + Send + 'static,
    ) {
        for worker in &self.shared.workers {
            worker.order(Order::List(Arc::clone(filter), Box::new(reply.clone())));
        }
    }

    /// Has each worker end those of its sessions, without waiting for it. Each
    /// calls its `reply` with the number that it ended, as in [`DataPlane::list`].
    pub fn cut(
        &self,
        whom: Victims,
        reason: CloseReason,
        reply: impl FnOnce(usize) + Clone + Send + 'static,
    ) {
        for worker in &self.shared.workers {
            worker.order(Order::Cut(whom.clone(), reason, Box::new(reply.clone())));
        }
    }

    /// Has each worker end sessions, one after the other, without waiting for it. Each calls its
    /// `reply` with the number that is to end, as in [`DataPlane::list`].
    pub fn recall(&self, recall: &Recall, reply: impl FnOnce(usize) + Clone + Send + 'static) {
        for worker in &self.shared.workers {
            worker.order(Order::Recall(recall.clone(), Box::new(reply.clone())));
        }
    }
}

/// Ends the process if a worker panics: the worker's sessions are lost, and a balancer without it
/// would leave clients waiting. (The release build ends by itself.)
struct EndWithWorker;

impl Drop for EndWithWorker {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// An ordinary user's budget of pipe pages (pipe(7), 64 MB by default) is spent at 64 pipes.
const PIPES_MOST: usize = 64;
/// Workers neither recurse nor keep large values on the stack.
const WORKER_STACK_BYTES: usize = 256 << 10;
