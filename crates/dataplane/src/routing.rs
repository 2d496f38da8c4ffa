//! Routes: which pool serves a TLS client, by what its ClientHello asks for.
//!
//! The hello stays in the socket's queue and is only peeked at, so that the backend gets every byte
//! as the client sent it. A session that waits holds nothing but its socket and a timer. If the
//! hello comes in pieces, the socket's low-water mark has the kernel wait until enough has come for
//! another look, and make room for that much (`SO_RCVLOWAT`, socket(7)).

use crate::session::{Next, Routed, Session, State};
use crate::tools::Tools;
use balancing::Pool;
use relay::{CLIENT_HELLO_BYTES_MAX, ClientHello, Opening, read_client_hello};
use std::sync::Arc;
use std::time::Duration;
use sys::{Errno, net};
use terms::{CloseReason, Instant, Side};

/// How long a client may take for all of its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the client's first bytes.
pub(crate) fn begin(session: &Session, now: Instant) -> Next {
    Next::At(now + wait(session))
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
    let State::Routing(greeting) = &session.state else { return Err(Next::Event) };
    let buffer = &mut tools.buffer[..CLIENT_HELLO_BYTES_MAX];
    let hello = match net::peek(session.downstream(), buffer) {
        Ok(count) => match read_client_hello(&mut buffer[..count]) {
            Opening::Hello(hello) => Some(hello),
            Opening::Incomplete(_) if count == 0 => None, // an end of file
            Opening::Incomplete(needed) if !session.link.is_hung_up(Side::Downstream) => {
                return Err(wait_for(session, needed, now));
            }
            Opening::Incomplete(_) | Opening::Other => None,
        },
        Err(Errno::AGAIN) if now < greeting.since + wait(session) => {
            return Err(Next::At(greeting.since + wait(session)));
        }
        Err(Errno::AGAIN) => None,
        Err(_) => return Err(session.cut(CloseReason::ClientReset)),
    };
    if greeting.low_water > 0 {
        net::set_low_water(session.downstream(), 1);
    }
    Ok(match hello {
        Some(hello) => choose(session, hello),
        None => Arc::clone(&session.listener.pool()),
    })
}

/// Waits until so many bytes of a hello have come.
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

fn choose(session: &mut Session, hello: ClientHello<'_>) -> Arc<Pool> {
    let offers = |protocol: &str| hello.protocols().any(|offer| offer == protocol.as_bytes());
    let routing = session.listener.routing();
    let pool = routing.find(hello.server_name, offers);
    let pool = pool.unwrap_or_else(|| Arc::clone(&session.listener.pool()));
    let server_name = hello.server_name.map(Into::into);
    let routed = Routed { server_name, affinity: pool.affinity.clone() };
    session.extras.get_or_insert_default().routed = Some(Box::new(routed));
    pool
}
