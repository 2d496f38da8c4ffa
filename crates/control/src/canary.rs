//! A session for trial on each worker, before this process takes an instance over: whether this
//! build relays, in its surroundings and with the privileges that it has left.
//!
//! It goes the way of sessions that have moved, over two pairs of connected sockets. Nobody counts
//! it, and what workers report of it is dropped.

use crate::backlog::Backlog;
use balancing::{AdminState, Backend, BackendState, Lease, Pool};
use dataplane::{DataPlane, Event, Listener, Moving, Settings};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use sys::clock;
use terms::{Limit, ListenerId};

/// What passes each way: enough for a pipe.
const BYTES: usize = 64 << 10;
/// How long one step may take.
const STEP_WITHIN: Duration = Duration::from_secs(5);
/// How often to look whether the sessions have ended.
const LOOK: Duration = Duration::from_millis(1);

/// Has each worker relay a session with these settings. To be called before there are others.
///
/// # Errors
/// What did not work, in words.
pub(crate) fn try_out(
    plane: &DataPlane,
    backlog: &mut Backlog,
    settings: Settings,
) -> Result<(), String> {
    let state = BackendState::new(plane.workers() + 1, AdminState::Enabled, Limit::None);
    let backend = Arc::new(Backend::new(String::new(), Vec::new(), Arc::new(state)));
    let (id, pool) = (ListenerId::new(u64::MAX), Arc::new(Pool::default()));
    let listener = Arc::new(Listener::new(id, settings, pool, plane.workers()));
    for worker in 0..plane.workers() {
        let begin = |sockets| {
            listener.adopt_session();
            let moving = Moving::for_trial(sockets, Arc::clone(&listener), Lease::adopt(&backend));
            plane.mover().adopt_at(worker, moving);
        };
        relay(begin).map_err(|error| format!("worker {worker}: {error}"))?;
    }
    let deadline = clock::now() + STEP_WITHIN;
    let is_end = |event: &Event| matches!(event, Event::Ended(_));
    let mut left = plane.workers();
    while left > 0 {
        if clock::now() >= deadline {
            return Err("sessions do not end".to_owned());
        }
        std::thread::sleep(LOOK);
        let ended = backlog.waiting().into_iter().flatten().filter(is_end).count();
        left = left.saturating_sub(ended);
    }
    Ok(())
}

/// Data both ways, then the end of each side.
fn relay(begin: impl FnOnce([std::os::fd::OwnedFd; 2])) -> io::Result<()> {
    let (client, downstream) = pair()?;
    let (server, upstream) = pair()?;
    begin([downstream.into(), upstream.into()]);
    pass(&client, &server)?;
    pass(&server, &client)?;
    client.shutdown(Shutdown::Write)?;
    expect_end(&server)?;
    pass(&server, &client)?;
    server.shutdown(Shutdown::Write)?;
    expect_end(&client)
}

/// Two connected sockets, of which the second is for a worker.
fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (far, own) = UnixStream::pair()?;
    far.set_read_timeout(Some(STEP_WITHIN))?;
    far.set_write_timeout(Some(STEP_WITHIN))?;
    own.set_nonblocking(true)?;
    Ok((far, own))
}

/// Sends bytes in which each position differs from those around it.
fn pass(mut from: &UnixStream, mut to: &UnixStream) -> io::Result<()> {
    let sent: Vec<u8> = (0..BYTES).map(|at| (at ^ (at >> 8)) as u8).collect();
    let mut received = vec![0; BYTES];
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| from.write_all(&sent));
        let reading = to.read_exact(&mut received);
        let sending = sending.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        sending.and(reading)
    })?;
    match received == sent {
        true => Ok(()),
        false => Err(io::Error::other("other bytes arrived than were sent")),
    }
}

fn expect_end(mut of: &UnixStream) -> io::Result<()> {
    match of.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more bytes arrived than were sent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot;
    use dataplane::{Observe, Options};
    use std::path::Path;
    use terms::SpliceMode;

    #[test]
    fn each_worker_relays_and_nothing_is_left_of_it() {
        let config = crate::instance::tests::config(Path::new("/unused"), "127.0.0.1:1");
        for splice in [SpliceMode::Never, SpliceMode::Always] {
            let (sinks, mut backlog) = Backlog::new();
            let options = Options { workers: 3, spin: None };
            let plane = DataPlane::start(options, Default::default(), |_| sinks.sink()).unwrap();
            let settings = snapshot::settings(&config.listeners[0], Observe::default(), None, None);
            try_out(&plane, &mut backlog, Settings { splice, ..settings }).unwrap();
            assert_eq!(plane.sessions_by_worker(), [0, 0, 0]);
            drop(plane);
            assert!(backlog.waiting().is_empty());
        }
    }

    #[test]
    fn what_does_not_pass_is_an_error() {
        let closed = relay(drop);
        assert!(closed.is_err());
        // Nobody relays.
        let mut kept = None;
        let silent = relay(|sockets| kept = Some(sockets));
        assert!(silent.is_err());
    }
}
