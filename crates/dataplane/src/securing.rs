//! The TLS of a session's connections with their sockets, outside of relaying.

use crate::session::{Session, State};
use crate::tools::Tools;
use crate::wire::{Plain, Secured};
use std::os::fd::AsFd;
use terms::Side;

/// Calls `act` with one side's TLS, if there is any.
pub(crate) fn with_tls<T>(
    session: &mut Session,
    tools: &Tools,
    side: Side,
    act: impl FnOnce(&mut Secured<'_>) -> T,
) -> Option<T> {
    let tls = session.extras.as_mut()?.tls.as_mut()?[side as usize].as_mut()?;
    let upstream = match &mut session.state {
        State::Connecting { upstream, .. } | State::Relaying { upstream, .. } => Some(upstream),
        State::Resetting { upstream, .. } => upstream.as_mut(),
        _ => None,
    };
    let socket = match side {
        Side::Downstream => Plain::downstream(session.downstream.as_fd(), session.is_unix),
        Side::Upstream => {
            let upstream = upstream?;
            Plain::upstream(upstream.socket.as_fd(), upstream.is_unix, &mut upstream.writes)
        }
    };
    Some(act(&mut Secured { socket, tls, records: &tools.records, is_hung_up: false }))
}

/// Says to TLS peers that nothing follows. Returns whether all has been sent.
pub(crate) fn close_tls(session: &mut Session, tools: &Tools) -> bool {
    let mut is_sent = true;
    for side in [Side::Downstream, Side::Upstream] {
        is_sent &= with_tls(session, tools, side, |it| it.close()).unwrap_or(true);
    }
    is_sent
}

/// Whether the victim of a reset has been sent everything that was sealed for it.
pub(crate) fn has_sent_all(session: &mut Session, victim: Side, tools: &Tools) -> bool {
    !with_tls(session, tools, victim, |it| it.tls.has_unsent()).unwrap_or(false)
}
