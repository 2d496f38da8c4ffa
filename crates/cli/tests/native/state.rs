//! What a restart remembers: the state file.

use crate::support::{
    Backend, Done, Place, Port, Program, ask, ask_from, ask_times, port, skip_unless, until,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

/// An instance with a state file.
struct Kept {
    place: Place,
    port: Port,
}

impl Kept {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.file("state")).unwrap();
        Self { place, port: port() }
    }

    fn file(&self) -> PathBuf {
        self.place.file(&format!("state/evenkeel.{}.json", self.port))
    }

    fn words(&self, backends: &str) -> String {
        format!("{} {backends} --state {}", self.port, self.place.file("state").display())
    }

    #[track_caller]
    fn start(&self, backends: &str) -> Program {
        self.place.native(&self.words(backends))
    }

    /// Waits until the file has `text` in it.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        until(text, || fs::read_to_string(self.file()).is_ok_and(|it| it.contains(text)));
    }

    fn admin(&self, tier: usize, index: usize) -> Value {
        self.place.backend(tier, index)["admin"].clone()
    }

    /// Where a state file that cannot be used is moved.
    fn set_aside(&self) -> PathBuf {
        let mut path = self.file().into_os_string();
        path.push(".broken");
        path.into()
    }
}

#[test]
fn what_an_operator_changed_is_changed_after_a_restart() {
    let (kept, [a, b]) = (Kept::new(), ["a", "b"].map(Backend::named));
    let mut evenkeel = kept.start(&format!("{a} ! {b}"));
    kept.place.ctl("disable 0.0").check(0);
    kept.place.ctl("limit 1.0 7").check(0);
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    let mode = fs::metadata(kept.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let evenkeel = kept.start(&format!("{a} ! {b}"));
    assert_eq!(kept.admin(0, 0), "disabled");
    assert_eq!(kept.place.backend(1, 0)["sessions_max"], 7);
    assert_eq!(ask(&kept.port), "b");
    let line = evenkeel.log.wait(&format!("backend={a}"));
    assert!(line.contains("still changed"), "{line}");
    // And back.
    kept.place.ctl("enable 0.0").check(0);
    kept.place.ctl("limit 1.0 0").check(0);
    kept.wait_for("\"pools\":{}");
    drop(evenkeel);
    let _evenkeel = kept.start(&format!("{a} ! {b}"));
    assert_eq!(kept.admin(0, 0), "enabled");
}

#[test]
fn a_changed_line_wins() {
    let (kept, [a, b]) = (Kept::new(), ["a", "b"].map(Backend::named));
    let mut evenkeel = kept.start(&format!("{a}:5 {b}"));
    kept.place.ctl("limit 0.0 7").check(0);
    kept.place.ctl("disable 0.1").check(0);
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    let evenkeel = kept.start(&format!("{b} {a}:6"));
    let line = evenkeel.log.wait("change from before the restart dropped");
    assert!(line.contains("max-sessions: 7 instead of 5"), "{line}");
    assert_eq!(kept.place.backend(0, 1)["sessions_max"], 6);
    assert_eq!(kept.admin(0, 0), "disabled");
}

#[test]
fn a_backend_that_failed_is_left_alone_after_a_sudden_death() {
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let down = Backend::refusing();
    let words = format!("{down} {a} --auto-disable");
    let mut evenkeel = kept.start(&words);
    assert_eq!(ask_times(&kept.port, 2), "a a");
    kept.wait_for("disabled");
    evenkeel.kill();

    let evenkeel = kept.start(&words);
    assert_eq!(kept.admin(0, 0), "disabled");
    down.start();
    assert_eq!(ask_times(&kept.port, 9), "a a a a a a a a a");
    assert_eq!(down.accepted(), 0);
    evenkeel.log.wait("disabled instead of enabled");
}

#[test]
fn a_quarantine_goes_on_after_a_restart() {
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let down = Backend::refusing();
    let words = format!("{down} {a} --quarantine 10m");
    let mut evenkeel = kept.start(&words);
    assert_eq!(ask_times(&kept.port, 2), "a a");
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    let _evenkeel = kept.start(&words);
    assert_eq!(kept.place.backend(0, 0)["health"], "quarantined");
    down.start();
    assert_eq!(ask_times(&kept.port, 9), "a a a a a a a a a");
}

#[test]
fn clients_return_to_their_backends_after_a_restart() {
    let (kept, [a, b, c]) = (Kept::new(), ["a", "b", "c"].map(Backend::named));
    let mut evenkeel = kept.start(&format!("{a} {b} {c} --affinity 100"));
    let from = |last| ask_from(&kept.port, [127, 0, 0, last]);
    let had: Vec<_> = (1..=9).map(from).collect();
    kept.place.ctl("remove 0.0").check(0);
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    // In another order, and with more of them.
    let d = Backend::named("d");
    let _evenkeel = kept.start(&format!("{d} {c} {b} {a} --affinity 100"));
    for (client, had) in (1..=9).zip(had).rev().filter(|(_, had)| had != "a") {
        assert_eq!(from(client), had);
    }
}

#[test]
fn the_last_change_is_on_disk_before_the_next_instance_can_begin() {
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let _evenkeel = kept.start(&format!("{a}"));
    kept.place.ctl("disable 0.0").check(0);
    kept.wait_for("disabled");
    // Written a second later, or at the end.
    kept.place.ctl("drain 0.0").check(0);
    let address = ("0.0.0.0", kept.port.number());
    thread::scope(|scope| {
        scope.spawn(|| kept.place.ctl("shutdown").check(0));
        while TcpListener::bind(address).is_err() {
            thread::yield_now();
        }
        let state = fs::read_to_string(kept.file()).unwrap();
        assert!(state.contains("draining"), "{state}");
    });
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside() {
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let mut evenkeel = kept.start(&format!("{a}"));
    kept.place.ctl("disable 0.0").check(0);
    kept.wait_for("disabled");
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    let good = fs::read_to_string(kept.file()).unwrap();
    let other = format!("\"evenkeel.{}\"", kept.port);
    let huge = "[".repeat(20 << 20);
    for (contents, why) in [
        ("", "it is damaged"),
        ("\0\0\0\0", "it is damaged"),
        ("null", "it is damaged"),
        (&good[..good.len() / 2], "it is damaged"),
        (&*good.replace("disabled", "disturbed"), "it is damaged"),
        (&*good.replace("\"version\":1", "\"version\":2"), "it has version 2"),
        (&*good.replace("\"version\":1", "\"version\":0"), "it has version 0"),
        (&*good.replace(&other, "\"evenkeel.1\""), "it belongs to the instance evenkeel.1"),
        (&*huge, "it is longer than"),
    ] {
        fs::write(kept.file(), contents).unwrap();
        let evenkeel = kept.start(&format!("{a}"));
        let lines = evenkeel.log.with("state file");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(why) && lines[0].contains("warn"), "{why}: {lines:?}");
        assert_eq!(ask(&kept.port), "a");
        assert_eq!(fs::read_to_string(kept.set_aside()).unwrap(), contents);
        drop(evenkeel);
    }
}

#[test]
fn what_is_not_a_file_of_ours_is_set_aside() {
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let aside = kept.set_aside();
    let other = kept.place.file("other");
    fs::write(&other, "other").unwrap();
    let check = |why: &str| {
        let evenkeel = kept.start(&format!("{a}"));
        assert!(evenkeel.log.wait("state file").contains(why), "{:?}", evenkeel.log.all());
        assert_eq!(ask(&kept.port), "a");
        assert!(fs::symlink_metadata(&aside).is_ok());
        kept.wait_for("version");
    };
    symlink(&other, kept.file()).unwrap();
    check("it is a symbolic link");
    assert_eq!(fs::read_to_string(&other).unwrap(), "other");
    fs::remove_file(&aside).unwrap();

    fs::remove_file(kept.file()).unwrap();
    fs::create_dir(kept.file()).unwrap();
    check("it is not a regular file");
    fs::remove_dir(&aside).unwrap();

    fs::remove_file(kept.file()).unwrap();
    assert!(Command::new("mkfifo").arg(kept.file()).status().unwrap().success());
    check("it is not a regular file");

    fs::set_permissions(kept.file(), PermissionsExt::from_mode(0o666)).unwrap();
    check("other users may write to it");
    if !skip_unless(rustix::process::geteuid().is_root(), "another user's file needs root") {
        std::os::unix::fs::chown(kept.file(), Some(12_345), None).unwrap();
        check("it belongs to user 12345");
    }
}

#[test]
fn a_directory_that_cannot_be_used_costs_one_warning() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    fs::write(place.file("file"), "").unwrap();
    for dir in ["/proc", "/nowhere/at/all", "file"] {
        let evenkeel = place.native(&format!("{port} {a} --state {dir}"));
        evenkeel.log.wait("a restart will");
        place.ctl("disable 0.0").check(0);
        place.ctl("enable 0.0").check(0);
        assert_eq!(ask(&port), "a");
        let warnings = evenkeel.log.with("a restart will");
        assert_eq!(warnings.len(), 1, "{dir}: {:?}", evenkeel.log.all());
    }
}

#[test]
fn a_full_disk_costs_one_warning() {
    let is_root = rustix::process::geteuid().is_root();
    let can = is_root && Done::run(Command::new("unshare").args(["-m", "true"]), "").status == 0;
    if skip_unless(can, "this needs root and unshare (util-linux)") {
        return;
    }
    let (kept, a) = (Kept::new(), Backend::named("a"));
    let inside = kept.place.command("evenkeel", &kept.words(&format!("{a}")));
    let script = "mount -t tmpfs -o size=8k none state && head -c 1m /dev/zero >state/full 2>/dev/null; \
                  exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(inside.get_program())
        .args(inside.get_args());
    command.env("EVENKEEL_RUNTIME_DIR", kept.place.runtime());
    command.current_dir(inside.get_current_dir().unwrap());
    let evenkeel = Program::spawn(&mut command);
    let line = evenkeel.log.wait("state cannot be written");
    assert!(line.contains("No space left"), "{line}");
    kept.place.ctl("disable 0.0").check(0);
    kept.place.ctl("enable 0.0").check(0);
    assert_eq!(ask(&kept.port), "a");
    assert_eq!(evenkeel.log.with("state cannot be written").len(), 1);
}

#[test]
fn without_being_asked_a_line_keeps_no_state() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let state = place.file("state");
    fs::create_dir(&state).unwrap();
    let count = || fs::read_dir(&state).unwrap().count();
    let start = |argv0: &str, words: &str, is_systemd: bool| {
        let mut command = place.command(argv0, words);
        if is_systemd {
            command.env("STATE_DIRECTORY", &state);
        }
        let mut program = Program::spawn(&mut command);
        until("an answer", || place.sockets().len() == 1 && ask(&port) == "a");
        program.signal(Signal::TERM);
        program.wait();
    };
    start("evenkeel", &format!("{port} {a}"), false);
    start("balance", &format!("-f {port} {a}"), true);
    start("pen", &format!("-f {port} {a}"), true);
    start("evenkeel", &format!("{port} {a} --state none"), true);
    assert_eq!(count(), 0);
    start("evenkeel", &format!("{port} {a}"), true);
    assert_eq!(count(), 1, "the service manager has made a directory for it");
}

#[test]
fn a_file_is_the_same_instance_wherever_it_listens() {
    let (place, [a, b]) = (Place::new(), ["a", "b"].map(Backend::named));
    let state = place.file("no-state"); // where the service manager would have made one
    fs::create_dir(&state).unwrap();
    let write = |port: &Port, backends: &str| {
        let text = format!(
            "[listeners.db]\nbind = \"127.0.0.1:{port}\"\npool = \"db\"\n\
             [pools.db]\nbackends = [{backends}]\n"
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    let first = port();
    write(&first, &format!("\"{a}\", {{ to = \"{b}\", max-sessions = 3 }}"));
    let mut evenkeel = place.native("run lb.toml");
    place.ctl("disable 0.0").check(0);
    place.ctl("limit 0.1 7").check(0);
    evenkeel.signal(Signal::TERM);
    evenkeel.wait();
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);

    let second = port();
    write(&second, &format!("{{ to = \"{b}\", max-sessions = 4 }}, \"{a}\""));
    let evenkeel = place.native("run lb.toml");
    let backends = place.status()["pools"][0]["tiers"][0]["backends"].clone();
    assert_eq!(backends[0]["sessions_max"], 4, "the file has changed it");
    assert_eq!(backends[1]["admin"], "disabled");
    evenkeel.log.wait("max-sessions: 7 instead of 3");
    assert_eq!(ask(&second), "b");
    // A reload sees the same differences as if there had been no restart.
    write(&second, &format!("{{ to = \"{b}\", max-sessions = 5 }}, \"{a}\""));
    place.ctl("reload").check(0);
    let backends = place.status()["pools"][0]["tiers"][0]["backends"].clone();
    assert_eq!(backends[0]["sessions_max"], 5);
    assert_eq!(backends[1]["admin"], "disabled");
}

#[test]
fn another_user_keeps_its_state_too() {
    if skip_unless(rustix::process::geteuid().is_root(), "changing the user needs root") {
        return;
    }
    let (place, port, [a, b]) = (Place::new(), port(), ["a", "b"].map(Backend::named));
    fs::set_permissions(place.file(""), PermissionsExt::from_mode(0o755)).unwrap();
    let state = place.file("new");
    let words =
        format!("{port} {a} {b} --user nobody --root /var/empty --state {}", state.display());
    let root = place.file("root");
    fs::create_dir(&root).unwrap();
    let words = words.replace("/var/empty", &root.display().to_string());
    let mut evenkeel = place.native(&words);
    place.ctl("disable 0.0").check(0);
    let file = state.join(format!("evenkeel.{port}.json"));
    until("it to be written", || fs::read_to_string(&file).is_ok_and(|it| it.contains("disabled")));
    evenkeel.kill();
    let _evenkeel = place.native(&words);
    assert_eq!(place.backend(0, 0)["admin"], "disabled");
}
