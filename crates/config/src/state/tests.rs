use super::*;
use crate::native::NativeCli;
use crate::{BackendSelector, Command, Ids, Known};
use balancing::{AdminState, Policy};
use clap::Parser;
use terms::{BackendId, Instant, Limit};

fn given(line: &str) -> Config {
    let words = std::iter::once("evenkeel").chain(line.split(' '));
    let args = NativeCli::try_parse_from(words).unwrap().start;
    let mut config = args.to_config(&|_| None).unwrap();
    config.identify(None, &mut Ids::default());
    config
}

/// The configuration after these commands.
#[track_caller]
fn run(given: &Config, commands: &[Command]) -> Config {
    let mut config = given.clone();
    for (number, command) in commands.iter().enumerate() {
        let known = Known {
            new_backend: BackendId::new(1000 + number as u64),
            at: &|_| Vec::new(),
            services: &|_| None,
        };
        config = config.apply(command, &known).unwrap();
    }
    config
}

fn state_of(given: &Config, running: &Config) -> State {
    let mut state = State { version: State::VERSION, instance: "i".into(), ..State::default() };
    state.note_overrides(given, running);
    let bytes = state.to_bytes().unwrap();
    let read = State::parse(&bytes, "i").unwrap();
    assert_eq!(read, state);
    read
}

fn at(text: &str) -> BackendSelector {
    BackendSelector::from(text.to_owned())
}

fn admin(backend: &str, state: AdminState) -> Command {
    Command::SetAdminState { backend: at(backend), state }
}

fn without_ids(mut config: Config) -> Config {
    let tiers = config.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
    tiers.flat_map(|tier| &mut tier.backends).for_each(|backend| backend.id = None);
    config
}

/// Commands, a restart with `line` again, and the words of what no longer applies.
#[track_caller]
fn check(line: &str, commands: &[Command], line_then: &str, expected: &[&str]) -> Config {
    let before = given(line);
    let running = run(&before, commands);
    let state = state_of(&before, &running);
    let (restored, dropped) = state.apply(&given(line_then));
    let word = |it: &Dropped| format!("{}: {}: {}", it.dropped.place(), it.dropped, it.why);
    assert_eq!(dropped.iter().map(word).collect::<Vec<_>>(), expected);
    if line == line_then {
        assert_eq!(without_ids(restored.clone()), without_ids(running));
    }
    restored
}

fn all_commands() -> Vec<Command> {
    vec![
        admin("0.1", AdminState::Disabled),
        Command::SetEndpoint { backend: at("0.1"), endpoint: "b2:81".into() },
        admin("1.0", AdminState::Draining),
        Command::SetSessionsMax { backend: at("0.0"), sessions_max: Limit::AtMost(7) },
        Command::AddBackend { pool: None, tier: 0, endpoint: "d:80".into() },
        admin("0.3", AdminState::Enabled),
        Command::AddBackend { pool: None, tier: 2, endpoint: "e:80".into() },
        Command::SetPolicy { pool: None, tier: 0, policy: Policy::Hash },
        Command::SetPolicy { pool: None, tier: 2, policy: Policy::Random },
        Command::RemoveBackend { backend: at("0.2") },
    ]
}

#[test]
fn all_that_commands_can_change_survives_a_restart() {
    check("80 a b c ! x", &all_commands(), "80 a b c ! x", &[]);
}

#[test]
fn each_command_by_itself_survives_a_restart() {
    for command in all_commands() {
        let alone = match command {
            Command::SetPolicy { tier: 2, .. } | Command::SetEndpoint { .. } => continue,
            other => other,
        };
        check("80 a b c f ! x", &[alone], "80 a b c f ! x", &[]);
    }
}

#[test]
fn a_tier_that_was_added_keeps_its_place_among_the_others() {
    let add = |tier, endpoint: &str| Command::AddBackend {
        pool: None,
        tier,
        endpoint: endpoint.to_owned(),
    };
    let commands = [
        add(1, "a:80"),
        add(1, "c:80"),
        add(2, "d:80"),
        Command::RemoveBackend { backend: at("1.0") },
    ];
    check("80 a", &commands, "80 a", &[]);
    // A tier fewer is given: the added one comes after the last.
    let restored = check("80 a ! b", &[add(2, "d:80")], "80 a", &[]);
    assert_eq!(restored.pools[0].tiers[1].backends[0].endpoint.to_string(), "d:80");
}

#[test]
fn backends_of_the_same_address_are_told_apart() {
    let restored = check("80 a a a", &[admin("0.1", AdminState::Disabled)], "80 a a a", &[]);
    let states = restored.pools[0].backends().map(|(_, _, it)| it.admin == AdminState::Disabled);
    assert_eq!(states.collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_backend_that_was_given_a_name_is_still_known() {
    let before = given("80 a b");
    let running = run(&before, &[admin("0.1", AdminState::Disabled)]);
    let mut then = given("80 a b");
    then.pools[0].tiers[0].backends[1].name = Some("blue".into());
    let (restored, dropped) = state_of(&before, &running).apply(&then);
    assert_eq!(dropped, []);
    assert_eq!(restored.pools[0].tiers[0].backends[1].admin, AdminState::Disabled);
    // And by its name, wherever it is.
    let running = run(&then, &[admin("blue", AdminState::Draining)]);
    let state = state_of(&then, &running);
    then.pools[0].tiers[0].backends[1].endpoint =
        given("80 z").pools[0].tiers[0].backends[0].endpoint.clone();
    let (restored, dropped) = state.apply(&then);
    assert_eq!(dropped, []);
    assert_eq!(restored.pools[0].tiers[0].backends[1].admin, AdminState::Draining);
}

#[test]
fn an_override_follows_its_backend_to_another_place() {
    let restored = check("80 a b", &[admin("0.0", AdminState::Disabled)], "80 n b a", &[]);
    assert_eq!(restored.pools[0].tiers[0].backends[2].admin, AdminState::Disabled);
}

#[test]
fn what_has_changed_in_the_file_wins() {
    let limit = Command::SetSessionsMax { backend: at("0.0"), sessions_max: Limit::AtMost(7) };
    check(
        "80 a::5 b",
        std::slice::from_ref(&limit),
        "80 a::6 b",
        &["a:80: max-sessions: 7 instead of 5: the configuration gives another value now"],
    );
    // Another key of the backend has changed: that is no reason.
    let restored = check("80 a:80:5:0:1 b", &[limit], "80 a:80:5:0:9 b", &[]);
    let backend = &restored.pools[0].tiers[0].backends[0];
    assert_eq!((backend.limits.sessions_max, backend.weight), (Limit::AtMost(7), 9));
    check(
        "80 a b",
        &[Command::SetPolicy { pool: None, tier: 0, policy: Policy::Hash }],
        "80 a b --policy random",
        &["tier 0: policy: hash instead of round-robin: the configuration gives another value now"],
    );
    let added = Command::AddBackend { pool: None, tier: 0, endpoint: "d:80".into() };
    check(
        "80 a",
        &[added],
        "80 a d",
        &["d:80: added to tier 0: the configuration gives another value now"],
    );
    check(
        "80 a b::1",
        &[Command::RemoveBackend { backend: at("0.1") }],
        "80 a b::2",
        &["b:80: removed: the configuration gives another value now"],
    );
}

/// What runs after `before` was given, `a` was removed and added again to this tier, and a restart
/// with `then`.
#[track_caller]
fn check_added_again(before: &str, tier: usize, then: &str, dropped: &[&str], expected: &str) {
    let commands = [
        Command::RemoveBackend { backend: at("a:80") },
        Command::AddBackend { pool: None, tier, endpoint: "a:80".into() },
        admin("a:80", AdminState::Draining),
    ];
    // The state is also noted after a reload, which gives both the same id.
    for reloaded in [false, true] {
        let mut before = given(before);
        let running = run(&before, &commands);
        if reloaded {
            before.recognise_added_again(&running);
        }
        let (restored, refused) = state_of(&before, &running).apply(&given(then));
        let word = |it: &Dropped| format!("{}: {}: {}", it.dropped.place(), it.dropped, it.why);
        assert_eq!(refused.iter().map(word).collect::<Vec<_>>(), dropped, "{then}");
        let shown = |(tier, _, it): (usize, usize, &Backend)| format!("{tier} {it} {:?}", it.admin);
        let shown: Vec<_> = restored.pools[0].backends().map(shown).collect();
        assert_eq!(shown.join(", "), expected, "{then}");
    }
}

#[test]
fn a_backend_that_was_removed_and_added_again_is_there_once() {
    check_added_again("80 a b", 0, "80 a b", &[], "0 a:80 Draining, 0 b:80 Enabled");
    check_added_again("80 a b", 0, "80 a::3 b", &[], "0 a:80:3 Draining, 0 b:80 Enabled");
    let gone = "a:80: admin: draining instead of enabled: what it changes no longer exists";
    check_added_again("80 a b", 0, "80 b", &[gone], "0 b:80 Enabled");
    // It was added otherwise than it was given: that stays, unless the file has changed.
    let (moved, words) = ("0 b:80 Enabled, 1 c:80 Enabled, 1 a:80 Draining", "80 a b ! c");
    check_added_again(words, 1, words, &[], moved);
    let (weighted, words) = ("0 b:80 Enabled, 0 a:80 Draining", "80 a:80:0:0:5 b");
    check_added_again(words, 0, words, &[], weighted);
    let changed = "the configuration gives another value now";
    check_added_again(
        "80 a b ! c",
        1,
        "80 a::3 b ! c",
        &[&format!("a:80: added to tier 1: {changed}"), &format!("a:80: removed: {changed}")],
        "0 a:80:3 Enabled, 0 b:80 Enabled, 1 c:80 Enabled",
    );
    let gone = "what it changes no longer exists";
    check_added_again(
        "80 a b ! c",
        1,
        "80 b ! c",
        &[&format!("a:80: added to tier 1: {gone}"), &format!("a:80: removed: {gone}")],
        "0 b:80 Enabled, 1 c:80 Enabled",
    );
}

#[test]
fn what_no_longer_exists_is_left_out() {
    let commands = [
        admin("1.0", AdminState::Disabled),
        Command::AddBackend { pool: None, tier: 1, endpoint: "d:80".into() },
        Command::SetPolicy { pool: None, tier: 1, policy: Policy::Hash },
    ];
    check(
        "80 a ! b ! c",
        &commands,
        "80 n",
        &[
            "tier 1: policy: hash instead of round-robin: what it changes no longer exists",
            "b:80: admin: disabled instead of enabled: what it changes no longer exists",
        ],
    );
}

#[test]
fn a_file_of_another_version_or_instance_or_a_damaged_one_is_refused() {
    let state = State { version: State::VERSION, instance: "i".into(), ..State::default() };
    let bytes = state.to_bytes().unwrap();
    let why = |bytes: &[u8], instance| match State::parse(bytes, instance) {
        Ok(_) => "read".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(why(&bytes, "i"), "read");
    assert_eq!(why(&bytes, "j"), "it belongs to the instance i");
    let newer = b"{\"version\":2,\"instance\":\"i\",\"what\":\"ever\"}";
    assert_eq!(why(newer, "i"), "it has version 2 of the format, and this program reads version 1");
    for length in 0..bytes.len() - 2 {
        assert!(why(&bytes[..length], "i").starts_with("it is damaged: "), "{length}");
    }
}

#[test]
fn clients_are_known_as_long_as_without_a_restart() {
    let client = |last_millis| KnownClient { client: None, backend: "a:80".into(), last_millis };
    let moment = |boot: &str, millis| Moment { boot: boot.into(), millis };
    let clients = [("main".to_owned(), vec![client(900), client(400)])].into();
    let state = State { written: moment("b", 1000), clients, ..State::default() };
    let seen = |now: &Moment| {
        state.known_clients("main", now).map(|(_, _, at)| at.as_millis()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&moment("b", 5000)), [400, 900]);
    // After a reboot only the time before it counts, wherever the clock begins.
    assert_eq!(seen(&moment("c", 5000)), [4400, 4900]);
    assert_eq!(seen(&moment("c", 500)), [0, 400]);
}

#[test]
fn healths_are_known_until_the_next_boot() {
    let health = Health::Quarantined { since: Instant::from_millis(900), successes: 1 };
    let quarantine = Quarantine::of("a:80".into(), health).unwrap();
    assert_eq!(Quarantine::of("a:80".into(), Health::default()), None);
    let moment = |boot: &str, millis| Moment { boot: boot.into(), millis };
    let pool = PoolState { quarantines: vec![quarantine], ..PoolState::default() };
    let written = moment("b", 1000);
    let state = State { written, pools: [("main".into(), pool)].into(), ..State::default() };
    let known = |now: &Moment| state.healths("main", now).into_values().next();
    assert_eq!(known(&moment("b", 1001)), Some(health));
    assert_eq!(known(&moment("c", 1001)), None, "after a reboot");
    assert_eq!(known(&moment("b", 999)), None, "the clock has gone back");
    assert_eq!(state.healths("other", &moment("b", 1001)).len(), 0);
    let unknown = State { written: moment("", 0), ..state.clone() };
    assert_eq!(unknown.healths("main", &moment("", 1)).len(), 0);
}
