//! `evenkeel ctl why`: what it says is what clients see.

use crate::support::{Backend, Place, ask, ask_times, http, port};
use serde_json::Value;

fn why(place: &Place, query: &str) -> (u16, Value) {
    let answer = http(&place.socket(), "GET", &format!("/v1/why?{query}"), "").unwrap();
    (answer.status, answer.body)
}

#[test]
fn the_next_client_goes_where_it_says() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _evenkeel = place.native(&format!("{port} {a} {b} ! {c}"));
    for expected in ["a", "b", "a", "b"] {
        let address = if expected == "a" { a.to_string() } else { b.to_string() };
        for _ in 0..3 {
            let (_, answer) = why(&place, "client=127.0.0.1");
            assert_eq!(answer["backend"], address, "asking takes no turn: {answer}");
        }
        assert_eq!(ask(&port), expected);
    }
    assert_eq!(place.ctl("disable 0.0").check(0).stdout, "done\n");
    let (_, answer) = why(&place, "client=127.0.0.1");
    assert_eq!(answer["backend"], b.to_string());
    assert_eq!(answer["tiers"][0]["backends"][0]["reason"], "disabled");
    assert_eq!(answer["tiers"][1]["backends"][0]["reason"], "later-tier");
    assert_eq!(answer["then"], serde_json::json!([c.to_string()]));
    assert_eq!(ask_times(&port, 2), "b b");
    let text = place.ctl("why 127.0.0.1").stdout;
    for expected in
        ["access     permitted: there are no access rules", "it is its turn", "disabled"]
    {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn rules_and_memory_are_named() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let options = "--affinity 10 --deny 10.0.0.0/8 --deny 127.0.0.9";
    let _evenkeel = place.native(&format!("{options} {port} {a} {b}"));
    let (_, denied) = why(&place, "client=10.1.2.3");
    assert_eq!((&denied["backend"], &denied["is_permitted"]), (&Value::Null, &false.into()));
    assert_eq!(denied["access_because"], "rule 1: deny 10.0.0.0/8");
    assert_eq!(denied["tiers"][0]["backends"][1]["reason"], "denied");
    let home = ask(&port);
    let home = if home == "a" { &a } else { &b };
    let (_, known) = why(&place, "client=127.0.0.1");
    assert_eq!(
        (&known["remembered"], &known["backend"]),
        (&home.to_string().into(), &home.to_string().into())
    );
    assert_eq!(known["because"], "the client returns to the backend that it had before");
}

#[test]
fn a_question_that_is_not_understood_says_why() {
    let (place, one, two) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{one} {a} -- {two} {a}"));
    for (query, status, error) in [
        ("client=127.0.0.1", 409, "ambiguous-listener"),
        ("client=127.0.0.1&listener=9", 404, "unknown-listener"),
        (&*format!("client=localhost&listener={one}"), 422, "invalid-client"),
        ("listener=web", 400, "invalid-query"),
        ("client=unix&color=red", 400, "invalid-query"),
    ] {
        let (seen, answer) = why(&place, query);
        assert_eq!((seen, &answer["error"]), (status, &error.into()), "{query}: {answer}");
    }
    assert_eq!(why(&place, &format!("client=unix&listener={two}")).0, 200);
}
