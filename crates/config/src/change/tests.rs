use super::*;
use crate::{Config, Family, Host, Tier, Tls};
use balancing::{LoadBound, RouteRule, Subset};
use proptest::prelude::*;

/// A backend whose settings follow from a number, so that equal numbers are equal backends.
fn backend(id: u64, seed: u8) -> Backend {
    let bit = |bit: u8| seed >> bit & 1 == 1;
    let host = Host::Name(if bit(0) { "a" } else { "b" }.to_owned());
    let limits = Limits {
        sessions_max: if bit(1) { Limit::None } else { Limit::AtMost(3) },
        sessions_max_affine: u32::from(bit(2)),
    };
    Backend {
        id: Some(BackendId::new(id)),
        name: bit(6).then(|| format!("b{id}")),
        weight: u32::from(bit(3)),
        priority: i32::from(bit(4)),
        admin: if bit(5) { AdminState::Enabled } else { AdminState::Draining },
        ..Backend::new(Endpoint::Tcp { host, port: 80 }, limits)
    }
}

fn pool(name: &str, tiers: Vec<Tier>, seed: u8) -> Pool {
    let bit = |bit: u8| seed >> bit & 1 == 1;
    let scope = if bit(0) { FailoverScope::WholeTier } else { FailoverScope::Nothing };
    Pool {
        name: name.to_owned(),
        tiers,
        load_bound: LoadBound::from_hundredths(100 + u32::from(seed)),
        subset: Subset::new(seed.into(), 0, 1),
        quarantine: Duration::from_secs(seed.into()),
        warm_up: Some(Duration::from_secs(seed.into())),
        age_max: Some(Duration::from_secs(seed.into())),
        auto_disable: bit(4),
        checks: Checks { fall: bit(3).then_some(2), ..Checks::default() },
        failover: scope,
        hash_failover: scope,
        last_resort: bit(5),
        essential: bit(1),
        engine: [Engine::User, Engine::Kernel, Engine::Direct][usize::from(seed % 3)],
        send_proxy: bit(0).then_some(SendProxy::V1),
        access: AccessList::everyone(),
        reject: bit(6).then(|| backend(99, seed)),
        tls: PoolTls { name: bit(1).then(|| "a.test".to_owned()), ..PoolTls::default() },
        affinity: bit(7).then_some(Affinity { clients_max: 5, time_limit: None, sticky: true }),
        fixed_places: bit(2),
    }
}

fn route(names: &[&str], pool: &str) -> Route {
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    let protocols = vec!["h2".to_owned()];
    Route { rule: RouteRule { names, protocols }, pool: pool.to_owned() }
}

fn listener(id: u64, pool: &str, seed: u8) -> Listener {
    let bit = |bit: u8| seed >> bit & 1 == 1;
    let bind = |port| Bind::Tcp { host: None, port, family: Family::Any };
    Listener {
        id: Some(ListenerId::new(id)),
        name: format!("l{id}"),
        binds: (0..u16::from(seed % 3)).map(|n| bind(80 + n + u16::from(bit(1)))).collect(),
        segment: None,
        shared_port: bit(2),
        pool: pool.to_owned(),
        routes: (0..seed % 4).map(|n| route(&["a.x", "*.x", "b.y"][n as usize..], pool)).collect(),
        hello_wait: Duration::from_millis(u64::from(seed) + 1),
        starttls: bit(6).then_some(Starttls::Postgresql),
        sessions_max: bit(3).then_some(5),
        connecting_max: None,
        clients: Default::default(),
        rate_max: bit(7).then(|| "5/s".parse().unwrap()),
        flows: FlowRules::default(),
        timeouts: Timeouts { connect: Duration::from_secs(seed.into()), ..Timeouts::default() },
        source: if bit(5) { Source::Client } else { Source::System },
        accept_proxy: bit(4).then(|| ProxyPeers::new(Vec::new(), true)),
        tls: bit(0).then(|| Tls {
            certificates: vec![format!("/{seed}.pem").into()],
            keys: Vec::new(),
            protocols: Vec::new(),
            timeout: Tls::DEFAULT_TIMEOUT,
            ..Tls::default()
        }),
        forwarded_headers: bit(6),
        dummy: bit(7),
        splice: SpliceMode::Auto,
        cut: if bit(1) { Cut::Close } else { Cut::Reset },
    }
}

/// Up to four pools of up to three tiers, and up to four listeners, some of which share a pool or
/// have none, over names and ids in any order. Each backend is in any tier of any pool.
fn any_config() -> impl Strategy<Value = Config> {
    let tier = prop::collection::vec(any::<u8>(), 0..4);
    let tiers = prop::collection::vec((tier, any::<bool>()), 0..4);
    let pools = prop::collection::vec((tiers, any::<u8>()), 0..5);
    let names = Just(vec!["p", "q", "r", "s", "t"]).prop_shuffle();
    let listeners = prop::collection::vec((0usize..5, any::<u8>()), 0..5);
    let listener_ids = Just(vec![0u64, 1, 2, 3, 4]).prop_shuffle();
    let backend_ids = Just((1u64..50).collect::<Vec<_>>()).prop_shuffle();
    // Ids of neighbours are often alike, so that much is kept.
    let backend_ids = prop_oneof![Just((1u64..50).collect::<Vec<_>>()), backend_ids];
    let parts = (pools, names, listeners, listener_ids, backend_ids, any::<bool>());
    parts.prop_map(|(pools, names, listeners, listener_ids, backend_ids, daemon)| {
        let mut backend_ids = backend_ids.into_iter();
        let pools = pools.into_iter().zip(&names).map(|((tiers, seed), name)| {
            let tiers = tiers.into_iter().map(|(seeds, hash)| {
                let backends = seeds.into_iter().zip(&mut backend_ids);
                let backends = backends.map(|(seed, id)| backend(id, seed)).collect();
                let policy = if hash { Policy::Hash } else { Policy::RoundRobin };
                Tier { policy, backends }
            });
            pool(name, tiers.collect(), seed)
        });
        let pools = pools.collect();
        let listeners = listeners.into_iter().zip(listener_ids);
        let listeners = listeners.map(|((at, seed), id)| listener(id, names[at], seed)).collect();
        Config { listeners, pools, process: Process { daemon, ..Process::default() } }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_differs_makes_one_the_other((before, wanted) in (any_config(), any_config())) {
        prop_assert_eq!(before.with(before.diff(&wanted)), wanted);
    }

    #[test]
    fn nothing_differs_from_itself(config in any_config()) {
        prop_assert_eq!(config.diff(&config), vec![]);
    }

    /// What an operator did to the running configuration, and the file does not speak of, stays,
    /// even if the file moves the backend.
    #[test]
    fn a_difference_touches_only_what_it_names(before in any_config(), setting in any::<u32>()) {
        let mut running = before.clone();
        let Some(first) = before.pools.iter().find_map(|pool| pool.backends().next()) else {
            return Ok(());
        };
        let id = first.2.id.expect("all have one");
        let operator = running.backend_mut(id).expect("it is there");
        operator.admin = AdminState::Disabled;
        operator.limits.sessions_max = Limit::AtMost(1234);
        let operator = operator.clone();
        let mut wanted = before.clone();
        wanted.backend_mut(id).expect("it is there").weight = setting;
        wanted.pools.reverse();
        wanted.pools.iter_mut().for_each(|pool| pool.tiers.reverse());
        let next = running.with(before.diff(&wanted));
        let mut expected = wanted.clone();
        *expected.backend_mut(id).expect("it is there") = Backend { weight: setting, ..operator };
        prop_assert_eq!(next, expected);
    }
}

fn with_tiers(tiers: &[&[u64]]) -> Config {
    let tier = |ids: &&[u64]| Tier {
        policy: Policy::RoundRobin,
        backends: ids.iter().map(|id| backend(*id, 0)).collect(),
    };
    let pools = vec![pool("p", tiers.iter().map(tier).collect(), 0)];
    Config { listeners: vec![listener(0, "p", 0)], pools, process: Process::default() }
}

/// What becomes of `running` when a configuration goes from `before` to `wanted`.
#[track_caller]
fn check(before: &[&[u64]], wanted: &[&[u64]], running: &[&[u64]], expected: &[&[u64]]) {
    let changes = with_tiers(before).diff(&with_tiers(wanted));
    assert_eq!(with_tiers(running).with(changes), with_tiers(expected));
}

#[test]
fn backends_that_an_operator_added_stay() {
    check(&[&[1]], &[&[1, 2]], &[&[1, 9]], &[&[1, 2, 9]]);
    check(&[&[1, 2]], &[&[1]], &[&[1, 2, 9]], &[&[1, 9]]);
    check(&[&[1], &[2]], &[&[1]], &[&[1], &[2, 9]], &[&[1], &[9]]);
    check(&[&[1], &[2]], &[&[1]], &[&[1], &[2], &[9]], &[&[1], &[9]]);
    check(&[&[1]], &[&[1], &[2]], &[&[1], &[9]], &[&[1], &[2, 9]]);
}

#[test]
fn backends_that_an_operator_removed_do_not_come_back() {
    check(&[&[1, 2]], &[&[1, 2, 3]], &[&[1]], &[&[1, 3]]);
}

/// How many changes make one order of backends another.
#[track_caller]
fn check_moves(before: &[u64], wanted: &[u64], expected: usize) {
    let changes = with_tiers(&[before]).diff(&with_tiers(&[wanted]));
    let is_move = |it: &Change| matches!(it, Change::MoveBackend { .. });
    assert!(changes.iter().all(is_move), "{changes:?}");
    assert_eq!(changes.len(), expected, "{changes:?}");
    assert_eq!(with_tiers(&[before]).with(changes), with_tiers(&[wanted]));
}

#[test]
fn as_few_as_possible_move() {
    check_moves(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5], 0);
    check_moves(&[1, 2, 3, 4, 5], &[5, 1, 2, 3, 4], 1);
    check_moves(&[1, 2, 3, 4, 5], &[2, 3, 4, 5, 1], 1);
    check_moves(&[1, 2, 3, 4, 5], &[4, 5, 1, 2, 3], 2);
    check_moves(&[1, 2, 3, 4, 5], &[1, 4, 2, 5, 3], 2);
    check_moves(&[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1], 4);
}
