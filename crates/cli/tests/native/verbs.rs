//! `demo` and `links`: the first things that somebody tries.

use crate::support::{Client, Place, Program, until};
use rustix::process::Signal;
use std::net::SocketAddr;

/// What a web server on 127.0.0.1 answers, without its headers; empty when nobody answers.
fn get(port: u16, path: &str) -> String {
    let Ok(client) = Client::try_to(SocketAddr::from(([127, 0, 0, 1], port))) else {
        return String::new();
    };
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    let answer = String::from_utf8(client.rest().0).unwrap();
    answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.trim().to_owned())
}

#[test]
fn the_demo_does_what_it_says() {
    let (place, port) = (Place::new(), crate::support::port());
    let mut demo = Program::spawn(&mut place.command("evenkeel", &format!("demo --port {port}")));
    demo.log.wait("listening");
    let said = demo.out.wait("/stop/ann");
    let switches: u16 = {
        let rest = said.split_once("http://127.0.0.1:").unwrap().1;
        rest.split_once('/').unwrap().0.parse().unwrap()
    };
    // It takes the next free port if this one is taken meanwhile, and says so.
    let line = demo.out.wait("repeat this");
    let rest = line.split_once("http://127.0.0.1:").unwrap().1;
    let balancer = rest.split_whitespace().next().unwrap().parse().unwrap();
    let three = || [(); 3].map(|()| get(balancer, "/")).join(" ");
    assert_eq!(three(), "ann bob cyd");
    assert_eq!(get(switches, "/stop/ann"), "ann has stopped");
    until("the others to take over", || !three().contains("ann"));
    assert_eq!(three().split(' ').filter(|name| ["bob", "cyd"].contains(name)).count(), 3);
    assert_eq!(get(switches, "/start/ann"), "ann is back");
    let done = place.ctl(&format!("--listen {balancer} disable 0.1")).check(0);
    assert_eq!(done.stdout, "done\n");
    assert!(!three().contains("bob"));
    demo.signal(Signal::INT);
    assert_eq!(demo.wait().code(), Some(0));
    assert_eq!(get(balancer, "/"), "");
}

#[test]
fn the_demo_says_when_no_ports_are_left() {
    for port in [65_535, 65_533] {
        let done = Place::new().run("evenkeel", &format!("demo --port {port}")).check(1);
        assert!(done.stderr.contains("no port is left after 65535"), "{done:?}");
        assert_eq!(done.stdout, "");
    }
}

#[test]
fn a_misspelt_verb_is_recognised() {
    let place = Place::new();
    for (words, verb) in [
        ("stauts", "status"),
        ("ctrl status", "ctl"),
        ("statsu --html", "status"),
        ("hel", "help"),
        ("balnce", "balance"),
        ("mergelog", "mergelogs"),
    ] {
        let done = place.run("evenkeel", words).check(2);
        assert!(done.stderr.contains(&format!("did you mean '{verb}'")), "{words}: {done:?}");
    }
    for words in ["http", "8080", "frobnicate", "-x"] {
        let done = place.run("evenkeel", words).check(2);
        assert!(!done.stderr.contains("there is no verb"), "{words}: {done:?}");
    }
}

#[test]
fn help_and_version_are_words() {
    let place = Place::new();
    for (word, option) in [
        ("help", "--help"),
        ("help ctl", "ctl --help"),
        ("help ctl drain", "ctl drain --help"),
        ("help mergelogs", "mergelogs --help"),
        ("help pen", "pen --help"),
        ("version", "--version"),
    ] {
        let asked = place.run("evenkeel", word).check(0);
        assert_eq!(asked.stdout, place.run("evenkeel", option).stdout, "{word}");
        assert!(!asked.stdout.is_empty());
    }
}

#[test]
fn links_make_the_classics() {
    let place = Place::new();
    let dir = place.file("");
    let done = place.run("evenkeel", &format!("links {}", dir.display())).check(0);
    assert!(done.stdout.contains("balance -> "), "{done:?}");
    let done = place.run("evenkeel", &format!("links {}", dir.display())).check(0);
    assert!(done.stdout.contains("already exists"), "{done:?}");
    let call = std::process::Command::new(dir.join("balance")).output().unwrap();
    assert_eq!(call.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&call.stderr).contains("this is balance"), "{call:?}");
    let done = place.run("evenkeel", "links /no/such/dir").check(1);
    assert!(done.stderr.contains("/no/such/dir"), "{done:?}");
}
