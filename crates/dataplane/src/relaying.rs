//! The second part of a session's life: relaying, and the decision to end.

use crate::connect::start_over;
use crate::searches::Searches;
use crate::session::{Next, Session, State};
use crate::tools::{BUDGET, Tools};
use crate::wire::{Ends, Inspected, Plain, Rewriting, Watch};
use relay::{Pumped, Verdict, pump};
use std::os::fd::AsFd;
use std::time::Duration;
use sys::net;
use terms::{CloseReason, Cut, Instant, KeepAlive, Side, Timeouts};

/// Keep-alive is switched on for sessions that last this long. Most do not, which saves the calls
/// and the kernel's timers.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// How long to wait after the system had no memory for a read or a write.
const MEMORY_RETRY: Duration = Duration::from_millis(20);

/// Begins to relay for a session that was just connected; returns when its timer is to fire.
pub(crate) fn begin(session: &Session, now: Instant) -> Instant {
    let timeouts = &session.listener.settings().timeouts;
    if let Some(limit) = timeouts.user_timeout {
        session.sockets().for_each(|socket| net::set_user_timeout(socket, limit));
    }
    let deadline = session.link.deadline(timeouts);
    let lasting = match timeouts.keep_alive {
        KeepAlive::After(idle) => now + idle.min(KEEP_ALIVE_AFTER),
        KeepAlive::System | KeepAlive::Never => now + KEEP_ALIVE_AFTER,
    };
    deadline.map_or(lasting, |deadline| deadline.min(lasting))
}

/// Moves what can be moved, and acts on the outcome.
pub(crate) fn go_on(
    session: &mut Session,
    searches: &mut Searches,
    tools: &mut Tools,
    now: Instant,
) -> Next {
    let client = session.client();
    let settings = session.listener.settings();
    let observe = settings.observe;
    let (downstream, is_unix) = (session.downstream.as_fd(), session.is_unix);
    let State::Relaying { lease, upstream, .. } = &mut session.state else { return Next::Event };
    let mut forwarded = session.extras.as_mut().and_then(|extras| extras.forwarded.take());
    let mut ends = Ends {
        transports: [
            Plain::downstream(downstream, is_unix),
            Plain::upstream(upstream.socket.as_fd(), upstream.is_unix, &mut upstream.writes),
        ],
        buffer: &mut tools.buffer,
        passing: 0,
        extras: &mut session.extras,
        pipes: &mut tools.pipes,
        tally: lease.backend().state.tally(tools.worker),
    };
    let is_watched = observe.blocks || observe.requests;
    let pumped = if is_watched || forwarded.is_some() {
        let mut inspected = Inspected {
            inner: ends,
            rewriting: forwarded.as_deref_mut().map(|forwarded| Rewriting {
                forwarded,
                output: &mut tools.rewritten,
                is_passing: false,
            }),
            watch: is_watched.then(|| Watch {
                observe,
                client,
                backend: lease.backend(),
                end_reported: &mut session.end_reported,
                events: &mut tools.outbox.events,
            }),
        };
        pump(&mut session.link, &mut inspected, BUDGET, now)
    } else {
        pump(&mut session.link, &mut ends, BUDGET, now)
    };
    if forwarded.is_some() {
        session.extras.get_or_insert_default().forwarded = forwarded;
        tools.clear_rewritten();
    }
    match pumped {
        Pumped::Busy => Next::Turn,
        Pumped::Starved => Next::By(now + MEMORY_RETRY),
        Pumped::Idle => settle(session, searches, tools, &settings.timeouts, now),
    }
}

/// Acts on the verdict once neither direction can move.
fn settle(
    session: &mut Session,
    searches: &mut Searches,
    tools: &mut Tools,
    timeouts: &Timeouts,
    now: Instant,
) -> Next {
    session.give_back_pipes(&mut tools.pipes);
    match session.link.verdict(timeouts) {
        Verdict::Open => {
            if let State::Relaying { search, .. } = &mut session.state
                && search.is_some()
                && !session.link.is_untouched()
                && let Some(search) = search.take()
            {
                searches.finish(search);
            }
            look_at_victim(session, now);
            session.link.deadline(timeouts).map_or(Next::Event, Next::By)
        }
        Verdict::Close(reason) => Next::End(reason, None),
        Verdict::Leave(reason) => Next::End(reason, Some(Cut::Close)),
        Verdict::Abort { victim: Side::Downstream, .. } if start_over(session, searches, now) => {
            Next::Turn
        }
        Verdict::Abort { victim, reason } => {
            session.change(|state| match state {
                State::Relaying { search, lease, upstream } => {
                    if let Some(search) = search {
                        searches.finish(search);
                    }
                    let upstream = (victim == Side::Upstream).then_some(upstream);
                    State::Resetting { victim, reason, lease, upstream }
                }
                state => state,
            });
            wait_for_victim(session, reason, timeouts, now)
        }
    }
}

/// Resets the victim once it has acknowledged everything, or has stopped to; otherwise waits.
pub(crate) fn wait_for_victim(
    session: &mut Session,
    reason: CloseReason,
    timeouts: &Timeouts,
    now: Instant,
) -> Next {
    look_at_victim(session, now);
    match session.link.next_look(timeouts, now) {
        Some(at) => Next::At(at),
        None => Next::End(reason, Some(Cut::Reset)),
    }
}

/// Handles the timer of a session that relays.
pub(crate) fn handle_deadline(
    session: &mut Session,
    searches: &mut Searches,
    tools: &mut Tools,
    now: Instant,
) -> Next {
    let settings = session.listener.settings();
    look_at_victim(session, now);
    match session.link.expired(&settings.timeouts, now) {
        Some(reason @ (CloseReason::BackendReset | CloseReason::ClientReset)) => {
            Next::End(reason, Some(Cut::Reset))
        }
        Some(reason) => Next::End(reason, Some(settings.cut)),
        None => {
            session.keep_alive();
            go_on(session, searches, tools, now) // it may have waited for memory
        }
    }
}

/// Notes how much the victim of a reset has not acknowledged yet, if there is a victim.
fn look_at_victim(session: &mut Session, now: Instant) {
    let Some(victim) = session.link.victim() else { return };
    let socket = match victim {
        Side::Downstream => Some(session.downstream()),
        Side::Upstream => session.upstream().map(|upstream| upstream.socket.as_fd()),
    };
    let bytes = socket.map_or(0, net::unacknowledged);
    session.link.on_unacknowledged(bytes, now);
}
