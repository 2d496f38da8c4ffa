//! Many sessions: together, and one after the other.

use std::thread;

use crate::{
    pattern::OddSizes,
    peer::{End, Peer},
    report::{Check, Failure},
    stage::Stage,
};

/// All 200 are open before the first byte; eight threads then talk over 25 each, in rounds.
pub fn concurrent(stage: &Stage) -> Check {
    let clients: Vec<Peer> = (0..200).map(|_| stage.connect()).collect::<Check<_>>()?;
    let groups = clients.chunks(25).zip((0..).step_by(25));
    in_threads(groups.map(|(group, first)| move || talk(group, first)).collect())
}

fn talk(clients: &[Peer], first_seed: u64) -> Check {
    for round in 0..4 {
        let seeds = || (first_seed..).map(|seed| seed * 4 + round);
        for (client, seed) in clients.iter().zip(seeds()) {
            client.send_pattern(seed, 5_000)?;
        }
        for (client, seed) in clients.iter().zip(seeds()) {
            client.expect_pattern(seed, 5_000)?;
        }
    }
    for client in clients {
        client.finish()?;
        client.expect_end(End::Eof)?;
    }
    Ok(())
}

/// Four clients with 125 sessions each: connect, ask, get it all, close.
pub fn short(stage: &Stage) -> Check {
    let client = |number: u64| {
        move || {
            let mut sizes = OddSizes::new(number);
            (0..125).try_for_each(|round| one_session(stage, number * 125 + round, &mut sizes))
        }
    };
    in_threads((0..4).map(client).collect())
}

fn one_session(stage: &Stage, seed: u64, sizes: &mut OddSizes) -> Check {
    // Small enough to be sent before anything is read.
    let len = sizes.next_size().min(5_000);
    let client = stage.connect()?;
    client.send_pattern(seed, len)?;
    client.expect_pattern(seed, len)
}

fn in_threads(work: Vec<impl FnOnce() -> Check + Send>) -> Check {
    thread::scope(|scope| {
        let threads: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        let panicked = |_| Err(Failure::new("no panic", "a panic"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })
}
