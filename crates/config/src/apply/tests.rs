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
    let tiers = config.listeners[0].pool.tiers.iter().map(tier);
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
fn a_selector_is_read_as_it_was_written() {
    for text in ["0.1", "web/0.1", "db1:5432", "web/db1:5432", "unix:/run/a.sock", "web/unix:/a"] {
        assert_eq!(BackendSelector::from(text.to_owned()).to_string(), text);
    }
    let selector = BackendSelector::from("unix:/run/0.1".to_owned());
    assert_eq!(selector.pool, None);
    let selector = BackendSelector::from("web/unix:/run/a".to_owned());
    assert_eq!(selector.pool.as_deref(), Some("web"));
}

#[test]
fn another_address_leaves_everything_else_as_it_was() {
    let mut before = config("80 a:80:5:6:7:8");
    let backend = &mut before.listeners[0].pool.tiers[0].backends[0];
    backend.admin = AdminState::Draining;
    let wanted = Backend {
        endpoint: config("80 b").listeners[0].pool.tiers[0].backends[0].endpoint.clone(),
        ..backend.clone()
    };
    let json = r#"{"command":"set-endpoint","backend":"0.0","endpoint":"b:http"}"#;
    let after = before.apply(&command(json), &known()).unwrap();
    assert_eq!(after.listeners[0].pool.tiers[0].backends[0], wanted);
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
        let pool = &config.listeners[0].pool;
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
    check("80 a ! b", json, "there is no tier 2; the next new tier is 2");
    let next = config("80 a ! b %").apply(&command(&add(2)), &known()).unwrap();
    assert_eq!(next.listeners[0].pool.tiers[2].policy, Policy::Hash, "as the one before it");
}

#[test]
fn numbered_tiers_may_have_gaps() {
    let mut before = config("80 a");
    before.listeners[0].pool.fixed_places = true;
    let add = r#"{"command":"add-backend","tier":2,"endpoint":"c:80"}"#;
    assert_eq!(shown(&before.apply(&command(add), &known()).unwrap()), "a:80 !  ! -c:80");
    let hash = r#"{"command":"set-policy","tier":1,"policy":"hash"}"#;
    let next = before.apply(&command(hash), &known()).unwrap();
    assert_eq!(next.listeners[0].pool.tiers[1].policy, Policy::Hash);
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
    fixed.listeners[0].pool.fixed_places = true;
    let refused = fixed.apply(&command(json), &known());
    assert_eq!(refused, Err(CommandError::FixedPlaces("0.0".to_owned())));
}

#[test]
fn with_several_pools_a_command_says_which() {
    let mut both = config("80 a");
    let mut other = config("81 x").listeners.remove(0);
    other.pool.name = "other".to_owned();
    (other.id, other.pool.tiers[0].backends[0].id) = (None, None);
    both.listeners.push(other);
    let mut ids = Ids::default();
    ids.backend();
    ids.listener();
    both.identify(None, &mut ids);
    let ask = |json: &str| both.apply(&command(json), &known());
    let add = r#"{"command":"add-backend","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add), Err(CommandError::AmbiguousPool("main".to_owned())));
    let add = r#"{"command":"add-backend","pool":"other","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add).unwrap().listeners[1].pool.tiers[0].backends.len(), 2);
    let add = r#"{"command":"add-backend","pool":"none","tier":0,"endpoint":"c:80"}"#;
    assert_eq!(ask(add), Err(CommandError::UnknownPool("none".to_owned())));
    let limit = |backend: &str| {
        format!(r#"{{"command":"set-sessions-max","backend":"{backend}","sessions_max":-1}}"#)
    };
    assert_eq!(ask(&limit("0.0")), Err(CommandError::AmbiguousBackend("0.0".to_owned())));
    let next = ask(&limit("other/0.0")).unwrap();
    let limits = |listener: usize| next.listeners[listener].pool.tiers[0].backends[0].limits;
    assert_eq!(limits(1).sessions_max, Limit::AtMost(0));
    assert_eq!(limits(0).sessions_max, Limit::None);
}

#[test]
fn ids_stay_with_their_places_and_are_never_given_out_again() {
    let mut ids = Ids::default();
    let mut first = config("80 a b");
    for backend in &mut first.listeners[0].pool.tiers[0].backends {
        backend.id = None;
    }
    first.identify(None, &mut ids);
    let of = |config: &Config| -> Vec<u64> {
        let backends = config.listeners[0].pool.backends();
        backends.map(|(_, _, backend)| backend.id.unwrap().number()).collect()
    };
    let next = |line: &str, before: &Config, ids: &mut Ids| {
        let words = std::iter::once("evenkeel").chain(line.split_whitespace());
        let mut config =
            NativeCli::try_parse_from(words).unwrap().start.to_config(&|_| None).unwrap();
        config.identify(Some(before), ids);
        config
    };
    assert_eq!(of(&first), [1, 2]);
    let fewer = next("80 c", &first, &mut ids);
    assert_eq!(of(&fewer), [1]);
    let more = next("80 c d ! e", &fewer, &mut ids);
    assert_eq!(of(&more), [1, 3, 4]);
}
