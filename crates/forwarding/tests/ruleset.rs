//! Rule sets as text, and the way from one to another.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use forwarding::{
    Choice, Door, Edit, Family, Mark, Memory, Protocol, Ruleset, Sender, Service, TableName,
    Target, change, clear, install,
};
use proptest::prelude::*;
use std::net::SocketAddr;

fn mark(address: &str) -> Mark {
    Mark::of("web", address.parse().unwrap(), 0)
}

fn target(address: &str, sender: Sender) -> (Mark, Target) {
    (mark(address), Target { address: address.parse().unwrap(), sender })
}

fn door(address: &str) -> Door {
    let address: SocketAddr = address.parse().unwrap();
    let any = address.ip().is_unspecified();
    Door {
        family: Family::of(address.ip()),
        address: (!any).then_some(address.ip()),
        protocol: Protocol::Tcp,
        port: address.port(),
    }
}

fn service(choice: Choice, slots: &[&str]) -> Service {
    let family = Family::of(slots[0].parse::<SocketAddr>().unwrap().ip());
    let slots = slots.iter().map(|it| mark(it)).collect();
    Service { family, choice, slots, permitted: None, memory: None }
}

fn two() -> Ruleset {
    let (one, two) = ("10.0.0.1:80", "10.0.0.2:80");
    let targets = [target(one, Sender::Machine), target(two, Sender::Machine)];
    let mut rules = Ruleset { targets: targets.into(), ..Ruleset::default() };
    rules.open(door("192.0.2.1:8080"), service(Choice::Turn, &[one, two]));
    rules
}

#[test]
fn a_rule_set_is_installed_in_the_place_of_an_earlier_one() {
    let table = TableName::of("web-1");
    let text = install(&table, &two().steps());
    assert_eq!(text, include_str!("install.nft"));
    assert!(text.starts_with(&clear(&table)));
}

#[test]
fn a_backend_that_goes_down_is_a_new_chain_and_one_element() {
    let before = two();
    let mut after = before.clone();
    after.services.clear();
    after.open(door("192.0.2.1:8080"), service(Choice::Turn, &["10.0.0.1:80"]));
    let step = before.diff(&after);
    let text = |edits: &[Edit]| change(&TableName::of("web-1"), edits);
    assert_eq!(text(&step.change), include_str!("down.nft"));
    let name = *before.services.keys().next().unwrap();
    assert_eq!(
        text(&step.retire),
        format!(
            "delete chain inet evenkeel_web_2d1 s_{name}\ndelete map inet evenkeel_web_2d1 m_{name}\n"
        )
    );
}

#[test]
fn every_kind_of_service_has_its_words() {
    let mut rules = Ruleset::default();
    let (v4, v6) = ("10.0.0.1:80", "[2001:db8::1]:80");
    rules.targets.extend([
        target(v4, Sender::Client),
        target(v6, Sender::Address("2001:db8::9".parse().unwrap())),
    ]);
    rules.open(door("0.0.0.0:80"), service(Choice::Random, &[v4]));
    rules.open(door("[::]:80"), service(Choice::Network, &[v6]));
    rules.open(door("127.0.0.1:80"), service(Choice::Network, &[v4]));
    let udp = Door { protocol: Protocol::Udp, ..door("[2001:db8::5]:53") };
    rules.open(udp, service(Choice::Turn, &[v6]));
    let memory = Memory { family: Family::V6, clients_max: 500, seconds: Some(60) };
    let name = memory.name("web");
    rules.memories.insert(name, memory);
    let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
    let permitted = vec![range("2001:db8::", "2001:db8::ff"), range("fd00::1", "fd00::1")];
    let (permitted, memory) = (Some(permitted), Some(name));
    rules.open(door("[::]:81"), Service { permitted, memory, ..service(Choice::Turn, &[v6]) });
    let text = change(&TableName::of("web-1"), &rules.steps());
    assert_eq!(text, include_str!("kinds.nft"));
}

#[test]
fn marks_are_told_from_those_of_others_and_stay_the_same() {
    let one = mark("10.0.0.1:80");
    assert_eq!(Mark::from_bits(one.bits()), Some(one));
    assert_eq!(Mark::from_bits(0x4000), None);
    assert_eq!(one.to_string(), "0xe9c8945c");
    assert_ne!(Mark::of("web", "10.0.0.1:80".parse().unwrap(), 1), one);
    assert_ne!(Mark::of("db", "10.0.0.1:80".parse().unwrap(), 0), one);
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (1u8..6).prop_map(|number| format!("10.0.0.{number}:80")),
        (1u8..6).prop_map(|number| format!("[2001:db8::{number}]:80")),
    ]
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Machine), Just(Sender::Client)]
}

fn rules() -> impl Strategy<Value = Ruleset> {
    let targets = proptest::collection::btree_map(address(), sender(), 0..6);
    let choice = prop_oneof![Just(Choice::Turn), Just(Choice::Random), Just(Choice::Network)];
    let slots = proptest::collection::vec(1u8..6, 1..4);
    let doors = proptest::collection::vec((address(), choice, slots), 0..4);
    (targets, doors).prop_map(|(targets, doors)| {
        let targets = targets.iter().map(|(address, sender)| target(address, *sender));
        let mut rules = Ruleset { targets: targets.collect(), ..Ruleset::default() };
        for (at, choice, slots) in doors {
            let slots: Vec<_> = slots.iter().map(|it| format!("10.0.0.{it}:80")).collect();
            let slots: Vec<_> = slots.iter().map(String::as_str).collect();
            rules.open(door(&at), service(choice, &slots));
        }
        // Without those whose door another service has taken.
        let used: Vec<_> = rules.doors.values().copied().collect();
        rules.services.retain(|name, _| used.contains(name));
        rules
    })
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(a in rules(), b in rules()) {
        let step = a.diff(&b);
        let mut both = a.clone();
        both.apply(&step.change);
        // What is needed by packets on their way is still there.
        prop_assert_eq!(&both.doors, &b.doors);
        prop_assert!(a.services.keys().all(|name| both.services.contains_key(name)));
        both.apply(&step.retire);
        prop_assert_eq!(&both, &b);
        prop_assert!(b.diff(&both).is_empty());
        let text = serde_json::to_string(&step).unwrap();
        prop_assert_eq!(serde_json::from_str::<forwarding::Transaction>(&text).unwrap(), step);
    }
}
