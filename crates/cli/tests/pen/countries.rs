//! Lists of countries.

use crate::Pen;
use crate::support::{Backend, Mmdb, Place, Port, Program, port, until};

/// `pen` with this country database, or one that is not there.
fn start(place: &Place, port: &Port, options: &[&str], servers: &str) -> Program {
    let mut command = place.command("pen", "-f");
    command.args(options).arg(format!("127.0.0.1:{port}")).args(servers.split(' '));
    let program = Program::spawn(command.env("EVENKEEL_COUNTRIES", place.file("c.mmdb")));
    until("pen to listen", || fidelity::procnet::is_listening(port.number()));
    program
}

const SWEDES_ONLY: [&str; 4] = ["-O", "acl 1 permit country SE", "-O", "client_acl 1"];

#[test]
fn a_country_may_be_all_who_are_served() {
    let (place, port) = (Place::new(), port());
    let networks = [("127.0.0.16", 28, "SE"), ("127.0.0.32", 28, "DE")];
    std::fs::write(place.file("c.mmdb"), Mmdb::file(&networks)).unwrap();
    let (a, abuse) = (Backend::named("a"), Backend::named("abuse"));
    let abuse_text = abuse.to_string();
    let options = [&SWEDES_ONLY[..], &["-B", &abuse_text]].concat();
    let pen = start(&place, &port, &options, &a.to_string());
    let ask = |host| crate::support::ask_from(&port, [127, 0, 0, host]);
    assert_eq!([17, 33, 1].map(ask), ["a", "abuse", "abuse"]);
    assert_eq!(pen.log.with("country"), [""; 0]);
}

#[test]
fn a_country_may_choose_the_server() {
    let (place, port, control) = (Place::new(), port(), port());
    std::fs::write(place.file("c.mmdb"), Mmdb::file(&[("127.0.0.16", 28, "SE")])).unwrap();
    let [a, b] = ["a", "b"].map(Backend::named);
    let control = format!("127.0.0.1:{control}");
    let options = ["-r", "-u", "root", "-C", &control, "-O", "acl 2 deny country SE"];
    let options =
        if crate::is_root() { &options[..] } else { &[&options[..1], &options[3..]].concat() };
    let _pen = start(&place, &port, options, &format!("{a} {b}"));
    let ask = |host| crate::support::ask_from(&port, [127, 0, 0, host]);
    assert_eq!([17, 17].map(ask), ["b", "a"], "no server has that list yet");
    let done = place.run("penctl", &format!("{control} server 1 acl 2")).check(0);
    assert_eq!(done.stdout, "");
    assert_eq!([17, 1, 17, 1].map(ask), ["a", "a", "a", "a"]);
}

#[test]
fn without_a_database_nobody_matches_and_one_message_says_so() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let pen = start(&place, &port, &SWEDES_ONLY, &a.to_string());
    let said = pen.log.wait("country database");
    assert!(said.contains("c.mmdb"), "{said}");
    let ask = |host| crate::support::ask_from(&port, [127, 0, 0, host]);
    for answer in [17, 33].map(ask) {
        assert!(["eof", "reset"].contains(&answer.as_str()), "{answer}");
    }
    assert_eq!(pen.log.with("country database").len(), 1);
}

#[test]
fn a_list_may_get_a_country_while_it_runs() {
    let a = Backend::named("a");
    let pen = Pen::start("", &a.to_string());
    pen.set(&["acl 1 deny country SE", "server 0 acl 1"]);
    assert_eq!(pen.ask(2), "a a", "nobody on 127.0.0.1 is registered anywhere");
}
