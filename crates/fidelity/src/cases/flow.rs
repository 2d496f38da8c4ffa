//! Every byte once and in order, whatever the sizes and the speeds, and without delay.

use std::time::{Duration, Instant};

use crate::{
    pattern::Pattern,
    peer::{End, Pace, Peer, at_once},
    report::{Check, Failure},
    stage::Stage,
};

/// Short writes, full buffers and partial writes in both directions at once.
pub fn slow_readers(stage: &Stage) -> Check {
    const LEN: usize = 8_000_000;
    let mut client = stage.connect_with(Some(65_536))?;
    let mut backend = stage.accept()?;
    client.set_pace(Some(Pace { bytes: 40_009, pause: Duration::from_millis(2) }));
    backend.set_pace(Some(Pace { bytes: 70_001, pause: Duration::from_millis(2) }));
    let (client, backend) = (&client, &backend);
    // Nobody half-closes before everything has arrived: that is another case's question.
    at_once(
        || at_once(|| client.send_odd_pieces(1, LEN), || backend.send_odd_pieces(2, LEN)),
        || at_once(|| client.expect_pattern(2, LEN), || backend.expect_pattern(1, LEN)),
    )?;
    client.finish()?;
    backend.expect_end(End::Eof)
}

/// A proxy that finishes one direction's write before it looks at the other one hangs here.
pub fn full_duplex(stage: &Stage) -> Check {
    const LEN: usize = 20_000_000;
    let client = stage.connect()?;
    at_once(|| client.send_pattern(3, LEN), || client.expect_pattern(3, LEN))?;
    client.finish()?;
    client.expect_end(End::Eof)
}

/// What a client does not read must not pile up in the proxy, and must not be lost either.
pub fn back_pressure(stage: &Stage) -> Check {
    let client = stage.connect_with(Some(65_536))?;
    let backend = stage.accept()?;
    let mut stream = Pattern::new(4);
    let mut sent = 0;
    let mut rest = Vec::new();
    while sent < PILE {
        if rest.is_empty() {
            rest = stream.take(65_536);
        }
        // Half a second without room for a byte is what "stopped" means.
        match backend.write_within(&rest, stage.scaled(Duration::from_millis(500))) {
            Ok(n) => {
                rest.drain(..n);
                sent += n;
            }
            Err(End::Silence) => break,
            Err(end) => return Err(Failure::new("the backend to be stopped", end)),
        }
    }
    if sent >= PILE {
        let seen = format!("{sent} bytes taken for a client that reads nothing");
        return Err(Failure::new("the backend to be stopped before 64 MB", seen));
    }
    let total = sent + rest.len();
    at_once(
        || backend.send(&rest).and_then(|()| backend.finish()),
        || client.expect_all(4, total, End::Eof),
    )
}

/// A proxy that waits for the client's first byte never gets to an SMTP or FTP banner.
pub fn server_first(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    backend.send(b"220 ready\r\n")?;
    client.expect(b"220 ready\r\n")?;
    ping_pong(stage, &backend, &client, &[b"."])
}

/// The usual order.
pub fn client_first(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    client.send(b"HELO\r\n")?;
    backend.expect(b"HELO\r\n")?;
    ping_pong(stage, &client, &backend, &[b"."])
}

/// The second of two small writes waits for the acknowledgement of the first where `TCP_NODELAY`
/// is missing (RFC 896), and that is delayed by 40 ms.
pub fn split_writes(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    ping_pong(stage, &client, &backend, &[b"head", b"tail"])
}

/// 200 times `pieces` one after the other, answered with the same.
fn ping_pong(stage: &Stage, ping: &Peer, pong: &Peer, pieces: &[&[u8]]) -> Check {
    let limit = stage.scaled(Duration::from_secs(2));
    let start = Instant::now();
    let mut done = 0;
    let send = |peer: &Peer| pieces.iter().try_for_each(|piece| peer.send(piece));
    let message = pieces.concat();
    while done < 200 && start.elapsed() < limit {
        send(ping)?;
        pong.expect(&message)?;
        send(pong)?;
        ping.expect(&message)?;
        done += 1;
    }
    match done {
        200 => Ok(()),
        count => Err(Failure::new("200 exchanges within 2 s", format!("{count}"))),
    }
}

const PILE: usize = 64_000_000;
