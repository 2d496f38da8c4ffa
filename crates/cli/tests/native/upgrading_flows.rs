//! Upgrades with UDP flows: each keeps its backend and the socket towards it, and no datagram is lost.

use super::support::{Place, Port, UdpBackend, UdpClient, port, until};
use super::upgrading::{Taker, until_gone, upgrade};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

fn client(port: &Port) -> UdpClient {
    UdpClient::to((Ipv4Addr::LOCALHOST, port.number()))
}

#[test]
fn flows_keep_their_backends_and_the_old_process_goes() {
    let (place, udp) = (Place::new(), port());
    let backends = ["a", "b", "c"].map(UdpBackend::named);
    let [a, b, c] = &backends;
    let mut old = place.native(&format!("{udp}/udp {a} {b} {c} --workers 2"));
    let clients: Vec<_> = (0..300).map(|_| client(&udp)).collect();
    let names: Vec<_> = clients.iter().map(|it| it.ask("1")).collect();
    let said = upgrade(&place, "");
    assert!(said.starts_with("upgraded: 300 sessions moved in "), "{said}");
    assert!(!said.contains("UDP"), "{said}");
    until_gone(&mut old);
    assert_eq!(place.sessions(), 300);
    for (client, name) in clients.iter().zip(&names) {
        assert_eq!(client.ask("2"), name.replace('1', "2"));
    }
    // The backends have seen one address of each client, before and after.
    for backend in &backends {
        let seen = backend.seen();
        let mut sources: Vec<_> = seen.iter().map(|(source, _)| *source).collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(2 * sources.len(), seen.len());
    }
    let listener = &place.status()["listeners"][0];
    assert_eq!(listener["sessions_total"], 300);
    assert_eq!([&listener["sent_bytes_total"], &listener["received_bytes_total"]], [600, 1200]);
    // They can go on to a third process, and new ones begin.
    upgrade(&place, "");
    clients
        .iter()
        .zip(&names)
        .for_each(|(it, name)| assert_eq!(it.ask("3"), name.replace('1', "3")));
    assert_eq!(client(&udp).ask("x").len(), 2);
    place.ctl("kill 1").check(0);
    let line = old.log.wait("session=1 ");
    assert!(line.contains("sent=3 received=6"), "{line}");
}

#[test]
fn no_datagram_is_lost_twice_or_late_in_upgrades() {
    let (place, udp) = (Place::new(), port());
    let echo = UdpBackend::echo(Ipv4Addr::LOCALHOST.into());
    let _first = place.native(&format!("{udp}/udp {echo} --workers 2"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let talk = |pause: Duration| {
            let client = client(&udp);
            let mut number = 0;
            while !is_over.load(Relaxed) {
                // Two at once, whose answers must come in this order.
                let [one, two] = [number, number + 1].map(|it| it.to_string());
                client.send(&one);
                client.send(&two);
                let answers = [(); 2].map(|()| String::from_utf8(client.answer()).unwrap());
                assert_eq!(answers, [one, two]);
                number += 2;
                thread::sleep(pause);
            }
            assert!(client.answer_within(Duration::from_millis(1)).is_err());
            number
        };
        let talks: Vec<_> = (0..20)
            .map(|place| scope.spawn(move || talk(Duration::from_millis(1 + place % 5))))
            .collect();
        let newcomers = scope.spawn(|| {
            while !is_over.load(Relaxed) {
                assert_eq!(client(&udp).ask("new"), "new");
            }
        });
        for _ in 0..5 {
            upgrade(&place, "");
        }
        is_over.store(true, Relaxed);
        newcomers.join().unwrap();
        assert!(talks.into_iter().map(|it| it.join().unwrap()).sum::<u64>() > 100);
    });
}

#[test]
fn what_is_kept_for_another_backend_moves_too() {
    let (place, udp) = (Place::new(), port());
    let (silent, b) = (UdpBackend::silent(), UdpBackend::named("b"));
    let mut old = place.native(&format!("--retry-after 1s {udp}/udp {silent} ! {b}"));
    let client = client(&udp);
    client.send("first");
    client.send("second");
    until("the silent backend to have both", || silent.seen().len() == 2);
    upgrade(&place, "");
    until_gone(&mut old);
    let answers = [(); 2].map(|()| String::from_utf8(client.answer()).unwrap());
    assert_eq!(answers, ["bfirst", "bsecond"]);
}

#[test]
fn flows_go_on_in_the_old_process_if_the_new_one_dies() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let old = place.native(&format!("{udp}/udp {a} {b} --workers 2"));
    let clients: Vec<_> = (0..40).map(|_| client(&udp)).collect();
    let names: Vec<_> = clients.iter().map(|it| it.ask("1")).collect();
    let taker = Taker::ask(&place);
    taker.hello();
    taker.expect("state");
    taker.send("ready", r#"{"pid":1}"#, 1);
    let (switch, _) = taker.expect("switch");
    assert_eq!(switch["flows_follow"], true);
    let (batch, descriptors) = taker.expect("batch");
    assert_eq!((batch["flows"].as_array().unwrap().len(), descriptors.len()), (1, 1));
    // What is sent now is not lost: it waits for whoever serves.
    clients.iter().for_each(|client| client.send("2"));
    drop((taker, descriptors));
    for (client, name) in clients.iter().zip(&names) {
        let answer = String::from_utf8(client.answer()).unwrap();
        assert_eq!(answer, name.replace('1', "2"));
    }
    old.log.wait("this process serves again");
    assert_eq!(place.sessions(), 40);
    // And it can be upgraded after all.
    upgrade(&place, "");
    for (client, name) in clients.iter().zip(&names) {
        assert_eq!(client.ask("3"), name.replace('1', "3"));
    }
}

#[test]
fn another_number_of_workers_has_the_flows() {
    let (place, udp) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(UdpBackend::named);
    let write = |workers: usize| {
        let text = format!(
            "[process]\nworkers = {workers}\n[listeners.dns]\nbind = '{udp}/udp'\npool = 'dns'\n\
             [pools.dns]\nbackends = ['{a}', '{b}']\n"
        );
        std::fs::write(place.file("lb.toml"), text).unwrap();
    };
    write(3);
    let _old = place.native("run lb.toml");
    let clients: Vec<_> = (0..40).map(|_| client(&udp)).collect();
    let names: Vec<_> = clients.iter().map(|it| it.ask("1")).collect();
    for workers in [1, 2, 4] {
        write(workers);
        upgrade(&place, "");
        for (client, name) in clients.iter().zip(&names) {
            assert_eq!(client.ask("2"), name.replace('1', "2"), "{workers} workers");
        }
    }
}
