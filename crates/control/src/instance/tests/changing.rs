//! A running instance that is reconfigured at random is always what the last configuration says.

use super::{config, start};
use crate::instance::Instance;
use balancing::BackendState;
use config::{Bind, Config};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use terms::Limit;
use testing::{Rng, sweep};

/// Up to three pools and four listeners, some of which share a pool or have none.
pub(super) fn any_config(dir: &Path, rng: &mut Rng) -> Config {
    let mut paths: Vec<_> = (0..6).map(|number| dir.join(number.to_string())).collect();
    let template = config(&dir.join("template"), "127.0.0.1:1");
    let mut wanted = Config { listeners: vec![], pools: vec![], ..template.clone() };
    for name in ["p", "q", "r"] {
        if rng.one_in(3) {
            continue;
        }
        let backends: Vec<_> = (0..6)
            .map(|_| match rng.below(6) {
                0 => "!".to_owned(),
                _ => format!("127.0.0.1:{}:{}", 1 + rng.below(9), rng.below(3)),
            })
            .collect();
        let words = format!("127.0.0.1:10 {} 127.0.0.1:11", backends.join(" "));
        let words = words.replace("! !", "!").replace("! !", "!");
        let mut pool = config(&dir.join("template"), &words).pools.remove(0);
        pool.name = name.to_owned();
        pool.auto_disable = rng.one_in(2);
        wanted.pools.insert(rng.below(wanted.pools.len() + 1), pool);
    }
    for name in ["k", "l", "m", "n"] {
        let mut listener = template.listeners[0].clone();
        listener.name = name.to_owned();
        listener.pool = ["p", "q", "r"][rng.below(3)].to_owned();
        listener.sessions_max = rng.one_in(2).then_some(7);
        listener.binds.clear();
        for _ in 0..rng.below(3) {
            if !paths.is_empty() {
                listener.binds.push(Bind::Unix(paths.swap_remove(rng.below(paths.len()))));
            }
        }
        if !rng.one_in(3) {
            wanted.listeners.insert(rng.below(wanted.listeners.len() + 1), listener);
        }
    }
    wanted
}

/// The sockets' inodes by their addresses.
fn doors(config: &Config) -> HashMap<Bind, u64> {
    let binds = config.listeners.iter().flat_map(|it| &it.binds);
    let inode = |bind: &Bind| match bind {
        Bind::Unix(path) => path.metadata().unwrap().ino(),
        Bind::Tcp { .. } | Bind::Udp { .. } => panic!("{bind}"),
    };
    binds.map(|bind| (bind.clone(), inode(bind))).collect()
}

/// The first state of each address of each pool.
fn states(instance: &Instance) -> HashMap<(String, String), Arc<BackendState>> {
    let mut states = HashMap::new();
    for (config, pool) in instance.config.pools.iter().zip(&instance.pools) {
        for (_, _, backend) in pool.backends() {
            let key = (config.name.clone(), backend.name.to_string());
            states.entry(key).or_insert_with(|| Arc::clone(&backend.state));
        }
    }
    states
}

#[track_caller]
pub(super) fn assert_is(instance: &Instance, wanted: &Config) {
    let without_ids = |config: &Config| {
        let mut config = config.clone();
        config.listeners.iter_mut().for_each(|it| it.id = None);
        let tiers = config.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
        tiers.flat_map(|tier| &mut tier.backends).for_each(|it| it.id = None);
        config
    };
    assert_eq!(without_ids(&instance.config), *wanted);
    assert_eq!(
        (instance.listeners.len(), instance.pools.len()),
        (wanted.listeners.len(), wanted.pools.len())
    );
    for (config, listening) in instance.config.listeners.iter().zip(&instance.listeners) {
        assert_eq!(Some(listening.listener.id()), config.id);
        let open: HashSet<_> = listening.doors.iter().map(|door| &door.bind).collect();
        assert_eq!(open, config.binds.iter().collect());
        assert_eq!(listening.listener.settings().sessions_max, config.sessions_max);
        let place = wanted.pools.iter().position(|pool| pool.name == config.pool);
        let pool = listening.listener.pool();
        match place {
            Some(place) => assert!(Arc::ptr_eq(&pool, &instance.pools[place])),
            None => assert!(pool.tiers.is_empty()),
        }
    }
    for (config, pool) in wanted.pools.iter().zip(&instance.pools) {
        let limits = |limit: Limit| limit.number();
        let running: Vec<_> = pool
            .backends()
            .map(|(tier, index, it)| {
                (tier, index, it.name.to_string(), limits(it.state.sessions_max()))
            })
            .collect();
        let configured: Vec<_> = config
            .backends()
            .map(|(tier, index, it)| {
                (tier, index, it.endpoint.to_string(), limits(it.limits.sessions_max))
            })
            .collect();
        assert_eq!(running, configured);
    }
}

#[test]
fn after_any_change_what_runs_is_what_was_wanted() {
    sweep(4, |seed, step| {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = Rng::new(seed);
        let mut wanted = any_config(dir.path(), &mut rng);
        let mut instance = start(wanted.clone());
        for number in 0..40 {
            step.set(number);
            assert_is(&instance, &wanted);
            let next = any_config(dir.path(), &mut rng);
            if rng.one_in(4) {
                let mut hopeless = next.clone();
                if let Some(last) = hopeless.listeners.last_mut() {
                    last.binds.push(Bind::Unix(dir.path().join("missing/a")));
                    assert!(instance.reconfigure(&hopeless).is_err());
                    assert_is(&instance, &wanted);
                }
            }
            let (doors_before, states_before) = (doors(&wanted), states(&instance));
            instance.reconfigure(&next).unwrap();
            let doors_after = doors(&next);
            for (bind, inode) in &doors_before {
                match doors_after.get(bind) {
                    Some(now) => assert_eq!(inode, now, "{bind} stayed open"),
                    None => assert!(matches!(bind, Bind::Unix(path) if !path.exists())),
                }
            }
            for (key, state) in states(&instance) {
                if let Some(before) = states_before.get(&key) {
                    assert!(Arc::ptr_eq(before, &state), "{key:?} kept its counters");
                }
            }
            wanted = next;
        }
        for bind in wanted.listeners.iter().flat_map(|it| &it.binds) {
            let Bind::Unix(path) = bind else { continue };
            UnixStream::connect(path).unwrap();
        }
    });
}
