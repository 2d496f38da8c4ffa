//! Limits of each client, over all workers.

use crate::support::{
    Backend, Client, Place, Port, UdpBackend, UdpClient, connect_from, port, until,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{fs, thread};

const ONE: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

/// Whether a session of this client is served. A refused one may be reset before its connect has
/// returned.
fn is_served(port: &Port, client: [u8; 4]) -> Option<Client> {
    let (from, to) = (SocketAddr::from((client, 0)), SocketAddr::from((ONE, port.number())));
    Client::try_from(from, to).ok().filter(|it| it.line() == "a")
}

fn refused(place: &Place, kind: &str) -> u64 {
    place.status()["listeners"][0][format!("refused_{kind}_total")].as_u64().unwrap()
}

#[test]
fn a_client_has_exactly_as_many_sessions_as_it_may_have_over_all_workers() {
    let (place, backend, own) = (Place::new(), Backend::named("a"), port());
    let words =
        format!("{own} 127.0.0.1:{} --workers 4 --client-limits sessions=40", backend.port());
    let _evenkeel = place.native(&words);
    let address = SocketAddr::from((ONE, own.number()));
    for round in 1..=3 {
        let open: Vec<_> = thread::scope(|scope| {
            let connect = || -> Vec<Client> {
                let clients = (0..30).filter_map(|_| Client::try_to(address).ok());
                let clients = clients.filter(|it| it.line() == "a");
                clients.collect()
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(connect)).collect();
            all.into_iter().flat_map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(open.len(), 40, "in round {round}");
        assert_eq!(refused(&place, "sessions"), 80 * round);
        // Another client has sessions of its own.
        assert_eq!(connect_from(&own, OTHER).line(), "a");
        drop(open);
        until("all sessions to end", || place.sessions() == 0);
    }
}

#[test]
fn a_client_begins_sessions_no_faster_than_it_may() {
    let (place, backend, own) = (Place::new(), Backend::named("a"), port());
    let words = format!("{own} 127.0.0.1:{} --workers 2 --client-limits rate=5/1h", backend.port());
    let _evenkeel = place.native(&words);
    let served = |client| (0..20).filter_map(|_| is_served(&own, client)).count();
    assert_eq!((served(ONE), served(OTHER), served(ONE)), (5, 5, 0));
    assert_eq!(refused(&place, "rate"), 15 + 15 + 20);
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 10);
}

#[test]
fn flows_count_as_sessions_of_their_client() {
    let (place, backend, own) = (Place::new(), UdpBackend::named("a"), port());
    let words =
        format!("{own}/udp {backend} --client-limits sessions=3 --flow-timeout 1h --responses 2");
    let _evenkeel = place.native(&words);
    let address = SocketAddr::from((ONE, own.number()));
    let from = |client: [u8; 4]| UdpClient::from(IpAddr::V4(Ipv4Addr::from(client)), address);
    let flows: Vec<_> = (0..3).map(|_| from(ONE)).collect();
    flows.iter().for_each(|it| assert_eq!(it.ask("x"), "ax"));
    let fourth = from(ONE);
    fourth.send("x");
    until("a datagram to be refused", || refused(&place, "sessions") == 1);
    assert_eq!(from(OTHER).ask("x"), "ax");
    assert_eq!(flows[0].ask("x"), "ax"); // goes on
}

#[test]
fn a_client_begins_flows_no_faster_than_it_may() {
    let (place, backend, own) = (Place::new(), UdpBackend::named("a"), port());
    let words = format!("{own}/udp {backend} --workers 2 --client-limits rate=5/1h,prefix=24/64");
    let _evenkeel = place.native(&words);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, own.number()));
    let from = |client: [u8; 4]| UdpClient::from(IpAddr::V4(Ipv4Addr::from(client)), address);
    // Neighbors in a network of this length are one client, whose flows go on.
    let flows: Vec<_> = (1..=5).map(|host| from([127, 0, 7, host])).collect();
    flows.iter().for_each(|it| assert_eq!(it.ask("x"), "ax"));
    let more: Vec<_> = (6..=9).map(|host| from([127, 0, 7, host])).collect();
    more.iter().for_each(|it| it.send("x"));
    until("datagrams to be refused", || refused(&place, "rate") == 4);
    flows.iter().for_each(|it| assert_eq!(it.ask("y"), "ay"));
    assert_eq!(from([127, 0, 8, 1]).ask("x"), "ax");
    assert_eq!(backend.seen().len(), 11);
}

#[test]
fn other_limits_apply_at_once_but_other_clients_need_a_restart() {
    let (place, backend, own) = (Place::new(), Backend::named("a"), port());
    let file = place.file("evenkeel.toml");
    let write = |limits: &str| {
        let text = format!(
            "listeners.main = '{own} 127.0.0.1:{} --client-limits {limits}'\n",
            backend.port()
        );
        fs::write(&file, text).unwrap();
    };
    write("sessions=1");
    let _evenkeel = place.native(&format!("run {}", file.display()));
    let first = is_served(&own, ONE);
    assert!(first.is_some() && is_served(&own, ONE).is_none());
    write("sessions=2");
    place.ctl("reload").check(0);
    let second = is_served(&own, ONE);
    assert!(second.is_some() && is_served(&own, ONE).is_none());
    write("sessions=2,prefix=24/64");
    let reload = place.ctl("reload");
    assert_ne!(reload.status, 0);
    assert!(reload.stderr.contains("client limits cannot change while"), "{}", reload.stderr);
}

#[test]
fn a_client_that_says_nothing_holds_no_place_for_long() {
    let (place, backend, own) = (Place::new(), Backend::echo(), port());
    let words = format!("{own} 127.0.0.1:{} --first-byte-timeout 300ms", backend.port());
    let evenkeel = place.native(&words);
    let (silent, talking) = (Client::connect(&own), Client::connect(&own));
    talking.send("a");
    talking.expect("a");
    assert_eq!(silent.line(), "reset");
    evenkeel.log.wait("reason=first-byte-timeout sent=0 received=0");
    assert!(talking.is_silent_for(Duration::from_millis(600)));
    talking.send("b");
    talking.expect("b");
}

#[test]
fn clients_beyond_the_rate_of_the_listener_wait_and_are_served_in_time() {
    let (place, backend, own) = (Place::new(), Backend::named("a"), port());
    let words = format!("{own} 127.0.0.1:{} --workers 2 --max-rate 4/2s", backend.port());
    let _evenkeel = place.native(&words);
    let begun = Instant::now();
    let clients: Vec<_> = (0..8).map(|_| Client::connect(&own)).collect();
    until("the first four", || place.status()["listeners"][0]["sessions_total"] == 4);
    let answers: Vec<_> = clients.iter().map(Client::line).collect();
    assert_eq!(answers, ["a"; 8]);
    let took = begun.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(place.status()["listeners"][0]["sessions_total"], 8);
}

#[test]
fn a_reload_changes_the_rate_of_a_listener() {
    let (place, backend, own) = (Place::new(), Backend::named("a"), port());
    let file = place.file("evenkeel.toml");
    let write = |rate: &str| {
        let text = format!(
            "[listeners.a]\nbind = {own}\npool = \"a\"\n{rate}\n[pools.a]\n\
             backends = [\"127.0.0.1:{}\"]\n",
            backend.port()
        );
        fs::write(&file, text).unwrap();
    };
    write("max-rate = \"1/1h\"");
    let _evenkeel = place.native(&format!("run {}", file.display()));
    assert_eq!(Client::connect(&own).line(), "a");
    let waiting = Client::connect(&own);
    assert!(waiting.is_silent_for(Duration::from_millis(200)));
    write("");
    place.ctl("reload").check(0);
    assert_eq!(waiting.line(), "a");
}

#[test]
fn flows_beyond_the_rate_do_not_begin() {
    let (place, backend, own) = (Place::new(), UdpBackend::named("a"), port());
    let words = format!("{own}/udp {backend} --max-rate 1/1h");
    let _evenkeel = place.native(&words);
    let [first, second] = [(); 2].map(|()| UdpClient::to(([127, 0, 0, 1], own.number())));
    assert_eq!(first.ask("1"), "a1");
    second.send("2");
    until("a drop", || place.status()["listeners"][0]["dropped_datagrams_total"] == 1);
    assert_eq!(first.ask("3"), "a3");
}
