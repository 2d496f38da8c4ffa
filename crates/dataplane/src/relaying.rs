//! The second part of a session's life: relaying, and the decision to end.

use crate::connect::start_over;
use crate::listener::Observe;
use crate::searches::Searches;
use crate::securing::{close_tls, has_sent_all};
use crate::session::{Extras, Next, Session, State};
use crate::tools::{BUDGET, Tools};
use crate::wire::{Either, Ends, Inspected, Plain, Rewriting, Transport, Watch};
use balancing::Backend;
use relay::{Link, Pumped, Verdict, pump};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
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
    let settings = session.listener.settings();
    let is_tls = session.extras.as_ref().is_some_and(|extras| extras.tls.is_some());
    let before = session.link.bytes();
    let pumped = if is_tls {
        pump_tls(session, settings.observe, tools, now)
    } else {
        pump_plain(session, settings.observe, tools, now)
    };
    session.count_passed(before, tools.worker, now);
    if session.response.is_awaited() {
        session.note_response(before, tools.worker, now);
    }
    match pumped {
        Pumped::Busy => Next::Turn,
        Pumped::Starved => Next::By(now + MEMORY_RETRY),
        Pumped::Idle => settle(session, searches, tools, &settings.timeouts, now),
    }
}

fn pump_plain(session: &mut Session, observe: Observe, tools: &mut Tools, now: Instant) -> Pumped {
    let Some((sockets, parts)) = split(session, observe) else { return Pumped::Idle };
    pump_over(sockets, parts, false, tools, now)
}

/// Moves what can be moved if at least one side speaks TLS.
fn pump_tls(session: &mut Session, observe: Observe, tools: &mut Tools, now: Instant) -> Pumped {
    let Some(mut tls) = session.extras.as_mut().and_then(|extras| extras.tls.take()) else {
        return Pumped::Idle;
    };
    let Some(([downstream, upstream], parts)) = split(session, observe) else {
        return Pumped::Idle;
    };
    let records = std::mem::take(&mut tools.records);
    let [down, up] = &mut *tls;
    let is_hung_up = |side| parts.link.is_hung_up(side);
    let mut transports = [
        Either::new(downstream, down.as_mut(), &records, is_hung_up(Side::Downstream)),
        Either::new(upstream, up.as_mut(), &records, is_hung_up(Side::Upstream)),
    ];
    transports.iter_mut().for_each(Either::flush);
    let pumped = pump_over(transports, parts, true, tools, now);
    tools.records = records;
    session.extras.get_or_insert_default().tls = Some(tls);
    pumped
}

/// What is needed of a session to move its bytes, besides its connections.
struct Parts<'a> {
    link: &'a mut Link,
    extras: &'a mut Option<Box<Extras>>,
    end_reported: &'a mut bool,
    observe: Observe,
    backend: &'a Arc<Backend>,
    client: Option<SocketAddr>,
}

/// The connections of a session that relays, and the rest of it.
#[inline]
fn split(session: &mut Session, observe: Observe) -> Option<([Plain<'_>; 2], Parts<'_>)> {
    let client = session.client();
    let State::Relaying { lease, upstream, .. } = &mut session.state else { return None };
    let sockets = [
        Plain::downstream(session.downstream.as_fd(), session.is_unix),
        Plain::upstream(upstream.socket.as_fd(), upstream.is_unix, &mut upstream.writes),
    ];
    let parts = Parts {
        link: &mut session.link,
        extras: &mut session.extras,
        end_reported: &mut session.end_reported,
        observe,
        backend: lease.backend(),
        client,
    };
    Some((sockets, parts))
}

#[inline]
fn pump_over<T: Transport>(
    transports: [T; 2],
    parts: Parts<'_>,
    is_tls: bool,
    tools: &mut Tools,
    now: Instant,
) -> Pumped {
    let Parts { link, extras, end_reported, observe, backend, client } = parts;
    let (mut forwarded, mut tap) = match extras {
        Some(extras) => (extras.forwarded.take(), extras.tap.take()),
        None => (None, None),
    };
    let mut ends = Ends {
        transports,
        buffer: &mut tools.buffer,
        passing: 0,
        extras: &mut *extras,
        pipes: &mut tools.pipes,
        tally: backend.state.tally(tools.worker),
    };
    let is_watched = observe.sees_data();
    if !is_watched && forwarded.is_none() && tap.is_none() {
        return pump(link, &mut ends, BUDGET, now);
    }
    if let Some(tap) = &mut tap {
        tap.prepare(is_tls, now);
    }
    let mut inspected = Inspected {
        inner: ends,
        rewriting: forwarded.as_deref_mut().map(|forwarded| Rewriting {
            forwarded,
            output: &mut tools.rewritten,
            is_passing: false,
        }),
        watch: is_watched.then_some(Watch {
            observe,
            client,
            backend,
            end_reported,
            events: &mut tools.outbox.events,
        }),
        tap: tap.as_deref_mut(),
    };
    let pumped = pump(link, &mut inspected, BUDGET, now);
    if let Some(tap) = &mut tap {
        for side in [Side::Downstream, Side::Upstream] {
            if link.has_ended(side) && !link.is_lost(side) {
                tap.tell_end_of_file(side);
            }
        }
    }
    if forwarded.is_some() {
        extras.get_or_insert_default().forwarded = forwarded;
        tools.clear_rewritten();
    }
    if let Some(tap) = tap.filter(|tap| !tap.is_done()) {
        extras.get_or_insert_default().tap = Some(tap);
    }
    pumped
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
    let verdict = session.link.verdict(timeouts);
    let is_sent = match verdict {
        Verdict::Open => true,
        Verdict::Close(_) | Verdict::Leave(_) => close_tls(session, tools),
        Verdict::Abort { victim, .. } => has_sent_all(session, victim, tools),
    };
    match verdict {
        _ if !is_sent => session.link.deadline(timeouts).map_or(Next::Event, Next::By),
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
