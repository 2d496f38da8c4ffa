use super::*;
use crate::bind::StartError;
use crate::first_names::FirstNames;
use crate::manager::PassedSockets;
use crate::snapshot::first_pool;
use crate::start::bind_all;
use balancing::{AdminState, Attempt, Client};
use config::native::NativeCli;
use config::{BackendSelector, Command, CommandError, Reply};
use dataplane::Options;
use std::path::Path;
use terms::Limit;

mod changing;
mod replacing;
mod sharing;

/// What the options and backends come to behind a Unix socket at `path`.
pub(crate) fn config(path: &Path, words: &str) -> Config {
    let listen = format!("unix:{}", path.display());
    let words = ["evenkeel", &listen].into_iter().chain(words.split_whitespace());
    let cli = clap::Parser::try_parse_from(words).map(|cli: NativeCli| cli.start);
    cli.unwrap().to_config(&|_| None).unwrap()
}

pub(crate) fn start(config: Config) -> Instance {
    start_with(config, 1)
}

fn start_with(mut config: Config, workers: usize) -> Instance {
    let mut ids = Ids::default();
    config.identify(None, &mut ids);
    let names = FirstNames::default();
    let bound = bind_all(&config, (&mut PassedSockets::default(), None), workers, &names).unwrap();
    let certificates = Certificates::default();
    let pool = |pool| first_pool(pool, workers, &names, &certificates);
    let pools = config.pools.iter().map(pool).collect();
    let options = Options { workers, spin: None };
    let plane = DataPlane::start(options, certificates.connectors(), |_| Box::new(drop)).unwrap();
    let (observe, countries) = (Observe::default(), CountryBook::default());
    Instance::start(
        plane,
        (config.clone(), config),
        ids,
        (bound, pools),
        observe,
        (countries, certificates),
    )
}

fn admin(instance: &Instance, index: usize) -> AdminState {
    instance.pool(0).tiers[0].backends[index].state.admin()
}

fn set_admin(index: usize, state: AdminState) -> Command {
    Command::SetAdminState { backend: BackendSelector::place(0, index), state }
}

#[test]
fn what_a_command_changed_a_companion_leaves_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut given = config(&path, "127.0.0.1:1 127.0.0.1:2");
    let mut instance = start(given.clone());
    let disable = set_admin(1, AdminState::Disabled);
    assert_eq!(instance.apply(&disable, &[]), Ok(Reply::Done));
    let limit = Command::SetSessionsMax {
        backend: BackendSelector::place(0, 0),
        sessions_max: Limit::AtMost(7),
    };
    assert_eq!(instance.apply(&limit, &[]), Ok(Reply::Done));
    let policy =
        Command::SetPolicy { pool: None, tier: 0, policy: balancing::Policy::LeastSessions };
    assert_eq!(instance.apply(&policy, &[]), Ok(Reply::Done));

    given.pools[0].quarantine = Duration::from_secs(99);
    given.pools[0].tiers[0].backends[0].weight = 5;
    instance.reconfigure(&given).unwrap();
    let pool = instance.pool(0);
    assert_eq!(pool.health.quarantine, Duration::from_secs(99));
    assert_eq!(pool.tiers[0].backends[0].weight, 5);
    assert_eq!(admin(&instance, 1), AdminState::Disabled);
    assert_eq!(pool.tiers[0].backends[0].state.sessions_max(), Limit::AtMost(7));
    assert_eq!(pool.tiers[0].policy, balancing::Policy::LeastSessions);

    // What the companion changes itself is its to change.
    given.pools[0].tiers[0].backends[0].limits.sessions_max = Limit::AtMost(3);
    given.pools[0].tiers[0].policy = balancing::Policy::Random;
    instance.reconfigure(&given).unwrap();
    let pool = instance.pool(0);
    assert_eq!(pool.tiers[0].backends[0].state.sessions_max(), Limit::AtMost(3));
    assert_eq!(pool.tiers[0].policy, balancing::Policy::Random);
}

#[test]
fn what_a_companion_changed_a_command_leaves_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut given = config(&path, "127.0.0.1:1 127.0.0.1:2");
    let mut instance = start(given.clone());
    given.pools[0].tiers[0].backends[0].admin = AdminState::Disabled;
    given.pools[0].tiers[0].backends[1].priority = 4;
    instance.reconfigure(&given).unwrap();
    assert_eq!(instance.apply(&set_admin(1, AdminState::Draining), &[]), Ok(Reply::Done));
    assert_eq!(admin(&instance, 0), AdminState::Disabled);
    let backend = Arc::clone(&instance.pool(0).tiers[0].backends[1]);
    assert_eq!((backend.state.admin(), backend.priority), (AdminState::Draining, 4));
    assert_eq!(instance.apply(&set_admin(0, AdminState::Disabled), &[]), Ok(Reply::Unchanged));
}

#[test]
fn a_backend_that_failed_and_was_disabled_is_so_for_commands() {
    let dir = tempfile::tempdir().unwrap();
    let words = "--auto-disable 127.0.0.1:1 127.0.0.1:2";
    let mut instance = start(config(&dir.path().join("l"), words));
    let pool = instance.pool(0);
    let mut attempt = Attempt::new(Client::default(), 0);
    let now = sys::clock::now();
    let lease = pool.next_backend(&mut attempt, now).unwrap();
    pool.report(&mut attempt, &lease, Outcome::Failure, now);
    assert_eq!(admin(&instance, 0), AdminState::Disabled);
    assert_eq!(instance.apply(&set_admin(1, AdminState::Draining), &[]), Ok(Reply::Done));
    assert_eq!(admin(&instance, 0), AdminState::Disabled);
    assert_eq!(instance.apply(&set_admin(0, AdminState::Enabled), &[]), Ok(Reply::Done));
    assert_eq!(admin(&instance, 0), AdminState::Enabled);
}

#[test]
fn names_of_reject_backends_are_kept_fresh_too() {
    let dir = tempfile::tempdir().unwrap();
    let words = "--reject localhost:9 127.0.0.1:1 localhost:2";
    let mut instance = start(config(&dir.path().join("l"), words));
    let named: Vec<_> = instance.named_backends().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, ["localhost:2", "localhost:9"]);
    let elsewhere = [Address::Ip("10.0.0.9:9".parse().unwrap())];
    assert!(instance.set_addresses("localhost:9", &elsewhere));
    assert!(!instance.set_addresses("localhost:9", &elsewhere), "they are those already");
    let pool = instance.pool(0);
    assert_eq!(pool.reject.as_ref().unwrap().addresses, elsewhere);
    assert_ne!(pool.tiers[0].backends[1].addresses, elsewhere);
}

#[test]
fn counters_start_anew_with_a_reset_and_stay_with_their_backend() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = start(config(&dir.path().join("l"), "127.0.0.1:1 127.0.0.1:2"));
    let state = |instance: &Instance, index: usize| {
        Arc::clone(&instance.pool(0).tiers[0].backends[index].state)
    };
    for index in [0, 1, 1] {
        state(&instance, index).tally(0).count_attempt();
    }
    let attempts = |instance: &Instance| -> Vec<u64> {
        let status = instance.status();
        status.pools[0].tiers[0].backends.iter().map(|it| it.attempts_total).collect()
    };
    let reset = Command::ResetCounters { backend: BackendSelector::place(0, 1) };
    instance.apply(&reset, &[]).unwrap();
    assert_eq!(attempts(&instance), [1, 0]);
    let remove = Command::RemoveBackend { backend: BackendSelector::place(0, 0) };
    instance.apply(&remove, &[]).unwrap();
    state(&instance, 0).tally(0).count_attempt();
    assert_eq!(attempts(&instance), [1]);
    let address = || vec![Address::Ip("127.0.0.1:3".parse().unwrap())];
    let add = Command::AddBackend { pool: None, tier: 0, endpoint: "127.0.0.1:3".to_owned() };
    instance.apply(&add, &address()).unwrap();
    assert_eq!(attempts(&instance), [1, 0]);
}

#[test]
fn a_change_that_cannot_be_made_as_a_whole_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| dir.path().join(name));
    let mut instance = start(config(&first, "127.0.0.1:1"));
    let before = instance.status();
    let mut wanted = config(&first, "127.0.0.1:1");
    wanted.pools[0].tiers[0].backends[0].limits.sessions_max = Limit::AtMost(1);
    let add = |wanted: &mut Config, name: &str, path: &Path, words: &str| {
        let mut other = config(path, words);
        (other.listeners[0].name, other.listeners[0].pool) = (name.to_owned(), name.to_owned());
        other.pools[0].name = name.to_owned();
        wanted.listeners.append(&mut other.listeners);
        wanted.pools.append(&mut other.pools);
    };
    add(&mut wanted, "second", &second, "127.0.0.1:2");
    let nowhere = dir.path().join("missing/c");
    let mut hopeless = wanted.clone();
    add(&mut hopeless, "third", &nowhere, "127.0.0.1:3");
    assert!(matches!(instance.reconfigure(&hopeless), Err(StartError::Listen { .. })));
    let after = instance.status();
    assert_eq!((after.listeners, after.pools), (before.listeners, before.pools));
    assert!(!second.exists());

    instance.reconfigure(&wanted).unwrap();
    let binds = |instance: &Instance| -> Vec<String> {
        instance.status().listeners.into_iter().flat_map(|it| it.binds).collect()
    };
    let name = |path: &Path| format!("unix:{}", path.display());
    assert_eq!(binds(&instance), [name(&first), name(&second)]);
    std::os::unix::net::UnixStream::connect(&second).unwrap();
    wanted.listeners.pop();
    instance.reconfigure(&wanted).unwrap();
    assert_eq!(binds(&instance), [name(&first)]);
    assert!(!second.exists());
}

#[test]
fn a_name_without_an_address_is_no_backend() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = start(config(&dir.path().join("l"), "127.0.0.1:1"));
    let add = Command::AddBackend { pool: None, tier: 0, endpoint: "nowhere:80".to_owned() };
    let refused = Err(CommandError::InvalidEndpoint("nowhere:80".to_owned()));
    assert_eq!(instance.apply(&add, &[]), refused);
    assert_eq!(instance.pool(0).tiers[0].backends.len(), 1);
}

#[test]
fn a_new_listening_address_is_not_looked_up_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("l");
    let mut given = config(&path, "127.0.0.1:1");
    let mut instance = start(given.clone());
    let host = Some(config::Host::Name("localhost".to_owned()));
    given.listeners[0].binds = vec![Bind::Tcp { host, port: 1, family: config::Family::Any }];
    let refused = instance.reconfigure(&given);
    assert!(matches!(refused, Err(StartError::ResolveListener { .. })), "{refused:?}");
    std::os::unix::net::UnixStream::connect(&path).unwrap(); // as before
}
