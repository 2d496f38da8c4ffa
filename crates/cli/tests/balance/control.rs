//! `-i`, `-c`, signals, and whose instance it is.

use crate::support::{
    Backend, Client, Done, End, Place, Program, ask, ask_times, port, skip_unless, until,
};
use crate::{column, show};
use rustix::process::{Signal, test_kill_process};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn fault_24_strangers_get_no_signals() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut balance = place.balance(&format!("{port} {a}"));
    let socket = place.socket();
    balance.kill();
    let mut stranger = Program::spawn(Command::new("sleep").arg("1000"));
    let pid = stranger.pid().as_raw_nonzero();
    for entry in std::fs::read_dir(place.runtime()).unwrap().flatten() {
        if entry.path() == socket.with_extension("pid") {
            std::fs::write(entry.path(), format!("{pid}\n")).unwrap();
        }
    }
    for command in ["show", "kill", "version"] {
        let done = place.balance_c(&port, command).check(69);
        assert_eq!(done.stdout, format!("no master process with pid {pid}, exiting.\n"));
    }
    place.balance_i(&port, "kill\n").check(69);
    assert!(!stranger.has_ended() && test_kill_process(stranger.pid()).is_ok());
    let _balance = place.balance(&format!("{port} {a}"));
    assert_eq!(ask(&port), "a");
    assert!(!stranger.has_ended());
}

#[test]
fn fault_25_and_26_kill_lets_connections_finish() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut balance = place.balance(&format!("{port} {a}"));
    let client = Client::connect(&port);
    client.expect("a\n");
    let done = place.balance_c(&port, "kill").check(0);
    assert_eq!(done.stdout, "shutdown complete, exiting.\n");
    assert_eq!(ask(&port), "refused");
    let done = place.balance_c(&port, "show").check(69);
    assert_eq!(done.stdout, "no master process, exiting.\n");
    client.send("still served");
    client.expect("still served");
    let _next = place.balance(&format!("{port} {a}"));
    assert_eq!(ask(&port), "a");
    client.send("by the first");
    client.expect("by the first");
    assert!(!balance.has_ended());
    client.finish();
    assert_eq!(client.end(), End::Eof);
    assert_eq!(balance.wait().code(), Some(0));
    assert_eq!(place.balance_c(&port, "show").check(0).stdout.lines().count(), 2);
}

#[test]
fn term_lets_connections_finish_and_is_seen_by_the_parent() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR2] {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let mut balance = place.balance(&format!("{port} {a}"));
        let client = Client::connect(&port);
        client.expect("a\n");
        balance.signal(Signal::USR1);
        balance.signal(signal);
        until("it to stop listening", || place.sockets().is_empty());
        assert_eq!(ask(&port), "refused");
        client.send("still served");
        client.expect("still served");
        drop(client);
        assert_eq!(balance.wait().signal(), Some(signal.as_raw()));
    }
}

#[test]
fn fault_27_asking_creates_nothing() {
    let (place, port) = (Place::new(), port());
    let done = place.balance_c(&port, "show").check(69);
    assert_eq!(done.stdout, "no master process, exiting.\n");
    let done = place.balance_i(&port, "show\n").check(69);
    assert_eq!(done.stdout, "no master process, exiting.\n");
    assert!(!place.runtime().exists());
    let a = Backend::named("a");
    let mut balance = place.balance(&format!("{port} {a}"));
    balance.signal(Signal::TERM);
    balance.wait();
    let left: Vec<_> = std::fs::read_dir(place.runtime()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn fault_28_m_need_not_match() {
    for (start, ask) in [("-M", ""), ("", "-M"), ("-M", "-M")] {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let _balance = place.balance(&format!("{start} {port} {a}"));
        place.run("balance", &format!("{ask} -c show {port}")).check(0);
    }
}

#[test]
fn fault_29_long_lines_are_one_line() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _balance = place.balance(&format!("{port} {a}"));
    // In the original what is behind the 127th character is a command of its own.
    for length in [120, 127, 128, 200, 100_000] {
        let line = "x".repeat(length) + " kill";
        let done = place.balance_i(&port, &format!("{line}\nversion\n")).check(0);
        assert_eq!(done.stdout.matches("syntax error").count(), 1, "{length}: {done:?}");
        assert_eq!(done.stdout.matches("This is balance").count(), 1, "{length}");
    }
    let blanks = " ".repeat(300);
    let done = place.balance_c(&port, &format!("disable{blanks}0")).check(0);
    assert_eq!(done.stdout, "channel 0 disabled\n");
    let done = place.balance_c(&port, &"show".repeat(100)).check(0);
    assert_eq!(done.stdout, "syntax error\n");
}

#[test]
fn fault_30_what_is_not_a_number_is_a_syntax_error() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _balance = place.balance(&format!("{port} {a} {a}"));
    let before = show(&place, &port);
    for command in [
        "disable foo",
        "disable 1x",
        "enable x1",
        "reset foo",
        "maxc foo 1",
        "maxc 0 foo",
        "group foo",
        "group 1x",
        "mrtg-bytes x 0",
        "mrtg-conns 0 x",
        "disable 0x1",
        "disable",
    ] {
        assert_eq!(place.balance_c(&port, command).check(0).stdout, "syntax error\n", "{command}");
    }
    for group in ["32", "257", "-1", "4294967296", "99999999999999999999"] {
        let said = place.balance_c(&port, &format!("group {group}")).check(0).stdout;
        assert_eq!(said, "value out of range\n", "{group}");
    }
    for channel in ["2", "-1", "256", "4294967296"] {
        let said = place.balance_c(&port, &format!("disable {channel}")).check(0).stdout;
        assert_eq!(said, format!("no such channel {channel}\n"));
    }
    assert_eq!(show(&place, &port), before);
}

#[test]
fn fault_31_mrtg_is_bounded_by_the_group_asked_for() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _balance = place.balance(&format!("{port} {a} ! {a} {a} {a}"));
    let ask = |command: &str| place.balance_c(&port, command).check(0).stdout;
    assert_eq!(ask("mrtg-bytes 1 2"), "0\n0\nUNKNOWN\ngroup 1 channel 2\n");
    assert_eq!(ask("mrtg-conns 1 2"), "0\nUNKNOWN\nUNKNOWN\ngroup 1 channel 2\n");
    for kind in ["mrtg-bytes", "mrtg-conns"] {
        assert_eq!(ask(&format!("{kind} 1 3")), "unknown channel\n");
        assert_eq!(ask(&format!("{kind} 0 1")), "unknown channel\n");
        assert_eq!(ask(&format!("{kind} 0 -1")), "unknown channel\n");
        assert_eq!(ask(&format!("{kind} 32 0")), "unknown group\n");
        assert_eq!(ask(&format!("{kind} -1 0")), "unknown group\n");
    }
}

#[test]
fn fault_32_a_failed_assign_changes_nothing() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _balance = place.balance(&format!("{port} {a}"));
    place.balance_c(&port, "disable 0").check(0);
    let before = show(&place, &port);
    let done = place.balance_c(&port, "assign 0 no-such-host.invalid 80").check(0);
    assert_eq!(done.stdout, "invalid address\n");
    assert_eq!(show(&place, &port), before);
    place.balance_c(&port, "enable 0").check(0);
    assert_eq!(ask(&port), "a");
}

#[test]
fn fault_33_carriage_returns_are_accepted() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _balance = place.balance(&format!("{port} {a}"));
    let done = place.balance_i(&port, "disable 0\r\nshow\r\nquit\r\n").check(0);
    assert!(done.stdout.contains("channel 0 disabled\n"), "{done:?}");
    assert!(done.stdout.contains("0   RR  0 dis"), "{done:?}");
    assert!(!done.stdout.contains("syntax error"), "{done:?}");
}

#[test]
fn instances_are_named_by_port_and_bind_text() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let on = |text: &str| format!("-b {text} {port}");
    let _first = place.balance(&format!("{} {a}", on("127.0.0.1")));
    place.run("balance", &format!("{} {b}", on("127.0.0.2"))).check(0);
    for text in ["127.0.0.1", "127.0.0.2"] {
        let done = place.run("balance", &format!("-c version {}", on(text))).check(0);
        assert!(done.stdout.contains("This is balance"), "{done:?}");
    }
    for text in ["127.1", "localhost", "0.0.0.0"] {
        place.run("balance", &format!("-c version {}", on(text))).check(69);
    }
    place.balance_c(&port, "version").check(69);
    let kill = place.run("balance", &format!("-c kill {}", on("127.0.0.2"))).check(0);
    assert_eq!(kill.stdout, "shutdown complete, exiting.\n");
    assert_eq!(ask(&port), "a", "the other one goes on");
}

#[test]
fn a_port_in_use_is_seen_by_the_caller() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _taken = std::net::TcpListener::bind(("0.0.0.0", port.number())).unwrap();
    for words in [format!("{port} {a}"), format!("-f {port} {a}"), format!("{port} ::1")] {
        let done = place.run("balance", &words).check(71);
        assert_eq!(done.stderr, "bind(): Address already in use\n", "{words}");
    }
}

#[test]
fn two_names_for_one_program() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let _balance =
        Program::spawn(&mut place.command("evenkeel", &format!("balance -f {port} {a} {b}")));
    until("it to answer", || !place.sockets().is_empty() && ask(&port) != "refused");
    assert_eq!(
        place
            .run("/usr/sbin/balance", &format!("-c version {port}"))
            .check(0)
            .stdout
            .lines()
            .count(),
        3
    );
    place.run("evenkeel", &format!("balance -c show {port}")).check(0);
    // Both doors lead to the same instance.
    assert_eq!(place.ctl("disable 0.0").check(0).stdout, "done\n");
    assert_eq!(column(&place, &port, 3), "dis ENA");
    assert_eq!(ask_times(&port, 3), "b b b");
}

#[test]
fn an_ordinary_user_controls_its_own_and_no_others() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o777)).unwrap();
    let words = |words: &str| Done::run(&mut place.as_nobody("balance", words), "");
    words(&format!("{port} {a}")).check(0);
    words(&format!("-c show {port}")).check(0);
    assert_eq!(place.balance_c(&port, "disable 0").check(0).stdout, "channel 0 disabled\n");
    assert_eq!(words(&format!("-c kill {port}")).check(0).stdout, "shutdown complete, exiting.\n");

    let (place, other) = (Place::new(), crate::support::port());
    std::fs::set_permissions(place.file(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _balance = place.balance(&format!("{other} {a}"));
    let command = format!("-c show {other}");
    let done = Done::run(&mut place.as_nobody("balance", &command), "").check(71);
    assert!(done.stderr.starts_with("open: Permission denied\n"), "{done:?}");
    assert_eq!(ask(&other), "a");
}

#[test]
fn an_instance_is_drained_and_that_is_called_off() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut balance = place.balance(&format!("{port} {echo}"));
    let client = Client::connect(&port);
    client.send("x");
    client.expect("x");
    place.ctl("drain-all --by 1h").check(0);
    let address = ([127, 0, 0, 1], port.number()).into();
    until("clients to be refused", || Client::try_to(address).is_err());
    assert_eq!(show(&place, &port).len(), 1);
    place.ctl("drain-all --cancel").check(0);
    Client::connect(&port);
    place.ctl("drain-all --by 2s --wait").check(0);
    assert_eq!(client.end(), End::Eof); // as the original ends sessions
    assert_eq!(balance.wait().code(), Some(0));
}
