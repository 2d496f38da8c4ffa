//! How the kernel's rules change while clients come in.

use super::kernel::{BACKENDS, Rig};
use crate::support::until;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

/// The parts of the table, without what has been counted. Elements and parts have no order.
fn rules(rig: &Rig) -> BTreeSet<Vec<String>> {
    let listed = rig.nft(&format!("list table {}", table(rig)));
    let piece =
        |it: &str| it.split(" counter packets ").next().unwrap_or_default().trim().to_owned();
    let part = |text: &str| match text.contains("elements = {") {
        true => {
            let mut pieces: Vec<_> = text.split([',', '{', '}', '\n']).map(piece).collect();
            pieces.sort_unstable();
            pieces
        }
        false => vec![text.to_owned()],
    };
    listed.split("\n\t}\n").map(part).collect()
}

/// The family and name of the table. Of all lists of nft(8), this one alone does not read each element.
fn table(rig: &Rig) -> String {
    let chains = rig.nft("list chains");
    let table = chains.lines().find(|it| it.contains(" evenkeel_")).expect("a table");
    table.trim_start_matches("table ").trim_end_matches(" {").to_owned()
}

/// A first start and changes fill the table without nft(8), and a start that takes it over with it.
#[test]
fn rules_are_those_that_the_next_start_makes() {
    let Some(rig) = Rig::new() else { return };
    let file = rig.place.file("proxy.toml");
    let listeners = [
        ("turn", "192.0.2.254:8080/tcp+udp", "access = ['deny 10.0.0.0/8', 'deny 192.0.2.128/25']"),
        ("random", "8081", "policy = 'random'"),
        ("network", "192.0.2.254:8082", "policy = 'maglev'"),
        ("known", "192.0.2.254:8083", "affinity = 100"),
        ("fixed", "192.0.2.254:8084", "access = ['allow 192.0.2.0/24', 'allow 10.0.0.0/8']"),
        ("turn6", "[2001:db8:1::fe]:8080", "access = ['deny 2001:db8:9::/48']"),
        ("network6", "[2001:db8:1::fe]:8082", "policy = 'maglev'"),
        ("known6", "[2001:db8:1::fe]:8083", "affinity = 100"),
    ];
    let write = |count: usize| {
        let text = listeners.iter().map(|(name, bind, more)| {
            let first = if name.ends_with('6') { 2 } else { 0 };
            let source = if *name == "fixed" { "source = '198.51.100.254'\n" } else { "" };
            format!(
                "[listeners.{name}]\nbind = '{bind}'\npool = '{name}'\n{source}\
                 [pools.{name}]\nengine = 'kernel'\nbackends = {:?}\n{more}\n",
                &BACKENDS[first..first + count]
            )
        });
        std::fs::write(&file, text.collect::<String>()).unwrap();
    };
    write(2);
    let words = format!("run {}", file.display());
    let mut program = rig.start(&words);
    until("all pools to be served", || {
        program.log.with("the kernel forwards").len() == listeners.len()
    });
    let chain = || rig.nft(&format!("-a list chain {} pre", table(&rig)));
    let (at_start, with_two) = (chain(), rules(&rig));
    let services = || {
        let listed = rig.nft("list chains");
        let chains = listed.lines().filter(|it| it.starts_with("\tchain s_"));
        chains.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let count_at_start = services().len();
    let change = |count: usize| {
        let before = services();
        write(count);
        rig.ctl("reload");
        until("new rules, without what is no longer needed", || {
            let now = services();
            now.len() == count_at_start && now.is_disjoint(&before)
        });
    };
    change(1);
    let with_one = rules(&rig);
    change(2);
    assert_eq!(rules(&rig), with_two);
    assert_eq!(chain(), at_start, "the table has been made anew");
    for (count, expected) in [(1, with_one), (2, with_two)] {
        write(count);
        program.kill();
        program = rig.start(&words);
        assert_eq!(rules(&rig), expected, "{count} backends");
    }
}

/// At the moment of a change, clients meet either the rules that were there or those that are.
#[test]
fn no_change_sends_a_client_to_the_process() {
    let Some(rig) = Rig::new() else { return };
    let rounds = std::env::var("EVENKEEL_ROUNDS").map_or(50, |text| text.parse().unwrap());
    let to = "192.0.2.254:8080";
    let _program = rig.start(&format!("{to} {} {} --engine kernel", BACKENDS[0], BACKENDS[1]));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    rig.ask("client", to);
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        for round in 0..rounds {
            rig.ctl(&format!("disable main/0.{}", round % 2));
            rig.ctl(&format!("enable main/0.{}", round % 2));
        }
        is_over.store(true, Relaxed);
    });
    let served = served.load(Relaxed);
    eprintln!("{rounds} rounds, {served} sessions");
    assert!(served > rounds);
    assert_eq!(rig.own(), 0);
}
