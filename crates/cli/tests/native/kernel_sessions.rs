//! Open sessions that the kernel forwards: where they are shown, what waits for them, and what ends
//! them.

use super::kernel::{BACKENDS, PATIENCE, Rig, answered, echoes, said};
use crate::support::{Client, until};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, UdpSocket};

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
    let program = rig.start(&words);
    let spread = rig.spread(TO, sessions - 1 - 2 * third);
    assert_eq!(spread.into_keys().collect::<Vec<_>>(), [own]);
    until("all to be counted", || rig.sum("attempts_total") == sessions as u64);
    assert_eq!(program.log.with("session ended"), [""; 0]);
}
