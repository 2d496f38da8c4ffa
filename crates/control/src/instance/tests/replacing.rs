//! Replacements are taken back exactly, and leave alone what commands have set.

use super::changing::{any_config, assert_is};
use super::{config, set_admin, start};
use crate::found::Found;
use crate::instance::Instance;
use balancing::AdminState;
use config::{BackendSelector, Command, Config};
use std::path::Path;
use terms::{Address, Limit};
use testing::{Rng, sweep};

#[test]
fn a_replacement_that_is_taken_back_leaves_no_trace() {
    sweep(4, |seed, step| {
        let (dir, mut rng) = (tempfile::tempdir().unwrap(), Rng::new(seed));
        let first = any_config(dir.path(), &mut rng);
        let mut instance = start(first.clone());
        for number in 0..40 {
            step.set(number);
            let before = instance.config.clone();
            let wanted = any_config(dir.path(), &mut rng);
            let replaced =
                instance.replace(instance.plan(wanted.clone()), &Found::default()).unwrap();
            assert_is(&instance, &wanted);
            let after = instance.config.clone();
            instance.restore(&replaced.before, &after).unwrap();
            assert_is(&instance, &first);
            assert_eq!(instance.config, before, "ids included");
        }
    });
}

#[test]
fn an_idle_backend_is_forgotten_at_once_unless_it_may_return() {
    let dir = tempfile::tempdir().unwrap();
    let two = config(&dir.path().join("l"), "127.0.0.1:1 127.0.0.1:2");
    let one = config(&dir.path().join("l"), "127.0.0.1:1");
    let mut instance = start(two);
    instance.pool(0).tiers[0].backends[1].state.tally(0).count_attempt();
    let replaced = instance.replace(instance.plan(one), &Found::default()).unwrap();
    instance.forget_departed();
    let after = instance.config.clone();
    instance.restore(&replaced.before, &after).unwrap();
    assert_eq!(instance.pool(0).tiers[0].backends[1].state.totals().attempts, 1);
    drop(replaced);
    let remove = Command::RemoveBackend { backend: BackendSelector::place(0, 1) };
    instance.apply(&remove, &[]).unwrap();
    assert_eq!(instance.departed_backends.len(), 0);
}

#[test]
fn what_a_command_has_set_gives_way_to_the_file_only() {
    sweep(4, |seed, step| {
        let (dir, mut rng) = (tempfile::tempdir().unwrap(), Rng::new(seed));
        let mut instance = start(any_config(dir.path(), &mut rng));
        for number in 0..40 {
            step.set(number);
            let set = Command::SetSessionsMax {
                backend: format!("p/0.{}", rng.below(3)).into(),
                sessions_max: Limit::AtMost(70 + rng.below(2) as u32),
            };
            let _ = instance.apply(&set, &[]); // unless there is no such backend
            let (given, running) = (instance.given.clone(), instance.config.clone());
            let wanted = any_config(dir.path(), &mut rng);
            let replaced = instance.replace(instance.plan(wanted), &Found::default()).unwrap();
            assert_eq!(instance.config, running.with(given.diff(&instance.given)));
            assert_eq!(
                replaced.overruled.is_empty(),
                !overrules(&given, &running, &instance.given)
            );
        }
    });
}

/// Removes the first backend and adds it again, as the last one, which is enabled then.
fn remove_and_add_again(instance: &mut Instance, address: &str) {
    let remove = Command::RemoveBackend { backend: BackendSelector::place(0, 0) };
    instance.apply(&remove, &[]).unwrap();
    let add = Command::AddBackend { pool: None, tier: 0, endpoint: address.to_owned() };
    instance.apply(&add, &[Address::Ip(address.parse().unwrap())]).unwrap();
    let last = instance.pool(0).tiers[0].backends.len() - 1;
    instance.apply(&set_admin(last, AdminState::Enabled), &[]).unwrap();
}

/// What runs after the file was `given`, its first backend was removed and added again, and the file
/// became what `edit` makes of it.
#[track_caller]
fn check_added_again(given: &str, edit: impl Fn(&mut Config), expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let read = |path: &Path| config(path, given);
    let mut instance = start(read(&dir.path().join("l")));
    remove_and_add_again(&mut instance, "127.0.0.1:1");
    let mut wanted = read(&dir.path().join("l"));
    edit(&mut wanted);
    let replaced = instance.replace(instance.plan(wanted), &Found::default()).unwrap();
    let shown = |config: &Config| {
        let backends = config.pools[0].backends();
        backends.map(|(_, _, it)| format!("{it} {:?}", it.admin)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown(&instance.config), expected);
    let after = instance.config.clone();
    instance.restore(&replaced.before, &after).unwrap();
    assert_eq!(instance.config, *replaced.before.running(), "taken back");
}

#[test]
fn a_backend_that_was_removed_and_added_again_is_the_one_of_the_file() {
    let first = |config: &mut Config, edit: &dyn Fn(&mut config::Backend)| {
        edit(&mut config.pools[0].tiers[0].backends[0]);
    };
    let two = "127.0.0.1:1 127.0.0.1:2";
    let admin = |it: &mut Config| first(it, &|it| it.admin = AdminState::Disabled);
    check_added_again(two, admin, "127.0.0.1:2 Enabled, 127.0.0.1:1 Disabled");
    let limit = |it: &mut Config| first(it, &|it| it.limits.sessions_max = Limit::AtMost(7));
    check_added_again(two, limit, "127.0.0.1:2 Enabled, 127.0.0.1:1:7 Enabled");
    let gone = |it: &mut Config| drop(it.pools[0].tiers[0].backends.remove(0));
    check_added_again(two, gone, "127.0.0.1:2 Enabled");
    // What the file has not changed stays as commands have made it.
    let weight = |it: &mut Config| first(it, &|it| it.weight = 5);
    check_added_again(
        "127.0.0.1:1:7 127.0.0.1:2",
        weight,
        "127.0.0.1:2 Enabled, 127.0.0.1:1:0:0:5 Enabled",
    );
    // One of two with the same address.
    let twice = "127.0.0.1:1 127.0.0.1:1:3";
    check_added_again(twice, limit, "127.0.0.1:1:3 Enabled, 127.0.0.1:1:7 Enabled");
}

/// Whether the new file gives a limit that a command has set another value.
fn overrules(given: &Config, running: &Config, next: &Config) -> bool {
    let limit = |config: &Config, id| {
        let mut all = config.pools.iter().flat_map(|pool| pool.backends());
        all.find(|(_, _, it)| it.id == id).map(|(_, _, it)| it.limits.sessions_max)
    };
    let mut all = running.pools.iter().flat_map(|pool| pool.backends());
    all.any(|(_, _, it)| {
        let (was, will) = (limit(given, it.id), limit(next, it.id));
        let is_set = was.is_some_and(|was| was != it.limits.sessions_max);
        is_set && will.is_some() && will != was && will != Some(it.limits.sessions_max)
    })
}
