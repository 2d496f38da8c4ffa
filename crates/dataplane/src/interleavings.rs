//! Every order in which workers can step what they share, played by loom.
//!
//! `cargo xtask loom` runs these tests; nothing else compiles them.

use crate::call::Call;
use crate::room::{Room, RoomLimits};
use crate::sync::AtomicU32;
use crate::sync::Ordering::{Acquire, Release};
use loom::sync::{Arc, Notify};
use loom::thread;

/// The end of a session on another worker: whether it orders accepting to resume.
fn resumes(room: &Room, limits: RoomLimits, end: impl Fn(&Room)) -> bool {
    end(room);
    room.is_paused() && room.has_room(limits)
}

/// Two sessions end, each by one of `ends`, while accepting pauses. Afterwards accepting goes on,
/// or somebody has ordered it to.
fn check_room(limits: RoomLimits, ends: [fn(&Room); 2]) {
    loom::model(move || {
        let room = Arc::new(Room::new());
        for _ in 0..2 {
            room.begin_session();
            room.begin_connecting();
        }
        let workers = ends.map(|end| {
            let room = Arc::clone(&room);
            thread::spawn(move || resumes(&room, limits, end))
        });
        room.pause();
        if room.has_room(limits) {
            room.unpause();
        }
        let mut resumed = false;
        for worker in workers {
            resumed |= worker.join().unwrap();
        }
        let waits = room.is_paused() && !resumed;
        assert!(!waits || !room.has_room(limits), "accepting waits for room that there is");
    });
}

#[test]
fn accepting_never_waits_for_room_that_sessions_have_left() {
    let limits = RoomLimits { sessions: Some(1), connecting: None };
    check_room(limits, [Room::end_session, Room::end_session]);
}

#[test]
fn accepting_never_waits_for_room_that_two_limits_have_left() {
    let limits = RoomLimits { sessions: Some(2), connecting: Some(2) };
    check_room(limits, [Room::end_session, Room::end_connecting]);
}

#[test]
fn no_order_is_forgotten() {
    loom::model(|| {
        const ORDERS: u32 = 2;
        // The weakest inbox that there could be: a number that is seen only as it must be.
        let inbox = Arc::new((Call::new(), AtomicU32::new(0), Notify::new()));
        for _ in 0..ORDERS {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                let (call, sent, waker) = &*inbox;
                sent.fetch_add(1, Release);
                if call.call() {
                    waker.notify();
                }
            });
        }
        // If an order is forgotten, this waits forever, which loom reports.
        let (call, sent, waker) = &*inbox;
        loop {
            if call.answer() && sent.load(Acquire) == ORDERS {
                break;
            }
            waker.wait();
            call.answer();
            if sent.load(Acquire) == ORDERS {
                break;
            }
        }
    });
}
