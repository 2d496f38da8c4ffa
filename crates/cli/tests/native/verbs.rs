//! `demo` and `links`: the first things that somebody tries.

use crate::support::{Client, Place, Program, skip_unless, until};
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
        ("chekc evenkeel.toml", "check"),
        ("sessions", "ctl sessions"),
        ("session", "ctl sessions"),
        ("disable db1", "ctl disable"),
        ("drian db1", "ctl drain"),
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
        ("help help", "--help"),
        ("help --help", "--help"),
        ("help ctl", "ctl --help"),
        ("help ctl drain", "ctl drain --help"),
        ("help drain", "ctl drain --help"),
        ("ctl help", "ctl --help"),
        ("ctl help drain", "ctl drain --help"),
        ("help mergelogs", "mergelogs --help"),
        ("help pen", "pen --help"),
        ("version", "--version"),
    ] {
        let asked = place.run("evenkeel", word).check(0);
        assert_eq!(asked.stdout, place.run("evenkeel", option).stdout, "{word}");
        assert!(!asked.stdout.is_empty());
    }
    let done = place.run("evenkeel", "help drian").check(2);
    assert!(done.stderr.contains("no verb 'drian'; did you mean 'ctl drain'?"), "{done:?}");
    let done = place.run("evenkeel", "help 5432").check(2);
    assert!(done.stderr.contains("no verb '5432'. See"), "{done:?}");
    assert_eq!(done.stdout, "");
}

#[test]
fn links_make_the_classics() {
    let place = Place::new();
    let dir = place.file("");
    let links = format!("links {}", dir.display());
    let done = place.run("evenkeel", &links).check(0);
    assert!(
        done.stdout.contains(&format!("created {}\n", dir.join("balance").display())),
        "{done:?}"
    );
    let done = place.run("evenkeel", &links).check(0);
    assert!(done.stdout.contains("balance is up to date"), "{done:?}");
    let call = std::process::Command::new(dir.join("balance")).output().unwrap();
    assert_eq!(call.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&call.stderr).contains("this is balance"), "{call:?}");
    std::fs::remove_file(dir.join("pen")).unwrap();
    std::fs::write(dir.join("pen"), "somebody else's").unwrap();
    let done = place.run("evenkeel", &links).check(1);
    assert!(done.stderr.contains("pen is not from Evenkeel and was left alone"), "{done:?}");
    let done = place.run("evenkeel", "links /no/such/dir").check(1);
    assert!(done.stderr.contains("/no/such/dir"), "{done:?}");
}

#[test]
fn systemd_accepts_the_units() {
    let analyze = || std::process::Command::new("systemd-analyze");
    if skip_unless(analyze().arg("--version").output().is_ok(), "this needs systemd-analyze") {
        return;
    }
    let place = Place::new();
    place.run("evenkeel", &format!("install --prefix {}", place.file("prefix").display())).check(0);
    let service = place.file("prefix/lib/systemd/system/evenkeel.service");
    let socket = service.with_file_name("evenkeel.socket");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/systemd/evenkeel.socket");
    std::fs::copy(example, &socket).unwrap();
    let mut verify = analyze();
    let done = verify.args(["--man=no", "verify"]).args([&service, &socket]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("evenkeel"), "{said}");
}

#[test]
fn install_puts_everything_in_place_and_spares_what_is_not_ours() {
    let place = Place::new();
    let prefix = place.file("prefix");
    let install = format!("install --prefix {}", prefix.display());
    let done = place.run("evenkeel", &install).check(0);
    assert!(done.stdout.contains("bin/evenkeel\n"), "{done:?}");
    let help = std::process::Command::new(prefix.join("bin/mergelogs")).arg("--help").output();
    assert!(String::from_utf8_lossy(&help.unwrap().stdout).starts_with("mergelogs - "));
    for path in [
        "man/man1/evenkeel.1",
        "man/man1/penctl.1",
        "bash-completion/completions/evenkeel",
        "bash-completion/completions/balance",
        "zsh/site-functions/_pen",
        "fish/vendor_completions.d/mergelogs.fish",
    ] {
        assert!(prefix.join("share").join(path).is_file(), "{path}");
    }
    let unit = std::fs::read_to_string(prefix.join("lib/systemd/system/evenkeel.service")).unwrap();
    assert!(unit.contains(&format!("ExecStart={}/bin/evenkeel run\n", prefix.display())), "{unit}");
    let again = place.run("evenkeel", &install).check(0);
    assert!(again.stdout.lines().all(|line| line.ends_with(" is up to date")), "{again:?}");

    // An older version of ours is replaced, a stranger's file is not.
    let manual = prefix.join("share/man/man1/evenkeel.1");
    let text = std::fs::read_to_string(&manual).unwrap();
    std::fs::write(&manual, format!("older\n{text}")).unwrap();
    let program = prefix.join("bin/evenkeel");
    let mut bytes = std::fs::read(&program).unwrap();
    bytes.push(0);
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, bytes).unwrap();
    let foreign = prefix.join("share/man/man1/pen.1");
    std::fs::write(&foreign, "the other pen").unwrap();
    let done = place.run("evenkeel", &install).check(1);
    for path in [&manual, &program] {
        assert!(done.stdout.contains(&format!("replaced {}\n", path.display())), "{done:?}");
    }
    assert_eq!(std::fs::read_to_string(&manual).unwrap(), text);
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "the other pen");
    assert!(done.stderr.contains("pen.1 is not from Evenkeel and was left alone"), "{done:?}");
    let mut installed = std::process::Command::new(&program);
    assert!(installed.arg("--version").output().unwrap().status.success());
}
