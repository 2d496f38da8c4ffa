use super::*;
use crate::{AdminState, BackendState, Client, Policy};
use std::net::Ipv4Addr;
use std::time::Duration;
use terms::{Address, BackendId, Limit};

/// A pool written as operands: `a b:2 ! c %`; a leading `-` means disabled. The ids of its backends
/// are their places, counted from one.
fn pool(text: &str, quarantine: Duration) -> Pool {
    let mut tiers = vec![Tier::default()];
    let mut ids = (1..).map(BackendId::new);
    for word in text.split_whitespace() {
        let last = tiers.len() - 1;
        match word {
            "!" => tiers.push(Tier::default()),
            "%" => {
                tiers[last].policy = Policy::Hash;
                tiers[last].failover = FailoverScope::LaterTiers;
                tiers.push(Tier::default());
            }
            word => tiers[last].backends.extend(ids.next().map(|id| backend(word, id))),
        }
    }
    let health = HealthLimits { quarantine, ..HealthLimits::default() };
    Pool { tiers, health, ..Pool::default() }
}

fn backend(word: &str, id: BackendId) -> Arc<Backend> {
    let admin = if word.starts_with('-') { AdminState::Disabled } else { AdminState::Enabled };
    let (name, max) = word.trim_start_matches('-').split_once(':').unwrap_or((word, "0"));
    let limit = Limit::from_number(max.parse().unwrap());
    let state = Arc::new(BackendState::new(1, admin, limit));
    let name = name.trim_start_matches('-');
    Arc::new(Backend { id, ..Backend::new(name, vec![], state) })
}

/// Serves `clients` sessions, each with its client hash; upper-case backends refuse. Every
/// session stays open if `stay`. Tells who answered, `.` for nobody.
fn serve(pool: &Pool, clients: &[u32], stay: &mut Option<Vec<Lease>>) -> String {
    let mut answers = Vec::new();
    for &client in clients {
        let mut attempt = Attempt::new(numbered(client), u64::from(client));
        let mut answer = ".".to_owned();
        while let Some(lease) = pool.next_backend(&mut attempt, Instant::ZERO) {
            let name = lease.backend().name.to_string();
            let refuses = name.chars().all(char::is_uppercase);
            let outcome = if refuses { Outcome::Failure } else { Outcome::Success };
            pool.report(&mut attempt, &lease, outcome, Instant::ZERO);
            if !refuses {
                answer = name;
                if let Some(open) = stay {
                    open.push(lease);
                }
                break;
            }
        }
        answers.push(answer);
    }
    answers.join(" ")
}

#[track_caller]
fn check(operands: &str, expected: &str) {
    let count = expected.split_whitespace().count() as u32;
    let clients: Vec<u32> = (0..count).collect();
    let served = serve(&pool(operands, Duration::ZERO), &clients, &mut Some(Vec::new()));
    assert_eq!(served, expected, "{operands}");
}

#[test]
fn round_robin_takes_turns() {
    check("a b", "a b a b a");
    check("a b c", "a b c a b c a");
    check("a -b c", "a c a c");
}

#[test]
fn a_full_tier_spills_into_the_next() {
    check("a:2 ! b", "a a b b"); // balance(1), EXAMPLES
    check("a:1 b:1 ! c:1", "a b c . .");
    check("-a ! b:1 ! c", "b c c");
    check("a:-1 b", "b b");
}

#[test]
fn sessions_of_the_kernel_count_for_the_limit() {
    let pool = pool("a:3 b", Duration::ZERO);
    pool.tiers[0].backends[0].state.set_forwarded(2);
    assert_eq!(serve(&pool, &[0, 1, 2, 3], &mut Some(Vec::new())), "a b b b");
}

#[test]
fn after_a_failover_the_turn_goes_on_behind_who_answered() {
    check("a B c", "a c a c a c"); // spec 4.2, observed
    check("a B D e", "a e a e");
    check("A B ! c d", "c d c d");
    check("A B", ". . .");
}

#[test]
fn attempts_on_dead_backends_are_as_observed() {
    // Channel 1 of three dead, six clients: all three were tried three times (spec 4.2).
    let pool = pool("a B c", Duration::ZERO);
    let mut tries = [0; 3];
    for client in 0..6 {
        let mut attempt = Attempt::new(numbered(client), 0);
        while let Some(lease) = pool.next_backend(&mut attempt, Instant::ZERO) {
            let (_, index) = attempt.place().unwrap();
            tries[index] += 1;
            let outcome = if index == 1 { Outcome::Failure } else { Outcome::Success };
            pool.report(&mut attempt, &lease, outcome, Instant::ZERO);
            if outcome == Outcome::Success {
                break;
            }
        }
    }
    assert_eq!(tries, [3, 3, 3]);
}

#[test]
fn hash_sends_a_client_to_the_same_place() {
    let pool = pool("a b c %", Duration::ZERO);
    assert_eq!(serve(&pool, &[4, 4, 5, 4, 3], &mut None), "b b c b a");
}

#[test]
fn hash_without_standing_in_goes_to_the_next_tier() {
    let clients = [0, 1, 2];
    assert_eq!(serve(&pool("a B c % d", Duration::ZERO), &clients, &mut None), "a d c");
    assert_eq!(serve(&pool("a -b c % d", Duration::ZERO), &clients, &mut None), "a d c");
    let mut standing_in = pool("a B c % d", Duration::ZERO);
    standing_in.tiers[0].failover = FailoverScope::WholeTier; // balance(1), -H
    assert_eq!(serve(&standing_in, &clients, &mut None), "a c c");
}

#[test]
fn stubborn_tries_nothing_else() {
    let mut stubborn = pool("A b ! c", Duration::ZERO);
    stubborn.tiers[0].failover = FailoverScope::Nothing;
    assert_eq!(serve(&stubborn, &[0, 0, 0], &mut None), ". b .");
}

#[test]
fn when_a_tier_had_nothing_its_turn_starts_again() {
    let pool = pool("a b c", Duration::ZERO);
    assert_eq!(serve(&pool, &[0, 0], &mut None), "a b");
    let set = |state| pool.backends().for_each(|(_, _, b)| assert!(b.state.set_admin(state)));
    set(AdminState::Disabled);
    assert_eq!(serve(&pool, &[0], &mut None), ".");
    set(AdminState::Enabled);
    assert_eq!(serve(&pool, &[0, 0, 0], &mut None), "a b c");
}

#[test]
fn least_sessions_fills_evenly() {
    let mut least = pool("a b c", Duration::ZERO);
    least.tiers[0].policy = Policy::LeastSessions;
    let mut open = Some(Vec::new());
    assert_eq!(serve(&least, &[0, 0, 0], &mut open), "a b c");
    open.as_mut().unwrap().remove(1);
    assert_eq!(serve(&least, &[0], &mut open), "b");
}

#[test]
fn random_reaches_everyone_who_is_well() {
    let mut random = pool("a B c -d", Duration::ZERO);
    random.tiers[0].policy = Policy::Random;
    let clients: Vec<u32> = (0..300).collect();
    let served = serve(&random, &clients, &mut None);
    let count = |name| served.split(' ').filter(|&answer| answer == name).count();
    assert_eq!(count("a") + count("c"), 300);
    assert!(count("a") > 100 && count("c") > 100, "{served}");
}

#[test]
fn a_quarantined_backend_is_tried_only_when_nothing_else_is_left() {
    let pool = pool("A b ! c", Duration::from_secs(10));
    assert_eq!(serve(&pool, &[0, 0, 0], &mut None), "b b b");
    let a = &pool.tiers[0].backends[0].state;
    let b = &pool.tiers[0].backends[1].state;
    assert!(a.health().is_left_out(&pool.health, Instant::ZERO));
    b.set_admin(AdminState::Disabled);
    pool.tiers[1].backends[0].state.set_admin(AdminState::Disabled);
    let mut attempt = Attempt::new(Client::default(), 0);
    let lease = pool.next_backend(&mut attempt, Instant::ZERO).unwrap();
    assert_eq!(&*lease.backend().name, "A");
    pool.report(&mut attempt, &lease, Outcome::Failure, Instant::ZERO);
    assert!(pool.next_backend(&mut attempt, Instant::ZERO).is_none(), "not twice");
}

#[test]
fn auto_disable_tells_once() {
    let mut pool = pool("A b", Duration::ZERO);
    pool.auto_disable = true;
    let mut attempt = Attempt::new(Client::default(), 0);
    let lease = pool.next_backend(&mut attempt, Instant::ZERO).unwrap();
    let change = pool.report(&mut attempt, &lease, Outcome::Failure, Instant::ZERO);
    assert_eq!(change, Some(BackendChange::AutoDisabled));
    assert_eq!(lease.backend().state.admin(), AdminState::Disabled);
    let again = pool.report(&mut attempt, &lease, Outcome::Failure, Instant::ZERO);
    assert_eq!(again, None);
}

#[test]
fn a_lease_is_a_session_counted() {
    let pool = pool("a:1", Duration::ZERO);
    let state = &pool.tiers[0].backends[0].state;
    let lease = pool.next_backend(&mut Attempt::new(Client::default(), 0), Instant::ZERO).unwrap();
    assert_eq!(state.sessions(), 1);
    assert!(pool.next_backend(&mut Attempt::new(Client::default(), 0), Instant::ZERO).is_none());
    drop(lease);
    assert_eq!(state.sessions(), 0);
    assert!(pool.next_backend(&mut Attempt::new(Client::default(), 0), Instant::ZERO).is_some());
}

#[test]
fn addresses_are_written_as_they_are_read() {
    let written = |address: &str| Address::Ip(address.parse().unwrap()).to_string();
    assert_eq!(written("127.0.0.1:80"), "127.0.0.1:80");
    assert_eq!(written("[::1]:80"), "[::1]:80");
}

/// A client whose classic hash is its number, below 128.
fn numbered(number: u32) -> Client {
    let address = Ipv4Addr::from_bits(number).into();
    Client { address: Some(address), ..Client::default() }
}

#[test]
fn the_list_of_the_reject_backend_may_ask_for_a_country_too() {
    let mut pool = pool("a", Duration::ZERO);
    assert!(!pool.needs_country());
    let country = crate::AccessEntry {
        verdict: crate::Verdict::Deny,
        subject: crate::Subject::Country(crate::Country(*b"SE")),
    };
    let access = Arc::new(AccessList::new(vec![country]));
    let state = Arc::new(BackendState::new(1, AdminState::Enabled, Limit::None));
    pool.reject = Some(Arc::new(Backend { access, ..Backend::new("r", vec![], state) }));
    assert!(pool.needs_country());
}

/// Who is offered the session of a client that has moved from `wanted`, as long as connects fail.
#[track_caller]
fn check_moved(operands: &str, wanted: u64, expected: &str) {
    let pool = pool(operands, Duration::ZERO);
    let mut attempt = Attempt::new(Client::default(), 0);
    attempt.follow(BackendId::new(wanted));
    let mut offered = Vec::new();
    while let Some(lease) = pool.next_backend(&mut attempt, Instant::ZERO) {
        offered.push(lease.backend().name.clone());
        pool.report(&mut attempt, &lease, Outcome::Failure, Instant::ZERO);
    }
    assert_eq!(offered.join(" "), expected, "{operands}");
}

#[test]
fn a_client_that_moves_keeps_its_backend() {
    check_moved("a b c", 2, "b a c");
    check_moved("a -b c", 2, "b a c"); // open sessions of a disabled one go on, too
    check_moved("a b ! c d", 4, "d a b c");
    check_moved("a b % c", 2, "b a c"); // the hash has chosen `a`
    check_moved("a b c", 7, "a b c"); // it has been removed
    check_moved("a -b", 1, "a");
}

#[test]
fn a_client_that_moves_does_not_exceed_limits() {
    let pool = pool("a b:1", Duration::ZERO);
    let moved = || {
        let mut attempt = Attempt::new(Client::default(), 0);
        attempt.follow(BackendId::new(2));
        pool.next_backend(&mut attempt, Instant::ZERO).unwrap()
    };
    let open = moved();
    assert_eq!((&*open.backend().name, &*moved().backend().name), ("b", "a"));
}
