//! The process: arguments, exit statuses, signals, files, the background.

use crate::support::{
    Backend, Client, Done, End, PATIENCE, Place, Program, ask, port, skip_unless, until,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::Permissions;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn term_lets_sessions_finish() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a}"));
    let client = Client::connect(&port);
    client.expect("a\n");
    evenkeel.signal(Signal::TERM);
    until("it to stop listening", || place.sockets().is_empty());
    assert_eq!(ask(&port), "refused");
    client.send("still here");
    client.expect("still here");
    assert!(!evenkeel.has_ended());
    client.finish();
    assert_eq!(client.end(), End::Eof);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(evenkeel.log.with("shutdown cut").len(), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let mut evenkeel = place.native(&format!("{port} {a}"));
        let client = Client::connect(&port);
        client.expect("a\n");
        evenkeel.signal(first);
        until("it to stop listening", || place.sockets().is_empty());
        let begin = Instant::now();
        evenkeel.signal(second);
        assert_eq!(evenkeel.wait().code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(client.end(), End::Reset);
        evenkeel.log.wait("shutdown cut sessions that were still open sessions=1");
    }
}

#[test]
fn a_shutdown_has_a_deadline() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a} --shutdown-timeout 400ms"));
    let client = Client::connect(&port);
    client.expect("a\n");
    let begin = Instant::now();
    evenkeel.signal(Signal::TERM);
    assert_eq!(client.end(), End::Reset);
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert_eq!(evenkeel.wait().code(), Some(0));
}

#[test]
fn hangup_does_not_end_it() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a}"));
    evenkeel.signal(Signal::HUP);
    assert_eq!(ask(&port), "a");
    assert!(!evenkeel.has_ended());
}

#[test]
fn signals_without_a_meaning_change_nothing_and_say_so() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a}"));
    for (signal, says) in [
        (Signal::HUP, "SIGHUP ignored: there is no configuration file to reload"),
        (Signal::USR1, "SIGUSR1 ignored: there is no log file to open again"),
        (Signal::USR2, "SIGUSR2 ignored: nothing to do"),
    ] {
        evenkeel.signal(signal);
        evenkeel.log.wait(says);
        assert_eq!(ask(&port), "a");
    }
}

#[test]
fn a_pid_file_is_there_as_long_as_the_process() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut evenkeel = place.native(&format!("{port} {a} --pid-file its.pid"));
    let written = std::fs::read_to_string(place.file("its.pid")).unwrap();
    assert_eq!(written, format!("{}\n", evenkeel.pid().as_raw_nonzero()));
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    assert!(!place.file("its.pid").exists());
}

#[test]
fn an_ending_instance_leaves_the_pid_file_of_the_next_one() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut old = place.native(&format!("{port} {a} --pid-file its.pid"));
    let client = Client::connect(&port);
    client.expect("a\n");
    old.signal(Signal::TERM);
    until("the old one to let go of the port", || place.sockets().is_empty());
    let new = place.native(&format!("{port} {a} --pid-file its.pid"));
    drop(client);
    assert_eq!(old.wait().code(), Some(0));
    let written = std::fs::read_to_string(place.file("its.pid")).unwrap();
    assert_eq!(written, format!("{}\n", new.pid().as_raw_nonzero()));
}

#[test]
fn a_pid_file_does_not_overwrite_what_is_none() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    std::fs::write(place.file("letter"), "Dear Ann").unwrap();
    std::fs::write(place.file("empty"), "").unwrap();
    std::os::unix::fs::symlink(place.file("empty"), place.file("link")).unwrap();
    for name in ["letter", "link"] {
        let done = place.run("evenkeel", &format!("{port} {a} --pid-file {name}")).check(1);
        assert!(done.stderr.contains(name), "{}", done.stderr);
    }
    assert_eq!(std::fs::read_to_string(place.file("letter")).unwrap(), "Dear Ann");
    assert_eq!(std::fs::read_to_string(place.file("empty")).unwrap(), "");
}

#[test]
fn under_another_root_directory_only_its_own_files_go() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    // In the new root directory, other files have the paths of its pid file and of its listener.
    let paths = ["its.pid", "front.sock"].map(|name| place.file(name));
    let root = place.file("root");
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    std::fs::create_dir_all(inside(&paths[0]).parent().unwrap()).unwrap();
    paths.iter().for_each(|path| std::fs::write(inside(path), "").unwrap());
    let front = paths[1].display();
    let words = format!("unix:{front} {a} --pid-file its.pid --root root");
    let mut evenkeel = place.native(&words);
    assert!(paths.iter().all(|path| path.exists()), "{port}");
    evenkeel.signal(Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    for path in &paths {
        assert!(!path.exists(), "{}", path.display());
        assert!(inside(path).exists(), "{}", path.display());
    }
}

#[test]
fn a_failed_start_leaves_no_listeners_file() {
    let (place, a) = (Place::new(), Backend::named("a"));
    let front = place.file("front");
    let words = format!("unix:{} {a} --pid-file no/such/dir", front.display());
    place.run("evenkeel", &words).check(1);
    assert!(!front.exists());
}

#[test]
fn a_daemon_keeps_nothing_open_that_its_caller_had() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let (mut reads, inherited) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let mut command = place.command("evenkeel", &format!("{port} {a} --daemon"));
    let done = Done::run(&mut command, "");
    drop(inherited);
    done.check(0);
    let (over, is_over) = channel();
    std::thread::spawn(move || over.send(reads.read(&mut [0]).unwrap()));
    assert_eq!(is_over.recv_timeout(PATIENCE), Ok(0), "somebody still holds the other end");
    assert_eq!(ask(&port), "a");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_named() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let done = place.run("evenkeel", &format!("{port} {a} --pid-file no/such/dir")).check(1);
    assert!(done.stderr.contains("no/such/dir"), "{}", done.stderr);
    assert_eq!(ask(&port), "refused");
    assert_eq!(place.sockets().len(), 0, "a failed start leaves nothing behind");
}

#[test]
fn a_daemon_is_usable_when_its_parent_returns() {
    for _ in 0..5 {
        let (place, port, a) = (Place::new(), port(), Backend::named("a"));
        let words = format!("{port} {a} --daemon --pid-file its.pid");
        let done = place.run("evenkeel", &words).check(0);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
        let status = place.ctl("status --json").check(0);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        assert_eq!(ask(&port), "a");
        let written = std::fs::read_to_string(place.file("its.pid")).unwrap();
        assert_eq!(written.trim(), status["pid"].to_string());
        let pid = Pid::from_raw(written.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        until("the daemon to end", || test_kill_process(pid).is_err() || is_zombie(pid));
        assert!(!place.file("its.pid").exists(), "relative to where it was started");
    }
}

/// Ended, but nobody has asked how: the init process of a container may not care.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.contains(") Z"))
}

#[test]
fn a_daemons_mistakes_are_seen_by_its_caller() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _taken = TcpListener::bind(("0.0.0.0", port.number())).unwrap();
    let done = place.run("evenkeel", &format!("0.0.0.0:{port} {a} --daemon")).check(1);
    assert!(done.stderr.contains(&format!("0.0.0.0:{port}")), "{}", done.stderr);
    // Also those that are found after it has left for the background.
    for (option, says) in [("--pid-file no/such/dir", "no/such/dir"), ("--user nobdy", "nobdy")] {
        let (place, port) = (Place::new(), crate::support::port());
        let done = place.run("evenkeel", &format!("{port} {a} --daemon {option}")).check(1);
        assert!(done.stderr.contains(says), "{}", done.stderr);
        assert_eq!(ask(&port), "refused");
        assert_eq!(place.sockets().len(), 0, "a failed start leaves nothing behind");
    }
}

#[track_caller]
fn check_refused(words: &str, status: i32, says: &str) {
    let done = Place::new().run("evenkeel", words).check(status);
    assert!(done.stderr.contains(says), "{words}: {:?} lacks {says:?}", done.stderr);
    assert_eq!(done.stdout, "");
}

#[test]
fn what_is_not_understood_is_named_with_status_2() {
    check_refused("", 2, "Usage");
    check_refused("8080", 2, "BACKEND");
    check_refused("99999 a", 2, "99999");
    check_refused("8080 a:99999", 2, "a:99999");
    check_refused("8080 a:b:c", 2, "a:b:c");
    check_refused("8080 a ! ! b", 2, "tier 1 has no backends");
    check_refused("8080 ! a", 2, "tier 0 has no backends");
    check_refused("8080 a --polcy hash", 2, "--policy");
    check_refused("8080 a --policy rnd", 2, "rnd");
    check_refused("8080 a --workers 0", 2, "--workers");
    check_refused("8080 a --idle-timeout 5x", 2, "5x");
    check_refused("8080 a --connect-timeout 0", 2, "--connect-timeout");
    check_refused("8080 a --max-sessions 0", 2, "--max-sessions");
    check_refused("8080 a --source localhost", 2, "localhost");
    check_refused("ctl frobnicate", 2, "frobnicate");
    check_refused("ctl limit 0.0 many", 2, "many");
    check_refused("ctl --listen 1 --admin x status", 2, "--admin");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let place = Place::new();
    for (words, says) in [("--help", "LISTEN"), ("--version", "evenkeel "), ("ctl --help", "drain")]
    {
        let done = place.run("evenkeel", words).check(0);
        assert!(done.stdout.contains(says) && done.stderr.is_empty(), "{done:?}");
    }
}

#[test]
fn what_cannot_be_done_is_named_with_status_1() {
    let (place, port) = (Place::new(), port());
    let _taken = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    let check = |words: String, says: &[&str]| {
        let done = place.run("evenkeel", &words).check(1);
        for say in says {
            assert!(done.stderr.contains(say), "{words}: {:?} lacks {say:?}", done.stderr);
        }
        assert_eq!(done.stderr.lines().count(), 1, "{:?}", done.stderr);
    };
    check(format!("127.0.0.1:{port} a.invalid:1"), &[&format!("127.0.0.1:{port}"), "ss -lntup"]);
    let free = crate::support::port();
    check(format!("{free} a.invalid:1"), &["a.invalid:1"]);
    check(format!("a.invalid:{free} 127.0.0.1:1"), &["a.invalid"]);
    check(format!("192.0.2.1:{free} 127.0.0.1:1"), &["192.0.2.1", "does not have the address"]);
    check(format!("{free} 127.0.0.1:1 --user no-such-user"), &["no-such-user"]);
    check("unix:/no/such/dir/socket 127.0.0.1:1".to_owned(), &["/no/such/dir/socket"]);
    assert_eq!(place.sockets().len(), 0, "a failed start leaves nothing behind");
}

#[test]
fn a_printed_configuration_prints_itself() {
    let place = Place::new();
    for words in [
        "8080 a b:81 ! c:82:9",
        "[::1]:8080 [::2]:80:7 unix:/run/x % d --policy random --quarantine 0",
        "unix:/run/front 10.0.0.1:80 --idle-timeout 1500ms --half-close-timeout never --workers 3",
        "80 a --half-close-timeout 5s --backend-half-close-timeout never",
        "127.0.0.1:smtp mx1 mx2 --max-sessions 5 --source 10.0.0.9 --splice never --cut close",
        "80 a --daemon --pid-file /x --user nobody --admin /y --log-format json --spin 50us",
        "80 a:80:-1 --auto-disable --hash-failover nothing --linger 1s --shutdown-timeout never",
    ] {
        let done = place.run("evenkeel", &format!("{words} --print-config")).check(0);
        let line = done.stdout.trim();
        let mut again = place.command("evenkeel", "--print-config");
        let again = Done::run(again.args(shell_words(line)), "").check(0);
        assert_eq!(again.stdout.trim(), line, "{words}");
    }
}

/// The words behind `evenkeel` as a shell would pass them.
fn shell_words(line: &str) -> Vec<String> {
    let quoted = line.strip_prefix("evenkeel ").unwrap_or_else(|| panic!("{line}"));
    let script = format!("printf '%s\\n' {quoted}");
    let words = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(words.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_printed_balance_configuration_serves_as_balance_does() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let words = format!("balance --print-config -f {port} {a}:1 ! {b}");
    let line = place.run("evenkeel", &words).check(0).stdout;
    let _evenkeel = place.native(&shell_words(line.trim()).join(" "));
    let first = Client::connect(&port);
    assert_eq!((first.line(), ask(&port)), ("a".to_owned(), "b".to_owned()));
}

#[test]
fn the_next_instance_starts_while_the_old_one_drains() {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let mut old = place.native(&format!("{port} {a}"));
    let client = Client::connect(&port);
    client.expect("a\n");
    old.signal(Signal::TERM);
    until("the old one to let go of the port", || place.sockets().is_empty());
    let _new = place.native(&format!("{port} {b}"));
    assert_eq!(ask(&port), "b");
    client.send("still mine");
    client.expect("still mine");
    drop(client);
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(place.status()["shutting_down"], false, "the new one's socket is not taken along");
    assert_eq!(ask(&port), "b");
}

#[test]
fn a_draining_instance_can_be_reached_under_another_name() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let mut old = place.native(&format!("{port} {a}"));
    let client = Client::connect(&port);
    client.expect("a\n");
    old.signal(Signal::TERM);
    let line = old.log.wait("waiting for open sessions to end");
    let path = line.split("admin=").nth(1).unwrap();
    assert_eq!(place.all_sockets(), [Path::new(path)]);
    let status = place.ctl(&format!("--admin {path} status --json")).check(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["shutting_down"], true);
    assert!(place.ctl("status").check(69).stderr.contains(path), "it is named");
    let _new = place.native(&format!("{port} {a}"));
    let pid = place.status()["pid"].clone();
    let status = place.ctl("status --json").check(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["pid"], pid, "the one that is not draining is meant");
    drop(client);
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(place.all_sockets(), place.sockets());
}

#[test]
fn an_instance_of_another_user_can_be_restarted_and_controlled_by_that_user() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    std::fs::set_permissions(place.file(""), Permissions::from_mode(0o755)).unwrap();
    let words = format!("{port} {a} --user nobody");
    for admin in ["", " --admin its.sock"] {
        let mut old = place.native(&format!("{words}{admin}"));
        let client = Client::connect(&port);
        client.expect("a\n");
        if admin.is_empty() {
            let done = Done::run(&mut place.as_nobody("evenkeel", "ctl status --json"), "");
            assert!(done.check(0).stdout.contains("\"shutting_down\": false"));
        }
        place.ctl(&format!("{} status", admin.trim())).check(0);
        old.signal(Signal::TERM);
        old.log.wait("waiting for open sessions to end");
        let mut new = place.native(&format!("{words}{admin}"));
        let status = place.ctl(&format!("{} status --json", admin.trim())).check(0);
        assert!(status.stdout.contains("\"shutting_down\": false"), "{}", status.stdout);
        client.send("still mine");
        client.expect("still mine");
        drop(client);
        assert_eq!(old.wait().code(), Some(0));
        assert_eq!(ask(&port), "a");
        new.signal(Signal::TERM);
        assert_eq!(new.wait().code(), Some(0));
        assert_eq!(place.all_sockets(), [] as [std::path::PathBuf; 0]);
    }
}

#[test]
fn a_pid_file_that_the_user_cannot_remove_is_emptied() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    for _ in 0..2 {
        let mut evenkeel = place.native(&format!("{port} {a} --user nobody --pid-file its.pid"));
        let written = std::fs::read_to_string(place.file("its.pid")).unwrap();
        assert_eq!(written, format!("{}\n", evenkeel.pid().as_raw_nonzero()));
        evenkeel.signal(Signal::TERM);
        assert_eq!(evenkeel.wait().code(), Some(0));
        assert_eq!(std::fs::read_to_string(place.file("its.pid")).unwrap(), "");
    }
}

#[test]
fn no_file_of_a_stranger_is_written_beside_an_admin_socket() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    std::fs::write(place.file("its.pid"), "4711\n").unwrap();
    let mut evenkeel = place.native(&format!("{port} {a} --admin its.sock"));
    evenkeel.signal(Signal::TERM);
    assert_eq!(evenkeel.wait().code(), Some(0));
    assert_eq!(std::fs::read_to_string(place.file("its.pid")).unwrap(), "4711\n");
}

#[test]
fn what_a_sudden_death_leaves_does_not_prevent_a_start() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let words = format!("{port} {a}");
    let mut first = place.native(&words);
    let client = Client::connect(&port);
    client.expect("a\n");
    first.kill();
    assert_eq!(place.sockets().len(), 1, "a killed process cannot clean up");
    place.ctl("status").check(69);
    let _second = place.native(&words);
    assert_eq!(ask(&port), "a");
    place.ctl("status").check(0);
}

#[test]
fn a_name_in_use_is_not_taken_over() {
    let (place, first, second) = (Place::new(), port(), port());
    let a = Backend::named("a");
    let _evenkeel = place.native(&format!("{first} {a} --admin its.sock"));
    let done = place.run("evenkeel", &format!("{second} {a} --admin its.sock")).check(1);
    assert!(done.stderr.contains("its.sock"), "{}", done.stderr);
    let status = place.run("evenkeel", "ctl --admin its.sock status").check(0);
    assert!(status.stdout.contains(&format!("*:{first}")), "{}", status.stdout);
}

#[test]
fn privileges_are_dropped() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let evenkeel = place.native(&format!("{port} {a} --user nobody"));
    let status = format!("/proc/{}/status", evenkeel.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let uids = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(!uids.split_whitespace().skip(1).any(|uid| uid == "0"), "{uids}");
    assert_eq!(ask(&port), "a");
    assert_eq!(place.ctl("status").check(0).stderr, "");
}

#[test]
fn a_user_of_many_groups_keeps_all_of_them() {
    if skip_unless(rustix::process::geteuid().is_root(), "this needs root") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    // An /etc/group of its own, in which the user is in more groups than fit at the first try.
    let groups: Vec<u32> = (4000..4300).collect();
    let line = |group: &u32| format!("g{group}:x:{group}:nobody\n");
    std::fs::write(place.file("group"), groups.iter().map(line).collect::<String>()).unwrap();
    let evenkeel = place.command("evenkeel", "");
    let mut inside = Command::new("unshare");
    let script = "mount --bind group /etc/group && exec \"$@\"";
    inside.args(["--mount", "sh", "-c", script, "sh"]).arg(evenkeel.get_program());
    let words = format!("{port} {a} --user nobody --admin its.sock");
    inside.args(words.split(' ')).current_dir(place.file(""));
    let evenkeel = Program::spawn(&mut inside);
    evenkeel.log.wait("admin socket");
    let status = format!("/proc/{}/status", evenkeel.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let kept = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    let kept: Vec<u32> = kept.split_whitespace().map(|it| it.parse().unwrap()).collect();
    assert!(groups.iter().all(|group| kept.contains(group)), "{kept:?}");
}

#[test]
fn a_full_or_closed_output_is_an_error() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    for words in [&format!("{port} {a} --print-config"), "--help", "--version", "schema"] {
        Done::check_unwritable(1, || place.command("evenkeel", words));
    }
}

#[test]
fn many_starts_and_ends_leave_nothing() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    for _ in 0..10 {
        let mut evenkeel: Program = place.native(&format!("{port} {a}"));
        assert_eq!(ask(&port), "a");
        evenkeel.signal(Signal::INT);
        assert_eq!(evenkeel.wait().code(), Some(0));
    }
    let left: Vec<_> = std::fs::read_dir(place.runtime()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
