//! Seeded simulation: two peers that send, finish, reset and read as they please, and a link
//! between them. Whatever happens, no byte may be lost, doubled or moved, and an end must arrive
//! as the end it was.
//!
//! `EVENKEEL_SIM_SEED=n` replays one seed, `EVENKEEL_SIM_SEEDS=n` runs that many seeds.

use relay::{Fault, Link, Pumped, Ready, Received, Urgent, Verdict, Wire, pump};
use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;
use terms::{CloseReason, Instant, Side, SpliceMode, Timeouts};
use testing::{Rng, sweep};

const SIDES: [Side; 2] = [Side::Downstream, Side::Upstream];

/// One peer and the kernel's two queues between it and us.
#[derive(Default)]
struct Peer {
    /// Sent by the peer, not read by us.
    inbox: VecDeque<u8>,
    /// Bytes in `inbox` before the urgent one.
    mark: Option<usize>,
    /// Written by us, not read by the peer.
    outbox: usize,
    room: usize,
    /// A write found too little room.
    lacked_room: bool,
    /// Everything sent, urgent bytes at their places.
    sent: Vec<u8>,
    sent_urgent: Vec<usize>,
    received: Vec<u8>,
    received_urgent: Vec<usize>,
    finished: bool,
    reset: bool,
    error_taken: bool,
    saw_end: bool,
    event: Option<Ready>,
    /// Only its end is reported.
    muted: bool,
}

impl Peer {
    fn notify(&mut self, change: impl Fn(&mut Ready)) {
        let mut event = Ready::default();
        change(&mut event);
        if !self.muted || event.hangup || event.failed {
            change(self.event.get_or_insert_default());
        }
    }

    /// Reports only the end from now on, or everything again, with what is due.
    fn mute(&mut self, muted: bool) {
        self.muted = muted;
        if !muted {
            let ended = self.finished || self.reset;
            let due = Ready {
                readable: !self.inbox.is_empty() || ended,
                writable: self.outbox < self.room || self.reset,
                hangup: ended,
                urgent: self.mark.is_some(),
                failed: self.reset,
            };
            self.event = Some(due);
        }
    }

    /// Does one random thing.
    fn act(&mut self, rng: &mut Rng) {
        let may_send = !self.finished && !self.reset;
        match rng.below(12) {
            0..=4 if may_send => {
                let most = if rng.one_in(6) { 150_000 } else { 700 };
                let count = 1 + rng.below(most);
                for _ in 0..count {
                    let byte = rng.draw() as u8;
                    self.inbox.push_back(byte);
                    self.sent.push(byte);
                }
                self.notify(|ready| ready.readable = true);
            }
            5 if may_send && self.mark.is_none() => {
                let byte = rng.draw() as u8;
                self.mark = Some(self.inbox.len());
                self.inbox.push_back(byte);
                self.sent_urgent.push(self.sent.len());
                self.sent.push(byte);
                self.notify(|ready| {
                    ready.readable = true;
                    ready.urgent = true;
                });
            }
            6 if may_send && rng.one_in(6) => {
                self.finished = true;
                self.notify(|ready| {
                    ready.readable = true;
                    ready.hangup = true;
                });
            }
            7 if !self.reset && rng.one_in(20) => self.fail(),
            8..=11 if !self.reset => self.take(rng),
            _ => {}
        }
    }

    fn fail(&mut self) {
        self.reset = true;
        // What it had not read is gone with it, an urgent byte under way included.
        self.notify(|ready| {
            ready.readable = true;
            ready.writable = true;
            ready.hangup = true;
            ready.failed = true;
        });
    }

    fn take(&mut self, rng: &mut Rng) {
        let count = rng.below(self.outbox + 1);
        self.outbox -= count;
        if count > 0 && std::mem::take(&mut self.lacked_room) {
            self.notify(|ready| ready.writable = true);
        }
    }

    fn read(&mut self, size: usize) -> Result<Vec<u8>, Fault> {
        // As tcp(7) has it: a read stops before the mark, and one that starts there goes over it.
        let until = self.mark.filter(|&before| before > 0).unwrap_or(usize::MAX);
        let count = size.min(self.inbox.len()).min(until);
        if count > 0 {
            self.mark = self.mark.and_then(|before| before.checked_sub(count));
            return Ok(self.inbox.drain(..count).collect());
        }
        match self {
            Self { reset: true, error_taken: false, .. } => {
                self.error_taken = true;
                Err(Fault::Lost)
            }
            Self { reset: true, .. } | Self { finished: true, .. } => Ok(Vec::new()),
            _ => Err(Fault::WouldBlock),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if self.reset {
            self.error_taken = true;
            return Err(Fault::Lost);
        }
        assert!(!self.saw_end, "bytes after an end of file");
        let count = bytes.len().min(self.room - self.outbox);
        self.lacked_room |= count < bytes.len();
        if count == 0 {
            return Err(Fault::WouldBlock);
        }
        self.outbox += count;
        self.received.extend(&bytes[..count]);
        Ok(count)
    }
}

/// What ending takes of the send queue where it takes any, as TLS's `close_notify` does. More than
/// that takes, so that there is often too little room.
const END_BYTES: usize = 1000;

#[derive(Default)]
struct World {
    peers: [Peer; 2],
    buffer: Vec<u8>,
    pipes: [VecDeque<u8>; 2],
    pipes_run_out: bool,
    /// How much a pipe holds.
    pipe_most: usize,
    read_most: usize,
    /// Ending takes room in the send queue.
    ends_take_room: bool,
    /// One operation in so many finds no memory; never, if zero.
    no_memory_one_in: usize,
    chance: Rng,
    was_starved: bool,
}

impl World {
    fn peer(&mut self, side: Side) -> &mut Peer {
        &mut self.peers[side as usize]
    }

    fn take_memory(&mut self) -> Result<(), Fault> {
        if self.no_memory_one_in > 0 && self.chance.one_in(self.no_memory_one_in) {
            self.was_starved = true;
            return Err(Fault::NoMemory);
        }
        Ok(())
    }
}

impl World {
    /// Has another process continue the link, which learns from its own poller what is due.
    fn move_to_another_process(&mut self, mut link: Link, mode: SpliceMode) -> Link {
        for side in SIDES {
            let bytes: Vec<u8> = self.pipes[side as usize].drain(..).collect();
            link.on_pipe_emptied(side, &bytes);
            self.peer(side).mute(false);
        }
        let sent = serde_json::to_string(&link.state()).expect("plain data");
        let residues = SIDES.map(|side| link.residue(side));
        Link::resume(&serde_json::from_str(&sent).expect("written above"), residues, mode)
    }
}

impl Wire for World {
    fn read(&mut self, side: Side, size: usize) -> Result<Received, Fault> {
        self.buffer.clear();
        self.take_memory()?;
        // A wire may ask for less than it was asked for.
        let size = size.min(self.read_most);
        self.buffer = self.peer(side).read(size)?;
        Ok(Received { bytes: self.buffer.len(), is_short: self.buffer.len() < size })
    }
    fn passing(&self) -> &[u8] {
        &self.buffer
    }
    fn write_passing(&mut self, side: Side) -> Result<usize, Fault> {
        self.take_memory()?;
        self.peers[side as usize].write(&self.buffer)
    }
    fn write(&mut self, side: Side, bytes: &[u8]) -> Result<usize, Fault> {
        self.take_memory()?;
        self.peer(side).write(bytes)
    }
    fn splice_in(&mut self, side: Side, size: usize) -> Result<usize, Fault> {
        if self.pipes_run_out {
            return Err(Fault::NoPipe);
        }
        self.take_memory()?;
        let room = self.pipe_most - self.pipes[side as usize].len();
        if room == 0 {
            return Err(Fault::WouldBlock);
        }
        if self.peer(side).mark == Some(0) {
            return Ok(0); // as observed on Linux 6.18
        }
        let bytes = self.peer(side).read(size.min(room))?;
        let count = bytes.len();
        self.pipes[side as usize].extend(bytes);
        Ok(count)
    }
    fn splice_out(&mut self, from: Side, size: usize) -> Result<usize, Fault> {
        self.take_memory()?;
        let pipe = &mut self.pipes[from as usize];
        let bytes: Vec<u8> = pipe.iter().copied().take(size).collect();
        let taken = self.peers[from.other() as usize].write(&bytes)?;
        pipe.drain(..taken);
        Ok(taken)
    }
    fn read_urgent(&mut self, side: Side) -> Urgent {
        self.buffer.clear();
        let peer = self.peer(side);
        if peer.mark.is_some_and(|before| before > 0) {
            return Urgent::NotAtMark;
        }
        match peer.mark.take().and_then(|_| peer.inbox.pop_front()) {
            Some(byte) => Urgent::Byte(byte),
            None => Urgent::NotAtMark, // read over
        }
    }
    fn write_urgent(&mut self, side: Side, byte: u8) -> Result<(), Fault> {
        self.take_memory()?;
        let peer = self.peer(side);
        if peer.reset {
            peer.error_taken = true;
            return Err(Fault::Lost);
        }
        if peer.outbox == peer.room {
            peer.lacked_room = true;
            return Err(Fault::WouldBlock);
        }
        peer.received_urgent.push(peer.received.len());
        peer.received.push(byte);
        peer.outbox += 1;
        Ok(())
    }
    fn finish(&mut self, side: Side) -> Result<(), Fault> {
        let ends_take_room = self.ends_take_room;
        let peer = self.peer(side);
        assert!(!peer.saw_end, "finished twice");
        if ends_take_room && !peer.reset {
            if peer.room - peer.outbox < END_BYTES {
                peer.lacked_room = true;
                return Err(Fault::WouldBlock);
            }
            peer.outbox += END_BYTES;
        }
        peer.saw_end = true;
        Ok(())
    }
}

/// Runs one story to its end; every assertion names the seed.
fn run(seed: u64, steps: &Cell<usize>) {
    let mut rng = Rng::new(seed);
    let mode = [SpliceMode::Auto, SpliceMode::Always, SpliceMode::Never][rng.below(3)];
    let read_most = if rng.one_in(3) { 32_768 } else { usize::MAX };
    let mut world = World {
        pipes_run_out: rng.one_in(4),
        pipe_most: if rng.one_in(2) { 1000 } else { 1 << 20 },
        read_most,
        ends_take_room: rng.one_in(2),
        no_memory_one_in: if rng.one_in(3) { 4 } else { 0 },
        chance: Rng::new(seed ^ 1),
        ..World::default()
    };
    for peer in &mut world.peers {
        let most = if rng.one_in(2) { 200_000 } else { 2000 };
        peer.room = END_BYTES + rng.below(most);
    }
    // Some backends say nothing, and go away soon.
    let backend_fails_at = if rng.one_in(8) { rng.below(4) } else { usize::MAX };
    // Other processes continue the session, again and again.
    let moves = rng.one_in(2);
    let lateness = if rng.one_in(8) { 6 } else { 2 };
    let mut at_once = || rng.one_in(4).then_some(Duration::ZERO);
    let timeouts = Timeouts {
        idle: None,
        half_close: at_once(),
        backend_half_close: at_once(),
        linger: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let ready = Ready { writable: true, ..Ready::default() };
    let mut link = Link::new(ready, ready, mode, Instant::ZERO);
    let mut verdict = Verdict::Open;
    let mut pumped = Pumped::Idle;
    for step in 0..100_000 {
        steps.set(step);
        let now = Instant::from_millis(step as u64);
        // After a while everybody finishes, and reads what is left.
        for side in SIDES {
            let peer = world.peer(side);
            if side == Side::Upstream && step <= backend_fails_at && backend_fails_at != usize::MAX
            {
                if step == backend_fails_at {
                    peer.fail();
                }
                continue;
            }
            peer.act(&mut rng);
            if step > 300 && !peer.finished && !peer.reset {
                peer.finished = true;
                peer.notify(|ready| {
                    ready.readable = true;
                    ready.hangup = true;
                });
            }
        }
        let mut called = pumped != Pumped::Idle;
        for side in SIDES {
            // Events come late, and in any order.
            if rng.one_in(lateness)
                && let Some(event) = world.peer(side).event.take()
            {
                link.handle_ready(side, event);
                called = true;
            }
        }
        if !called {
            continue; // nobody would look at it
        }
        for turn in 0.. {
            assert!(turn < 100_000, "seed {seed}: spins");
            world.was_starved = false;
            pumped = pump(&mut link, &mut world, 1 + rng.below(1 << 20), now);
            if pumped != Pumped::Busy {
                break;
            }
        }
        for side in SIDES {
            // The peers do not wait for the poller.
            if backend_fails_at == usize::MAX {
                world.peer(side).act(&mut rng);
            }
            let muted = link.is_to_be_muted(side);
            if muted != link.is_muted(side) {
                link.set_muted(side, muted);
                world.peer(side).mute(muted);
            }
        }
        for side in SIDES {
            let [from, to] = [side, side.other()].map(|side| &world.peers[side as usize]);
            let nobody_comes =
                pumped == Pumped::Idle && [from, to].iter().all(|peer| peer.event.is_none());
            let waits = !from.inbox.is_empty() && !to.lacked_room && !to.reset && !from.reset;
            assert!(!(waits && nobody_comes), "seed {seed}: bytes from {side:?} wait for no event");
        }
        assert_eq!(pumped == Pumped::Starved, world.was_starved, "seed {seed}: nobody comes back");
        verdict = link.verdict(&timeouts);
        if verdict != Verdict::Open {
            break;
        }
        if moves && rng.one_in(3) {
            link = world.move_to_another_process(link, mode);
            // It looks at each session that it takes over.
            pumped = Pumped::Busy;
        }
    }
    check(seed, &world, &link, verdict);
}

fn check(seed: u64, world: &World, link: &Link, verdict: Verdict) {
    let (sent, received) = link.bytes();
    for (side, counted) in SIDES.into_iter().zip([sent, received]) {
        let from = &world.peers[side as usize];
        let to = &world.peers[side.other() as usize];
        let ordinary = to.received.len() - to.received_urgent.len();
        assert_eq!(counted as usize, ordinary, "seed {seed}: miscounted {side:?}");
        assert!(from.sent.starts_with(&to.received), "seed {seed}: bytes from {side:?} altered");
        let known = |place| from.sent_urgent.contains(place);
        assert!(to.received_urgent.iter().all(known), "seed {seed}: urgent bytes invented");
    }
    match verdict {
        Verdict::Open => panic!("seed {seed}: never ended"),
        Verdict::Close(reason) => {
            assert!(world.peers.iter().all(|peer| peer.finished), "seed {seed}");
            assert!(matches!(reason, CloseReason::ClientFin | CloseReason::BackendFin));
            for side in SIDES {
                let from = &world.peers[side as usize];
                let to = &world.peers[side.other() as usize];
                if !to.reset {
                    assert_eq!(from.sent, to.received, "seed {seed}: bytes from {side:?} lost");
                }
            }
        }
        Verdict::Leave(reason) => {
            let ended = match reason {
                CloseReason::ClientFin => Side::Downstream,
                CloseReason::BackendFin => Side::Upstream,
                _ => panic!("seed {seed}: left for {reason}"),
            };
            let from = &world.peers[ended as usize];
            let to = &world.peers[ended.other() as usize];
            assert!(from.finished, "seed {seed}: left before {ended:?} had finished");
            if !to.reset {
                assert_eq!(from.sent, to.received, "seed {seed}: bytes from {ended:?} lost");
            }
            if !from.reset {
                let read = to.sent.len() - to.inbox.len();
                assert_eq!(read, from.received.len(), "seed {seed}: bytes held back at the end");
            }
        }
        Verdict::Abort { victim, .. } => {
            let from = &world.peers[victim.other() as usize];
            let to = &world.peers[victim as usize];
            assert!(from.reset, "seed {seed}: reset invented");
            let silent = from.sent.is_empty() && !from.finished && from.received.is_empty();
            if victim == Side::Downstream && silent && !from.saw_end {
                assert!(link.is_untouched(), "seed {seed}: no other backend can take over");
            }
            if !to.reset {
                assert_eq!(from.sent, to.received, "seed {seed}: bytes before the reset lost");
            }
        }
    }
}

#[test]
fn nothing_is_lost_whatever_the_peers_do() {
    sweep(200, run);
}
