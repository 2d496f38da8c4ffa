//! Which channel a client gets, and what is counted.

use crate::support::{
    Backend, Client, End, Place, Port, ask, ask_often, ask_times, has_ipv6, port, skip_unless,
    until,
};
use crate::{C, TOTALC, column, show};
use std::net::{IpAddr, Ipv4Addr};

/// The original's formula: 31 times what was, plus the byte, which is signed.
fn fold(bytes: &[u8]) -> u32 {
    let add = |hash: u32, &byte: &u8| hash.wrapping_mul(31).wrapping_add(byte as i8 as u32);
    bytes.iter().fold(0, add)
}

const CLIENTS: [[u8; 4]; 8] = [
    [127, 0, 0, 1],
    [127, 0, 0, 2],
    [127, 0, 0, 3],
    [127, 0, 0, 200],
    [127, 0, 0, 255],
    [127, 9, 200, 1],
    [127, 128, 129, 130],
    [127, 1, 2, 3],
];

/// What a client with this address gets.
fn ask_from(client: [u8; 4], port: &Port) -> String {
    let to = (Ipv4Addr::LOCALHOST, port.number()).into();
    Client::connect_from(IpAddr::from(client), to).line()
}

#[test]
fn fault_1_a_hash_group_spreads_by_the_formula() {
    let (place, port) = (Place::new(), port());
    let names = ["a", "b", "c"];
    let [a, b, c] = names.map(Backend::named);
    let _balance = place.balance(&format!("{port} {a} {b} {c} %"));
    assert_eq!(fold(&[127, 0, 0, 200]), 3_783_401, "as observed");
    for client in CLIENTS {
        assert_eq!(ask_from(client, &port), names[fold(&client) as usize % 3], "{client:?}");
    }
    assert!(show(&place, &port).iter().all(|row| row[TOTALC] != "0"), "all are used");
}

#[test]
fn on_ipv6_listeners_the_formula_is_the_originals() {
    if skip_unless(has_ipv6(), "this machine has no ::1") {
        return;
    }
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _balance = place.balance(&format!("-6 {port} {a} {b} {c} %"));
    let seen: Vec<_> = CLIENTS[..6].iter().map(|client| ask_from(*client, &port)).collect();
    assert_eq!(seen.join(" "), "c b a b b c", "as observed");
}

#[test]
fn fault_2_a_hash_group_reached_by_a_failure_uses_the_same_formula() {
    let (place, port) = (Place::new(), port());
    let names = ["a", "b", "c"];
    let [a, b, c] = names.map(Backend::named);
    let down = Backend::refusing();
    let _balance = place.balance(&format!("{port} {down} ! {a} {b} {c} %"));
    for client in CLIENTS {
        assert_eq!(ask_from(client, &port), names[fold(&client) as usize % 3], "{client:?}");
    }
}

#[test]
fn fault_3_after_a_failure_too_only_usable_channels_are_tried() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let down = Backend::refusing();
    let _balance = place.balance(&format!("{port} {down} ! {a} {b}:1 {c}"));
    place.balance_i(&port, "group 1\ndisable 0\n").check(0);
    let held = Client::connect(&port);
    held.expect("b\n");
    assert_eq!(ask_times(&port, 4), "c c c c");
    assert_eq!((a.accepted(), b.open_most()), (0, 1));
}

#[test]
fn fault_4_a_circle_ends_where_it_began() {
    let (place, port) = (Place::new(), port());
    let down = [(); 5].map(|()| Backend::refusing());
    let [d1, d2, d3, d4, d5] = &down;
    let _balance = place.balance(&format!("-H {port} {d1} {d2} {d3} {d4} % {d5} %"));
    assert_eq!(ask(&port), "eof");
    assert_eq!(column(&place, &port, TOTALC), "1 1 1 1 1", "each is tried once");
    for channel in 0..4 {
        place.balance_c(&port, &format!("disable {channel}")).check(0);
    }
    place.balance_i(&port, "group 1\ndisable 0\n").check(0);
    assert_eq!(ask(&port), "eof");
    assert_eq!(column(&place, &port, TOTALC), "1 1 1 1 1");
}

#[test]
fn fault_4_a_circle_is_gone_round_wholly() {
    for client in CLIENTS {
        let (place, port) = (Place::new(), port());
        let up = Backend::named("up");
        let [d1, d2, d3] = [(); 3].map(|()| Backend::refusing());
        let _balance = place.balance(&format!("-H {port} {d1} {up} {d2} {d3} %"));
        assert_eq!(ask_from(client, &port), "up", "{client:?}");
    }
}

#[test]
fn fault_5_an_empty_hash_group_is_passed_over() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let mut balance = place.balance(&format!("{port} {a}"));
    let said = place.balance_i(&port, "group 3\nhash\ngroup 0\ndisable 0\n").check(0);
    assert!(said.stdout.contains("group 3 set to hash"), "{said:?}");
    assert_eq!(ask_times(&port, 2), "eof eof");
    assert!(!balance.has_ended());
    place.balance_c(&port, "enable 0").check(0);
    assert_eq!(ask(&port), "a");
}

#[test]
fn fault_6_every_start_begins_from_nothing() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let mut first = place.balance(&format!("{port} {a}:2 {b}:2 ! {b}:2 ! {b}"));
    assert_eq!(ask_times(&port, 2), "a b");
    first.kill();
    let _second = place.balance(&format!("{port} {a}"));
    let of_a = |c: &str| {
        let address = ["127.0.0.1".to_owned(), a.port().to_string()].join(" ");
        format!("0 RR 0 ENA {address} {c}")
    };
    let rows: Vec<_> = show(&place, &port).iter().map(|row| row.join(" ")).collect();
    assert_eq!(rows, [of_a("0 0 0 0 0")]);
    place.balance_c(&port, "disable 0").check(0);
    assert_eq!(ask(&port), "eof", "no channel of the first run serves");
    let create = format!("create 127.0.0.1 {}", b.port());
    assert_eq!(place.balance_c(&port, &create).check(0).stdout, "channel created\n");
    let created = show(&place, &port)[1].join(" ");
    assert_eq!(created, format!("0 RR 1 dis 127.0.0.1 {} 0 0 0 0 0", b.port()));
}

#[test]
fn fault_7_a_session_that_outlives_its_instance_counts_there_alone() {
    let (place, port) = (Place::new(), port());
    let a = Backend::named("a");
    let mut first = place.balance(&format!("{port} {a}:1"));
    let old = Client::connect(&port);
    old.expect("a\n");
    place.balance_c(&port, "kill").check(0);
    let _second = place.balance(&format!("{port} {a}:1"));
    old.send("from the first");
    old.expect("from the first");
    assert_eq!(show(&place, &port)[0][C..], ["0", "0", "1", "0", "0"]);
    old.finish();
    assert_eq!(old.end(), End::Eof);
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(show(&place, &port)[0][C..], ["0", "0", "1", "0", "0"]);
    let new = Client::connect(&port);
    new.expect("a\n");
    assert_eq!(ask(&port), "eof", "the limit is one, as it was");
}

#[test]
fn fault_8_c_is_what_is_open() {
    let (place, port) = (Place::new(), port());
    let a = Backend::new(|client| {
        client.send("a\n");
        let mut order = [0];
        if std::io::Read::read(&mut &client.0, &mut order).is_ok_and(|count| count == 1)
            && order == *b"r"
        {
            client.reset();
        }
    });
    let down = Backend::refusing();
    let _balance = place.balance(&format!("{port} {a}:1 {down}:1"));
    for way in ["client fin", "client reset", "backend reset", "backend fin"] {
        let client = Client::connect(&port);
        client.expect("a\n");
        assert_eq!(column(&place, &port, C), "1 0", "{way}");
        assert_eq!(ask(&port), "eof", "both are unusable: {way}");
        match way {
            "client fin" => drop(client),
            "client reset" => client.reset(),
            "backend reset" => {
                client.send("r");
                assert_eq!(client.end(), End::Reset);
            }
            _ => {
                client.send("f");
                assert_eq!(client.end(), End::Eof);
                drop(client);
            }
        }
        until(way, || column(&place, &port, C) == "0 0");
    }
}

#[test]
fn fault_9_turns_are_exact() {
    let (place, port) = (Place::new(), port());
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let _balance = place.balance(&format!("{port} {a} {b} {c}"));
    let (counts, held) = ask_often(&port, 600);
    assert_eq!(counts, [("a", 200), ("b", 200), ("c", 200)].map(|(n, c)| (n.to_owned(), c)).into());
    assert_eq!(column(&place, &port, TOTALC), "200 200 200");
    assert_eq!(column(&place, &port, C), "200 200 200");
    drop(held);
    until("the sessions to end", || column(&place, &port, C) == "0 0 0");
}

#[test]
fn nobody_left_is_an_orderly_end() {
    let (place, port) = (Place::new(), port());
    let down = Backend::refusing();
    let _balance = place.balance(&format!("{port} {down}"));
    let client = Client::connect(&port);
    client.send("a request that nobody reads");
    assert_eq!(client.end(), End::Eof);
}
