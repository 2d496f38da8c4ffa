//! Listeners with several addresses, and pools with several listeners.

use super::{admin, config, set_admin, start, start_with};
use crate::bind::StartError;
use crate::instance::Instance;
use balancing::AdminState;
use config::{BackendSelector, Bind, Command, Family, Host, Reply};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use terms::Address;

/// A backend that greets its clients and keeps their connections.
fn greeting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut held = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.write_all(b"a");
            held.push(client);
        }
    });
    address
}

#[test]
fn a_limit_is_exact_over_all_listeners_of_a_pool() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| dir.path().join(name));
    let mut config = config(&paths[0], &format!("{}:100", greeting()));
    let mut second = config.listeners[0].clone();
    second.name = "second".to_owned();
    second.binds = vec![Bind::Unix(paths[1].clone())];
    config.listeners.push(second);
    let instance = start_with(config, 4);
    // Each in a thread of its own as far as possible, and each keeps its connection.
    let clients: Vec<_> = thread::scope(|scope| {
        let ask = |thread: usize| {
            let path = &paths[thread % 2];
            let mut clients = Vec::new();
            for _ in 0..50 {
                let mut client = UnixStream::connect(path).unwrap();
                let mut answer = [0];
                if matches!(client.read(&mut answer), Ok(1)) {
                    clients.push(client);
                }
            }
            clients
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || ask(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(clients.len(), 100);
    let status = instance.status();
    assert_eq!(status.pools[0].tiers[0].backends[0].sessions, 100);
    let by_listener: Vec<_> = status.listeners.iter().map(|it| it.sessions_total).collect();
    assert_eq!(by_listener, [200, 200]);
}

#[test]
fn listeners_of_one_pool_share_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = config(&dir.path().join("a"), "127.0.0.1:1 127.0.0.1:2");
    let mut second = given.listeners[0].clone();
    second.name = "second".to_owned();
    second.binds = vec![Bind::Unix(dir.path().join("b"))];
    given.listeners.push(second);
    let mut instance = start(given.clone());
    let assert_shared = |instance: &Instance| {
        let [first, second] = &instance.listeners[..] else { panic!("two listeners") };
        assert!(Arc::ptr_eq(&first.listener.pool(), &second.listener.pool()));
        assert!(Arc::ptr_eq(&first.listener.pool(), &instance.pool(0)));
    };
    assert_shared(&instance);
    assert_eq!(instance.apply(&set_admin(1, AdminState::Disabled), &[]), Ok(Reply::Done));
    assert_shared(&instance);
    assert_eq!(admin(&instance, 1), AdminState::Disabled);
    // A third one that comes later has the same counts.
    instance.pool(0).tiers[0].backends[0].state.tally(0).count_attempt();
    let mut third = given.listeners[0].clone();
    third.name = "third".to_owned();
    third.binds = vec![Bind::Unix(dir.path().join("c"))];
    given.listeners.push(third);
    instance.reconfigure(&given).unwrap();
    let pool = instance.listeners[2].listener.pool();
    assert_eq!(pool.tiers[0].backends[0].state.totals().attempts, 1);
    // To another pool, and to none at all.
    given.listeners[2].pool = "none".to_owned();
    instance.reconfigure(&given).unwrap();
    assert_eq!(instance.listeners[2].listener.pool().tiers.len(), 0);
    given.pools.clear();
    instance.reconfigure(&given).unwrap();
    assert!(instance.listeners.iter().all(|it| it.listener.pool().tiers.is_empty()));
    assert_eq!(instance.status().pools, []);
}

#[test]
fn an_address_that_stays_is_never_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let bind = |name: &str| Bind::Unix(path(name));
    let mut given = config(&path("a"), "127.0.0.1:1");
    given.listeners[0].binds = vec![bind("a"), bind("b")];
    let mut instance = start(given.clone());
    let inode = |name: &str| {
        let file = std::fs::metadata(path(name)).unwrap();
        std::os::unix::fs::MetadataExt::ino(&file)
    };
    let (a, b) = (inode("a"), inode("b"));
    // In another order, one more, one less.
    given.listeners[0].binds = vec![bind("c"), bind("b"), bind("a")];
    instance.reconfigure(&given).unwrap();
    assert_eq!((inode("a"), inode("b")), (a, b));
    given.listeners[0].binds = vec![bind("a"), bind("c")];
    instance.reconfigure(&given).unwrap();
    assert_eq!(inode("a"), a);
    assert!(!path("b").exists());
    // The listener has another name, and so is another one; the address stays open.
    "other".clone_into(&mut given.listeners[0].name);
    let id = instance.listeners[0].listener.id();
    instance.reconfigure(&given).unwrap();
    assert_eq!(inode("a"), a);
    assert_ne!(instance.listeners[0].listener.id(), id);
    let names: Vec<_> = instance.listeners[0].doors.iter().map(|door| &door.bind).collect();
    assert_eq!(names, [&bind("a"), &bind("c")]);
    UnixStream::connect(path("a")).unwrap();
    // A failure at any place changes nothing.
    for place in 0..3 {
        let mut hopeless = given.clone();
        hopeless.listeners[0].binds = vec![bind("a"), bind("d")];
        hopeless.listeners[0].binds.insert(place, bind("missing/e"));
        let refused = instance.reconfigure(&hopeless);
        assert!(matches!(refused, Err(StartError::Listen { .. })), "{refused:?}");
        assert_eq!(instance.listeners[0].doors.len(), 2);
        assert!(path("c").exists() && !path("d").exists());
    }
    given.listeners[0].binds.push(bind("a"));
    let refused = instance.reconfigure(&given);
    assert!(matches!(refused, Err(StartError::ListenTwice { .. })), "{refused:?}");
}

#[test]
fn a_backend_that_was_added_by_a_command_is_not_added_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut instance = start(config(&path, "127.0.0.1:1"));
    let address = Address::Ip("127.0.0.1:2".parse().unwrap());
    let add = Command::AddBackend { pool: None, tier: 0, endpoint: address.to_string() };
    assert_eq!(instance.apply(&add, std::slice::from_ref(&address)), Ok(Reply::Done));
    let state = |instance: &Instance, index: usize| {
        Arc::clone(&instance.pool(0).tiers[0].backends[index].state)
    };
    let before = state(&instance, 1);
    // Now the file has it, too, and does not say that it is disabled.
    instance.reconfigure(&config(&path, "127.0.0.1:2 127.0.0.1:1")).unwrap();
    assert_eq!(instance.pool(0).tiers[0].backends.len(), 2);
    assert!(Arc::ptr_eq(&before, &state(&instance, 0)));
    assert_eq!(admin(&instance, 0), AdminState::Enabled);
    // An address that was changed by a command, and then in the file.
    assert_eq!(instance.apply(&set_admin(1, AdminState::Disabled), &[]), Ok(Reply::Done));
    let address = Address::Ip("127.0.0.1:3".parse().unwrap());
    let backend = BackendSelector::place(0, 1);
    let assign = Command::SetEndpoint { backend, endpoint: address.to_string() };
    assert_eq!(instance.apply(&assign, std::slice::from_ref(&address)), Ok(Reply::Done));
    let before = state(&instance, 1);
    instance.reconfigure(&config(&path, "127.0.0.1:2 127.0.0.1:3")).unwrap();
    assert!(Arc::ptr_eq(&before, &state(&instance, 1)));
    assert_eq!(admin(&instance, 1), AdminState::Disabled, "which the file did not change");
}

#[test]
fn an_address_that_another_one_covers_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut given = config(&dir.path().join("a"), "127.0.0.1:1");
    given.listeners[0].binds = vec![Bind::Tcp { host: None, port, family: Family::V4 }];
    let mut instance = start(given.clone());
    let host = Some(Host::Address([127, 0, 0, 1].into()));
    given.listeners[0].binds = vec![Bind::Tcp { host, port, family: Family::Any }];
    let refused = instance.reconfigure(&given).unwrap_err().to_string();
    assert!(
        refused.contains(&format!("while this process listens on 0.0.0.0:{port}")),
        "{refused}"
    );
    given.listeners[0].binds.clear();
    instance.reconfigure(&given).unwrap();
}
