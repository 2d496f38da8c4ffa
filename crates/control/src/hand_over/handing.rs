//! What the owner of the instance does in a hand-over.

use super::describe::{Places, keyed};
use super::record::{BackendRecord, Batch, Counts, FlowRecord, Hello, SessionRecord};
use super::request::{Arrived, Beginning, HandOver, Names};
use crate::instance::Instance;
use crate::owner::Owner;
use crate::pages::Site;
use crate::snapshot::Departed;
use balancing::Backend;
use config::Bind;
use config::operand::parse_backend;
use dataplane::{Moving, MovingFlow};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use sys::errors::with_causes;
use telemetry::{Level, PredecessorRow, Value};
use tokio::time::Instant;

/// Descriptors of a process besides those of its sessions.
const DESCRIPTORS_RESERVED: usize = 64;

/// The backends of the configuration by pool and key, of those pools that were looked for.
type Known = HashMap<String, HashMap<String, Arc<Backend>>>;

impl Owner {
    /// Does what one side of a hand-over asks for. Whoever asked may have gone.
    pub fn hand_over(&mut self, request: HandOver) {
        match request {
            HandOver::Begin(hello, answer) => {
                let begun = self.begin_hand_over(&hello);
                self.is_handing_over = begun.is_ok();
                if begun.is_ok() {
                    let fields = [("by", Value::Text(&hello.program))];
                    self.note(Level::Info, "upgrade begins", &fields);
                }
                drop(answer.send(begun));
            }
            HandOver::Predecessor(answer) => {
                self.needs_no_guard = true;
                let _ = answer.send(self.predecessor.map(|old| old.pid));
            }
            HandOver::Alone(answer) => {
                self.predecessor = None;
                self.farewell = None;
                self.have_sockets_kept();
                let _ = answer.send(());
            }
            HandOver::Unwatch(answer) => {
                self.instance.unwatch();
                self.socket.pause();
                let _ = answer.send(());
            }
            HandOver::Standing(since, number, answer) => {
                drop(answer.send(self.instance.standing_since(since, number)));
            }
            HandOver::Counts(number, answer) => {
                drop(answer.send(self.instance.counts(number)));
            }
            HandOver::Refuse(binds, answer) => {
                self.instance.refuse_at(&binds);
                let _ = answer.send(());
            }
            HandOver::Watch(answer) => {
                for error in self.instance.watch() {
                    self.note(Level::Error, &error, &[]);
                }
                self.is_handing_over = false;
                self.serve_admin();
                self.note_pid(); // the other process may have written its own number
                let _ = answer.send(());
            }
            HandOver::Abandon(answer) => {
                self.is_handing_over = false;
                let _ = answer.send(());
            }
            HandOver::Leave(peer, answer) => {
                if let Some(peer) = peer {
                    self.reports.replaced_by(peer);
                }
                self.instance.give_refused_up();
                self.instance.shutting_down = true;
                self.has_left = true;
                self.instance.forwarded = 0;
                let _ = answer.send(());
            }
            HandOver::Finish(time, answer) => {
                self.instance.give_refused_up();
                self.instance.stop_listening();
                self.instance.forwarded = 0;
                self.has_left = true;
                self.finish_by = Some(time.map(|time| Instant::now() + time));
                let _ = answer.send(());
            }
            HandOver::Arrive(batch, sockets, tail, answer) => {
                let arrived = self.arrive(batch, sockets, &tail);
                if let Err(Some(arrived)) = answer.send(arrived) {
                    let mover = self.instance.plane.mover();
                    mover.let_go(arrived.sessions);
                    mover.let_go_of_flows(arrived.flows);
                }
            }
            HandOver::Inherit(old, counts, answer) => {
                self.predecessor = Some(old);
                self.inherit(&counts);
                self.take_names();
                let _ = answer.send(());
            }
            HandOver::Settle(answer) => {
                self.take_names();
                self.places = Places::default();
                if let Some(farewell) = &mut self.farewell {
                    farewell.is_settled = true;
                }
                let _ = answer.send(());
            }
            HandOver::Beat(answer) => {
                let _ = answer.send(self.needs_no_guard);
            }
            HandOver::Retire(answer) => {
                self.retire();
                let _ = answer.send(());
            }
            HandOver::Note(level, message, fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, text)| (*name, Value::Text(text))).collect();
                self.note(level, message, &fields);
            }
        }
    }

    fn begin_hand_over(&mut self, hello: &Hello) -> Result<Beginning, String> {
        let sessions = self.instance.session_count();
        let wanted = self.instance.session_descriptors() + DESCRIPTORS_RESERVED;
        if self.instance.is_shutting_down() || self.is_handing_over {
            return Err("it is shutting down, or is being upgraded already".to_owned());
        }
        // It would take the end of this process for a failure, and serve beside the new one.
        if let Some(PredecessorRow { pid, .. }) = self.predecessor {
            return Err(format!(
                "process {pid}, which it has replaced, watches it or still has sessions; try again when \
                 that process has ended"
            ));
        }
        if self.drain.is_some() {
            return Err(
                "it is being drained; `evenkeel ctl drain-all --cancel` ends that".to_owned()
            );
        }
        if hello.boot != sys::clock::boot_id() {
            return Err("it runs on another machine, or this one has rebooted since".to_owned());
        }
        if hello.descriptors < wanted {
            return Err(format!(
                "it has {sessions} sessions, which need {wanted} file descriptors, and the limit of \
                 the new process is {} (ulimit -n, LimitNOFILE=)",
                hello.descriptors
            ));
        }
        if self.revisions.as_ref().is_some_and(|it| it.unconfirmed.is_some()) {
            return Err("a reload waits for `evenkeel ctl confirm`".to_owned());
        }
        let revision = self.revisions.as_ref().map(|it| (it.number, it.hash.to_string()));
        let admin = self.socket.path().to_owned();
        let (mut described, sockets) = self.instance.describe(admin, revision);
        let (name, ready_interface) = self.beacon.copy().unzip();
        described.ready_interface = name;
        Ok(Beginning {
            described,
            sockets,
            admin: self.socket.copy(),
            ready_interface,
            mover: self.instance.plane.mover(),
            names: self.instance.names(),
            has_flows: self.instance.config.listeners.iter().any(has_flows),
            drain: self.instance.config.upgrade_drain(),
        })
    }

    /// Takes over what the old process has counted of its backends.
    pub fn inherit(&mut self, counts: &Counts) {
        self.instance.inherit_counts(counts, &mut self.places);
    }

    /// Finds the listeners and backends of sessions that have come.
    fn arrive(&mut self, batch: Batch, sockets: Vec<OwnedFd>, tail: &[u8]) -> Option<Arrived> {
        let held: usize = batch.sessions.iter().flat_map(|it| it.held).sum();
        let kept: usize = batch.flows.iter().flat_map(|it| &it.kept).sum();
        let upstreams = batch.flows.iter().filter(|it| it.backend.is_some()).count();
        let wanted = 2 * batch.sessions.len() + upstreams;
        if sockets.len() != wanted || held.checked_add(kept) != Some(tail.len()) {
            return None;
        }
        let mut known = Known::new();
        let mut sockets = VecDeque::from(sockets);
        let mut tail = tail;
        let mut arrived = Arrived { sessions: Vec::new(), flows: Vec::new(), refused: Vec::new() };
        let mut take = |count: usize| {
            let (bytes, rest) = tail.split_at(count.min(tail.len()));
            tail = rest;
            bytes
        };
        for record in batch.sessions {
            let pair = [sockets.pop_front()?, sockets.pop_front()?];
            let residues = record.held.map(|count| take(count).to_vec());
            let number = record.state.number;
            match self.moving(record, pair, residues, &mut known) {
                Some(moving) => arrived.sessions.push(moving),
                None => arrived.refused.push(number),
            }
        }
        for record in batch.flows {
            let socket = record.backend.is_some().then(|| sockets.pop_front());
            let socket = socket.map_or(Some(None), |it| it.map(Some))?;
            let kept = record.kept.iter().map(|&count| take(count).into()).collect();
            let number = record.state.number;
            match self.moving_flow(record, socket, kept, &mut known) {
                Some(flow) => arrived.flows.push(flow),
                None => arrived.refused.push(number),
            }
        }
        Some(arrived)
    }

    fn moving_flow(
        &mut self,
        record: FlowRecord,
        socket: Option<OwnedFd>,
        kept: Vec<Box<[u8]>>,
        known: &mut Known,
    ) -> Option<MovingFlow> {
        let instance = &mut self.instance;
        let place = instance.config.listeners.iter().position(|it| it.name == record.listener)?;
        if !instance.plane.mover().has_door_of(&record.state) {
            return None;
        }
        let backend = record.backend.as_ref().map(|it| instance.arrived_backend(it, known));
        let backend = backend.map_or(Some(None), |it| it.map(Some))?;
        let listener = Arc::clone(&instance.listeners[place].listener);
        let upstream = backend.zip(socket);
        let upstream = upstream.map(|(backend, socket)| (self.places.take(&backend), socket));
        listener.adopt_session();
        Some(MovingFlow { state: record.state, upstream, kept, listener, worker: None })
    }

    fn moving(
        &mut self,
        record: SessionRecord,
        sockets: [OwnedFd; 2],
        residues: [Vec<u8>; 2],
        known: &mut Known,
    ) -> Option<Moving> {
        let instance = &mut self.instance;
        let place = instance.config.listeners.iter().position(|it| it.name == record.listener)?;
        let backend = instance.arrived_backend(&record.backend, known)?;
        let listener = Arc::clone(&instance.listeners[place].listener);
        let pool = instance.pool_called(&record.backend.pool);
        let lease = self.places.take(&backend);
        listener.adopt_session();
        Some(Moving {
            state: record.state,
            sockets,
            residues,
            listener,
            lease,
            affinity: pool.affinity.clone().filter(|_| record.is_routed),
        })
    }

    /// Stops accepting, because the old process serves again. Nothing that it needs is removed.
    fn retire(&mut self) {
        self.instance.unwatch();
        self.socket.pause();
        self.instance.shutting_down = true;
        (self.has_left, self.is_retired) = (true, true);
        self.farewell = None;
        self.instance.forwarded = 0;
        if let Some(file) = self.pid_file.take() {
            file.leave();
        }
    }

    /// Makes the files by which the instance is found this process's, once, unless the old process
    /// serves again. Not before everything that can fail is over: the old process, which does not
    /// wait for this one without end, makes them its own then.
    fn take_names(&mut self) {
        let Some(flag) = self.others_names.take() else { return };
        if !flag.is_set() {
            self.note_pid();
            self.serve_names();
        }
    }

    fn note_pid(&mut self) {
        self.socket.note_pid();
        if let Some(file) = &mut self.pid_file {
            let _ = file.note_again();
        }
    }

    /// Serves the admin socket, and the others.
    pub fn serve_admin(&mut self) {
        let Some(desk) = self.desk.clone() else { return };
        let site = Site { desk, roll_call: self.instance.plane.roll_call() };
        if let Err(error) = self.socket.serve(site) {
            let fields = [("error", Value::Text(&error))];
            self.note(Level::Error, "no admin socket", &fields);
        }
        if self.others_names.is_none() {
            self.serve_names();
        }
    }

    /// Serves the socket for those who may only look, and the one for hand-overs, at their paths.
    fn serve_names(&mut self) {
        let Some(desk) = self.desk.clone() else { return };
        let site = Site { desk: desk.clone(), roll_call: self.instance.plane.roll_call() };
        if let Err(error) = self.socket.serve_view(site) {
            let path = self.socket.view_path().map(|path| path.display().to_string());
            let path = path.unwrap_or_default();
            let fields = [("path", Value::Text(&path)), ("error", Value::Text(&error))];
            self.note(Level::Error, "no view socket", &fields);
        }
        if let Err(error) = self.socket.offer(&desk) {
            let fields = [("error", Value::Text(&error))];
            self.note(
                Level::Warn,
                "no socket for upgrades: sessions end with this process",
                &fields,
            );
        }
    }
}

/// Whether a listener serves clients of UDP.
fn has_flows(listener: &config::Listener) -> bool {
    listener.binds.iter().any(|bind| matches!(bind, Bind::Udp { .. }))
}

impl Instance {
    /// Leaves new clients to another process. Files stay as they are.
    pub(crate) fn unwatch(&mut self) {
        self.is_leaving = true;
        self.keep_files(true);
        self.left_doors.extend(self.plane.hand_over_doors());
    }

    /// Accepts again. Returns why that is impossible at some addresses.
    pub(crate) fn watch(&mut self) -> Vec<String> {
        let errors = self.refuse_no_more();
        self.watch_doors();
        self.keep_files(false);
        self.is_leaving = false;
        errors.iter().map(|error| with_causes(error)).collect()
    }

    /// Accepts at the doors at which this process did not.
    pub(crate) fn watch_doors(&mut self) {
        let mut sockets: HashMap<_, Vec<OwnedFd>> = HashMap::new();
        for (door, socket) in std::mem::take(&mut self.left_doors) {
            sockets.entry(door).or_default().push(socket);
        }
        for listening in &mut self.listeners {
            for door in &mut listening.doors {
                if let Some(sockets) = sockets.remove(&door.id) {
                    door.id = self.plane.listen(&listening.listener, sockets);
                }
            }
        }
    }

    /// Whether the files of Unix sockets stay when this process ends.
    pub(crate) fn keep_files(&mut self, are_kept: bool) {
        let doors = self.listeners.iter_mut().flat_map(|it| &mut it.doors);
        doors.filter_map(|door| door.file.as_mut()).for_each(|file| file.keep(are_kept));
    }

    /// How another process knows listeners and backends.
    fn names(&self) -> Names {
        let mut names = Names::default();
        let running = self.config.listeners.iter().zip(&self.listeners);
        let departed = self.departed.iter().map(|(config, listening)| (config, listening));
        for (config, listening) in running.chain(departed) {
            names.listeners.insert(listening.listener.id(), config.name.clone());
        }
        for (config, pool) in self.config.pools.iter().zip(&self.pools) {
            let operands = config.all_backends().map(ToString::to_string);
            for ((key, backend), operand) in keyed(config, pool).into_iter().zip(operands) {
                let pool = config.name.clone();
                let record = BackendRecord { pool, backend: key, operand };
                names.backends.insert(backend.id, record);
            }
        }
        for Departed { pool, config, backend } in &self.departed_backends {
            let key = config.endpoint.to_string();
            let (pool, operand) = (pool.clone(), config.to_string());
            let record = BackendRecord { pool, backend: key, operand };
            names.backends.entry(backend.id).or_insert(record);
        }
        names
    }

    /// The backend of a session that has come. If it is not in the configuration any more, it is one
    /// that has departed.
    fn arrived_backend(
        &mut self,
        record: &BackendRecord,
        known: &mut Known,
    ) -> Option<Arc<Backend>> {
        if !known.contains_key(&record.pool) {
            let mut pools = self.config.pools.iter().zip(&self.pools);
            let pool = pools.find(|(config, _)| config.name == record.pool);
            let backends = pool.map(|(config, pool)| keyed(config, pool)).unwrap_or_default();
            let backends = backends.into_iter().map(|(key, it)| (key, Arc::clone(it))).collect();
            known.insert(record.pool.clone(), backends);
        }
        if let Some(backend) = known[&record.pool].get(&record.backend) {
            return Some(Arc::clone(backend));
        }
        let is_it =
            |it: &&Departed| it.pool == record.pool && it.config.to_string() == record.operand;
        if let Some(departed) = self.departed_backends.iter().find(is_it) {
            return Some(Arc::clone(&departed.backend));
        }
        let mut config = parse_backend(&record.operand, None, &|_| None).ok()?;
        config.id = Some(self.ids.backend());
        let departed = Departed::new(record.pool.clone(), config, self.plane.workers());
        let backend = Arc::clone(&departed.backend);
        self.departed_backends.push(departed);
        Some(backend)
    }
}
