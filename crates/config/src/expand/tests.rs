use super::*;
use crate::{Answer, Ids, Limits, Unanswered};
use balancing::Policy;

fn record(text: &str) -> Record {
    let mut words = text.split(' ');
    let mut next = || words.next().unwrap_or("0");
    Record {
        address: next().parse().unwrap(),
        priority: next().parse().unwrap(),
        weight: next().parse().unwrap(),
        is_missing: false,
        host: None,
    }
}

fn records(text: &[&str]) -> Vec<Record> {
    text.iter().map(|it| record(it)).collect()
}

fn answer(text: &[&str]) -> Answer {
    Answer::default().fold(records(text), &[]).0
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.records.iter().map(|it| it.address.to_string()).collect()
}

const FAILED: [Unanswered; 1] = [Unanswered { host: None, v4: true, v6: false }];
const TWO: [&str; 2] = ["10.0.0.1:80", "10.0.0.2:80"];

#[test]
fn nothing_found_changes_nothing() {
    let known = answer(&TWO);
    assert_eq!(known.fold(Vec::new(), &[]).0, known);
    assert_eq!(known.fold(Vec::new(), &FAILED).0, known);
}

#[test]
fn a_record_is_gone_when_it_is_missing_for_the_second_time() {
    let one = || records(&TWO[..1]);
    let once = answer(&TWO).fold(one(), &[]).0;
    assert_eq!(addresses(&once), TWO);
    assert!(once.is_same(&answer(&TWO)));
    assert_eq!(addresses(&once.fold(one(), &[]).0), TWO[..1]);
    // It is not, if it was there in the meantime, or if part of the lookup failed.
    let again = once.fold(records(&TWO), &[]).0.fold(one(), &[]).0;
    assert_eq!(addresses(&again), TWO);
    assert_eq!(addresses(&once.fold(one(), &FAILED).0), TWO);
    assert_eq!(addresses(&once.fold(Vec::new(), &[]).0), TWO);
}

#[test]
fn a_family_without_an_answer_misses_nothing() {
    let known = answer(&["10.0.0.1:80", "[::1]:80"]);
    let v6 = &[Unanswered { host: None, v4: false, v6: true }];
    let once = known.fold(records(&["10.0.0.2:80"]), v6).0;
    let twice = once.fold(records(&["10.0.0.2:80"]), v6).0;
    assert_eq!(addresses(&twice), ["10.0.0.2:80", "[::1]:80"]);
}

#[test]
fn a_host_without_an_answer_keeps_only_its_own_records() {
    let of = |host: Option<&str>, text| Record { host: host.map(Into::into), ..record(text) };
    let one = || of(Some("h1"), "10.0.0.1:80");
    let two = || of(Some("h2"), "10.0.0.2:80");
    let three = || of(Some("h3"), "10.0.0.3:80");
    let old = || of(None, "10.0.0.4:80"); // whose host was not kept
    let v6 = || of(Some("h3"), "[::3]:80");
    let known = Answer::default().fold(vec![one(), two(), three(), old(), v6()], &[]).0;
    let h3 = [Unanswered { host: Some("h3".to_owned()), v4: true, v6: false }];
    let once = known.fold(vec![one()], &h3).0;
    assert!(once.is_same(&known));
    let twice = once.fold(vec![one()], &h3).0;
    assert_eq!(addresses(&twice), ["10.0.0.1:80", "10.0.0.3:80", "10.0.0.4:80"]);
}

#[test]
fn a_new_record_is_there_at_once_and_known_ones_keep_their_room() {
    let all: Vec<_> = (0..1500u16).map(|it| format!("10.0.{}.{}:80", it / 256, it % 256)).collect();
    let all: Vec<_> = all.iter().map(|it| record(it)).collect();
    let last = vec![all[1499].clone()];
    let (known, left_out) = Answer::default().fold(last, &[]);
    assert_eq!((known.records.len(), left_out), (1, 0));
    let (known, left_out) = known.fold(all, &[]);
    assert_eq!((known.records.len(), left_out), (1024, 476));
    assert!(known.records.iter().any(|it| it.address == "10.0.5.219:80".parse().unwrap()));
}

fn config() -> Config {
    let words = ["1", "a"].map(Into::into);
    match crate::native::parse(&words) {
        Ok(crate::native::Typed::Start(start)) => start.to_config(&|_| None).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Expands a tier with these backends, and writes the tiers with a weight after each backend.
#[track_caller]
fn check(backends: &str, expected: &str) {
    let mut answers = Answers::new();
    answers.insert("dns:app:80".to_owned(), answer(&TWO));
    let srv = ["10.0.1.1:1 0 5", "10.0.1.2:2 0 0", "10.0.1.3:3 7 1", "10.0.0.1:80 9 1"];
    answers.insert("srv:_app._tcp.test".to_owned(), answer(&srv));
    let parse = |text| crate::operand::parse_backend(text, None, &|_| None).unwrap();
    let tiers = backends.split(" ! ").map(|tier| {
        let backends = tier.split(' ').map(parse).collect();
        Tier { policy: Policy::Two, backends }
    });
    let mut config = config();
    config.pools[0].tiers = tiers.collect();
    let mut expanded = config.expand(&answers);
    let tiers = expanded.pools[0].tiers.iter().map(|tier| {
        assert_eq!(tier.policy, Policy::Two);
        let backends = tier.backends.iter().map(|it| format!("{}*{}", it.endpoint, it.weight));
        backends.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(tiers.collect::<Vec<_>>().join(" ! "), expected);
    // Another expansion of the same is the same, and nothing of it is a name.
    expanded.identify(None, &mut Ids::default());
    let mut again = config.expand(&answers);
    again.recognise(&expanded);
    assert_eq!(again, expanded);
    assert_eq!(expanded.discoveries().count(), 0);
}

#[test]
fn every_address_is_a_backend_and_every_priority_a_tier() {
    check("a:1 dns:app:80:::3", "a:1*1 10.0.0.1:80*3 10.0.0.2:80*3");
    check("dns:other:80", "");
    check(
        "srv:_app._tcp.test:::2 a:1 ! b:1",
        "a:1*1 10.0.1.1:1*10 10.0.1.2:2*2 ! 10.0.1.3:3*2 ! 10.0.0.1:80*2 ! b:1*1",
    );
    // What is there already is not there twice.
    check(
        "dns:app:80 ! srv:_app._tcp.test",
        "10.0.0.1:80*1 10.0.0.2:80*1 ! 10.0.1.1:1*5 10.0.1.2:2*1 ! 10.0.1.3:3*1",
    );
    check("10.0.0.2:80 dns:app:80", "10.0.0.2:80*1 10.0.0.1:80*1");
}

#[test]
fn an_instance_of_many_uses_a_part_of_what_a_name_stands_for() {
    let addresses: Vec<_> = (0..30).map(|it| format!("10.0.0.{it}:80")).collect();
    let addresses: Vec<_> = addresses.iter().map(|it| &**it).collect();
    let mut answers = Answers::new();
    answers.insert("dns:app:80".to_owned(), answer(&addresses));
    let parse = |text| crate::operand::parse_backend(text, None, &|_| None).unwrap();
    let mut config = config();
    let backends = vec![parse("a:1"), parse("dns:app:80")];
    config.pools[0].tiers = vec![Tier { policy: Policy::WeightedTurn, backends }];
    let mut uses: BTreeMap<String, u32> = BTreeMap::new();
    for node in 0..4 {
        config.pools[0].subset = Subset::new(5, node, 4);
        let expanded = config.expand(&answers);
        let [plain, used @ ..] = &expanded.pools[0].tiers[0].backends[..] else { panic!() };
        assert_eq!((plain.endpoint.to_string(), plain.weight), ("a:1".to_owned(), 100));
        assert!((7..=9).contains(&used.len()), "{}", used.len());
        assert_eq!(used.iter().map(|it| it.weight).sum::<u32>(), 750, "a quarter of thirty");
        for backend in used {
            *uses.entry(backend.endpoint.to_string()).or_default() += backend.weight;
        }
    }
    assert_eq!(uses.len(), 30);
    assert!(uses.values().all(|weight| *weight == 100), "{uses:?}");
}

#[test]
fn certificates_must_have_the_name_that_was_written() {
    let certified = |discovery: Discovery| discovery.certified().to_owned();
    let srv = |name: &str| Discovery::Srv { name: name.to_owned() };
    assert_eq!(certified(srv("_db._tcp.example.org.")), "example.org");
    assert_eq!(certified(srv("db.service.consul")), "db.service.consul");
    assert_eq!(certified(Discovery::Dns { name: "_a.test".to_owned(), port: 1 }), "_a.test");
    let place = Backend::new(Endpoint::Discovered(srv("_db._tcp.test")), Limits::default());
    let name = |tls| {
        let place = Backend { tls, ..place.clone() };
        config().pools[0].member(&place, &srv("_db._tcp.test"), &record("10.0.0.1:80")).tls_name
    };
    assert_eq!(name(None), None);
    assert_eq!(name(Some(BackendTls::Verify)).as_deref(), Some("test"));
}
