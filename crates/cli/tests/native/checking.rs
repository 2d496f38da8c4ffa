//! `evenkeel check`.

use crate::support::{Backend, Done, Place, certified, port};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;

/// Checks `text` as a file, with these words after it.
fn check(place: &Place, text: &str, words: &str) -> Done {
    fs::write(place.file("a.toml"), text).unwrap();
    place.run("evenkeel", &format!("check a.toml {words}"))
}

#[test]
fn a_file_without_faults_is_valid() {
    let place = Place::new();
    let text = format!("[listeners]\nweb = \"127.0.0.1:{} app1:80\"\n", port().number());
    for words in ["", "--offline", "--strict"] {
        let done = check(&place, &text, words).check(0);
        assert_eq!(done.stdout, "a.toml: valid (1 listener, 1 pool)\n");
    }
    assert_eq!(check(&place, &text, "--format json").check(0).stdout, "");
    check(&place, &text, "--offline --online").check(2);
}

#[test]
fn faults_are_drawn_with_their_lines_or_as_json() {
    let place = Place::new();
    let text = "[listeners]\nweb = \"80 app1 --polcy hash\"\n[process]\nworkers = 0\n";
    let done = check(&place, text, "--offline").check(1);
    let expected = "\
error[E005]: a listener has no option `--polcy`
 --> a.toml:2:16
  |
2 | web = \"80 app1 --polcy hash\"
  |                ^^^^^^^ did you mean `--policy`?
error[E008]: `0` is not a number from 1 to 1024
 --> a.toml:4:11
  |
4 | workers = 0
  |           ^
a.toml: 2 errors
";
    assert_eq!(done.stdout, expected);
    let done = check(&place, text, "--offline --format json").check(1);
    let lines: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = serde_json::json!({
        "code": "E005", "severity": "error", "file": "a.toml", "place": "listeners.web",
        "message": "a listener has no option `--polcy`", "help": "did you mean `--policy`?",
        "line": 2, "column": 16, "end_line": 2, "end_column": 23, "replace": { "text": "--policy" },
    });
    assert_eq!(lines[0], first);
    assert_eq!((lines.len(), &lines[1]["code"]), (2, &Value::from("E008")));
}

#[test]
fn standard_input_is_checked_as_a_file() {
    let place = Place::new();
    let check = |text: &[u8]| Done::run(&mut place.command("evenkeel", "check - --offline"), text);
    let line = place.run("evenkeel", "--print-config=toml 80 app1:80 app2:80").check(0);
    let done = check(line.stdout.as_bytes()).check(0);
    assert_eq!(done.stdout, "standard input: valid (1 listener, 1 pool)\n");
    let done = check(b"[listeners]\nweb = \"80 app1 --polcy hash\"\n").check(1);
    assert!(done.stdout.contains("\n --> standard input:2:16\n"), "{done:?}");
    let done = check(b"\xff").check(1);
    let expected = "standard input: not a text file (UTF-8)";
    assert!(done.stdout.starts_with(&format!("error[E025]: {expected}\n")), "{done:?}");
}

#[test]
fn warnings_fail_only_if_that_is_wanted() {
    let place = Place::new();
    let text = "[listeners]\nweb = \"80 app1\"\n[pools.old]\nbackends = [\"app2:80\"]\n";
    let done = check(&place, text, "--offline").check(0);
    assert!(done.stdout.starts_with("warning[W001]"), "{}", done.stdout);
    assert!(done.stdout.ends_with("a.toml: 1 warning\n"), "{}", done.stdout);
    check(&place, text, "--offline --strict").check(1);
}

#[test]
fn files_beside_it_belong_to_it() {
    let place = Place::new();
    fs::create_dir(place.file("conf.d")).unwrap();
    fs::write(place.file("conf.d/10.toml"), "[listeners]\nweb = \"81 app1\"\n").unwrap();
    let done = check(&place, "[listeners]\nweb = \"80 app1\"\n", "--offline").check(1);
    let expected = "error[E002]: `web` is set twice, first in a.toml:2\n --> conf.d/10.toml:2:1\n";
    assert!(done.stdout.starts_with(expected), "{}", done.stdout);
    let done = place.run("evenkeel", "check none.toml").check(1);
    assert!(done.stdout.starts_with("error[E025]: cannot read none.toml"), "{}", done.stdout);
}

#[test]
fn what_this_machine_lacks_is_reported_where_it_is_named() {
    let place = Place::new();
    let text = format!(
        "[listeners]\nweb = \"127.0.0.1:{} app1:80\"\nfar = \"192.0.2.7:80 app1\"\n[process]\n\
         user = \"no-such-user\"\npid-file = \"/no/such/directory/pid\"\n",
        port().number()
    );
    let done = check(&place, &text, "").check(1);
    for expected in [
        "error[E026]: cannot listen on 192.0.2.7:80: Cannot assign requested address\n --> a.toml:3:7\n",
        "error[E024]: there is no such user\n --> a.toml:5:8\n",
        "error[E025]: the directory /no/such/directory cannot be used: No such file or directory\n \
         --> a.toml:6:12\n",
    ] {
        assert!(done.stdout.contains(expected), "{}", done.stdout);
    }
    check(&place, &text, "--offline").check(0);
}

#[test]
fn certificates_that_cannot_be_used_are_reported() {
    let place = Place::new();
    fs::write(place.file("empty.pem"), "").unwrap();
    let web = format!("--tls-cert /no/such.pem 127.0.0.1:{} app1:80", port().number());
    let text = format!(
        "[listeners]\nweb = \"{web}\"\n[listeners.mail]\nbind = \"127.0.0.1:{}\"\npool = \"mail\"\n\
         tls-cert = \"{}\"\n[pools.mail]\nbackends = [\"mx1:25\"]\n",
        port().number(),
        place.file("empty.pem").display(),
    );
    let done = check(&place, &text, "").check(1);
    for expected in [
        "error[E025]: cannot read /no/such.pem: No such file or directory\n --> a.toml:2:7\n",
        "error[E025]: cannot use ",
        "\n --> a.toml:6:12\n",
    ] {
        assert!(done.stdout.contains(expected), "{}", done.stdout);
    }
    check(&place, &text, "--offline").check(0);
}

#[test]
fn certificates_that_clients_may_refuse_are_warned_of() {
    let (place, authority) = certified();
    let text = |file: &str| {
        format!(
            "[listeners.web]\nbind = \"127.0.0.1:{}\"\npool = \"web\"\ntls-cert = \"{}\"\n\
             [pools.web]\nbackends = [\"app1:80\"]\n",
            port().number(),
            place.file(file).display()
        )
    };
    assert_eq!(
        check(&place, &text("a.pem"), "").check(0).stdout,
        "a.toml: valid (1 listener, 1 pool)\n"
    );
    let mut chain = fs::read_to_string(place.file("a.pem")).unwrap();
    let other = place.file("b.pem");
    authority.issue(&["b.test"]).write(&other);
    chain += &fs::read_to_string(&other).unwrap();
    fs::write(place.file("two.pem"), chain).unwrap();
    let done = check(&place, &text("two.pem"), "").check(0);
    let expected = "two.pem is not the issuer's of the one before it\n --> a.toml:4:12\n";
    let starts = done.stdout.starts_with("warning[W009]: certificate 2 in ");
    assert!(starts && done.stdout.contains(expected), "{}", done.stdout);
}

#[test]
fn a_policy_that_the_kernel_follows_only_approximately_is_a_warning() {
    let text = "[listeners]\nweb = \"--engine kernel --policy two 127.0.0.1:1 127.0.0.1:2\"\n";
    let done = check(&Place::new(), text, "").check(0);
    let expected = "warning[W010]: the kernel follows this only approximately: policy two\n";
    assert!(done.stdout.contains(expected), "{}", done.stdout);
}

#[test]
fn an_address_in_use_is_a_warning_unless_an_instance_of_ours_has_it() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("[listeners]\nweb = \"{} app1:80\"\n", taken.local_addr().unwrap());
    let done = check(&place, &text, "").check(0);
    assert!(done.stdout.starts_with("warning[W004]: another program uses 127.0.0.1:"));
    let port = port();
    let _ours = place.native(&format!("127.0.0.1:{port} 127.0.0.1:1"));
    let text = format!("[listeners]\nweb = \"127.0.0.1:{port} app1:80\"\n");
    assert_eq!(check(&place, &text, "").check(0).stdout, "a.toml: valid (1 listener, 1 pool)\n");
}

#[test]
fn backends_are_tried_only_online() {
    let place = Place::new();
    let (up, down) = (Backend::echo(), Backend::refusing());
    let text = format!(
        "[listeners.web]\nbind = \"127.0.0.1:{}\"\npool = \"web\"\n[pools.web]\nbackends = [\n  \
         \"127.0.0.1:{}\",\n  \"127.0.0.1:{}\",\n  \"nowhere.invalid:80\",\n]\n",
        port().number(),
        up.port(),
        down.port(),
    );
    check(&place, &text, "--strict").check(0);
    assert_eq!(up.accepted(), 0);
    let done = check(&place, &text, "--online").check(0);
    let refused = format!(
        "warning[W006]: 127.0.0.1:{} does not accept connections: Connection refused\n --> a.toml:7:3\n",
        down.port()
    );
    assert!(done.stdout.contains(&refused), "{}", done.stdout);
    let unresolved = "warning[W005]: nowhere.invalid:80 cannot be resolved";
    assert!(done.stdout.contains(unresolved), "{}", done.stdout);
    assert!(done.stdout.ends_with("a.toml: 2 warnings\n"), "{}", done.stdout);
    check(&place, &text, "--online --strict").check(1);
    // Servers of UDP do not accept connections.
    let datagrams =
        text.replace("\"\npool", "/udp\"\npool").replace("  \"nowhere.invalid:80\",\n", "");
    assert!(datagrams.contains("/udp"), "{datagrams}");
    check(&place, &datagrams, "--online --strict").check(0);
}
