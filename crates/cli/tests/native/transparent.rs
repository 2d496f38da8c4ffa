//! `--transparent`: backends see their clients' own addresses.

use crate::support::{Network, Place, Program, or_skip};
use std::os::unix::fs::PermissionsExt;

/// Listening address, backend, and the client's own address there.
const PATHS: [(&str, &str, &str); 3] = [
    ("192.0.2.254:8080", "198.51.100.1:8080", "192.0.2.1"),
    ("[2001:db8:1::fe]:8081", "[2001:db8:2::1]:8081", "2001:db8:1::1"),
    // Through a dual-stack listener, whose IPv4 clients are IPv4 clients.
    ("8082", "198.51.100.1:8082", "192.0.2.1"),
];

/// What the log says when it cannot be.
const UNUSABLE: &str = "cannot connect to backends from clients' addresses";

fn start(network: &Network, place: &Place, words: &str) -> Program {
    network.within("balancer", || place.native(words))
}

fn check(options: &str) {
    let Some(network) = or_skip(Network::new()) else { return };
    for (listen, backend, client) in PATHS {
        network.tell_addresses(backend);
        let place = Place::new();
        let evenkeel = start(&network, &place, &format!("{listen} {backend} {options}"));
        let door = if listen.contains(':') { listen } else { "192.0.2.254:8082" };
        for _ in 0..3 {
            assert_eq!(network.ask(door), client, "through {listen}");
        }
        evenkeel.log.wait_nth("session ended", 2);
        assert_eq!(evenkeel.log.with(UNUSABLE), [""; 0]);
    }
}

#[test]
fn backends_see_the_clients_addresses() {
    check("--transparent");
}

#[test]
fn another_user_keeps_what_it_takes() {
    check("--transparent --user nobody");
}

#[test]
fn another_user_keeps_no_more_than_it_takes() {
    let Some(network) = or_skip(Network::new()) else { return };
    let (listen, backend, client) = PATHS[0];
    network.tell_addresses(backend);
    let place = Place::new();
    let words = format!("{listen} {backend} --transparent --user nobody");
    let evenkeel = start(&network, &place, &words);
    assert_eq!(network.ask(listen), client);
    let status = format!("/proc/{}/status", evenkeel.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    let capabilities = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    // CAP_NET_ADMIN or CAP_NET_RAW, see ip(7).
    assert_ne!(capabilities & (1 << 12 | 1 << 13), 0, "{capabilities:x}");
    assert_eq!(capabilities & !(1 << 12 | 1 << 13), 0, "{capabilities:x}");
}

#[test]
fn without_the_option_backends_see_the_balancer() {
    let Some(network) = or_skip(Network::new()) else { return };
    let (listen, backend, _) = PATHS[0];
    network.tell_addresses(backend);
    let place = Place::new();
    let _evenkeel = start(&network, &place, &format!("{listen} {backend}"));
    assert_eq!(network.ask(listen), "198.51.100.254");
}

#[test]
fn without_the_right_to_it_clients_are_served_and_one_line_says_so() {
    let Some(network) = or_skip(Network::new()) else { return };
    let (listen, backend, _) = PATHS[0];
    network.tell_addresses(backend);
    let place = Place::new();
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let words = format!("{listen} {backend} --transparent");
    let evenkeel =
        network.within("balancer", || Program::spawn(&mut place.as_nobody("evenkeel", &words)));
    evenkeel.log.wait("admin socket");
    for _ in 0..5 {
        assert_eq!(network.ask(listen), "198.51.100.254");
    }
    evenkeel.log.wait_nth("session ended", 4);
    let said = evenkeel.log.with(UNUSABLE);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(" warn ") && said[0].contains(&format!("listener={listen}")),
        "{said:?}"
    );
    assert!(said[0].contains("not permitted"), "{said:?}");
}

/// The privilege is gone once another user has the process, if nobody asked for it before.
#[test]
fn a_reload_that_would_need_the_right_to_it_is_refused_by_name() {
    let Some(network) = or_skip(Network::new()) else { return };
    let (listen, backend, client) = PATHS[0];
    network.tell_addresses(backend);
    let place = Place::new();
    let pool = format!("[pools.web]\nbackends = ['{backend}']\n");
    let listener = |options: &str| {
        format!("[listeners.web]\nbind = '{listen}'\npool = 'web'\n{options}{pool}")
    };
    let (plain, transparent) = (listener(""), listener("transparent = true\n"));
    let file = place.file("lb.toml");
    let reload = |text: &str| {
        std::fs::write(&file, text).unwrap();
        network.within("balancer", || place.run("evenkeel", "reload"))
    };
    for (user, status, source) in [("user = 'nobody'\n", 1, "198.51.100.254"), ("", 0, client)] {
        let process = format!("[process]\n{user}");
        std::fs::write(&file, format!("{process}{plain}")).unwrap();
        let mut evenkeel = start(&network, &place, "run lb.toml");
        let done = reload(&format!("{process}{transparent}")).check(status);
        let reason = "listener web: transparent needs CAP_NET_RAW or CAP_NET_ADMIN";
        assert_eq!(done.stderr.contains(reason), status == 1, "{}", done.stderr);
        assert_eq!(network.ask(listen), source);
        evenkeel.signal(rustix::process::Signal::TERM);
        evenkeel.wait();
    }
}

#[test]
fn a_backend_of_the_other_family_sees_the_balancer() {
    let Some(network) = or_skip(Network::new()) else { return };
    network.tell_addresses("[2001:db8:2::1]:8080");
    let place = Place::new();
    let words = "192.0.2.254:8080 [2001:db8:2::1]:8080 --transparent";
    let evenkeel = start(&network, &place, words);
    for _ in 0..3 {
        assert_eq!(network.ask("192.0.2.254:8080"), "2001:db8:2::fe");
    }
    evenkeel.log.wait_nth("session ended", 2);
    let said = evenkeel.log.with(UNUSABLE);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("different address families"), "{said:?}");
}
