//! A reset is not an end of file: whoever takes one for the other believes that a broken transfer
//! is complete.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    pattern::Pattern,
    peer::{End, Pace, at_once},
    report::{Check, Failure},
    stage::Stage,
};

/// What came before the reset is delivered, and the reset after it.
pub fn by_backend(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    at_once(
        || {
            backend.send_pattern(1, SOME)?;
            backend.reset()
        },
        || client.expect_all(1, SOME, End::Reset),
    )
}

/// The same from the other side.
pub fn by_client(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    at_once(
        || {
            client.send_pattern(2, SOME)?;
            client.reset()
        },
        || backend.expect_all(2, SOME, End::Reset),
    )
}

/// A proxy that forgets a half-closed client must still notice the reset for it.
pub fn after_half_close(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    client.send(b"request")?;
    client.finish()?;
    backend.expect(b"request")?;
    backend.expect_end(End::Eof)?;
    at_once(
        || {
            backend.send_pattern(3, SOME)?;
            backend.reset()
        },
        || client.expect_all(3, SOME, End::Reset),
    )
}

/// A proxy's own reset throws away what is left in its send queue, so it must wait for a client
/// that reads nothing for half a second and slowly after.
pub fn to_slow_reader(stage: &Stage) -> Check {
    const LEN: usize = 300_000;
    let mut client = stage.connect_with(Some(16_384))?;
    let backend = stage.accept()?;
    client.set_pace(Some(Pace { bytes: 16_384, pause: Duration::from_millis(5) }));
    at_once(
        || {
            backend.send_pattern(4, LEN)?;
            backend.reset()
        },
        || {
            thread::sleep(Duration::from_millis(500));
            client.expect_all(4, LEN, End::Reset)
        },
    )
}

/// Otherwise backends keep working, and connections pile up, for clients long gone.
pub fn client_leaves(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    let limit = stage.scaled(Duration::from_secs(5));
    let piece = Pattern::new(5).take(65_536);
    backend.send(&piece)?;
    client.expect_pattern(5, 1_000)?;
    drop(client);
    let gone = Instant::now();
    let mut sent = 0;
    while gone.elapsed() < limit {
        match backend.write_within(&piece, limit) {
            Ok(n) => sent += n,
            Err(End::Silence) => break,
            Err(_reset_or_broken_pipe) => return Ok(()),
        }
    }
    let seen = format!("it send {sent} more bytes and hear nothing");
    Err(Failure::new("the backend to learn of its client's end within 5 s", seen))
}

const SOME: usize = 100_000;
