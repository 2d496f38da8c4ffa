use super::*;
use crate::Ids;
use crate::native::NativeCli;
use balancing::{FailoverScope, Policy};
use clap::Parser;
use terms::Limit;

fn config(line: &str) -> Config {
    let words = std::iter::once("evenkeel").chain(line.split_whitespace());
    let cli = NativeCli::try_parse_from(words).unwrap();
    let mut config = cli.start.to_config(&|_| None).unwrap();
    config.identify(None, &mut Ids::default());
    config
}

fn known() -> Known<'static> {
    Known {
        new_backend: BackendId::new(100),
        at: &|text| if text == "10.0.0.2:80" { vec![BackendId::new(2)] } else { vec![] },
        services: &|name| (name == "http").then_some(80),
    }
}

fn command(json: &str) -> Command {
    serde_json::from_str(json).unwrap()
}

/// The tiers as operands, `!` between them; `-` in front of what is out of service.
fn shown(config: &Config) -> String {
    let tier = |tier: &Tier| {
        let backends = tier.backends.iter().map(|backend| {
            let out = if backend.admin == AdminState::Enabled { "" } else { "-" };
            format!("{out}{backend}")
        });
        backends.collect::<Vec<_>>().join(" ")
    };
    let tiers = config.pools[0].tiers.iter().map(tier);
    tiers.collect::<Vec<_>>().join(" ! ")
}

#[track_caller]
fn check(line: &str, json: &str, expected: &str) {
    let answer = match config(line).apply(&command(json), &known()) {
        Ok(next) => shown(&next),
        Err(error) => error.to_string(),
    };
    assert_eq!(answer, expected, "{json}");
}

#[test]
fn a_backend_is_found_by_place_name_or_address() {
    for name in ["0.1", "main/0.1", "b:80", "main/b:80", "10.0.0.2:80"] {
        let json =
            format!(r#"{{"command":"set-admin-state","backend":"{name}","state":"disabled"}}"#);
        check("80 a b ! c", &json, "a:80 -b:80 ! c:80");
    }
    let json = r#"{"command":"set-admin-state","backend":"a:80","state":"disabled"}"#;
    check("80 a ! a", json, &CommandError::AmbiguousBackend("a:80".to_owned()).to_string());
    for name in ["0.2", "2.0", "web/0.0", "c:80", "10.0.0.3:80"] {
        let json = format!(r#"{{"command":"reset-counters","backend":"{name}"}}"#);
        check("80 a b", &json, &CommandError::UnknownBackend(name.to_owned()).to_string());
    }
}

#[test]
fn a_name_selects_a_backend() {
    let mut named = config("80 a b ! c");
    named.pools[0].tiers[1].backends[0].name = Some("old".to_owned());
    named.pools[0].name = "unix:/run/x".to_owned();
    let id = |text: &str| named.backend_id(&BackendSelector::from(text.to_owned()), &known());
    for text in ["old", "c:80", "1.0", "unix:/run/x/old", "unix:/run/x/c:80", "unix:/run/x/1.0"] {
        assert_eq!(id(text), Ok(BackendId::new(3)), "{text}");
    }
    assert_eq!(id("unix:/run/x/10.0.0.2:80"), Ok(BackendId::new(2)));
    for text in ["", "new", "x/old", "unix:/run/old", "unix:/run/x/", "unix:/run/x"] {
        assert_eq!(id(text), Err(CommandError::UnknownBackend(text.to_owned())));
    }
}

#[test]
fn another_address_leaves_everything_else_as_it_was() {
    let mut before = config("80 a:80:5:6:7:8");
    let backend = &mut before.pools[0].tiers[0].backends[0];
    backend.admin = AdminState::Draining;
    let wanted = Backend {
        endpoint: config("80 b").pools[0].tiers[0].backends[0].endpoint.clone(),
        ..backend.clone()
    };
    let json = r#"{"command":"set-endpoint","backend":"0.0","endpoint":"b:http"}"#;
    let after = before.apply(&command(json), &known()).unwrap();
    assert_eq!(after.pools[0].tiers[0].backends[0], wanted);
}

#[test]
fn an_address_changes_only_out_of_service() {
    let json = r#"{"command":"set-endpoint","backend":"0.0","endpoint":"b:80"}"#;
    check("80 a", json, "backend 0.0 must be disabled before its address can change");
}

#[test]
fn another_policy_keeps_the_failover_scope() {
    let before = config("80 a b --failover nothing --hash-failover later-tiers");
    let scope = |config: &Config| {
        let pool = &config.pools[0];
        (pool.tiers[0].policy, pool.failover_of(pool.tiers[0].policy))
    };
    let set = |config: &Config, policy: &str| {
        let json = format!(r#"{{"command":"set-policy","tier":0,"policy":"{policy}"}}"#);
        config.apply(&command(&json), &known()).unwrap()
    };
    let random = set(&before, "random");
    assert_eq!(scope(&random), (Policy::Random, FailoverScope::Nothing));
    let hash = set(&random, "hash");
    assert_eq!(scope(&hash), (Policy::Hash, FailoverScope::LaterTiers));
    assert_eq!(set(&hash, "round-robin"), before);
}

#[test]
fn a_new_tier_can_only_be_the_next_one() {
    let add =
        |tier: usize| format!(r#"{{"command":"add-backend","tier":{tier},"endpoint":"c:80"}}"#);
    check("80 a ! b", &add(0), "a:80 -c:80 ! b:80");
    check("80 a ! b", &add(2), "a:80 ! b:80 ! -c:80");
    let says = "there is no tier 5; the next new tier is 2";
    check("80 a ! b", &add(5), says);
    let json = r#"{"command":"set-policy","tier":2,"policy":"random"}"#;
    check("80 a ! b", json, "there is no tier 2; the tiers are 0 to 1");
    check("80 a", json, "there is no tier 2; the only tier is 0");
    let next = config("80 a ! b %").apply(&command(&add(2)), &known()).unwrap();
    assert_eq!(next.pools[0].tiers[2].policy, Policy::Hash, "as the one before it");
}

#[test]
fn numbered_tiers_may_have_gaps() {
    let mut before = config("80 a");
    before.pools[0].fixed_places = true;
    let add = r#"{"command":"add-backend","tier":2,"endpoint":"c:80"}"#;
    assert_eq!(shown(&before.apply(&command(add), &known()).unwrap()), "a:80 !  ! -c:80");
    let hash = r#"{"command":"set-policy","tier":1,"policy":"hash"}"#;
    let next = before.apply(&command(hash), &known()).unwrap();
    assert_eq!(next.pools[0].tiers[1].policy, Policy::Hash);
    let far = r#"{"command":"set-policy","tier":1024,"policy":"hash"}"#;
    assert_eq!(before.apply(&command(far), &known()), Err(CommandError::TooManyTiers(1024)));
}

#[test]
fn tiers_are_bounded() {
    let mut config = config("80 a");
    let add = |tier| Command::AddBackend { pool: None, tier, endpoint: "c:80".to_owned() };
    for tier in 1..TIERS_MAX {
        config = config.apply(&add(tier), &known()).unwrap();
    }
    assert_eq!(config.apply(&add(TIERS_MAX), &known()), Err(CommandError::TooManyTiers(TIERS_MAX)));
}

#[test]
fn a_removed_backend_is_gone_and_the_others_move_up() {
    let json = r#"{"command":"remove-backend","backend":"0.0"}"#;
    check("80 a b ! c", json, "b:80 ! c:80");
    check("80 a ! c", json, " ! c:80");
    let mut fixed = config("80 a b");
    fixed.pools[0].fixed_places = true;
    let refused = fixed.apply(&command(json), &known());
    assert_eq!(refused, Err(CommandError::FixedPlaces("0.0".to_owned())));
}

#[test]
fn with_several_pools_a_command_says_which() {
    let mut both = config("80 a");
    let mut other = config("81 x");
    let (mut listener, mut pool) = (other.listeners.remove(0), other.pools.remove(0));
    (listener.name, listener.pool, listener.id) = ("other".to_owned(), "other".to_owned(), None);
    (pool.name, pool.tiers[0].backends[0].id) = ("other".to_owned(), None);
    both.listeners.push(listener);
    both.pools.push(pool);
    let mut ids = Ids::default();
    ids.backend();
    ids.listener();
    both.identify(None, &mut ids);
    let ask = |json: &str| both.apply(&command(json), &known());
    let add = r#"{"command":"add-backend","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add), Err(CommandError::AmbiguousPool("main/0".to_owned())));
    let refused = |json: &str| ask(json).unwrap_err().to_string();
    assert_eq!(
        refused(r#"{"command":"set-policy","tier":1,"policy":"hash"}"#),
        "there are several pools; write which, as in main/1"
    );
    assert_eq!(
        refused(r#"{"command":"rebalance","seconds":0}"#),
        "there are several pools; write which, as in main"
    );
    let add = r#"{"command":"add-backend","pool":"other","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add).unwrap().pools[1].tiers[0].backends.len(), 2);
    let add = r#"{"command":"add-backend","pool":"none","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add), Err(CommandError::UnknownPool("none".to_owned())));
    let limit = |backend: &str| {
        format!(r#"{{"command":"set-sessions-max","backend":"{backend}","sessions_max":-1}}"#)
    };
    assert_eq!(ask(&limit("0.0")), Err(CommandError::AmbiguousBackend("0.0".to_owned())));
    let next = ask(&limit("other/0.0")).unwrap();
    let limits = |pool: usize| next.pools[pool].tiers[0].backends[0].limits;
    assert_eq!(limits(1).sessions_max, Limit::AtMost(0));
    assert_eq!(limits(0).sessions_max, Limit::None);
}

/// The ids of the backends of `line` and then of each of `next`, which follow one another.
#[track_caller]
fn check_ids(line: &str, next: &[(&str, &[u64])], edit: impl Fn(&mut Config)) {
    let read = |line: &str| {
        let words = std::iter::once("evenkeel").chain(line.split_whitespace());
        let cli = NativeCli::try_parse_from(words).unwrap();
        let mut config = cli.start.to_config(&|_| None).unwrap();
        edit(&mut config);
        config
    };
    let mut ids = Ids::default();
    let mut before = read(line);
    before.identify(None, &mut ids);
    for (line, expected) in next {
        let mut config = read(line);
        config.identify(Some(&before), &mut ids);
        let backends = config.pools[0].backends().map(|(_, _, it)| it);
        let found: Vec<_> =
            backends.chain(&config.pools[0].reject).map(|it| it.id.unwrap().number()).collect();
        assert_eq!(found, *expected, "{line}");
        before = config;
    }
}

#[test]
fn a_backend_is_the_same_while_its_address_is() {
    let next: &[(_, &[u64])] = &[("80 b a", &[2, 1]), ("80 c ! b", &[3, 2]), ("80 a c", &[4, 3])];
    check_ids("80 a b", next, |_| {});
    check_ids("80 a a ! a", &[("80 a ! a", &[1, 2]), ("80 a a a", &[1, 2, 4])], |_| {});
    check_ids("80 --reject x a", &[("80 --reject y b a", &[3, 1, 2])], |_| {});
}

#[test]
fn where_places_are_fixed_a_backend_is_its_place() {
    let fixed = |config: &mut Config| config.pools[0].fixed_places = true;
    check_ids("80 a b", &[("80 c", &[1]), ("80 c d ! e", &[1, 3, 4])], fixed);
}

#[test]
fn a_backend_is_the_same_while_its_name_is() {
    /// Backends written `name.host` are called `name`.
    fn name(config: &mut Config) {
        for backend in &mut config.pools[0].tiers[0].backends {
            let Endpoint::Tcp { host: crate::Host::Name(host), .. } = &mut backend.endpoint else {
                continue;
            };
            if let Some((name, rest)) = host.clone().split_once('.') {
                backend.name = Some(name.to_owned());
                rest.clone_into(host);
            }
        }
    }
    check_ids("80 x.a y.b", &[("80 y.a x.b", &[2, 1]), ("80 x.c y.c", &[1, 2])], name);
    // With a name, or without it again, it is the same.
    check_ids("80 a b", &[("80 y.b x.a", &[2, 1]), ("80 a b", &[1, 2])], name);
    check_ids("80 x.a", &[("80 y.a", &[2])], name);
}

#[test]
fn pools_and_listeners_are_known_by_their_names() {
    let start = |line: &str, before: Option<&Config>, ids: &mut Ids| {
        let words: Vec<_> = line.split_whitespace().map(std::ffi::OsString::from).collect();
        let Ok(crate::native::Typed::Start(start)) = crate::native::parse(&words) else {
            panic!("{line}")
        };
        let mut config = start.to_config(&|_| None).unwrap();
        config.identify(before, ids);
        config
    };
    let mut ids = Ids::default();
    let before = start("80 a -- 81 a", None, &mut ids);
    let after = start("81 a -- 82 a -- 80 b", Some(&before), &mut ids);
    let listeners = |config: &Config| -> Vec<_> {
        config.listeners.iter().map(|it| it.id.unwrap().number()).collect()
    };
    assert_eq!((listeners(&before), listeners(&after)), (vec![0, 1], vec![1, 2, 0]));
    let backends = |config: &Config| -> Vec<_> {
        let backends = config.pools.iter().flat_map(Pool::backends);
        backends.map(|(_, _, it)| it.id.unwrap().number()).collect()
    };
    assert_eq!((backends(&before), backends(&after)), (vec![1, 2], vec![2, 3, 4]));
}
