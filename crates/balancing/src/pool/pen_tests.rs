//! pen's ways, with the examples of its specification and what its golden cases recorded.

use super::*;
use crate::backends::Backends;
use crate::{AccessEntry, AdminState, BackendState, Client, Policy, Subject, Verdict};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use terms::Limit;

/// A balancer as `pen` would be started.
struct Pen {
    pool: Pool,
    now: Instant,
    open: Vec<Lease>,
}

/// Servers as operands without a host, `name:soft:hard:weight:prio`; the one after `!` is the
/// emergency server, the one after `@` the abuse server. Capital letters refuse connects.
fn pen(policy: Policy, operands: &str) -> Pen {
    let mut pool = Pool {
        tiers: vec![Tier { policy, ..Tier::default() }, Tier::default()],
        affinity: Some(Arc::new(Affinity::new(2048, None, 0))),
        sticky: true,
        ..Pool::default()
    };
    pool.health.quarantine = Duration::from_secs(30);
    pool.health.last_resort = false;
    let mut role = '0';
    for (word, number) in operands.split_whitespace().zip(1..) {
        let server = |word| Arc::new(Backend { id: BackendId::new(number), ..server(word) });
        match word {
            "!" | "@" => role = word.chars().next().unwrap(),
            _ if role == '!' => pool.tiers[1].backends.extend([server(word)]),
            _ if role == '@' => pool.reject = Some(server(word)),
            _ => pool.tiers[0].backends.extend([server(word)]),
        }
    }
    Pen { pool, now: Instant::from_millis(1_000_000), open: Vec::new() }
}

fn server(word: &str) -> Backend {
    let mut fields = word.split(':');
    let name = fields.next().unwrap();
    let mut number = || fields.next().map_or(0, |field| field.parse().unwrap());
    let state = BackendState::new(1, AdminState::Enabled, Limit::from_number(number()));
    state.set_sessions_max_affine(number() as u32);
    let mut backend = Backend::new(name, vec![], Arc::new(state));
    (backend.weight, backend.priority) = (number() as u32, number());
    backend
}

fn client(text: &str) -> Client {
    match text.split_once('#') {
        Some((address, port)) => Client { port: port.parse().unwrap(), ..client(address) },
        None => Client { address: text.parse().ok(), ..Client::default() },
    }
}

impl Pen {
    fn without_memory(mut self) -> Self {
        self.pool.sticky = false;
        self
    }

    fn stubborn(mut self) -> Self {
        self.pool.tiers[0].failover = FailoverScope::Nothing;
        self
    }

    fn with_clients_max(mut self, clients: usize, time_limit: Option<Duration>) -> Self {
        self.pool.affinity = Some(Arc::new(Affinity::new(clients, time_limit, 0)));
        self
    }

    fn serve(&mut self, address: &str) -> (String, Option<Lease>) {
        let mut attempt = Attempt::new(client(address), 0);
        while let Some(lease) = self.pool.next_backend(&mut attempt, self.now) {
            let name = lease.backend().name.to_string();
            let refuses = name.chars().all(char::is_uppercase);
            let outcome = if refuses { Outcome::Failure } else { Outcome::Success };
            self.pool.report(&mut attempt, &lease, outcome, self.now);
            if !refuses {
                return (name, Some(lease));
            }
        }
        (if attempt.is_denied() { "denied" } else { "." }.to_owned(), None)
    }

    /// Clients one after the other, in words; a session ends at once unless its word ends in `+`.
    #[track_caller]
    fn check(&mut self, clients: &str, expected: &str) {
        let mut answers = Vec::new();
        for word in clients.split_whitespace() {
            let (answer, lease) = self.serve(word.trim_end_matches('+'));
            self.open.extend(lease.filter(|_| word.ends_with('+')));
            answers.push(answer);
        }
        assert_eq!(answers.join(" "), expected, "{clients}");
    }

    fn quarantine(&self, index: usize, seconds: u64) {
        let state = &self.pool.tiers[0].backends[index].state;
        state.quarantine_for(Duration::from_secs(seconds), &self.pool.health, self.now);
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// The place of the server that a client is remembered with.
    fn remembered(&self, address: &str) -> Option<usize> {
        let id = self.pool.affinity.as_ref().unwrap().recall(&client(address)).backend()?;
        self.pool.tiers[0].backends.place(id)
    }
}

fn only(verdict: Verdict, address: [u8; 4]) -> Arc<AccessList> {
    let subject = Subject::V4 { address: Ipv4Addr::from(address), mask: Ipv4Addr::BROADCAST };
    Arc::new(AccessList::new(vec![AccessEntry { verdict, subject }]))
}

/// The same servers, those at these places with this list.
fn with_access(backends: &Backends, places: &[usize], access: &Arc<AccessList>) -> Backends {
    let copy = |(place, backend): (usize, &Arc<Backend>)| match places.contains(&place) {
        true => Arc::new(Backend { access: Arc::clone(access), ..backend.with_addresses(vec![]) }),
        false => Arc::clone(backend),
    };
    backends.iter().enumerate().map(copy).collect()
}

#[test]
fn the_rotation_begins_behind_the_first_server() {
    let mut pen = pen(Policy::Rotation, "a b c");
    pen.check("1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4", "b c a b"); // select-default-three
    pen.check("1.0.0.1 1.0.0.1 1.0.0.3 1.0.0.2", "b b a c");
}

#[test]
fn failover_does_not_move_the_rotation() {
    let mut pen = pen(Policy::Rotation, "a B c").without_memory();
    pen.check("1.0.0.1 1.0.0.1 1.0.0.1 1.0.0.1 1.0.0.1", "c c a c a"); // pen.md 5.2
}

#[test]
fn the_rotation_moves_to_a_full_server_too() {
    let mut pen = pen(Policy::Rotation, "a:1 b:1 c"); // limit-soft
    pen.check("1.0.0.1+ 1.0.0.2+ 1.0.0.3+ 1.0.0.4+ 1.0.0.5+", "b c a c c");
}

#[test]
fn without_memory_the_last_server_is_remembered_all_the_same() {
    let mut pen = pen(Policy::Rotation, "a b c"); // select-mode-switch
    pen.check("1.0.0.1 1.0.0.1", "b b");
    pen.pool.sticky = false;
    pen.check("1.0.0.1 1.0.0.1 1.0.0.1 1.0.0.1", "c a b c");
    pen.pool.sticky = true;
    pen.check("1.0.0.1 1.0.0.1", "c c");
}

#[test]
fn the_address_is_a_number_with_its_first_byte_lowest() {
    let mut pen = pen(Policy::AddressHash, "a b c"); // pen.md 5.3
    pen.check("127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4", "c a b c");
    pen.check("127.0.1.1 127.0.2.1 ::ffff:127.0.2.1", "a b b");
    pen.check("fe80::1:0 fe80::1:5#99 unix", "a c a");
}

#[test]
fn the_port_takes_part_where_asked() {
    let mut pen = pen(Policy::AddressPortHash, "a b c").without_memory();
    pen.check("127.0.0.9#24001 127.0.0.9#24002 127.0.0.9#24003", "c a b"); // pen.md 5.3
    pen.check("fe80::1:5#24001 fe80::1:5#24002", "c c");
}

#[test]
fn the_address_decides_whatever_the_servers_state() {
    let mut pen = pen(Policy::AddressHash, "a b c"); // select-hash-blacklisted
    pen.quarantine(2, 100);
    pen.check("127.0.0.1", "a");
    pen.quarantine(2, 0);
    pen.check("127.0.0.1 127.0.0.4", "a c");
}

#[test]
fn sessions_are_shared_by_weight() {
    let mut shared = pen(Policy::Weighted, "a:0:0:1 b:0:0:2 c:0:0:4 d").without_memory();
    let clients = ["1.0.0.1+"; 14].join(" ");
    shared.check(&clients, "a b c c b c c a b c c b c c"); // pen.md 5.4
    let mut full = pen(Policy::Weighted, "a:1:0:1 b ! e").without_memory();
    full.check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+", "a b b"); // observed: b has no weight
}

#[test]
fn without_weights_only_the_emergency_server_is_left() {
    pen(Policy::Weighted, "a b").check("1.0.0.1 1.0.0.1", ". .");
    pen(Policy::Weighted, "a b ! e").check("1.0.0.1 1.0.0.1", "e e");
}

#[test]
fn the_lowest_priority_is_served_first() {
    let mut pen = pen(Policy::Priority, "a:0:0:0:5 b:1:0:0:2 c:0:0:0:2").without_memory();
    pen.check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+", "b c c"); // select-prio
    pen.quarantine(1, 100);
    pen.quarantine(2, 100);
    pen.check("1.0.0.1+", "a");
}

#[test]
fn who_fails_over_stays_there() {
    let mut pen = pen(Policy::Rotation, "a b c"); // blacklist-tracked-moves
    pen.check("1.0.0.1", "b");
    pen.quarantine(1, 60);
    pen.check("1.0.0.1 1.0.0.1", "c c");
    pen.quarantine(1, 0);
    pen.check("1.0.0.1", "c");
}

#[test]
fn stubborn_means_the_first_choice_or_nothing() {
    let mut tracked = pen(Policy::Rotation, "a b c ! e").stubborn(); // select-stubborn
    tracked.check("1.0.0.1", "b");
    tracked.quarantine(1, 100);
    tracked.check("1.0.0.1 1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4", ". . c a c");
    tracked.quarantine(1, 0);
    tracked.check("1.0.0.1", "b");
    // Observed with pen: each of these is closed, though there is an emergency server.
    pen(Policy::Rotation, "A B ! e").stubborn().check("1.0.0.1 1.0.0.2 1.0.0.3", ". . .");
    pen(Policy::Weighted, "a b ! e").stubborn().check("1.0.0.1", ".");
    pen(Policy::Rotation, "! e").stubborn().check("1.0.0.1", ".");
    pen(Policy::Rotation, "a:1 b:1 ! e").stubborn().check("1.0.0.1+ 1.0.0.2+ 1.0.0.3", "b a .");
    pen(Policy::Rotation, "! e").check("1.0.0.1", "e");
}

#[test]
fn known_clients_fill_a_server_up_to_its_hard_limit() {
    pen(Policy::Rotation, "a:1:3 b:1:3").check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+ 1.0.0.1+", "b b b a");
    let mut stranger = pen(Policy::Rotation, "a:1:2 b:2:4"); // limit-hard-stranger
    stranger.check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+ 1.0.0.2+ 1.0.0.2+ 1.0.0.1+", "b b b a a b");
    // A hard limit alone, or one below the soft limit, is none; and -r does not matter here.
    pen(Policy::Rotation, "a:0:1").check("1.0.0.1+ 1.0.0.1+ 1.0.0.2+", "a a a");
    pen(Policy::Rotation, "a:2:1").check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+", "a a .");
    let mut rotating = pen(Policy::Rotation, "a:1:3 ! e").without_memory();
    rotating.check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+ 1.0.0.1+ 1.0.0.2", "a a a e e"); // observed
}

#[test]
fn the_emergency_server_is_not_remembered_and_makes_forget() {
    let mut pen = pen(Policy::Rotation, "a b ! e");
    pen.check("1.0.0.1", "b");
    assert_eq!(pen.remembered("1.0.0.1"), Some(1));
    pen.quarantine(0, 60);
    pen.quarantine(1, 60);
    pen.check("1.0.0.1", "e");
    assert_eq!(pen.remembered("1.0.0.1"), None);
    pen.pass(60);
    pen.check("1.0.0.1", "a");
}

#[test]
fn denied_clients_go_to_the_abuse_server_or_nowhere() {
    let mut pen = pen(Policy::Rotation, "a b ! e");
    pen.check("1.0.0.2", "b");
    pen.pool.access = only(Verdict::Permit, [1, 0, 0, 1]);
    pen.check("1.0.0.1 1.0.0.2", "a denied"); // pen.md 22.13
    assert_eq!(pen.remembered("1.0.0.2"), Some(1), "nothing took it");
    pen.pool.reject = Some(Arc::new(server("x:1")));
    pen.check("1.0.0.2+ 1.0.0.3 unix", "x denied b");
    assert_eq!(pen.remembered("1.0.0.2"), None);
    pen.open.clear();
    let access = Arc::clone(&pen.pool.access);
    pen.pool.reject = Some(Arc::new(Backend { access, ..server("x") }));
    pen.check("1.0.0.2", "denied"); // pen.md 8.2: both by one list
    pen.pool.reject = Some(Arc::new(server("X")));
    pen.check("1.0.0.2 1.0.0.2", "denied denied");
    let failed = pen.pool.reject.as_ref().unwrap().state.last_failure();
    assert_eq!(failed, Some(pen.now));
}

#[test]
fn the_abuse_server_needs_no_other() {
    let mut pen = pen(Policy::Rotation, "@ x");
    pen.pool.tiers.clear();
    pen.pool.access = only(Verdict::Deny, [1, 0, 0, 1]);
    pen.check("1.0.0.1 1.0.0.2", "x .");
}

#[test]
fn a_server_has_a_list_of_its_own() {
    let mut pen = pen(Policy::Rotation, "a b c"); // acl-server
    let backends = &mut pen.pool.tiers[0].backends;
    *backends = with_access(backends, &[1, 2], &only(Verdict::Permit, [1, 0, 0, 1]));
    pen.check("1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.3 1.0.0.1", "b a a a b");
}

#[test]
fn every_rule_keeps_to_the_servers_lists() {
    for policy in [Policy::RoundRobin, Policy::Hash, Policy::LeastSessions, Policy::Random] {
        let mut pen = pen(policy, "a b c").without_memory();
        let backends = &mut pen.pool.tiers[0].backends;
        *backends = with_access(backends, &[0, 2], &only(Verdict::Deny, [1, 0, 0, 1]));
        pen.check("1.0.0.1+ 1.0.0.1+ 1.0.0.1+ 1.0.0.1+", "b b b b");
    }
}

#[test]
fn a_table_of_one_remembers_the_last_client() {
    let mut pen = pen(Policy::Rotation, "a b c").with_clients_max(1, None);
    pen.check("1.0.0.1 1.0.0.1 1.0.0.2 1.0.0.2 1.0.0.1", "b b c c a"); // pen.md 9
}

#[test]
fn a_client_whose_time_is_over_is_new() {
    let limit = Some(Duration::from_secs(10));
    let mut pen = pen(Policy::Rotation, "a b c").with_clients_max(5, limit);
    pen.check("1.0.0.1", "b");
    pen.pass(10);
    pen.check("1.0.0.1", "b");
    pen.pass(11);
    pen.check("1.0.0.1", "c"); // pen.md 22.5
    let rows = pen.pool.affinity.as_ref().unwrap().rows();
    assert_eq!((rows.len(), rows[0].connects, rows[0].backend), (1, 1, Some(BackendId::new(3))));
}

#[test]
fn the_server_used_last_is_told() {
    let mut pen = pen(Policy::Rotation, "a b c ! e");
    assert_eq!(pen.pool.tiers[0].last_taken(), None);
    pen.check("1.0.0.1 1.0.0.2", "b c");
    assert_eq!(pen.pool.tiers[0].last_taken(), Some(2));
    pen.check("1.0.0.1", "b");
    assert_eq!(pen.pool.tiers[0].last_taken(), Some(1));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn two_first_sessions_of_one_client_meet() {
    let pen = pen(Policy::Rotation, "a b c d e f g");
    for round in 0..200 {
        let of = |_| {
            let address = IpAddr::V4(Ipv4Addr::from_bits(round));
            let client = Client { address: Some(address), ..Client::default() };
            let mut attempt = Attempt::new(client, 0);
            let lease = pen.pool.next_backend(&mut attempt, pen.now);
            lease.unwrap().backend().name.clone()
        };
        let names: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2).map(|worker| scope.spawn(move || of(worker))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(names[0], names[1], "round {round}");
    }
}

#[test]
fn memory_is_of_the_first_tier_only() {
    let mut pen = pen(Policy::Rotation, "a b ! e f");
    pen.check("1.0.0.1 1.0.0.2", "b a");
    pen.quarantine(0, 60);
    pen.quarantine(1, 60);
    pen.check("1.0.0.1", "e");
}
