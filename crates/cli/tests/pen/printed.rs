//! `evenkeel pen --print-config`: the native line that it prints chooses as pen does, and says in
//! comments what it cannot.

use crate::support::{Backend, Client, Done, Place, Port, Program, port, until};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// A client: the last byte of its address, and the port it comes from, if that matters.
type Who = (u8, Option<u16>);

/// What it prints for these words, given one by one.
#[track_caller]
fn print(place: &Place, words: &[String]) -> String {
    let mut command = place.command("evenkeel", "pen --print-config");
    let done = Done::run(command.args(words), "").check(0);
    assert_eq!(done.stderr, "");
    done.stdout
}

/// The comments and the command of what was printed.
fn parts(printed: &str) -> (Vec<&str>, &str) {
    let (comments, lines): (Vec<_>, Vec<_>) =
        printed.lines().partition(|line| line.starts_with('#'));
    assert_eq!(lines.len(), 1, "{printed}");
    assert!(lines[0].starts_with("evenkeel "), "{printed}");
    (comments, lines[0])
}

/// Words of a line in which single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What these clients get, each staying until all have an answer.
fn ask(port: &Port, clients: &[Who]) -> Vec<String> {
    let to = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut held = Vec::new();
    let mut ask = |(host, source): &Who| {
        let from = SocketAddr::from(([127, 0, 0, *host], source.unwrap_or(0)));
        // How a client is turned away depends on when it asks.
        let client = match Client::try_from(from, to) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return "eof".to_owned(),
            client => client.unwrap(),
        };
        let answer = client.line();
        held.push(client);
        if answer == "reset" { "eof".to_owned() } else { answer }
    };
    let answers = clients.iter().map(&mut ask).collect();
    // So that the same port can be used again at once.
    held.into_iter().for_each(Client::reset);
    answers
}

#[track_caller]
fn wait_listening(program: &mut Program, port: &Port) {
    until("it to listen", || {
        assert!(!program.has_ended(), "it ended: {:?}", program.log.all());
        fidelity::procnet::is_listening(port.number())
    });
}

/// Starts both lines one after the other, and compares what the same clients get, which is
/// `expected`. There must be no comment.
#[track_caller]
fn check(line: &str, clients: &[Who], expected: &str) {
    let (place, port) = (Place::new(), port());
    let mut pen_words = words(&format!("-f {line}"));
    let listen = pen_words.iter().position(|word| word == "LISTEN").unwrap();
    pen_words[listen] = format!("127.0.0.1:{port}");

    let mut pen = Program::spawn(place.command("pen", "").args(&pen_words));
    wait_listening(&mut pen, &port);
    let by_pen = ask(&port, clients);
    pen.kill();
    assert_eq!(by_pen.join(" "), expected, "pen {line}");

    let printed = print(&place, &pen_words);
    let (comments, native) = parts(&printed);
    assert_eq!(comments, [""; 0], "{line}");
    let _evenkeel = run_printed(&place, native);
    let by_evenkeel = ask(&port, clients);
    assert_eq!(by_evenkeel.join(" "), expected, "pen {line}\nis printed as\n{native}");
}

/// Has a shell run what was printed.
#[track_caller]
fn run_printed(place: &Place, line: &str) -> Program {
    let program = place.command("", "");
    let dir = Path::new(program.get_program()).parent().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("exec {line}")])
        .env("PATH", format!("{}:/usr/bin:/bin", dir.display()))
        .env("EVENKEEL_RUNTIME_DIR", place.runtime())
        .current_dir(place.file(""));
    let evenkeel = Program::spawn(&mut shell);
    evenkeel.log.wait("admin socket");
    evenkeel
}

fn from<const N: usize>(hosts: [u8; N]) -> [Who; N] {
    hosts.map(|host| (host, None))
}

#[test]
fn tracking() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let line = format!("LISTEN {a} {b} {c}");
    check(&line, &from([1, 2, 3, 4, 2, 3, 1]), "b c a b c a b");
    // With room for one, the client before is forgotten.
    check(&format!("-c 1 {line}"), &from([1, 1, 2, 2, 1]), "b b c c a");
    check(&format!("-T 600 {line}"), &from([1, 2, 1]), "b c b");
}

#[test]
fn in_turn() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    check(&format!("-r LISTEN {a} {b} {c}"), &from([1; 5]), "b c a b c");
    let down = Backend::refusing();
    check(&format!("-r -b 60 LISTEN {a} {down} {c}"), &from([1; 5]), "c c a c a");
    // Nobody is left out; who was refused goes to the next, which does not move the pointer.
    check(&format!("-r -b 0 LISTEN {a} {down} {c}"), &from([1; 5]), "c c a c c");
}

#[test]
fn by_hash() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    check(&format!("-h LISTEN {a} {b} {c}"), &from([1, 2, 3, 4, 5, 1]), "c a b c a c");
    let clients = [24_001, 24_002, 24_003].map(|port| (9, Some(port)));
    check(&format!("-h -r LISTEN {a} {b} {c}"), &clients, "c a b");
}

#[test]
fn by_weight() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(Backend::named);
    let line = format!("LISTEN {a}:0:0:1 {b}:0:0:2 {c}:0:0:4 {d}:0:0:0");
    check(&format!("-r -W {line}"), &from([1; 14]), "a b c c b c c a b c c b c c");
    check(&format!("-W {line}"), &from([1, 2, 3, 1, 2]), "a b c a b");
    // Without weights there is nobody but the emergency server.
    check(&format!("-W -e {d} LISTEN {a} {b}"), &from([1, 2]), "d d");
}

#[test]
fn by_priority() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::named);
    let line = format!("LISTEN {a}:0:0:0:5 {b}:0:0:0:1 {c}:2:2:0:-1");
    check(&format!("-r -O prio {line}"), &from([1, 2, 3, 4]), "c c a a");
    let down = Backend::refusing();
    let line = format!("LISTEN {a}:0:0:0:5 {b}:0:0:0:1 {down}:0:0:0:-1");
    check(&format!("-O prio {line}"), &from([1, 2, 1]), "a b a");
}

#[test]
fn by_limits() {
    let [a, b] = ["a", "b"].map(Backend::named);
    check(&format!("-r LISTEN {a}:1 {b}:2"), &from([1; 5]), "b a b eof eof");
    // Who was there before may use what is above the first limit.
    check(&format!("LISTEN {a} {b}:1:2"), &from([1, 2, 3, 1, 1]), "b a a b a");
    check(&format!("-e {a} LISTEN {b}:1"), &from([1, 2, 1]), "b a a");
}

#[test]
fn to_the_emergency_server() {
    let (down, too, e) = (Backend::refusing(), Backend::refusing(), Backend::named("e"));
    check(&format!("-e {e} LISTEN {down} {too}"), &from([1, 2, 1]), "e e e");
    check(&format!("-r -h -e {e} LISTEN {down} {too}"), &from([1, 2, 1]), "e e e");
}

#[test]
fn stubbornly() {
    let (down, b, e) = (Backend::refusing(), Backend::named("b"), Backend::named("e"));
    check(&format!("-s -r -b 0 -e {e} LISTEN {b} {down}"), &from([1; 4]), "eof b eof b");
    check(&format!("-s -e {e} -h LISTEN {b} {b} {down}"), &from([1, 2, 3, 1]), "eof b b eof");
    // Stubborn or not, a server left out is not chosen.
    check(&format!("-s -r -e {e} LISTEN {b} {down}"), &from([1; 3]), "eof b b");
}

#[test]
fn by_lists() {
    let [a, b, abuse] = ["a", "b", "abuse"].map(Backend::named);
    let lists = "-O 'acl 1 permit 127.0.0.0 255.255.255.248' -O 'client_acl 1'";
    check(&format!("{lists} LISTEN {a} {b}"), &from([1, 8, 7, 9]), "b eof a eof");
    check(&format!("{lists} -B {abuse} LISTEN {a} {b}"), &from([1, 8, 7]), "b abuse a");
    let lists = "-O 'acl 3 deny 127.0.0.2' -O 'acl 3 permit 127.0.0.0 255.255.255.252' \
                 -O 'acl 3 deny 127.0.0.0 255.0.0.0' -O 'client_acl 3'";
    check(&format!("-r {lists} LISTEN {a} {b}"), &from([1, 2, 3, 4]), "b eof a eof");
    check("-O 'acl 1 permit ::1' -O 'client_acl 1' LISTEN 127.0.0.1:1", &from([1]), "eof");
}

#[test]
fn list_0_is_that_of_clients_and_of_servers() {
    let [a, abuse] = ["a", "abuse"].map(Backend::named);
    let deny = "-O 'acl 0 deny 127.0.0.2'";
    check(&format!("{deny} LISTEN {a}"), &from([1, 2]), "a eof");
    // The abuse server refuses whom list 0 refuses: no native words for that.
    let printed = print(&Place::new(), &words(&format!("-f {deny} -B {abuse} 1 {a}")));
    let (comments, _) = parts(&printed);
    assert_eq!(
        comments,
        ["# not expressible: the reject backend has an access list of its own"],
        "{printed}"
    );
}

/// A server that operands do not overwrite.
const FILE: &str = "acl 2 deny 127.0.0.2\nserver 1 address 127.0.0.1 port 3\nserver 1 acl 2\n";

/// What pen can and the native line cannot is said, with these words.
#[track_caller]
fn check_comment(line: &str, says: &str) {
    let place = Place::new();
    std::fs::write(place.file("a.cfg"), FILE).unwrap();
    let printed = print(&place, &words(&format!("-f {line}")));
    let (comments, _) = parts(&printed);
    assert!(comments.iter().any(|comment| comment.contains(says)), "pen {line}:\n{printed}");
}

#[test]
fn what_cannot_be_said_is_said_in_comments() {
    check_comment("-O dummy 1 127.0.0.1:2", "fixed page");
    check_comment(
        "-O 'acl 1 permit 127.0.0.1 255.0.255.0' -O 'client_acl 1' 1 127.0.0.1:2",
        "access list",
    );
    check_comment("1 127.0.0.1:2 0.0.0.0:3", "out of service");
    check_comment("-F a.cfg 1 127.0.0.1:2", "access list of its own");
}

#[test]
fn answers_to_options_are_not_printed_before_the_line() {
    let place = Place::new();
    let printed = print(&place, &words("-f -O 'blacklist 7' -O 'pid' 1 127.0.0.1:2"));
    let (comments, line) = parts(&printed);
    assert_eq!(comments, [""; 0]);
    assert!(line.contains("--quarantine 7s "), "{line}");
}

#[test]
fn names_are_printed_as_they_were_given() {
    let place = Place::new();
    let line = "-e b.invalid:4 -O 'server 1 address c.invalid port 5' a.invalid:1 d.invalid:2";
    let printed = print(&place, &words(line));
    let (_, line) = parts(&printed);
    for word in ["a.invalid:1", "d.invalid:2", "c.invalid:5", "b.invalid:4"] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
}

#[test]
fn what_only_pen_has_is_said_in_comments() {
    check_comment("-l pen.log 1 127.0.0.1:2", "pen.log");
    check_comment("-C 127.0.0.1:9 1 127.0.0.1:2", "127.0.0.1:9");
    check_comment("-w pen.html 1 127.0.0.1:2", "pen.html");
    check_comment("-d -d -d 1 127.0.0.1:2", "dumped");
}

#[test]
fn an_output_that_is_full_or_closed_is_an_error() {
    let place = Place::new();
    Done::check_unwritable(1, || place.command("pen", ""));
    Done::check_unwritable(1, || place.command("pen", "-y"));
    Done::check_unwritable(1, || place.command("penctl", ""));
    let print = "pen --print-config 127.0.0.1:9 127.0.0.1:10";
    Done::check_unwritable(1, || place.command("evenkeel", print));
}

#[test]
fn direct_server_return_is_printed_as_what_comes_nearest() {
    let place = Place::new();
    let start = ["-O", "dsr_if eth0", "-O", "tarpit_acl 3", "192.0.2.200:80", "192.0.2.11:80"];
    let printed = print(&place, &start.map(str::to_owned));
    let (comments, native) = parts(&printed);
    let expected = [
        "# not expressible: dsr_if eth0: this machine must have 192.0.2.200 itself, and the policy \
         decides",
        "# not expressible: tarpit_acl 3",
    ];
    assert_eq!(comments, expected);
    assert!(native.contains("--engine direct"), "{native}");
    assert!(native.ends_with(" 192.0.2.200:80 192.0.2.11:80"), "{native}");
    let mut command = place.command("evenkeel", "pen --print-config -O");
    let done = Done::run(command.args(["dsr_if eth0", "192.0.2.200", "192.0.2.11"]), "").check(1);
    assert!(done.stderr.contains("all ports of an address"), "{}", done.stderr);
}
