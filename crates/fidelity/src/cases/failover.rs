//! One backend of the two is of no use: the clients notice nothing but a delay.

use std::time::{Duration, Instant};

use crate::{
    backend::GREETING,
    peer::{End, Peer},
    report::{Check, Failure},
    stage::Stage,
};

/// A refusal costs no time, and every client is served.
pub fn refused(stage: &Stage) -> Check {
    let limit = stage.scaled(Duration::from_secs(1));
    let start = Instant::now();
    serve(stage, 40, asked_first)?;
    let time = start.elapsed();
    if time <= limit {
        return Ok(());
    }
    let seen = format!("{:.2} s", time.as_secs_f64());
    Err(Failure::new("40 clients served within 1 s", seen))
}

/// Nothing at all comes back for a SYN, so only a connect time-out ends the attempt.
pub fn black_hole(stage: &Stage) -> Check {
    serve(stage, 8, asked_first)
}

/// The backend's kernel accepts, but its program does not want to. The clients are silent: nothing
/// has been relayed, so the proxy may still try another backend.
pub fn reset_at_accept(stage: &Stage) -> Check {
    serve(stage, 8, |client| {
        client.expect(GREETING)?;
        asked_first(client)
    })
}

/// Nobody is left: the client must hear of it, whether by end of file or by reset.
pub fn none_left(stage: &Stage) -> Check {
    let limit = stage.scaled(Duration::from_secs(3));
    let start = Instant::now();
    // A proxy that resets at once may be quicker than the client's own connect.
    let Some(client) = stage.connect_unless_reset()? else { return Ok(()) };
    let (count, end) = client.read_full(&mut [0; 16]);
    let expected = "the client's connection to end within 3 s";
    match end {
        Some(End::Eof | End::Reset) if count == 0 && start.elapsed() <= limit => Ok(()),
        Some(End::Silence) | None => Err(Failure::new(expected, "it stay open")),
        Some(end) => {
            let time = start.elapsed().as_secs_f64();
            Err(Failure::new(expected, format!("{count} bytes, then {end} after {time:.2} s")))
        }
    }
}

/// `count` clients one after the other; says how many were served, and why not the others.
fn serve(stage: &Stage, count: usize, talk: fn(&Peer) -> Check) -> Check {
    let results = (0..count).map(|_| stage.connect().and_then(|client| talk(&client)));
    let failures: Vec<Failure> = results.filter_map(Result::err).collect();
    match failures.first() {
        None => Ok(()),
        Some(first) => {
            let served = count - failures.len();
            Err(Failure::new(
                format!("{count} of {count} clients served"),
                format!("{served}; the first failure: {first}"),
            ))
        }
    }
}

fn asked_first(client: &Peer) -> Check {
    client.send(b"hello")?;
    client.expect(b"hello")
}
