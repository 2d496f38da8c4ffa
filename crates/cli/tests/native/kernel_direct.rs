//! Direct return: what the kernel sends on to backends that answer clients themselves, on a bridge of
//! namespaces with real rules.

use super::kernel::{Rig, answered, answered_to, echoes, said, serve_tcp, serve_udp};
use super::kernel_upgrading::{shut_down, upgrade, write};
use super::upgrading::until_gone;
use crate::support::{Client, Network, Place, until};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const TO: &str = "192.0.2.100:80";
const TO_V6: &str = "[2001:db8:1::100]:80";
const BACKENDS: &str = "192.0.2.11:80 192.0.2.12:80";
const BACKENDS_V6: &str = "[2001:db8:1::11]:80 [2001:db8:1::12]:80";
const CLIENT: &str = "192.0.2.1";
const CLIENT_V6: &str = "2001:db8:1::1";
/// Whom backends see if the process serves.
const PROCESS: &str = "192.0.2.254";
const PROCESS_V6: &str = "2001:db8:1::fe";

/// With servers at the addresses of both backends.
#[track_caller]
fn rig() -> Option<Rig> {
    let rig = Rig::within(Network::bridged)?;
    for (role, own) in [("one", "11"), ("two", "12")] {
        rig.network.within(role, || {
            serve_tcp(TcpListener::bind("[::]:80").unwrap(), role);
            for address in [
                TO.to_owned(),
                TO_V6.to_owned(),
                format!("192.0.2.{own}:80"),
                format!("[2001:db8:1::{own}]:80"),
            ] {
                serve_udp(UdpSocket::bind(address).unwrap(), role);
            }
        });
    }
    Some(rig)
}

fn both(count: usize) -> std::collections::BTreeMap<String, usize> {
    [("one".to_owned(), count), ("two".to_owned(), count)].into()
}

fn only(name: &str, count: usize) -> std::collections::BTreeMap<String, usize> {
    [(name.to_owned(), count)].into()
}

/// The flows in this map.
#[track_caller]
fn known(rig: &Rig, map: &str) -> String {
    let table = rig.nft("list tables");
    let table = table.trim().strip_prefix("table ").expect("a table");
    rig.nft(&format!("list map {table} {map}"))
}

#[track_caller]
fn returns_bulk(client: &Client) {
    let sent: Vec<u8> = (0..1 << 20).map(|it: u32| (it % 251) as u8).collect();
    let mut back = vec![0; sent.len()];
    thread::scope(|both| {
        both.spawn(|| (&client.0).write_all(&sent).unwrap());
        (&client.0).read_exact(&mut back).unwrap();
    });
    assert!(back == sent, "wrong bytes");
}

#[test]
fn clients_are_answered_by_backends_themselves() {
    let Some(rig) = rig() else { return };
    let mut program = rig.start(&format!(
        "{TO}/tcp+udp {BACKENDS} --engine direct -- {TO_V6}/tcp+udp {BACKENDS_V6} --engine direct"
    ));
    until("both listeners to be served", || program.log.with("the kernel forwards").len() == 2);
    for (to, client) in [(TO, CLIENT), (TO_V6, CLIENT_V6)] {
        assert_eq!(rig.spread(to, 10), both(5));
        for _ in 0..4 {
            assert_eq!(rig.ask("client", to).1, client);
            assert_eq!(rig.ask_udp("client", to).1, client);
        }
        let client = rig.connect("client", to);
        said(&client.0);
        returns_bulk(&client);
        echoes(&client);
    }
    assert_eq!(program.log.with("session ended").len(), 0);
    // Sessions are counted: ten, four and one of TCP, four of UDP. Bytes are those of clients.
    until("all to be counted", || rig.sum("attempts_total") == 19);
    assert!(rig.sum("sent_bytes_total") > 1 << 20);
    assert_eq!(rig.sum("received_bytes_total"), 0);
    // A client on this machine is served by the process.
    assert_eq!(rig.ask("balancer", TO).1, PROCESS);
    program.log.wait("session ended");
    let tables = rig.nft("list tables");
    assert!(
        tables.starts_with("table netdev evenkeel_") && tables.lines().count() == 1,
        "{tables}"
    );
    // An orderly end leaves nothing.
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(rig.nft("list tables"), "");
}

#[test]
fn datagrams_in_fragments_are_served_by_the_process() {
    let Some(rig) = rig() else { return };
    let program = rig.start(&format!(
        "{TO}/udp {BACKENDS} --engine direct -- {TO_V6}/udp {BACKENDS_V6} --engine direct"
    ));
    until("both listeners to be served", || program.log.with("the kernel forwards").len() == 2);
    for (to, process) in [(TO, PROCESS), (TO_V6, PROCESS_V6)] {
        assert_eq!(answered_to(&rig.flow("client", to), &[0; 3000]).1, process);
    }
}

#[test]
fn a_flow_is_known_for_as_long_as_it_may_be_silent() {
    let Some(rig) = rig() else { return };
    let program = rig.start(&format!(
        "{TO}/udp {BACKENDS} --engine direct --flow-timeout 1h \
         -- {TO_V6}/udp {BACKENDS_V6} --engine direct --flow-timeout 10s"
    ));
    until("both listeners to be served", || program.log.with("the kernel forwards").len() == 2);
    // Answers are not seen, so it is five minutes at least.
    for (to, map, left) in [(TO, "udp4", "expires 59m"), (TO_V6, "udp6", "expires 4m")] {
        rig.ask_udp("client", to);
        let listed = known(&rig, map);
        assert!(listed.contains(left), "{listed}");
    }
}

#[test]
fn a_half_closed_session_goes_on_and_a_port_is_used_again() {
    let Some(rig) = rig() else { return };
    let _program = rig.start(&format!("{TO} {BACKENDS} --engine direct"));
    let flows = |map: &str| known(&rig, map).matches(" expires ").count();
    let client = rig.connect("client", TO);
    said(&client.0);
    assert_eq!((flows("tcp4"), flows("ended4")), (1, 0));
    (&client.0).write_all(b"last words").unwrap();
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    (&client.0).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last words");
    until("the flow to have ended", || (flows("tcp4"), flows("ended4")) == (0, 1));
    // A client's port that has another session now.
    let client = rig.connect("client", TO);
    said(&client.0);
    let own = client.0.local_addr().unwrap();
    rustix::net::sockopt::set_socket_linger(&client.0, Some(Duration::ZERO)).unwrap();
    drop(client);
    until("the other flow to have ended", || (flows("tcp4"), flows("ended4")) == (0, 2));
    let again = rig.network.within("client", || {
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let again = rustix::net::socket(family, kind, None).unwrap();
        rustix::net::bind(&again, &own).unwrap();
        rustix::net::connect(&again, &TO.parse::<SocketAddr>().unwrap()).unwrap();
        Client(again.into())
    });
    said(&again.0);
    echoes(&again);
    assert_eq!(flows("tcp4"), 1);
}

#[test]
fn a_forged_syn_ends_no_session() {
    let Some(rig) = rig() else { return };
    let _program = rig.start(&format!("{TO} {BACKENDS} --engine direct"));
    let client = rig.connect("client", TO);
    said(&client.0);
    let Ok(SocketAddr::V4(own)) = client.0.local_addr() else { panic!("a client of IPv4") };
    let Ok(SocketAddr::V4(to)) = TO.parse() else { panic!("an address of IPv4") };
    rig.network.within("client", || {
        let kind = SocketType::RAW;
        let socket = rustix::net::socket(AddressFamily::INET, kind, Some(ipproto::TCP)).unwrap();
        for _ in 0..2 {
            rustix::net::sendto(&socket, &syn(own, to), SendFlags::empty(), &to).unwrap();
        }
    });
    echoes(&client);
    returns_bulk(&client);
}

/// A SYN (RFC 9293, section 3.1).
fn syn(from: SocketAddrV4, to: SocketAddrV4) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&from.port().to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[12..14].copy_from_slice(&[5 << 4, 2]); // length, SYN
    let pseudo = [&from.ip().octets()[..], &to.ip().octets(), &[0, 6, 0, 20]].concat();
    let words = [&pseudo[..], &segment].concat();
    let sum: u32 = words.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], it[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    segment[16..18].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    segment
}

#[test]
fn a_backend_that_is_down_or_drained_gets_nobody_and_keeps_its_sessions() {
    let Some(rig) = rig() else { return };
    rig.network.ip("two", "link set eth0 down").unwrap();
    let program =
        rig.start(&format!("{TO} {BACKENDS} --engine direct --probe tcp --probe-interval 100ms"));
    assert_eq!(rig.spread(TO, 4), only("one", 4));
    rig.network.ip("two", "link set eth0 up").unwrap();
    // That has taken the address of IPv6, which nobody needs here.
    until("both to serve", || rig.spread(TO, 4).len() == 2);
    let old: Vec<_> = (0..4).map(|_| rig.connect("client", TO)).collect();
    old.iter().for_each(|client| drop(said(&client.0)));
    for command in ["disable main/0.0", "drain main/0.0"] {
        rig.ctl(command);
        until("the other one to serve alone", || rig.spread(TO, 4) == only("two", 4));
        old.iter().for_each(echoes);
        rig.ctl("enable main/0.0");
        until("both to serve", || rig.spread(TO, 4).len() == 2);
    }
    // Without any, the process serves or says no, and open sessions go on.
    rig.ctl("disable main/0.0");
    rig.ctl("disable main/0.1");
    program.log.wait("no backend is available");
    old.iter().for_each(echoes);
    rig.ctl("enable main/0.0");
    rig.ctl("remove main/0.1");
    until("the one that is left to serve", || {
        let client = rig.network.within("client", || Client::try_to(TO.parse().unwrap()));
        let Some(client) = client.ok() else { return false };
        let mut bytes = [0; 3];
        (&client.0).read_exact(&mut bytes).is_ok() && &bytes == b"one"
    });
    old.iter().for_each(echoes);
}

#[test]
fn flows_survive_the_process_and_the_next_one_knows_them() {
    let Some(rig) = rig() else { return };
    let words = format!("{TO}/tcp+udp {BACKENDS} --engine direct");
    let mut program = rig.start(&words);
    let old: Vec<_> = (0..20).map(|_| rig.connect("client", TO)).collect();
    old.iter().for_each(|client| drop(said(&client.0)));
    let flow = rig.flow("client", TO);
    let ask = || answered(&flow);
    let (backend, _) = ask();
    program.kill();
    old.iter().for_each(echoes);
    assert_eq!(rig.spread(TO, 4), both(2), "the rules are still there");
    let mut program = rig.start(&words);
    old.iter().for_each(echoes);
    for _ in 0..3 {
        assert_eq!(ask(), (backend.clone(), CLIENT.to_owned()));
    }
    assert_eq!(rig.spread(TO, 4), both(2));
    assert_eq!(rig.nft("list tables").lines().count(), 1);
    until("sessions to be counted from the first on", || rig.sum("attempts_total") == 29);
    // What is left is found and removed.
    program.kill();
    let clear = || rig.network.within("balancer", || rig.place.run("evenkeel", "engine-clear"));
    until("the helper to have ended", || clear().status == 0);
    assert_eq!(rig.nft("list tables"), "");
}

/// The engine changes again and again, and nobody notices.
#[test]
fn a_change_of_engine_cuts_nobody() {
    let Some(rig) = rig() else { return };
    rig.network
        .within("balancer", || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    let write = |engine: &str| {
        let text = format!(
            "[listeners.web]\nbind = '{TO}'\npool = 'web'\n[listeners.other]\nbind = '192.0.2.100:81'\n\
             pool = 'other'\n[pools.other]\nengine = 'direct'\nbackends = ['192.0.2.11:81']\n[pools.web]\n\
             engine = '{engine}'\nbackends = ['192.0.2.11:80', '192.0.2.12:80']\n",
        );
        std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
    };
    write("user");
    let file = rig.place.file("proxy.toml");
    let program = rig.start(&format!("run {}", file.display()));
    let mut open = Vec::new();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let client = rig.connect("client", TO);
                    drop(said(&client.0));
                    echoes(&client);
                }
            });
        }
        for engine in ["direct", "user", "direct", "kernel", "direct", "user"] {
            for _ in 0..10 {
                let client = rig.connect("client", TO);
                drop(said(&client.0));
                open.push(client);
            }
            write(engine);
            rig.ctl("reload");
            let sees = if engine == "direct" { CLIENT } else { PROCESS };
            until("the engine to serve", || rig.ask("client", TO).1 == sees);
            open.iter().for_each(echoes);
        }
        is_over.store(true, Relaxed);
    });
    open.iter().for_each(returns_bulk);
    assert_eq!(program.log.with("reason=reset").len(), 0);
}

#[test]
fn what_direct_return_cannot_do_is_named_and_the_process_serves() {
    let Some(rig) = rig() else { return };
    let check = |words: &str, why: &str| {
        let rejected = format!("{words} --engine direct");
        let program = rig.network.within("balancer", || rig.place.native(&rejected));
        let line = program.log.wait("the kernel does not forward; this process serves");
        assert!(line.contains(why), "{line}");
        assert_eq!(program.log.with("the kernel does not forward").len(), 1);
    };
    check("80 192.0.2.11:80", "direct return from *:80, which is all addresses");
    check("127.0.0.1:80 192.0.2.11:80", "which is a loopback address");
    check("192.0.2.100:81 192.0.2.11:80", "to another port, as of 192.0.2.11:80");
    check(&format!("{TO} {BACKENDS} --source 192.0.2.254"), "cannot do this: source");
    check(&format!("{TO} {BACKENDS} --max-sessions 5"), "cannot do this: max-sessions");
    check(
        &format!("{TO} {BACKENDS} 198.51.100.1:80"),
        "198.51.100.1:80 is not on a network of this machine",
    );
    check(&format!("{TO} {BACKENDS_V6}"), "has no address of the clients' protocol");
    check(&format!("{TO} 192.0.2.13:80"), "no available backend answers on the networks");
    // What is known without trying is said before the start.
    let text = format!(
        "[listeners.web]\nbind = '{TO}'\nsource = '192.0.2.254'\npool = 'web'\n[pools.web]\n\
         engine = 'direct'\nbackends = ['192.0.2.11:81', '198.51.100.1:80']\n"
    );
    std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
    let words = format!("check {}", rig.place.file("proxy.toml").display());
    let done = rig.network.within("balancer", || rig.place.run("evenkeel", &words));
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(said.contains("198.51.100.1 is not on a network of this machine"), "{said}");
    assert!(said.contains("source, direct return from 192.0.2.100:80 to another port"), "{said}");
}

#[test]
fn clients_are_denied_and_remembered_as_ever_and_missing_rules_come_back() {
    let Some(rig) = rig() else { return };
    let place = Place::new();
    let words = format!(
        "{TO} {BACKENDS} --engine direct --affinity 100 \
         -- {TO_V6} {BACKENDS_V6} --engine direct --deny {CLIENT_V6} --reject [2001:db8:1::12]:80"
    );
    let program = rig.network.within("balancer", || place.native(&words));
    until("both to be served", || program.log.with("the kernel forwards").len() == 2);
    let (first, _) = rig.ask("client", TO);
    assert_eq!(rig.spread(TO, 4), only(&first, 4));
    assert_eq!(rig.ask("client", TO_V6), ("two".to_owned(), PROCESS_V6.to_owned()));
    rig.nft("flush ruleset");
    assert_eq!(rig.spread(TO, 4).values().sum::<usize>(), 4, "the process serves meanwhile");
    until("the rules to come back", || rig.nft("list tables").contains("evenkeel_"));
    assert_eq!(rig.ask("client", TO).1, CLIENT);
}

/// The rules that send on what no flow is known of.
fn adopting(rig: &Rig) -> usize {
    let rules = rig.nft("list ruleset");
    let services = rules.split("chain ").filter(|it| it.starts_with("s_"));
    services.filter(|it| it.contains("jhash")).count()
}

#[test]
fn a_machine_that_takes_the_address_over_goes_on_with_sessions_it_has_never_seen() {
    let Some(rig) = rig() else { return };
    let words = format!(
        "{TO} {BACKENDS} --engine direct --policy maglev \
         -- {TO_V6} {BACKENDS_V6} --engine direct --policy maglev"
    );
    let mut program = rig.start(&words);
    until("both listeners to be served", || program.log.with("the kernel forwards").len() == 2);
    let others: Vec<IpAddr> = (51..61).map(|it| [192, 0, 2, it].into()).collect();
    for other in &others {
        rig.network.ip("client", &format!("address add {other}/24 dev eth0")).unwrap();
    }
    let to = |address: &str| -> SocketAddr { address.parse().unwrap() };
    let old: Vec<_> = rig.network.within("client", || {
        let of_v4 = others.iter().cycle().take(100).map(|it| Client::connect_from(*it, to(TO)));
        let of_v6 = (0..20).map(|_| Client::try_to(to(TO_V6)).expect("a connection"));
        of_v4.chain(of_v6).collect()
    });
    let servers: Vec<_> = old.iter().map(|client| said(&client.0).0).collect();
    assert!(servers.contains(&"one".to_owned()) && servers.contains(&"two".to_owned()));
    // Another machine has neither the flows nor the process.
    program.kill();
    rig.nft("flush ruleset");
    let mut program = rig.start(&words);
    until("unknown sessions to be welcome", || adopting(&rig) == 2);
    old.iter().for_each(echoes);
    returns_bulk(&old[0]);
    // New sessions of the same clients go where theirs have gone.
    let new = rig.network.within("client", || Client::connect_from(others[0], to(TO)));
    assert_eq!(said(&new.0).0, servers[0]);
    until("only that to be counted", || rig.sum("attempts_total") == 1);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn what_the_process_itself_serves_is_not_taken_for_the_session_of_another_machine() {
    let Some(rig) = rig() else { return };
    let write = |engine: &str| {
        let text = format!(
            "[defaults]\npolicy = 'maglev'\n[listeners.web]\nbind = '{TO}'\npool = 'web'\n\
             [listeners.other]\nbind = '192.0.2.100:81'\npool = 'other'\n\
             [pools.other]\nengine = 'direct'\nbackends = ['192.0.2.11:81']\n\
             [pools.web]\nengine = '{engine}'\nbackends = ['192.0.2.11:80', '192.0.2.12:80']\n",
        );
        std::fs::write(rig.place.file("proxy.toml"), text).unwrap();
    };
    write("user");
    let _program = rig.start(&format!("run {}", rig.place.file("proxy.toml").display()));
    let old = rig.connect("client", TO);
    drop(said(&old.0));
    write("direct");
    rig.ctl("reload");
    until("the kernel to forward", || rig.ask("client", TO).1 == CLIENT);
    // The other listener has nobody. Once it has adopted for a while, this one would, too.
    until("the other listener to adopt", || adopting(&rig) == 1);
    echoes(&old);
    drop(old);
    until("this one to adopt, too", || adopting(&rig) == 2);
}

/// Upgrades from each engine to each other one, with sessions of all of them open.
#[test]
fn an_upgrade_to_another_engine_cuts_nobody() {
    let Some(rig) = rig() else { return };
    rig.network
        .within("balancer", || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    let backends: Vec<_> = BACKENDS.split(' ').collect();
    write(&rig, TO, "direct", &backends);
    let mut program = rig.start(&format!("run {}", rig.place.file("proxy.toml").display()));
    let mut open = Vec::new();
    let begin = |open: &mut Vec<Client>| {
        for _ in 0..4 {
            let client = rig.connect("client", TO);
            drop(said(&client.0));
            open.push(client);
        }
    };
    begin(&mut open);
    for (round, engine) in ["kernel", "direct", "user", "kernel", "user"].into_iter().enumerate() {
        write(&rig, TO, engine, &backends);
        // Also if a reload has changed the engine before.
        if round == 3 {
            rig.ctl("reload");
            begin(&mut open);
        }
        upgrade(&rig);
        if round == 0 {
            until_gone(&mut program);
        }
        let sees = if engine == "direct" { CLIENT } else { PROCESS };
        until("the engine to serve", || rig.ask("client", TO).1 == sees);
        open.iter().for_each(echoes);
        begin(&mut open);
    }
    open.iter().for_each(returns_bulk);
    drop(open);
    shut_down(&rig);
}
