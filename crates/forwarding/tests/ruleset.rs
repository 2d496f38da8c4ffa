//! Rule sets as text, and the way from one to another.

#![allow(clippy::unwrap_used, reason = "a test may fail at any step")]

use forwarding::{
    Choice, Direct, Door, Edit, Family, Kind, Mac, Mark, Memory, Part, Path, Pit, Protocol, Rules,
    Ruleset, Sender, Service, TableName, Target, change, clear, install,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;

fn mark(address: &str) -> Mark {
    Mark::of(&TableName::of("web-1"), "web", address.parse().unwrap(), 0)
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
        port: Some(address.port()),
    }
}

fn service(choice: Choice, slots: &[&str]) -> Service {
    let family = Family::of(slots[0].parse::<SocketAddr>().unwrap().ip());
    let slots = slots.iter().map(|it| mark(it)).collect();
    let (permitted, memory, flow_seconds) = Default::default();
    Service { family, choice, slots, permitted, memory, flow_seconds, adopts: false }
}

fn translated(rules: Rules<Target>) -> Ruleset {
    Ruleset { translated: Some(rules), ..Ruleset::default() }
}

fn two() -> Rules<Target> {
    let (one, two) = ("10.0.0.1:80", "10.0.0.2:80");
    let targets = [target(one, Sender::Machine), target(two, Sender::Machine)];
    let mut rules = Rules { targets: targets.into(), ..Rules::default() };
    rules.open(door("192.0.2.1:8080"), service(Choice::Turn, &[one, two]));
    rules
}

fn path(address: &str) -> Path {
    let last = address.len() as u8;
    Path { interface: 2, own: Mac([2, 0, 0, 0, 0, 1]), its: Mac([2, 0, 0, 0, 0xab, last]) }
}

/// Two backends of direct return, one of which cannot be reached at present.
fn direct() -> Direct {
    let (one, two) = ("10.0.0.1:80", "10.0.0.20:80");
    let mut rules = Rules::default();
    rules.targets.extend([(mark(one), Some(path(one))), (mark(two), None)]);
    rules.open(door("192.0.2.1:80"), service(Choice::Turn, &[one]));
    Direct { rules, interfaces: [(2, "eth0".to_owned())].into(), hosted: Default::default() }
}

fn returned(direct: Direct) -> Ruleset {
    Ruleset { direct: Some(direct), ..Ruleset::default() }
}

#[test]
fn a_rule_set_is_installed_in_the_place_of_an_earlier_one() {
    let table = TableName::of("web-1");
    let text = install(&table, &translated(two()).steps(), &BTreeMap::new(), 262_144);
    assert_eq!(text, include_str!("install.nft"));
    assert!(text.starts_with(&clear(&table, &[Kind::Pit])));
}

#[test]
fn flows_and_clients_are_known_to_the_next_table_of_direct_return() {
    let table = TableName::of("web-1");
    let mut direct = direct();
    let memory = Memory { family: Family::V4, clients_max: 500, seconds: None };
    let name = memory.name("web");
    direct.rules.memories.insert(name, memory);
    let service = service(Choice::Network, &["10.0.0.1:80"]);
    direct.rules.open(
        Door { protocol: Protocol::Udp, ..door("192.0.2.1:53") },
        Service { memory: Some(name), flow_seconds: Some(300), ..service },
    );
    let [map, set] =
        [|name: &str| Part::Map(name.to_owned()), |name: &str| Part::Set(name.to_owned())];
    let chain = |name: &str| Part::Chain(name.to_owned());
    let kept = format!("k_{name}");
    let gone = mark("10.0.0.99:80");
    let present = vec![
        Part::Target(gone),
        Part::Target(mark("10.0.0.1:80")),
        map("tcp4"),
        map("at4"),
        map("its"),
        map("m_1"),
        map("k_1"),
        map(&kept),
        set("begun"),
        set("v_1"),
        chain("send"),
        chain("s_1"),
        chain("in_2"),
    ];
    let present = BTreeMap::from([(Kind::Direct, present)]);
    let edits = returned(direct).steps();
    let text = install(&table, &edits, &present, 262_144);
    assert_eq!(text, include_str!("direct.nft"));
    // Without direct return, there is nothing to know.
    let text = install(&table, &translated(two()).steps(), &present, 262_144);
    let all = [Kind::Pit, Kind::Direct];
    assert!(text.starts_with(&clear(&table, &all)), "{text}");
}

#[test]
fn clients_and_counters_are_known_to_the_next_table_of_translation() {
    let table = TableName::of("web-1");
    let mut rules = two();
    let memory = Memory { family: Family::V4, clients_max: 500, seconds: None };
    let name = memory.name("web");
    rules.memories.insert(name, memory);
    let [map, set, chain] = [
        |name: &str| Part::Map(name.to_owned()),
        |name: &str| Part::Set(name.to_owned()),
        |name: &str| Part::Chain(name.to_owned()),
    ];
    let present = vec![
        Part::Target(mark("10.0.0.99:80")),
        Part::Target(mark("10.0.0.1:80")),
        map("at4"),
        map("to6"),
        map("m_1"),
        map("k_1"),
        map(&format!("k_{name}")),
        set("masked"),
        set("begun"),
        set("v_1"),
        chain("pre"),
        chain("s_1"),
    ];
    let edits = translated(rules).steps();
    let text = install(&table, &edits, &[(Kind::Translated, present)].into(), 262_144);
    let adopted = text.split("table inet evenkeel_web_2d1 {").next().unwrap();
    assert_eq!(adopted, include_str!("adopted.nft"));
    assert!(text.ends_with(&change(&table, &edits, 262_144)));
}

#[test]
fn direct_return_goes_on_for_those_who_have_begun() {
    let before = direct();
    let mut after = before.clone();
    after.rules.services.clear();
    let none = Service { slots: Vec::new(), ..service(Choice::Turn, &["10.0.0.1:80"]) };
    let permitted = Some(vec![("2001:db8::".parse().unwrap(), "2001:db8::9".parse().unwrap())]);
    after.rules.open(door("192.0.2.1:80"), none);
    let v6 = "[2001:db8::1]:80";
    after.rules.targets.insert(mark(v6), Some(path(v6)));
    after.rules.targets.insert(mark("10.0.0.20:80"), Some(path("10.0.0.20:80")));
    let adopting = Service { permitted, adopts: true, ..service(Choice::Network, &[v6]) };
    after.rules.open(door(v6), adopting);
    after.interfaces = [(3, "eth0".to_owned())].into();
    let step = returned(before).diff(&returned(after));
    let text = |edits: &[Edit]| change(&TableName::of("web-1"), edits, 0);
    let both = format!("{}# later\n{}", text(&step.change), text(&step.retire));
    assert_eq!(both, include_str!("drained.nft"));
}

#[test]
fn an_address_may_be_hosted_with_all_of_its_ports() {
    let mut direct = direct();
    let bytes = |with_port| Choice::Bytes { with_port };
    let service = |with_port| service(bytes(with_port), &["10.0.0.1:80", "10.0.0.20:80"]);
    direct.rules.open(Door { port: None, ..door("192.0.2.2:1") }, service(false));
    direct.rules.open(door("192.0.2.3:80"), service(true));
    direct.hosted = [[192, 0, 2, 2].into(), [192, 0, 2, 3].into()].into();
    let step = returned(self::direct()).diff(&returned(direct));
    let text = change(&TableName::of("web-1"), &step.change, 0);
    assert_eq!(text, include_str!("hosted.nft"));
}

#[test]
fn a_tarpit_is_a_table_of_its_own() {
    let ranges = [("10.9.0.0", "10.9.0.255"), ("10.9.2.1", "10.9.2.1")];
    let ranges = ranges.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()));
    let pit = Pit::new(&ranges, &["10.9.0.7".parse().unwrap()]);
    let with = Ruleset { pit, ..Ruleset::default() };
    let text =
        |from: &Ruleset, to: &Ruleset| change(&TableName::of("web-1"), &from.diff(to).change, 0);
    let none = Ruleset::default();
    let both = format!("{}# none\n{}", text(&none, &with), text(&with, &none));
    assert_eq!(both, include_str!("pit.nft"));
}

#[test]
fn a_backend_that_goes_down_is_a_new_chain_and_one_element() {
    let before = two();
    let mut after = before.clone();
    after.services.clear();
    after.open(door("192.0.2.1:8080"), service(Choice::Turn, &["10.0.0.1:80"]));
    let name = *before.services.keys().next().unwrap();
    let step = translated(before).diff(&translated(after));
    let text = |edits: &[Edit]| change(&TableName::of("web-1"), edits, 0);
    assert_eq!(text(&step.change), include_str!("down.nft"));
    assert_eq!(
        text(&step.retire),
        format!(
            "delete chain inet evenkeel_web_2d1 s_{name}\ndelete map inet evenkeel_web_2d1 m_{name}\n"
        )
    );
}

#[test]
fn every_kind_of_service_has_its_words() {
    let mut rules = Rules::default();
    let (v4, v6) = ("10.0.0.1:80", "[2001:db8::1]:80");
    rules.targets.extend([
        target(v4, Sender::Client),
        target(v6, Sender::Address("2001:db8::9".parse().unwrap())),
    ]);
    rules.open(door("0.0.0.0:80"), service(Choice::Random, &[v4]));
    rules.open(door("[::]:80"), service(Choice::Network, &[v6]));
    rules.open(door("127.0.0.1:80"), service(Choice::Network, &[v4]));
    let udp = Door { protocol: Protocol::Udp, ..door("[2001:db8::5]:53") };
    rules.open(udp, Service { flow_seconds: Some(90), ..service(Choice::Turn, &[v6]) });
    let memory = Memory { family: Family::V6, clients_max: 500, seconds: Some(60) };
    let name = memory.name("web");
    rules.memories.insert(name, memory);
    let range = |first: &str, last: &str| (first.parse().unwrap(), last.parse().unwrap());
    let permitted = vec![range("2001:db8::", "2001:db8::ff"), range("fd00::1", "fd00::1")];
    let (permitted, memory) = (Some(permitted), Some(name));
    rules.open(door("[::]:81"), Service { permitted, memory, ..service(Choice::Turn, &[v6]) });
    let steps = translated(rules).steps();
    let (begin, steps) = steps.split_first().unwrap();
    assert_eq!(*begin, Edit::BeginTranslated);
    let text = change(&TableName::of("web-1"), steps, 0);
    assert_eq!(text, include_str!("kinds.nft"));
}

#[test]
fn marks_are_told_from_those_of_others_and_stay_the_same() {
    let one = mark("10.0.0.1:80");
    assert_eq!(Mark::from_bits(one.bits()), Some(one));
    assert_eq!(Mark::from_bits(0x4000), None);
    assert_eq!(one.to_string(), "0xede26eb0");
    assert_ne!(Mark::of(&TableName::of("web-1"), "web", "10.0.0.1:80".parse().unwrap(), 1), one);
    assert_ne!(Mark::of(&TableName::of("web-2"), "web", "10.0.0.1:80".parse().unwrap(), 0), one);
    assert_ne!(Mark::of(&TableName::of("web-1"), "db", "10.0.0.1:80".parse().unwrap(), 0), one);
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

/// Rules, with what is said of a target at this address.
fn rules<T: Copy + std::fmt::Debug>(
    of: impl Fn(&str, Sender) -> T,
) -> impl Strategy<Value = Rules<T>> {
    let targets = proptest::collection::btree_map(address(), sender(), 0..6);
    let choice = prop_oneof![Just(Choice::Turn), Just(Choice::Random), Just(Choice::Network)];
    let slots = proptest::collection::vec(1u8..6, 1..4);
    let doors = proptest::collection::vec((address(), choice, slots), 0..4);
    (targets, doors).prop_map(move |(targets, doors)| {
        let targets = targets.iter().map(|(address, sender)| (mark(address), of(address, *sender)));
        let mut rules = Rules { targets: targets.collect(), ..Rules::default() };
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

fn rulesets() -> impl Strategy<Value = Ruleset> {
    let translated = rules(|address, sender| target(address, sender).1);
    let direct = rules(|address, sender| (sender == Sender::Client).then(|| path(address)));
    let names = prop_oneof![Just("eth0".to_owned()), Just("eth1".to_owned())];
    let interfaces = proptest::collection::btree_map(1u32..4, names, 0..3);
    let hosted = proptest::collection::btree_set(1u8..4, 0..3);
    let hosted = hosted.prop_map(|it| it.iter().map(|it| [192, 0, 2, *it].into()).collect());
    let direct = (direct, interfaces, hosted);
    let direct =
        direct.prop_map(|(rules, interfaces, hosted)| Direct { rules, interfaces, hosted });
    let (translated, direct) = (proptest::option::of(translated), proptest::option::of(direct));
    let last = prop_oneof![Just(None), (1u8..4).prop_map(Some)];
    (translated, direct, last).prop_map(|(translated, direct, last)| {
        let range = |last| ([10, 9, 0, 1].into(), [10, 9, 0, last].into());
        let pit = last.and_then(|last| Pit::new(&[range(last)], &[]));
        Ruleset { translated, direct, pit }
    })
}

fn services(rules: &Ruleset) -> Vec<forwarding::Name> {
    let translated = rules.translated.iter().flat_map(|it| it.services.keys());
    let direct = rules.direct.iter().flat_map(|it| it.rules.services.keys());
    translated.chain(direct).copied().collect()
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(a in rulesets(), b in rulesets()) {
        let step = a.diff(&b);
        let mut both = a.clone();
        both.apply(&step.change);
        // What is needed by packets on their way is still there.
        let present = services(&both);
        prop_assert!(services(&a).iter().all(|name| present.contains(name)));
        if let (Some(both), Some(b)) = (&both.translated, &b.translated) {
            prop_assert_eq!(&both.doors, &b.doors);
        }
        both.apply(&step.retire);
        prop_assert_eq!(&both, &b);
        prop_assert!(b.diff(&both).is_empty());
        let text = serde_json::to_string(&step).unwrap();
        prop_assert_eq!(serde_json::from_str::<forwarding::Transaction>(&text).unwrap(), step);
    }
}
