use super::*;
use crate::Config;
use clap::builder::PossibleValue;

/// Reads options as the file gives them, and shows what they mean as a command line, or the
/// faults.
#[track_caller]
fn check(values: &[(&str, Option<&str>)], expected: &str) {
    let seen = match read(values) {
        Ok(config) => config.to_command_line(),
        Err(faults) => {
            let named = faults.iter().map(|fault| format!("{}: {fault}", values[fault.at].0));
            named.collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(seen, expected);
}

fn read(values: &[(&str, Option<&str>)]) -> Result<Config, Vec<Fault>> {
    SettingsParser::default().read(values, Some(1), &|_| None)
}

#[test]
fn options_are_read_by_their_own_parsers() {
    check(&[], "evenkeel 1 placeholder:1");
    check(
        &[("max-sessions", Some("100")), ("transparent", None), ("idle-timeout", Some("60"))],
        "evenkeel --max-sessions 100 --idle-timeout 1m --transparent 1 placeholder:1",
    );
    check(
        &[("access", Some("deny 10.1.0.0/16")), ("access", Some("allow 10.0.0.0/8"))],
        "evenkeel --deny 10.1.0.0/16 --allow 10.0.0.0/8 1 placeholder:1",
    );
    check(&[("reject", Some("abuse"))], "evenkeel --reject abuse:1 1 placeholder:1");
}

#[test]
fn all_faults_are_reported_at_once() {
    check(
        &[("max-sessions", Some("0")), ("cut", Some("rest")), ("linger", Some("1.5s"))],
        "max-sessions: 0 is not in 1..=4294967295; cut: must be one of reset, close; \
         linger: a duration is a whole number; use a smaller unit, as in 1500ms for 1.5s",
    );
    check(
        &[("access", Some("alow 10.0.0.0/8")), ("access", Some("deny 10.0.0.1/8"))],
        "access: must be \"allow CLIENTS\" or \"deny CLIENTS\", as in \"deny 10.0.0.0/8\"; access: no \
         client can match, because the address has bits set after the network's; write 10.0.0.0/8",
    );
    check(&[("user", Some(""))], "user: must not be empty");
    check(
        &[("reject", Some("a:b"))],
        "reject: backend 'a:b': 'b' is neither a port (1 to 65535) nor a service known to this machine",
    );
}

#[test]
fn keys_that_need_or_exclude_each_other_are_reported() {
    check(
        &[("cut", Some("close")), ("affinity-time", Some("1h")), ("affinity-count-only", None)],
        "affinity-time: has no effect without `affinity`; \
         affinity-count-only: has no effect without `affinity`",
    );
    check(
        &[("source", Some("127.0.0.1")), ("transparent", None)],
        "source: cannot be combined with `transparent`",
    );
}

#[test]
fn every_option_is_a_key_or_an_exception() {
    let mut unknown = Vec::new();
    for option in options().get_arguments() {
        let Some(name) = option.get_long() else { continue };
        let keys = all().iter().filter(|key| key.is_option() && key.name == name).count();
        let excepted = NOT_IN_FILES.iter().any(|(excepted, _)| *excepted == name);
        if keys != usize::from(!excepted) {
            unknown.push(name.to_owned());
        }
    }
    assert!(unknown.is_empty(), "give these a row in table.rs, or in NOT_IN_FILES: {unknown:?}");
    for key in all().iter().filter(|key| key.is_option()) {
        assert!(key.option().is_some(), "there is no option --{}", key.name);
        assert!(!key.about().is_empty(), "{}", key.name);
    }
}

#[test]
fn shapes_agree_with_the_parsers_of_the_options() {
    for key in all().iter().filter(|key| key.is_option()) {
        let option = key.option().unwrap();
        let takes = |text: &str| {
            let value = Some(text).filter(|_| key.shape != Shape::Flag);
            let faults = read(&[(key.name, value)]).err().unwrap_or_default();
            !faults.iter().any(|it| matches!(it.problem, Problem::Value(_) | Problem::Word(_)))
        };
        let words: Vec<_> = option.get_possible_values();
        let words: Vec<_> = words.iter().map(PossibleValue::get_name).collect();
        match key.shape {
            Shape::Flag => assert!(!option.get_action().takes_values(), "{}", key.name),
            Shape::Choice(choices) => assert_eq!(choices, words, "{}", key.name),
            Shape::Number { least, most } => {
                for (number, taken) in
                    [(least - 1, false), (least, true), (most, true), (most + 1, false)]
                {
                    assert_eq!(takes(&number.to_string()), taken, "{} {number}", key.name);
                }
            }
            Shape::Duration { words, zero } => {
                for word in ["never", "now"] {
                    assert_eq!(takes(word), words.contains(&word), "{} {word}", key.name);
                }
                assert_eq!(
                    (takes("0"), takes("1s")),
                    (zero != Zero::Refused, true),
                    "{}",
                    key.name
                );
                let mut values = vec![("affinity", Some("1")), (key.name, Some("0"))];
                let of_zero = read(&values);
                values[1].1 = Some("never");
                assert_eq!(
                    of_zero.is_ok() && of_zero == read(&values),
                    zero == Zero::Never,
                    "{}",
                    key.name
                );
            }
            Shape::Text => assert!(takes("a b") && takes("7") && !takes(""), "{}", key.name),
            Shape::Ciphers => assert!(takes("HIGH:!MD5") && !takes("RC4"), "{}", key.name),
            Shape::Host => assert!(takes("a.b") && takes("::1") && !takes("*.b"), "{}", key.name),
            Shape::Probe => assert!(takes("http:/a") && !takes("gopher"), "{}", key.name),
            Shape::Agent => assert!(takes("9100 send=a") && !takes("a:1"), "{}", key.name),
            Shape::Factor => assert!(takes("1.25") && !takes("1"), "{}", key.name),
            Shape::Subset => {
                assert!(takes("size=1,node=0,nodes=2") && !takes("size=1"), "{}", key.name);
            }
            Shape::Share => assert!(takes("50%") && !takes("50"), "{}", key.name),
            Shape::Interface => assert!(takes("vip.0") && !takes("a/b"), "{}", key.name),
            Shape::ClientLimits => {
                assert!(takes("sessions=1,rate=5/s") && !takes("sessions=0"), "{}", key.name);
            }
            Shape::Rate => assert!(takes("5/s") && !takes("5"), "{}", key.name),
            Shape::HashOn => {
                assert!(takes("quic-cid:8") && !takes("quic-cid:3"), "{}", key.name);
            }
            Shape::Address => assert!(takes("::1") && !takes("localhost"), "{}", key.name),
            Shape::Socket => {
                assert!(takes("[::1]:80") && takes("80") && !takes("::1"), "{}", key.name);
            }
            Shape::Backend => assert!(takes("a:1:2") && !takes("a:b"), "{}", key.name),
            Shape::OneOrMore(Shape::Proxies) => {
                assert!(takes("unix") && takes("::1") && !takes("country:SE"), "{}", key.name);
            }
            Shape::OneOrMore(Shape::Text) => {
                assert!(takes("/a b") && takes("h2") && !takes(""), "{}", key.name);
            }
            other => panic!("{}: no option is {other}", key.name),
        }
    }
}

#[test]
fn a_name_is_one_key_per_place() {
    for place in Place::ALL {
        for key in place.keys() {
            assert_eq!(place.keys().filter(|it| it.name == key.name).count(), 1, "{}", key.name);
            assert_eq!(find(place, key.name), Some(key));
        }
    }
    assert_eq!(places_of("policy").collect::<Vec<_>>(), [Place::Pool, Place::Tier]);
    assert_eq!(places_of("polcy").count(), 0);
}

#[test]
fn texts_name_keys_and_not_options() {
    for key in all() {
        assert!(!key.about().contains("--"), "{}: {}", key.name, key.about());
        assert!(!key.about().is_empty());
    }
    let hash = find(Place::Pool, "hash-failover").unwrap();
    assert_eq!(hash.about(), "Like `failover`, for tiers that hash");
    assert_eq!(hash.default().as_deref(), Some("whole-tier"));
}

#[test]
fn the_schema_resolves_all_its_references() {
    let schema = schema();
    let text = schema.to_string();
    let names = text.split("\"#/$defs/").skip(1).filter_map(|rest| rest.split('"').next());
    for name in names {
        assert!(!schema["$defs"][name].is_null(), "{name}");
    }
    assert_eq!(schema["$defs"]["listener"]["required"], serde_json::json!(["bind", "pool"]));
    assert_eq!(schema["$defs"]["pool"]["properties"]["quarantine"]["default"], "10s");
}
