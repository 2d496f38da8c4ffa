//! Open sessions that the kernel forwards: where they are shown, what waits for them, and what ends
//! them.

use super::kernel::{BACKENDS, PATIENCE, Rig, answered, echoes, said};
use crate::support::{Client, http, until};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};
use sys::tracking::{Marked, list};

const TO: &str = "192.0.2.254:8080";

fn open(rig: &Rig) -> Client {
    let client = rig.connect("client", TO);
    said(&client.0);
    client
}

#[test]
fn open_sessions_are_seen_and_an_orderly_end_waits_for_them() {
    let Some(rig) = Rig::new() else { return };
    let words =
        format!("{TO} {} {} --engine kernel --shutdown-timeout never", BACKENDS[0], BACKENDS[1]);
    let mut program = rig.start(&words);
    let mut clients: Vec<_> = (0..3).map(|_| open(&rig)).collect();
    until("three to be seen", || rig.sum("sessions") == 3);
    clients.pop();
    until("two to be left", || rig.sum("sessions") == 2);
    // A drained backend has lost its last one.
    ["drain main/0.0", "drain main/0.1"].iter().for_each(|words| rig.ctl(words));
    clients.clear();
    until("both to be drained", || program.log.with("backend drained").len() == 2);
    ["enable main/0.0", "enable main/0.1"].iter().for_each(|words| rig.ctl(words));
    until("both to serve again", || rig.nft("list ruleset").contains("numgen inc mod 2 map"));
    let mut clients: Vec<_> = (0..2).map(|_| open(&rig)).collect();
    until("both to be seen", || rig.sum("sessions") == 2);
    // Those of a removed backend are seen, too.
    rig.ctl("remove main/0.0");
    let departed = || rig.place.status()["departed_backends"].as_array().unwrap().len();
    until("a removed one to have a session", || departed() == 1);
    assert_eq!(
        (rig.sum("sessions"), rig.place.status()["pools"][0]["sessions"].as_u64()),
        (1, Some(2))
    );
    // Also one that has just come.
    clients.push(open(&rig));
    program.signal(Signal::TERM);
    let line = program.log.wait("waiting for open sessions to end");
    assert!(line.contains("sessions=3"), "{line}");
    clients.iter().for_each(echoes);
    let refused = rig.network.within("client", || Client::try_to(TO.parse().unwrap()));
    assert_eq!(refused.err().map(|it| it.kind()), Some(ErrorKind::ConnectionRefused));
    drop(clients);
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(program.log.with("shutdown cut").len(), 0);
    assert_eq!(rig.nft("list tables"), "");
}

#[test]
fn a_drain_of_the_instance_waits_for_the_last_session() {
    let Some(rig) = Rig::new() else { return };
    let mut program = rig.start(&format!("{TO} {} --engine kernel", BACKENDS[0]));
    let client = open(&rig);
    rig.ctl("drain-all --by 1h");
    program.log.wait("no more clients accepted");
    echoes(&client);
    drop(client);
    assert_eq!(program.wait().code(), Some(0));
    let line = program.log.wait("drained ");
    assert!(line.contains("ended=0 cut=0"), "{line}");
}

#[test]
fn what_is_left_after_the_time_for_it_ends() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("{TO} {} --engine kernel --shutdown-timeout 1ms", BACKENDS[0]);
    let mut program = rig.start(&words);
    let client = open(&rig);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    let line = program.log.wait("shutdown cut sessions that were still open");
    assert!(line.contains("sessions=1"), "{line}");
    client.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = (&client.0).write_all(b"ping");
    let read = (&client.0).read(&mut [0]);
    assert_eq!(read.map_err(|it| it.kind()), Err(ErrorKind::ConnectionReset));
}

/// The sessions and flows of a backend that probes find down, if that is wanted.
#[test]
fn sessions_of_a_backend_that_is_down_end() {
    let Some(rig) = Rig::new() else { return };
    let probed = |address: &'static str| {
        rig.network.within("backend", || TcpListener::bind((address, 81)).unwrap())
    };
    let [one, _two] = ["198.51.100.1", "198.51.100.2"].map(probed);
    let words = format!(
        "{TO}/tcp+udp {} {} --engine kernel --probe tcp --probe-port 81 --probe-interval 100ms --fall 2 \
         --on-down end-sessions",
        BACKENDS[0], BACKENDS[1]
    );
    let program = rig.start(&words);
    until("both to serve", || rig.spread(TO, 4).len() == 2);
    let clients: Vec<_> = (0..4).map(|_| rig.connect("client", TO)).collect();
    let (of_one, of_two): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|client| said(&client.0).0 == BACKENDS[0]);
    assert!(!of_one.is_empty() && !of_two.is_empty(), "{} and {}", of_one.len(), of_two.len());
    let flows: Vec<_> = (0..2).map(|_| rig.flow("client", TO)).collect();
    let ask = |flow: &UdpSocket| answered(flow).0;
    assert!(flows.iter().any(|flow| ask(flow) == BACKENDS[0]));
    drop(one);
    program.log.wait("backend down");
    for client in of_one {
        until("the client's session to be reset", || {
            let mut bytes = [0; 4];
            let said =
                (&client.0).write_all(b"ping").and_then(|()| (&client.0).read_exact(&mut bytes));
            said.is_err_and(|it| it.kind() == ErrorKind::ConnectionReset)
        });
    }
    of_two.iter().for_each(echoes);
    for flow in &flows {
        until("all flows to go to the other one", || ask(flow) == BACKENDS[1]);
    }
}

#[test]
fn a_backend_that_refuses_is_in_quarantine_until_it_answers() {
    let Some(rig) = Rig::new() else { return };
    let dead = "198.51.100.2:99";
    let words = format!("{TO} {} {dead} --engine kernel --quarantine 1s", BACKENDS[0]);
    let program = rig.start(&words);
    let ask = || rig.network.within("client", || Client::try_to(TO.parse().unwrap()));
    until("a client to be refused", || ask().is_err());
    let line = program.log.wait("backend quarantined");
    assert!(line.contains("198.51.100.2:99 error=\"connection refused\""), "{line}");
    until("the other one to serve alone", || (0..10).all(|_| ask().is_ok()));
    let row = || rig.place.status()["pools"][0]["tiers"][0]["backends"][1].clone();
    assert_ne!(row()["failures_total"].as_u64(), Some(0));
    rig.serve("backend", dead);
    until("it to be seen well", || {
        let _ = ask();
        program.log.with("backend recovered").len() == 1
    });
}

/// The kernel goes on counting while there is no process. `EVENKEEL_SESSIONS` says how many there are;
/// by default 300.
#[test]
fn counters_and_clients_are_known_to_the_next_process() {
    let Some(rig) = Rig::new() else { return };
    let sessions = std::env::var("EVENKEEL_SESSIONS").map_or(300, |text| text.parse().unwrap());
    let words = format!("{TO} {} {} --engine kernel --affinity 100", BACKENDS[0], BACKENDS[1]);
    let mut program = rig.start(&words);
    let (own, other) = rig.ask("client", TO);
    assert_eq!(other, "198.51.100.254");
    let third = sessions / 3;
    rig.spread(TO, third);
    program.kill();
    rig.spread(TO, third);
    let _program = rig.start(&words);
    let spread = rig.spread(TO, sessions - 1 - 2 * third);
    assert_eq!(spread.into_keys().collect::<Vec<_>>(), [own]);
    until("all to be counted", || rig.sum("attempts_total") == sessions as u64);
    assert_eq!(rig.own(), 0);
}

/// The open sessions of an instance.
fn listed(rig: &Rig, query: &str) -> Vec<Value> {
    let path = format!("/v1/sessions{query}");
    let http = http(&rig.place.socket(), "GET", &path, "").expect("an answer");
    assert_eq!(http.status, 200, "{:?}", http.body);
    http.body.as_array().unwrap().clone()
}

#[test]
fn open_sessions_are_listed_and_an_operator_can_end_one() {
    let Some(rig) = Rig::new() else { return };
    let words = format!("{TO}/tcp+udp {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let program = rig.start(&words);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let client = rig.connect("client", TO);
            (said(&client.0).0, client)
        })
        .collect();
    let flow = rig.flow("client", TO);
    answered(&flow);
    let all = listed(&rig, "");
    assert_eq!(all.len(), 4, "{all:#?}");
    until("four to be counted", || rig.place.status()["forwarded_sessions"] == 4);
    let text = rig.place.ctl("status").check(0).stdout;
    assert!(text.contains("sessions by worker: 0 0 and 4 by the kernel"), "{text}");
    let port_of = |client: &Client| client.0.local_addr().unwrap().to_string();
    for (backend, client) in &clients {
        let row = all.iter().find(|it| it["client"] == port_of(client)).expect("a row");
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        assert_eq!((text("backend"), text("backend_address")), (backend.clone(), backend.clone()));
        assert_eq!((&row["worker"], text("phase")), (&Value::Null, "open".to_owned()));
        assert!(text("listener").contains(TO), "{row:#?}");
        assert!(text("source").starts_with("198.51.100.254:"), "{row:#?}");
        let received = row["received_bytes"].as_u64().unwrap();
        assert!((100..1000).contains(&received), "{row:#?}");
        let [age, idle] = ["age_seconds", "idle_seconds"].map(|it| row[it].as_f64().unwrap());
        assert!(0.0 < age && age < 60.0 && idle <= age, "{row:#?}");
    }
    assert_eq!(listed(&rig, "?limit=2&sort=bytes").len(), 2);
    assert_eq!(listed(&rig, "?client=192.0.2.0/24").len(), 4);
    assert_eq!(listed(&rig, "?client=203.0.113.0/24").len(), 0);
    let of_first = clients.iter().filter(|(backend, _)| backend == BACKENDS[0]).count();
    let rows = listed(&rig, &format!("?backend={}", BACKENDS[0]));
    let tcp = rows.iter().filter(|it| it["client"] != flow.local_addr().unwrap().to_string());
    assert_eq!(tcp.count(), of_first);

    let [(_, first), ..] = &clients[..] else { panic!() };
    let row = all.iter().find(|it| it["client"] == port_of(first)).unwrap();
    rig.ctl(&format!("kill {}", row["session"]));
    let line = program.log.wait("session ended");
    assert!(line.contains(&port_of(first)) && line.contains("reason=admin"), "{line}");
    first.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = (&first.0).write_all(b"ping");
    let read = (&first.0).read(&mut [0]);
    assert_eq!(read.map_err(|it| it.kind()), Err(ErrorKind::ConnectionReset));
    clients[1..].iter().for_each(|(_, client)| echoes(client));
    let again = format!(r#"{{"command":"kill-session","session":{}}}"#, row["session"]);
    assert_eq!(rig.place.order(&again).status, 404);
}

/// Also after a change of backends, which makes new rules for new flows.
#[test]
fn a_flow_is_known_for_as_long_as_it_may_be_silent() {
    let Some(rig) = Rig::new() else { return };
    let [to, to_v6] = ["192.0.2.254:8080", "[2001:db8:1::fe]:8080"];
    let [a, b, a_v6, b_v6] = BACKENDS;
    let program = rig.start(&format!(
        "{to}/udp {a} {b} --engine kernel --flow-timeout 1h \
         -- {to_v6}/udp {a_v6} {b_v6} --engine kernel --flow-timeout 90500ms"
    ));
    // What the kernel will still wait, in seconds.
    let left = || {
        let mut all = Vec::new();
        let marked = Marked { bits: 0xe000_0000, mask: 0xf000_0000 };
        rig.network.within("balancer", || list(marked, |it| all.push(it.seconds_left))).unwrap();
        all.sort_unstable();
        all
    };
    let is_in_time = |all: &[u32]| {
        let [v6, first, second] = all[..] else { panic!("{all:?}") };
        (61..=91).contains(&v6) && (3000..=3600).contains(&first) && second <= 3600
    };
    until("both to be forwarded", || program.log.with("the kernel forwards").len() == 2);
    let flows = [to, to, to_v6].map(|it| rig.flow("client", it));
    flows.iter().for_each(|it| drop(answered(it)));
    assert!(is_in_time(&left()), "{:?}", left());
    rig.ctl("disable 192.0.2.254:8080/udp/0.0");
    flows.iter().for_each(|it| drop(answered(it)));
    assert!(is_in_time(&left()), "{:?}", left());
    let rows = listed(&rig, "");
    assert!(rows.iter().all(|it| it["idle_seconds"].as_f64().unwrap() < 60.0), "{rows:#?}");
}

/// Also of those that ended while the kernel still remembers them, and each once.
#[test]
fn ended_sessions_are_reported_with_their_reasons() {
    let Some(rig) = Rig::new() else { return };
    let dead = "198.51.100.1:99";
    let words = format!("{TO} {} --engine kernel", BACKENDS[0]);
    let program = rig.start(&words);
    let one = rig.connect("client", TO);
    said(&one.0);
    (&one.0).write_all(&[0; 5000]).unwrap();
    (&one.0).read_exact(&mut [0; 5000]).unwrap();
    let client = one.0.local_addr().unwrap();
    until("it to be counted", || rig.sum("sessions") == 1);
    drop(one);
    let line = program.log.wait("session ended");
    for part in [&format!("client={client}"), &format!("backend={}", BACKENDS[0])] {
        assert!(line.contains(part.as_str()), "{part} in {line}");
    }
    assert!(line.contains("listener=") && line.contains("reason=client-fin"), "{line}");
    let count = |key: &str| {
        let value = line.split(' ').find_map(|it| it.strip_prefix(key));
        value.unwrap().parse::<u64>().unwrap()
    };
    assert!((5000..6000).contains(&count("sent=")), "{line}");
    assert!((5000..6500).contains(&count("received=")), "{line}");
    // One that a client resets, and one that a backend refuses.
    let two = rig.connect("client", TO);
    said(&two.0);
    two.reset();
    program.log.wait("reason=reset");
    rig.ctl(&format!("add main/0 {dead}"));
    rig.ctl("enable main/0.1");
    until("a client to be refused", || {
        rig.network.within("client", || Client::try_to(TO.parse().unwrap())).is_err()
    });
    let line = program.log.wait("reason=connect-refused");
    assert!(line.contains(dead), "{line}");
    let listener = || rig.place.status()["listeners"][0].clone();
    let ended = program.log.with("session ended").len() as u64;
    until("all to be counted", || listener()["forwarded_total"].as_u64() >= Some(ended));
    assert_eq!(listener()["sessions_total"], 0);
    let text = rig.place.ctl("status").check(0).stdout;
    assert!(text.contains(" 0 since start and ") && text.contains(" by the kernel"), "{text}");
    assert_eq!(program.log.with(&format!("client={client}")).len(), 1);
    let rows = rig.place.status()["ended_sessions"].as_array().unwrap().clone();
    assert!(rows.iter().any(|it| it["reason"] == "client-fin"), "{rows:#?}");
}

/// `EVENKEEL_SESSIONS` says how many; by default 300.
#[test]
fn each_of_many_sessions_has_one_line() {
    let Some(rig) = Rig::new() else { return };
    let sessions = std::env::var("EVENKEEL_SESSIONS").map_or(300, |text| text.parse().unwrap());
    let words = format!("{TO} {} {} --engine kernel", BACKENDS[0], BACKENDS[1]);
    let program = rig.start(&words);
    rig.spread(TO, sessions);
    until("all to be counted", || rig.sum("attempts_total") == sessions as u64);
    let ended = || program.log.with("session ended");
    until("all to have a line", || ended().len() >= sessions);
    let number =
        |line: &String| line.split(' ').find(|it| it.starts_with("session=")).map(str::to_owned);
    let numbers: BTreeSet<_> = ended().iter().map(number).collect();
    assert_eq!((ended().len(), numbers.len()), (sessions, sessions));
}
