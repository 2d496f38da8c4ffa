//! Sessions that the kernel forwards, as they are listed and reported.

use balancing::{Backend, BackendState};
use config::SessionQuery;
use dataplane::{Ended, FORWARDED, Figures, SessionInfo};
use forwarding::{Door, Family, Mark, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use sys::tracking::{Connection, Marked, TcpState, list, setting};
use terms::{BackendId, CloseReason, Instant, ListenerId, Phase, SessionOrder, Side};

/// The connections that this program's rules have marked, also those of other instances.
pub(super) const MARKED: Marked = Marked { bits: Mark::PREFIX, mask: Mark::PREFIX_BITS };

/// The number of a session that the kernel forwards.
fn number(connection: &Connection) -> u64 {
    FORWARDED + u64::from(connection.id)
}

/// The connection of which this is the session's number, if the kernel forwards it.
pub(super) fn connection_id(session: u64) -> Option<u32> {
    u32::try_from(session.checked_sub(FORWARDED)?).ok()
}

/// Which open sessions are to be listed.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted {
    /// Those with these marks.
    pub marks: Vec<u32>,
    /// Whose, in which order, and how many.
    pub query: SessionQuery,
    /// How long flows of UDP may be silent, in seconds, by where they come in.
    pub flow_seconds: Vec<(Door, u32)>,
}

/// An open session.
#[derive(Serialize, Deserialize)]
pub(super) struct Open {
    pub connection: Connection,
    pub age: Duration,
    pub idle: Duration,
}

impl Open {
    fn figures(&self, now: Instant) -> Figures {
        let Self { connection, age, idle } = self;
        Figures {
            backend: None,
            client: Some(connection.client),
            started: now - *age,
            age: *age,
            idle: *idle,
            bytes: connection.bytes.iter().sum(),
        }
    }
}

impl Wanted {
    /// The sessions, the first ones first.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn find(&self) -> std::io::Result<Vec<Open>> {
        let mut marks = self.marks.clone();
        marks.sort_unstable();
        let SessionQuery { client, sort, limit, .. } = &self.query;
        let limit = if *limit == 0 { LISTED_MAX } else { LISTED_MAX.min(*limit) };
        let (now, wall) = (sys::clock::now(), sys::clock::wall_nanos());
        let flows: HashMap<Door, u32> = self.flow_seconds.iter().copied().collect();
        let mut settings = BTreeMap::new();
        let mut setting = |name| *settings.entry(name).or_insert_with(|| setting(name));
        let mut found: Vec<Open> = Vec::new();
        let first_ones = |found: &mut Vec<Open>| {
            found.sort_by_cached_key(|it| std::cmp::Reverse(it.figures(now).rank(*sort)));
            found.truncate(limit);
        };
        list(MARKED, |connection| {
            let is_meant = marks.binary_search(&connection.mark).is_ok()
                && !connection.is_over()
                && client.as_ref().is_none_or(|it| it.contains(Some(connection.client)));
            if is_meant {
                let age = connection.started.map_or(0, |started| wall - started);
                let age = Duration::from_nanos(age.max(0).unsigned_abs());
                let whole = match connection.state {
                    Some(state) => tcp_seconds(state, &connection, &mut setting),
                    None => find_door(&flows, &connection).copied().map_or(0, u64::from),
                };
                let idle = whole.saturating_sub(connection.seconds_left.into());
                let idle = Duration::from_secs(idle).min(age);
                found.push(Open { connection, age, idle });
            }
            // Not all need to be remembered to find the first ones.
            if found.len() >= 2 * limit + 1000 {
                first_ones(&mut found);
            }
        })?;
        first_ones(&mut found);
        Ok(found)
    }
}

/// The largest list; it must fit into one message.
const LISTED_MAX: usize = 100_000;

/// How long the kernel waits after each packet of a connection of TCP. With less than that left, nothing
/// has passed for the difference.
fn tcp_seconds(
    state: TcpState,
    connection: &Connection,
    mut setting: impl FnMut(&'static str) -> u64,
) -> u64 {
    let name = match state {
        TcpState::Established => "tcp_timeout_established",
        TcpState::FinWait => "tcp_timeout_fin_wait",
        TcpState::CloseWait => "tcp_timeout_close_wait",
        TcpState::LastAck => "tcp_timeout_last_ack",
        TcpState::SynReceived => "tcp_timeout_syn_recv",
        TcpState::SynSent | TcpState::TimeWait | TcpState::Close => return 0,
    };
    // It waits less long for what has been sent to be acknowledged.
    let unacknowledged = setting("tcp_timeout_unacknowledged");
    match u64::from(connection.seconds_left) <= unacknowledged {
        true => setting(name).min(unacknowledged),
        false => setting(name),
    }
}

/// What is known about where a connection has come in.
fn find_door<'a, T>(doors: &'a HashMap<Door, T>, connection: &Connection) -> Option<&'a T> {
    let protocol = match connection.state {
        Some(_) => Protocol::Tcp,
        None => Protocol::Udp,
    };
    let (address, port) = (connection.asked.ip(), Some(connection.asked.port()));
    let family = Family::of(address);
    let find = |address| doors.get(&Door { family, address, protocol, port });
    find(Some(address)).or_else(|| find(None))
}

/// A backend, without keeping it from being forgotten.
#[derive(Clone)]
pub(super) struct Owner {
    pub id: BackendId,
    pub name: Arc<str>,
    pub state: Arc<BackendState>,
    pub backend: Weak<Backend>,
}

impl Owner {
    pub fn of(backend: &Arc<Backend>) -> Self {
        let Backend { id, name, state, .. } = &**backend;
        let (name, state) = (Arc::clone(name), Arc::clone(state));
        Self { id: *id, name, state, backend: Arc::downgrade(backend) }
    }

    fn backend(&self) -> Option<Arc<Backend>> {
        self.backend.upgrade()
    }
}

/// What is known about sessions that the kernel forwards, beside what itself knows.
#[derive(Default)]
pub(super) struct Known {
    /// The backend of each mark.
    pub owners: HashMap<Mark, Owner>,
    /// Where clients come in.
    pub doors: HashMap<Door, ListenerId>,
    /// How long flows of UDP may be silent, in seconds, by where they come in.
    pub flow_seconds: Vec<(Door, u32)>,
}

impl Known {
    fn owner(&self, connection: &Connection) -> Option<&Owner> {
        self.owners.get(&Mark::from_bits(connection.mark)?)
    }

    /// Its listener; one that there is not, if that is gone.
    fn listener(&self, connection: &Connection) -> ListenerId {
        find_door(&self.doors, connection).copied().unwrap_or(ListenerId::new(u64::MAX))
    }

    /// An open session, as it is listed.
    pub fn session(&self, open: Open, order: SessionOrder, now: Instant) -> SessionInfo {
        let rank = open.figures(now).rank(order);
        let Open { connection, age, idle } = open;
        let [sent_bytes, received_bytes] = connection.bytes;
        SessionInfo {
            session: number(&connection),
            worker: None,
            listener: self.listener(&connection),
            client: Some(connection.client),
            peer: Some(connection.client),
            server_name: None,
            tls: None,
            protocol: None,
            backend: self.owner(&connection).and_then(Owner::backend),
            backend_address: Some(connection.target),
            source: Some(connection.source),
            phase: phase(connection.state),
            place: None,
            downstream_fd: -1,
            upstream_fd: None,
            client_ended: connection.closed_by == Some(Side::Downstream),
            backend_ended: connection.closed_by == Some(Side::Upstream),
            held_sent_bytes: 0,
            held_received_bytes: 0,
            sent_bytes,
            received_bytes,
            connect: None,
            first_byte: None,
            client_path: None,
            backend_path: None,
            rank,
            age,
            idle,
        }
    }

    /// The report of a session that has ended. Its backend was going `down` at that time, and sessions with
    /// it were ended, or not.
    pub fn ended(&self, connection: &Connection, was_down: bool, now: i64) -> Ended {
        let [sent_bytes, received_bytes] = connection.bytes;
        let ended = connection.removed.unwrap_or(now);
        let lasted = connection.started.map_or(0, |started| ended - started);
        Ended {
            session: number(connection),
            listener: self.listener(connection),
            client: Some(connection.client),
            peer: Some(connection.client),
            server_name: None,
            tls: None,
            backend_tls: None,
            backend: self.owner(connection).and_then(Owner::backend),
            had_place: true,
            source: Some(connection.source),
            reason: reason(connection, was_down),
            sent_bytes,
            received_bytes,
            connect: None,
            first_byte: None,
            client_path: None,
            backend_path: None,
            duration: Duration::from_nanos(lasted.max(0).unsigned_abs()),
        }
    }
}

fn phase(state: Option<TcpState>) -> Phase {
    match state {
        Some(TcpState::SynSent | TcpState::SynReceived) => Phase::Connecting,
        Some(TcpState::LastAck | TcpState::TimeWait | TcpState::Close) => Phase::Ending,
        _ => Phase::Open,
    }
}

fn reason(connection: &Connection, was_down: bool) -> CloseReason {
    match (connection.state, connection.closed_by) {
        (Some(TcpState::TimeWait), Some(Side::Downstream)) => CloseReason::ClientFin,
        (Some(TcpState::TimeWait), Some(Side::Upstream)) => CloseReason::BackendFin,
        (Some(TcpState::TimeWait), None) => CloseReason::Closed,
        (Some(TcpState::Close), _) if was_refused(connection) => CloseReason::ConnectRefused,
        (Some(TcpState::Close), _) => CloseReason::Reset,
        // It has not run out: it was removed.
        _ if connection.seconds_left > 0 && was_down => CloseReason::BackendDown,
        _ if connection.seconds_left > 0 && connection.is_assured => CloseReason::Admin,
        _ if connection.seconds_left > 0 => CloseReason::Evicted,
        (Some(TcpState::SynSent | TcpState::SynReceived), _) => CloseReason::ConnectTimeout,
        (Some(TcpState::Established) | None, _) => CloseReason::IdleTimeout,
        (Some(TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck), _) => {
            CloseReason::HalfCloseTimeout
        }
    }
}

/// Whether a client has never been there: the target has agreed, and nobody has answered that. Such a
/// client may have sent its packets with the address of somebody else.
pub(super) fn is_nobody(connection: &Connection) -> bool {
    connection.state == Some(TcpState::SynReceived) && !connection.is_assured
}

/// Whether the target has answered the first packet with a reset, which has no options; an agreement
/// has some.
fn was_refused(connection: &Connection) -> bool {
    let reset = if connection.target.is_ipv4() { 40 } else { 60 };
    !connection.is_assured && connection.bytes[1] <= reset
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const ESTABLISHED: Option<TcpState> = Some(TcpState::Established);

    /// Some connection.
    pub fn connection(state: Option<TcpState>) -> Connection {
        let address = "192.0.2.1:80".parse().unwrap();
        Connection {
            id: 7,
            mark: 0,
            client: address,
            asked: address,
            target: address,
            source: address,
            state,
            closed_by: None,
            is_answered: true,
            is_assured: true,
            bytes: [1000; 2],
            started: None,
            removed: None,
            seconds_left: 0,
        }
    }

    #[track_caller]
    fn check(connection: Connection, expected: CloseReason) {
        assert_eq!(reason(&connection, false), expected, "{connection:?}");
    }

    #[test]
    fn what_has_closed_and_what_was_reset_are_told_apart() {
        let closed = connection(Some(TcpState::TimeWait));
        check(closed.clone(), CloseReason::Closed);
        let by = |side| Connection { closed_by: Some(side), ..closed.clone() };
        check(by(Side::Downstream), CloseReason::ClientFin);
        check(by(Side::Upstream), CloseReason::BackendFin);
        let reset = connection(Some(TcpState::Close));
        check(reset.clone(), CloseReason::Reset);
        let early = Connection { is_assured: false, ..reset };
        check(Connection { bytes: [60, 40], ..early.clone() }, CloseReason::ConnectRefused);
        check(Connection { bytes: [100, 60], ..early }, CloseReason::Reset);
    }

    #[test]
    fn what_has_run_out_and_what_was_removed_are_told_apart() {
        check(connection(ESTABLISHED), CloseReason::IdleTimeout);
        check(connection(None), CloseReason::IdleTimeout);
        check(connection(Some(TcpState::SynSent)), CloseReason::ConnectTimeout);
        check(connection(Some(TcpState::FinWait)), CloseReason::HalfCloseTimeout);
        let removed = Connection { seconds_left: 5, ..connection(ESTABLISHED) };
        check(removed.clone(), CloseReason::Admin);
        check(Connection { is_assured: false, ..removed.clone() }, CloseReason::Evicted);
        assert_eq!(reason(&removed, true), CloseReason::BackendDown);
        // By itself, it has ended before that.
        let closed = Connection { state: Some(TcpState::TimeWait), ..removed };
        assert_eq!(reason(&closed, true), CloseReason::Closed);
    }

    #[test]
    fn numbers_lead_back_to_connections() {
        let it = Connection { id: u32::MAX, ..connection(None) };
        assert_eq!(connection_id(number(&it)), Some(u32::MAX));
        assert_eq!(connection_id(FORWARDED - 1), None);
        assert_eq!(connection_id(u64::MAX), None);
    }
}
