//! Routes: which pool serves a TLS client, by what its ClientHello asks for.
//!
//! The hello stays in the socket's queue and is only peeked at, so that the backend gets every byte
//! as the client sent it. A session that waits holds nothing but its socket and a timer. If the
//! hello comes in pieces, the socket's low-water mark has the kernel wait until enough has come for
//! another look, and make room for that much (`SO_RCVLOWAT`, socket(7)).
//!
//! `relay::Upgrade` has the rules for clients that ask for TLS before their hello.

use crate::session::{Next, Routed, Session, State};
use crate::tools::Tools;
use balancing::Pool;
use relay::{CLIENT_HELLO_BYTES_MAX, ClientHello, UpgradeStep};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use sys::{Errno, net};
use terms::{CloseReason, Cut, Instant, Side, Starttls};

/// How long a client may take for all of its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the client's first bytes, or greets it.
pub(crate) fn begin(session: &Session, now: Instant) -> Next {
    match &session.state {
        State::Routing(greeting) if greeting.upgrade.is_bound() => Next::Turn,
        _ => Next::At(now + wait(session)),
    }
}

/// How long a client may be silent.
fn wait(session: &Session) -> Duration {
    session.listener.settings().hello_wait.unwrap_or_default()
}

/// Looks at what the client has sent. Returns the pool that is to serve it, once that is clear.
///
/// The listener's own pool serves a client that is silent, or has sent something other than a whole
/// hello: whatever it has sent is passed on.
pub(crate) fn go_on(
    session: &mut Session,
    tools: &mut Tools,
    now: Instant,
) -> Result<Arc<Pool>, Next> {
    let pool = find(session, tools, now)?;
    // From now on, each byte counts.
    if let State::Routing(greeting) = &session.state
        && greeting.low_water > 0
    {
        net::set_low_water(session.downstream(), 1);
    }
    Ok(pool)
}

fn find(session: &mut Session, tools: &mut Tools, now: Instant) -> Result<Arc<Pool>, Next> {
    let wait = wait(session);
    let is_hung_up = session.link.is_hung_up(Side::Downstream);
    let own = Arc::clone(&session.listener.pool());
    loop {
        let State::Routing(greeting) = &mut session.state else { return Err(Next::Event) };
        let socket = session.downstream.as_fd();
        if let Some(text) = greeting.upgrade.greeting()
            && net::transmit(socket, text).is_err()
        {
            return Err(session.cut(CloseReason::ClientReset));
        }
        let buffer = &mut tools.buffer[..CLIENT_HELLO_BYTES_MAX];
        let is_bound = greeting.upgrade.is_bound();
        let count = match net::peek(socket, buffer) {
            Ok(0) if is_bound => return Err(session.cut(CloseReason::ClientFin)),
            Ok(0) => return Ok(own),
            Ok(count) => count,
            Err(Errno::AGAIN) if is_bound => return Err(wait_for(session, 1, now)),
            Err(Errno::AGAIN) if now < greeting.since + wait => {
                return Err(Next::At(greeting.since + wait));
            }
            Err(Errno::AGAIN) => return Ok(own),
            Err(_) => return Err(session.cut(CloseReason::ClientReset)),
        };
        match greeting.upgrade.next_step(&mut buffer[..count]) {
            UpgradeStep::Answer(count, answer) => {
                // So little always fits into the queue of a new connection.
                if net::discard(socket, count) && net::transmit(socket, &answer).is_ok() {
                    continue;
                }
                return Err(session.cut(CloseReason::ClientReset));
            }
            UpgradeStep::Goodbye(count, answer) => {
                let is_sent = net::discard(socket, count) && net::transmit(socket, &answer).is_ok();
                let cut = is_sent.then_some(Cut::Close);
                return Err(Next::End(CloseReason::ClientFin, cut));
            }
            UpgradeStep::Wait(needed) if !is_hung_up => {
                return Err(wait_for(session, needed, now));
            }
            UpgradeStep::Wait(_) if is_bound => {
                return Err(session.cut(CloseReason::TlsFailed));
            }
            UpgradeStep::Refuse => return Err(session.cut(CloseReason::TlsFailed)),
            UpgradeStep::Wait(_) | UpgradeStep::Plain => return Ok(own),
            UpgradeStep::Hello(hello) => {
                let asked = greeting.upgrade.granted();
                return Ok(choose(session, hello, asked));
            }
        }
    }
}

/// Waits until so many bytes have come.
fn wait_for(session: &mut Session, needed: usize, now: Instant) -> Next {
    let State::Routing(greeting) = &mut session.state else { return Next::Event };
    let until = greeting.since + HELLO_TIMEOUT;
    if now >= until {
        return session.cut(CloseReason::TlsTimeout);
    }
    // Setting it again would bring an event for what is there already.
    let needed = u32::try_from(needed).unwrap_or(u32::MAX);
    if std::mem::replace(&mut greeting.low_water, needed) != needed {
        net::set_low_water(session.downstream(), needed);
    }
    Next::At(until)
}

fn choose(session: &mut Session, hello: ClientHello<'_>, asked: Option<Starttls>) -> Arc<Pool> {
    let offers = |protocol: &str| hello.protocols().any(|offer| offer == protocol.as_bytes());
    let routing = session.listener.routing();
    let pool = routing.find(hello.server_name, offers);
    let pool = pool.unwrap_or_else(|| Arc::clone(&session.listener.pool()));
    let server_name = hello.server_name.map(Into::into);
    let routed = Routed { server_name, affinity: pool.affinity.clone(), asked, asking: None };
    session.extras.get_or_insert_default().routed = Some(Box::new(routed));
    pool
}
