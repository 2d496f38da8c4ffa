//! Names that stand for backends, in a network namespace with a name server of its own.

use crate::support::{Done, Place, Program, skip_unless, until};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A network namespace whose programs ask 127.0.0.1 for names; removed when dropped.
pub(super) struct Namespace {
    pub(super) name: String,
}

impl Namespace {
    /// `None` where there is no root, no `ip` or no dnsmasq.
    fn new() -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("evenkeel-{}-{number}", std::process::id());
        let namespace = Self { name };
        let has = |program: &str| {
            Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success())
        };
        let is_root = rustix::process::geteuid().is_root();
        if !is_root || !has("dnsmasq") || !run(&["ip", "netns", "add", &namespace.name]) {
            return None;
        }
        std::fs::create_dir_all(namespace.etc()).ok()?;
        std::fs::write(namespace.etc().join("resolv.conf"), "nameserver 127.0.0.1\n").ok()?;
        std::fs::write(namespace.etc().join("hosts"), "").ok()?;
        let up = namespace.command(&["ip", "link", "set", "lo", "up"]).status();
        up.is_ok_and(|status| status.success()).then_some(namespace)
    }

    /// ip-netns(8) puts the files in here in the place of those in /etc.
    fn etc(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }
}

impl Namespace {
    /// A namespace, or the reason why the test is skipped.
    pub(super) fn or_skip() -> Option<Self> {
        let namespace = Self::new();
        let needs = "this needs root, ip (iproute2) and dnsmasq (dnsmasq-base)";
        if skip_unless(namespace.is_some(), needs) { None } else { namespace }
    }

    /// Starts evenkeel inside, and returns when it is ready.
    pub(super) fn evenkeel(&self, place: &Place, words: &str) -> Program {
        let evenkeel = Program::spawn(&mut self.start(place, words));
        evenkeel.log.wait("admin socket");
        evenkeel
    }

    pub(super) fn start(&self, place: &Place, words: &str) -> Command {
        let evenkeel = place.command("evenkeel", "");
        let mut all = vec![evenkeel.get_program().to_str().unwrap()];
        all.extend(words.split(' '));
        let mut command = self.command(&all);
        command.env("EVENKEEL_RUNTIME_DIR", place.runtime()).current_dir(place.file(""));
        command
    }

    /// Starts a name server inside that knows what `hosts` says, with a TTL of a second.
    pub(super) fn name_server(&self, hosts: &Path) -> Program {
        let option = format!("--addn-hosts={}", hosts.display());
        let words = "dnsmasq --keep-in-foreground --log-facility=- --no-resolv --no-hosts \
            --local-ttl=1 --listen-address=127.0.0.1 --bind-interfaces --pid-file= --user=root";
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.push(&option);
        let names = Program::spawn(&mut self.command(&words));
        names.log.wait("read");
        names
    }

    /// Has a backend tried, which fails.
    fn fail_once(&self, evenkeel: &Program) {
        let before = evenkeel.log.with("session ended").len();
        self.command(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8000; cat <&3"]).output().unwrap();
        evenkeel.log.wait_nth("session ended", before);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.name]);
        let _ = std::fs::remove_dir_all(self.etc());
    }
}

/// A namespace, a place for evenkeel, and a name server that knows `hosts`, the text of [`HOSTS`] in
/// the place; or `None` if the test is skipped.
fn set_up(hosts: &str) -> Option<(Namespace, Place, Program)> {
    let namespace = Namespace::or_skip()?;
    let place = Place::new();
    std::fs::write(place.file(HOSTS), hosts).unwrap();
    let names = namespace.name_server(&place.file(HOSTS));
    Some((namespace, place, names))
}

const HOSTS: &str = "hosts";

fn run(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).status().is_ok_and(|status| status.success())
}

#[test]
fn a_name_is_looked_up_again_when_its_ttl_expires() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.2 app.test\n") else { return };
    let evenkeel = namespace.evenkeel(&place, "127.0.0.1:8000 app.test:9000");
    assert_eq!(place.backend(0, 0)["addresses"][0], "127.0.0.2:9000");

    std::fs::write(place.file(HOSTS), "127.0.0.3 app.test\n").unwrap();
    names.signal(Signal::HUP);
    evenkeel.log.wait("addresses=127.0.0.3:9000");
    assert_eq!(place.backend(0, 0)["addresses"][0], "127.0.0.3:9000");
}

#[test]
fn a_name_of_an_added_backend_is_looked_up_again() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.2 app.test\n") else { return };
    let evenkeel = namespace.evenkeel(&place, "127.0.0.1:8000 127.0.0.9:9000");
    place.ctl("add 0 app.test:http").check(0);
    assert_eq!(place.backend(0, 1)["addresses"][0], "127.0.0.2:80");

    std::fs::write(place.file(HOSTS), "127.0.0.3 app.test\n").unwrap();
    names.signal(Signal::HUP);
    evenkeel.log.wait("addresses=127.0.0.3:80");
}

#[test]
fn a_change_of_the_hosts_file_is_seen_at_the_next_lookup() {
    let Some(namespace) = Namespace::or_skip() else { return };
    let place = Place::new();
    let hosts = namespace.etc().join("hosts");
    std::fs::write(&hosts, "127.0.0.2 app.test\n").unwrap();
    let evenkeel = namespace.evenkeel(&place, "127.0.0.1:8000 app.test:9000");
    assert_eq!(place.backend(0, 0)["addresses"][0], "127.0.0.2:9000");
    std::fs::write(&hosts, "127.0.0.3 app.test\n").unwrap();
    until("the other address", || {
        namespace.fail_once(&evenkeel); // a failed connect makes it look again
        place.backend(0, 0)["addresses"][0] == "127.0.0.3:9000"
    });
}

#[test]
fn an_address_does_not_wait_for_names_when_dns_is_dead() {
    let Some((namespace, place, mut names)) = set_up("") else { return };
    names.signal(Signal::STOP); // takes questions and never answers
    let evenkeel = namespace.evenkeel(&place, "127.0.0.1:8000 127.0.0.9:9000");
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| place.ctl("add 0 app.test:9000"));
        let begin = Instant::now();
        until("a lookup to be under way", || begin.elapsed() > Duration::from_millis(300));
        let begin = Instant::now();
        place.ctl("add 0 127.0.0.8:9000").check(0);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        let dead: Done = dead.join().unwrap();
        assert_ne!(dead.status, 0);
    });
    drop(evenkeel);
}

/// How long a start may take if nobody answers, on a busy machine. The resolver of the system gives
/// up after ten seconds or more.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn others_serve_at_once_when_dns_is_dead_at_the_start() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.2 app.test\n") else { return };
    names.signal(Signal::STOP);
    let begin = Instant::now();
    let words = "127.0.0.1:8000 app.test:9000 -- 127.0.0.1:8001 127.0.0.1:9001";
    let evenkeel = namespace.evenkeel(&place, words);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let pools = place.status()["pools"].clone();
    assert_eq!(pools[0]["tiers"][0]["backends"][0]["health"], "unresolved");
    assert_eq!(pools[1]["tiers"][0]["backends"][0]["addresses"][0], "127.0.0.1:9001");
    evenkeel.log.wait("pool has no address");
    // As soon as there is an answer, it is used.
    names.signal(Signal::CONT);
    evenkeel.log.wait("addresses=127.0.0.2:9000");
}

#[test]
fn a_dead_dns_keeps_a_single_service_waiting_for_its_name() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.2 app.test\n") else { return };
    names.signal(Signal::STOP);
    let evenkeel = namespace.evenkeel(&place, "127.0.0.1:8000 app.test:9000");
    names.signal(Signal::CONT);
    evenkeel.log.wait("addresses=127.0.0.2:9000");
}

#[test]
fn a_wrong_name_keeps_down_only_a_line_that_has_nothing_else() {
    let Some((namespace, place, _names)) = set_up("127.0.0.2 app.test\n") else { return };
    let refused = Done::run(&mut namespace.start(&place, "127.0.0.1:8000 wrong.test:9000"), "");
    assert_eq!(refused.status, 1);
    let expected = "evenkeel: cannot resolve any backend; the first one is wrong.test:9000: ";
    assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
    let words = "127.0.0.1:8000 wrong.test:9000 -- 127.0.0.1:8001 app.test:9001";
    let evenkeel = namespace.evenkeel(&place, words);
    evenkeel.log.wait("pool has no address");
    let pools = place.status()["pools"].clone();
    assert_eq!(pools[1]["tiers"][0]["backends"][0]["addresses"][0], "127.0.0.2:9001");
}

#[test]
fn a_reload_waits_two_seconds_for_all_new_listening_names_together() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.1 here.test\n") else { return };
    let service = |host: &str, port: u16| {
        format!("[listeners.{host}]\nbind = '{host}.test:{port}'\npool = 'web'\n")
    };
    let file = place.file("lb.toml");
    let pool = "[pools.web]\nbackends = ['127.0.0.9:1']\n";
    let good = service("here", 8000) + pool;
    std::fs::write(&file, &good).unwrap();
    let _evenkeel = namespace.evenkeel(&place, "run lb.toml");
    names.signal(Signal::STOP);
    let reload = |text: String| {
        std::fs::write(&file, text).unwrap();
        let begin = Instant::now();
        (place.run("evenkeel", "reload"), begin.elapsed())
    };
    let dead = ["one", "two", "three"].map(|host| service(host, 8001)).concat();
    let (refused, took) = reload(good.clone() + &dead);
    let expected = "cannot resolve the listening address two.test: no answer within two seconds";
    assert!(refused.check(1).stderr.contains(expected));
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Where it listens already, it need not know the address again.
    let (done, took) = reload(good.replace("9:1", "9:2"));
    done.check(0);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn the_last_answers_are_used_when_dns_is_dead_at_a_restart() {
    let Some((namespace, place, mut names)) = set_up("127.0.0.2 app.test\n127.0.0.1 here.test\n")
    else {
        return;
    };
    let words = "here.test:8000 app.test:9000 --state state";
    let mut evenkeel = namespace.evenkeel(&place, words);
    let file = place.file("state/evenkeel.here.test:8000.json");
    until("the addresses to be on disk", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("127.0.0.2:9000"))
    });
    evenkeel.kill();
    names.signal(Signal::STOP);
    let begin = Instant::now();
    let evenkeel = namespace.evenkeel(&place, words);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let backend = &place.status()["pools"][0]["tiers"][0]["backends"][0];
    assert_eq!(backend["addresses"][0], "127.0.0.2:9000");
    let line = evenkeel.log.wait("last known addresses");
    assert!(line.contains("app.test:9000"), "{line}");
    // What is true now takes their place.
    std::fs::write(place.file(HOSTS), "127.0.0.3 app.test\n").unwrap();
    names.signal(Signal::CONT);
    names.signal(Signal::HUP);
    until("the other address", || {
        namespace.fail_once(&evenkeel);
        place.status()["pools"][0]["tiers"][0]["backends"][0]["addresses"][0] == "127.0.0.3:9000"
    });
}
