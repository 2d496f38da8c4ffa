//! The end of one direction is not the end of the other.
//!
//! Each case is played with eager and with slow receivers: a proxy that drops what it still holds
//! when it learns of an end loses a race in one of them.

use std::time::Duration;

use crate::{
    peer::{End, Pace, Peer, at_once},
    report::Check,
    stage::Stage,
};

/// A client that has said all it has to say still gets its answer: `printf ... | nc -N`.
pub fn by_client(stage: &Stage) -> Check {
    with_receivers(stage, |client, backend| {
        client.send(b"request")?;
        client.finish()?;
        backend.expect(b"request")?;
        backend.expect_end(End::Eof)?;
        at_once(
            || backend.send_pattern(1, LARGE).and_then(|()| backend.finish()),
            || client.expect_all(1, LARGE, End::Eof),
        )
    })
}

/// The mirror image, which fewer proxies get right.
pub fn by_backend(stage: &Stage) -> Check {
    with_receivers(stage, |client, backend| {
        backend.send(b"ready")?;
        backend.finish()?;
        client.expect(b"ready")?;
        client.expect_end(End::Eof)?;
        at_once(
            || client.send_pattern(2, LARGE).and_then(|()| client.finish()),
            || backend.expect_all(2, LARGE, End::Eof),
        )
    })
}

/// Two FINs that cross while data is still on its way in both directions.
pub fn by_both(stage: &Stage) -> Check {
    const LEN: usize = LARGE / 2;
    let send = |peer: &Peer, seed| peer.send_pattern(seed, LEN).and_then(|()| peer.finish());
    with_receivers(stage, |client, backend| {
        at_once(
            || at_once(|| send(backend, 3), || send(client, 4)),
            || {
                at_once(
                    || backend.expect_all(4, LEN, End::Eof),
                    || client.expect_all(3, LEN, End::Eof),
                )
            },
        )
    })
}

/// Nothing to relay is still a session: port checks and probes look like this. One alone and
/// twenty in a row, because it is a race whether the proxy finds them at their end at once.
pub fn empty_session(stage: &Stage) -> Check {
    [1, 20].into_iter().try_for_each(|count| {
        (0..count).try_for_each(|_| stage.connect().map(drop))?;
        (0..count).try_for_each(|_| stage.accept()?.expect_end(End::Eof))
    })
}

/// Plays `talk` in sessions whose ends read as fast as they can, and then slowly.
fn with_receivers(stage: &Stage, talk: impl Fn(&Peer, &Peer) -> Check) -> Check {
    let slow = Pace { bytes: 100_000, pause: Duration::from_millis(5) };
    [None, Some(slow), None, Some(slow)].into_iter().try_for_each(|pace| {
        let (mut client, mut backend) = stage.session()?;
        client.set_pace(pace);
        backend.set_pace(pace);
        talk(&client, &backend)
    })
}

const LARGE: usize = 2_000_000;
