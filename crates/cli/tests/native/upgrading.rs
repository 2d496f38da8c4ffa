//! Upgrades: another process takes over listeners and open sessions, and nobody notices.

use super::support::{
    Backend, Client, Done, End, Manager, PATIENCE, Place, Port, Program, ask, ask_times, port,
    skip_unless, until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use sys::channel::{Channel, Flag};

/// Waits until this process has ended, and been reaped by whoever had to.
#[track_caller]
pub fn until_gone(program: &mut Program) {
    assert_eq!(program.wait().code(), Some(0));
}

#[track_caller]
pub fn upgrade(place: &Place, words: &str) -> String {
    place.run("evenkeel", &format!("upgrade {words}")).check(0).stdout
}

pub fn pid(place: &Place) -> u64 {
    place.status()["pid"].as_u64().unwrap()
}

/// A session through which bytes have passed, so that it can move.
pub fn talk(port: &Port, word: &str) -> Client {
    let client = Client::connect(port);
    client.send(word);
    client.expect(word);
    client
}

/// What the only listener has counted: accepted, ended, sent, received.
fn counted(place: &Place) -> [u64; 4] {
    let listener = &place.status()["listeners"][0];
    let ended = listener["ended_total"].as_array().unwrap().iter();
    let ended = ended.map(|row| row["sessions"].as_u64().unwrap()).sum();
    let count = |name: &str| listener[name].as_u64().unwrap();
    [count("sessions_total"), ended, count("sent_bytes_total"), count("received_bytes_total")]
}

#[test]
fn sessions_counters_and_turns_go_on_in_the_new_process() {
    let (place, port) = (Place::new(), port());
    let backends = [Backend::named("a"), Backend::named("b"), Backend::named("c")];
    let [a, b, c] = &backends;
    let mut old = place.native(&format!("{port} {a} {b} {c}"));
    let client = Client::connect(&port);
    client.expect("a\n");
    client.send("first");
    client.expect("first");
    assert_eq!(ask(&port), "b");
    place.ctl("limit 0.1 7").check(0);
    place.ctl("disable 0.0").check(0);
    until("one session", || place.sessions() == 1);
    let status = || {
        let mut status = place.status();
        let change = "/pools/0/tiers/0/backends/0/last_change/seconds";
        *status.pointer_mut(change).unwrap() = 0.into();
        status
    };
    let before = status();
    let said = upgrade(&place, "");
    assert!(said.starts_with("upgraded: 1 sessions moved in "), "{said}");
    until_gone(&mut old);
    let after = status();
    assert_ne!(after["pid"], before["pid"]);
    for path in ["/pools", "/listeners", "/departed_backends", "/version"] {
        assert_eq!(after.pointer(path), before.pointer(path), "{path}");
    }
    client.send("second");
    client.expect("second");
    assert_eq!(ask_times(&port, 2), "c b", "the turn goes on, and a stays disabled");
    client.finish();
    assert_eq!(client.end(), End::Eof);
    let line = old.log.wait("session=1 ");
    for part in ["backend=127.0.0.1", "sent=11", "received=13", "reason=client-fin"] {
        assert!(line.contains(part), "{line}");
    }
}

/// Sends `bytes` numbered bytes both ways at once, and checks what arrives.
fn exchange(port: &Port, bytes: usize) -> thread::JoinHandle<()> {
    let client = Client::connect(port).0;
    thread::spawn(move || {
        let mut writer = client.try_clone().unwrap();
        let sender = thread::spawn(move || {
            let piece: Vec<u8> = (0..251).collect();
            for _ in 0..bytes / 251 {
                writer.write_all(&piece).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (mut reader, mut buffer, mut place) = (client, vec![0; 1 << 16], 0);
        loop {
            let count = reader.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            for byte in &buffer[..count] {
                assert_eq!(*byte, (place % 251) as u8, "at {place}");
                place += 1;
            }
        }
        assert_eq!(place, bytes / 251 * 251);
        sender.join().unwrap();
    })
}

#[test]
fn upgrades_under_load_lose_no_byte_and_refuse_nobody() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut old = place.native(&format!("{port} {echo}"));
    let bulk: Vec<_> = (0..3).map(|_| exchange(&port, 30 << 20)).collect();
    let idle: Vec<_> = (0..40).map(|_| talk(&port, "idle")).collect();
    let half_closed = talk(&port, "half");
    // A reader that is not there yet: what it is sent is held back everywhere.
    let slow = exchange_slowly(&port, 8 << 20);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let new_clients = scope.spawn(|| {
            let mut served = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                drop(talk(&port, "new"));
                served += 1;
            }
            served
        });
        for _ in 0..5 {
            let before = counted(&place);
            upgrade(&place, "");
            let after = counted(&place);
            let goes_on = before.iter().zip(&after).all(|(before, after)| before <= after);
            assert!(goes_on, "counters went back: {before:?} to {after:?}");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(new_clients.join().unwrap() > 10);
    });
    until_gone(&mut old);
    for client in &idle {
        client.send("still");
        client.expect("still");
    }
    half_closed.send("last");
    half_closed.finish();
    assert_eq!(half_closed.rest(), (b"last".to_vec(), End::Eof));
    slow.join().unwrap();
    bulk.into_iter().for_each(|it| it.join().unwrap());
    drop(idle);
    until("all sessions to have ended, in the log too", || {
        let [accepted, ended, ..] = counted(&place);
        accepted == ended && old.log.with("session ended").len() as u64 == ended
    });
    let ended = old.log.with("session ended");
    assert!(ended.iter().all(|line| line.contains("reason=client-fin")), "{ended:?}");
    // To the byte, whichever process has passed it.
    let field = |line: &String, name: &str| -> u64 {
        let text = line.split(' ').find_map(|it| it.strip_prefix(name)).unwrap();
        text.parse().unwrap()
    };
    let sum = |name: &str| ended.iter().map(|line| field(line, name)).sum::<u64>();
    let [accepted, _, sent, received] = counted(&place);
    assert_eq!([ended.len() as u64, sum("sent="), sum("received=")], [accepted, sent, received]);
    let backend = &place.backend(0, 0)["totals"];
    for (name, count) in
        [("attempts", accepted), ("sent_bytes", sent), ("received_bytes", received)]
    {
        assert_eq!(backend[name], count, "{name}");
    }
    assert_eq!(backend["connect"]["count"], accepted);
}

/// Sends bytes, and reads what comes back only when all have been sent.
fn exchange_slowly(port: &Port, bytes: usize) -> thread::JoinHandle<()> {
    let client = Client::connect(port).0;
    let mut writer = client.try_clone().unwrap();
    thread::spawn(move || {
        let sender = thread::spawn(move || {
            writer.write_all(&vec![7; bytes]).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut reader = client;
        let mut buffer = vec![0; 4096];
        let mut received = 0;
        loop {
            let count = reader.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            received += count;
            thread::yield_now();
        }
        assert_eq!(received, bytes);
        sender.join().unwrap();
    })
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let text = |more: &str| {
        format!(
            "[listeners.web]\nbind = {port}\npool = 'web'\n[pools.web]\nbackends = ['{a}']\n{more}"
        )
    };
    fs::write(place.file("lb.toml"), text("")).unwrap();
    let running = place.native("run lb.toml");
    let client = Client::connect(&port);
    client.expect("a\n");
    let before = pid(&place);
    let check = |words: &str, part: &str| {
        let said = place.run("evenkeel", words).check(1).stderr;
        assert!(said.contains(part), "{said}");
        assert_eq!(pid(&place), before);
        assert_eq!(ask(&port), "a");
    };
    fs::write(place.file("bad.toml"), text("[pools.web]\n")).unwrap();
    check("upgrade --config bad.toml", "bad.toml:");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    fs::write(
        place.file("taken.toml"),
        text(&format!("[listeners.new]\nbind = '{address}'\npool = 'web'\n")),
    )
    .unwrap();
    check("upgrade --config taken.toml", "cannot listen on");
    let many: Vec<_> = (0..20).map(|_| talk(&port, "a\n")).collect();
    drop(many);
    let usual = place.command("evenkeel", "");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg("ulimit -n 60; exec \"$0\" upgrade").arg(usual.get_program());
    shell.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(place.file("."));
    let said = Done::run(&mut shell, "").check(1).stderr;
    assert!(said.contains("file descriptors") && said.contains("60"), "{said}");
    client.send("still there");
    client.expect("still there");
    running.log.wait("upgrade failed; nothing has changed");
    // Commands are carried out again.
    place.ctl("limit 0.0 9").check(0);
}

/// The last message of an old process that has nothing left.
const FINAL: &str = r#"{"staying":{"tls":0,"flows":0,"unsettled":0},"refused":0,
    "counts":{"next_number":100,"pools":{},"listeners":{}}}"#;

/// A process that asks to take over, as far as the test wants.
pub struct Taker(Channel);

const KINDS: [&str; 14] = [
    "hello", "state", "refuse", "ready", "switch", "batch", "taken", "commit", "rest", "final",
    "progress", "beat", "release", "stop",
];

fn message(kind: &str, text: &str, major: u8, tail: &[u8]) -> Vec<u8> {
    let mut message = b"EVKL".to_vec();
    message.push(KINDS.iter().position(|it| *it == kind).unwrap() as u8 + 1);
    message.extend([0, major, 0]);
    message.extend((text.len() as u32).to_le_bytes());
    message.extend((tail.len() as u32).to_le_bytes());
    message.extend(text.as_bytes());
    message.extend(tail);
    message
}

impl Taker {
    pub fn ask(place: &Place) -> Self {
        Self(Channel::connect(&place.socket().with_extension("hand-over")).unwrap())
    }

    pub fn send(&self, kind: &str, text: &str, major: u8) {
        self.send_all(kind, text, major, b"", &[]);
    }

    fn send_all(&self, kind: &str, text: &str, major: u8, tail: &[u8], descriptors: &[OwnedFd]) {
        let message = message(kind, text, major, tail);
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.0.send(&message, &descriptors, None).unwrap();
    }

    pub fn hello(&self) {
        self.say_hello(false);
    }

    /// Says whether it will report its progress on the way to being ready.
    pub fn say_hello(&self, reports_progress: bool) {
        self.greet(reports_progress, Duration::ZERO);
    }

    /// Asks to be watched for some time, as an older release does.
    pub fn say_hello_guarded(&self, guard: Duration) {
        self.greet(false, guard);
    }

    fn greet(&self, reports_progress: bool, guard: Duration) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let hello = serde_json::json!({
            "program": "a test", "boot": boot.trim(), "descriptors": 1000, "takes_flows": true,
            "reports_progress": reports_progress, "guard_millis": guard.as_millis() as u64
        });
        self.send("hello", &hello.to_string(), 1);
    }

    /// The next message; `None` if the channel has ended.
    pub fn receive(&self) -> Option<(&'static str, Value, Vec<OwnedFd>)> {
        let (mut header, mut descriptors) = ([0; 16], Vec::new());
        if !self.0.receive(&mut header, &mut descriptors, None).ok()? {
            return None;
        }
        let length = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut read = |count: u32| {
            let mut bytes = vec![0; count as usize];
            self.0.receive(&mut bytes, &mut descriptors, None).unwrap();
            bytes
        };
        let text = read(length(8));
        read(length(12));
        let record = serde_json::from_slice(&text).unwrap_or_default();
        Some((KINDS[usize::from(header[4]) - 1], record, descriptors))
    }

    /// Whether nothing comes for this long, and the channel does not end.
    fn is_silent_for(&self, time: Duration) -> bool {
        let deadline = Some(sys::clock::now() + time);
        let nothing = self.0.receive(&mut [0], &mut Vec::new(), deadline);
        nothing.is_err_and(|error| error.kind() == ErrorKind::TimedOut)
    }

    #[track_caller]
    pub fn expect(&self, kind: &str) -> (Value, Vec<OwnedFd>) {
        let (found, record, descriptors) = self.receive().expect("a message");
        assert_eq!(found, kind, "{record}");
        (record, descriptors)
    }
}

#[test]
fn the_old_process_serves_on_wherever_the_new_one_dies() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let old = place.native(&format!("{port} {echo}"));
    let client = talk(&port, "x");
    let before = pid(&place);
    let steps: [&dyn Fn(&Taker); 6] = [
        &|_| {},
        &|taker| taker.hello(),
        &|taker| {
            taker.hello();
            taker.expect("state");
        },
        &|taker| {
            taker.hello();
            taker.expect("state");
            taker.send("ready", r#"{"pid":1}"#, 1);
            taker.expect("switch");
        },
        &|taker| {
            taker.hello();
            taker.expect("state");
            taker.send("ready", r#"{"pid":1}"#, 1);
            taker.expect("switch");
            let (batch, descriptors) = taker.expect("batch");
            assert_eq!((batch["sessions"].as_array().unwrap().len(), descriptors.len()), (1, 2));
        },
        // It says something that does not belong here.
        &|taker| {
            taker.hello();
            taker.expect("state");
            taker.send("commit", "", 1);
            while taker.receive().is_some() {}
        },
    ];
    for (number, step) in steps.iter().enumerate() {
        let taker = Taker::ask(&place);
        step(&taker);
        drop(taker);
        client.send("go on");
        client.expect("go on");
        drop(talk(&port, "new"));
        until("the admin socket to answer as before", || place.ctl("limit 0.0 9").status == 0);
        assert_eq!(pid(&place), before, "step {number}");
    }
    assert_eq!(old.log.with("serves again").len(), 2);
    // And it can still be upgraded.
    upgrade(&place, "");
    client.send("moved");
    client.expect("moved");
}

#[test]
fn a_new_process_that_hangs_gives_everything_back() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let old = place.native(&format!("{port} {echo}"));
    let client = talk(&port, "x");
    let taker = Taker::ask(&place);
    taker.hello();
    let (_, state) = taker.expect("state");
    taker.send("ready", r#"{"pid":1}"#, 1);
    taker.expect("switch");
    let (_, batch) = taker.expect("batch");
    // It says nothing more, and is not gone.
    old.log.wait("this process serves again");
    client.send("go on");
    client.expect("go on");
    drop(talk(&port, "new"));
    assert!(taker.receive().is_none(), "the channel has ended");
    drop((state, batch));
    client.send("and on");
    client.expect("and on");
}

/// An old process that says what one of release 0.1 has said, with connections of the test.
pub struct Transcript {
    pub place: Place,
    pub port: Port,
    listener: TcpListener,
    /// Stands for the old process.
    pub old: Program,
    flag: Flag,
    pub taker: Taker,
    pub new: Program,
}

impl Transcript {
    /// Has a new process take over, up to the moment when it accepts.
    fn play() -> Self {
        Self::play_with("")
    }

    /// The same, with more words in the command line of the new process.
    pub fn play_with(words: &str) -> Self {
        let mut it = Self::begin_with(words);
        it.describe();
        let (_, descriptors) = it.taker.expect("ready");
        assert_eq!(descriptors.len(), 0, "it knows of no beats");
        it.say("switch", include_str!("transcript/switch.json"), b"", &[]);
        it
    }

    /// Has a new process ask to take over.
    pub fn begin() -> Self {
        Self::begin_with("")
    }

    fn begin_with(more: &str) -> Self {
        let (place, port) = (Place::new(), port());
        fs::create_dir(place.runtime()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        let door = std::os::unix::net::UnixListener::bind(place.file("old")).unwrap();
        let old = Program::spawn(std::process::Command::new("sleep").arg("1000"));
        let flag = Flag::new().unwrap();
        let words = format!("--affinity 100 {more} 127.0.0.1:{port} 127.0.0.1:1 127.0.0.1:2:5");
        let mut command = place.command("evenkeel", &words);
        command.env("EVENKEEL_TAKE_OVER", place.file("old"));
        let new = Program::spawn(command.env("EVENKEEL_TAKE_OVER_GUARD", "60000"));
        let taker = Taker(Channel::new(door.accept().unwrap().0.into()).unwrap());
        let (hello, _) = taker.expect("hello");
        assert!(hello["program"].as_str().unwrap().starts_with("evenkeel "), "{hello}");
        Self { place, port, listener, old, flag, taker, new }
    }

    /// Passes the state and the sockets.
    pub fn describe(&mut self) {
        let flags = rustix::process::PidfdFlags::empty();
        let life = rustix::process::pidfd_open(self.old.pid(), flags).unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        let log = fs::File::create(self.place.file("log")).unwrap();
        let admin = self.place.runtime().join(format!("evenkeel.127.0.0.1:{}.sock", self.port));
        let admin = std::os::unix::net::UnixListener::bind(admin).unwrap();
        let all = [&life as &dyn AsFd, &self.flag, &null, &log, &log, &admin, &self.listener];
        let all = all.map(|it| it.as_fd().try_clone_to_owned().unwrap());
        self.say("state", include_str!("transcript/state.json"), b"", &all);
    }

    /// Goes on alone, as a process that has waited long enough.
    pub fn give_up(&mut self) {
        self.flag.set();
        self.taker = Taker(Channel::pair().unwrap().0);
    }

    /// Says no more, as a process that has died.
    pub fn die(&mut self) {
        self.old.kill();
        self.taker = Taker(Channel::pair().unwrap().0);
    }

    fn say(&mut self, kind: &str, text: &str, tail: &[u8], descriptors: &[OwnedFd]) {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let text = text
            .replace("@PORT@", &self.port.to_string())
            .replace("@A@", "1")
            .replace("@B@", "2")
            .replace("@UID@", &uid)
            .replace("@RUNTIME@", &self.place.runtime().display().to_string());
        self.taker.send_all(kind, &text, 1, tail, descriptors);
    }

    /// Sends a session with bytes held back both ways; returns its peers.
    pub fn batch(&mut self) -> [UnixStream; 2] {
        let (client, ours) = UnixStream::pair().unwrap();
        let (served, theirs) = UnixStream::pair().unwrap();
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).unwrap();
        }
        let sockets = [OwnedFd::from(ours), theirs.into()];
        self.say("batch", include_str!("transcript/batch.json"), b"sentbytes", &sockets);
        let (taken, _) = self.taker.expect("taken");
        assert_eq!(taken["refused"], serde_json::json!([]));
        [client, served].map(|it| {
            it.set_read_timeout(Some(PATIENCE)).unwrap();
            it
        })
    }

    #[track_caller]
    pub fn check_moved(&self, [client, served]: &mut [UnixStream; 2]) {
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"bytes");
        let mut bytes = [0; 4];
        served.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"sent");
        client.write_all(b"more").unwrap();
        served.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"more");
        let first = self.place.backend(0, 0);
        assert_eq!((&first["attempts_total"], &first["sessions"]), (&1.into(), &1.into()));
        assert_eq!(self.place.backend(0, 1)["admin"], "disabled");
    }
}

#[test]
fn what_release_0_1_hands_over_is_understood() {
    let mut old = Transcript::play();
    let mut peers = old.batch();
    old.taker.send("commit", "", 1);
    old.check_moved(&mut peers);
    old.taker.send("final", FINAL, 1);
    assert!(old.taker.is_silent_for(Duration::from_secs(1)), "it has not asked for beats");
}

/// The other way round: a new process that says what one of release 0.1 has said.
#[test]
fn what_a_new_process_of_release_0_1_says_is_understood() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut old = place.native(&format!("{port} {echo}"));
    let client = talk(&port, "hello");
    let new = Program::spawn(std::process::Command::new("sleep").arg("1000"));
    let flags = rustix::process::PidfdFlags::empty();
    let life = rustix::process::pidfd_open(new.pid(), flags).unwrap();
    let taker = Taker::ask(&place);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    taker.send("hello", &include_str!("transcript/hello.json").replace("@BOOT@", boot.trim()), 1);
    let (state, _listening) = taker.expect("state");
    assert_eq!((&state["hears_progress"], &state["hears_beats"]), (&true.into(), &true.into()));
    for _ in 0..7 {
        taker.send("progress", "", 1);
    }
    taker.send_all("ready", include_str!("transcript/ready.json"), 1, b"", &[life]);
    taker.expect("switch");
    let (batch, mut sockets) = taker.expect("batch");
    assert_eq!(batch["sessions"][0]["state"]["link"]["streams"][0]["bytes"], 5);
    taker.send("taken", include_str!("transcript/taken.json"), 1);
    taker.expect("commit");
    taker.expect("final");
    // The session is ours now.
    let ours = TcpStream::from(sockets.remove(0));
    (&ours).write_all(b"from the new one").unwrap();
    client.expect("from the new one");
    let begin = Instant::now();
    while taker.0.receive(&mut [0], &mut Vec::new(), Some(sys::clock::now())).is_err() {
        let _ = taker.0.send(&message("beat", "", 1, b""), &[], None); // the watch may be over
        thread::sleep(Duration::from_millis(200));
    }
    assert!(begin.elapsed() > Duration::from_secs(1), "two seconds were asked for");
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(old.log.with("serves again").len(), 0);
}

#[test]
fn when_the_old_process_dies_before_a_commit_its_batch_goes_on() {
    let mut old = Transcript::play();
    let mut peers = old.batch();
    old.die();
    old.check_moved(&mut peers);
}

#[test]
fn what_the_old_process_has_taken_back_does_not_go_on_in_the_new_one() {
    let mut old = Transcript::play_with("--pid-file pid");
    let pid_file = old.place.file("pid");
    fs::write(&pid_file, "1\n").unwrap();
    let path = old.place.socket().with_extension("hand-over");
    let door = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let [mut client, _served] = old.batch();
    old.flag.set();
    old.taker = Taker(Channel::pair().unwrap().0);
    // Its copies are closed: the test has only the far ends.
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(old.new.wait().code(), Some(1), "it has not taken over");
    until("the end of the log", || old.new.log.is_over());
    let said = old.new.log.all().join("\n");
    assert!(said.contains("the running instance goes on: it has taken back"), "{said}");
    assert!(old.place.socket().exists(), "the admin socket is the old process's");
    assert_eq!(fs::read_to_string(pid_file).unwrap(), "1\n");
    UnixStream::connect(path).unwrap();
    door.set_nonblocking(true).unwrap();
    assert!(door.accept().is_ok(), "the next one asks the old process");
}

#[test]
fn another_major_version_is_refused_by_name() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let _old = place.native(&format!("{port} {echo}"));
    let taker = Taker::ask(&place);
    taker.send("hello", "{}", 9);
    assert!(taker.receive().is_none());
    let taker = Taker::ask(&place);
    taker.send("hello", r#"{"program":"x","boot":"another","descriptors":100000}"#, 1);
    let (refusal, _) = taker.expect("refuse");
    assert!(refusal["reason"].as_str().unwrap().contains("another machine"), "{refusal}");
    drop(talk(&port, "x"));
}

#[test]
fn another_user_is_turned_away() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root can be another user") {
        return;
    }
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let _old = place.native(&format!("{port} {echo}"));
    let socket = place.socket();
    for dir in [place.file("."), place.runtime()] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir, open).unwrap();
    }
    let words = format!("upgrade --admin {}", socket.display());
    let said = Done::run(&mut place.as_nobody("evenkeel", &words), "");
    assert_ne!(said.status, 0, "{said:?}");
    // And by its credentials, whatever the mode of the file is.
    let path = socket.with_extension("hand-over");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = place.as_nobody("evenkeel", &format!("{port} {echo}"));
    let said = Done::run(command.env("EVENKEEL_TAKE_OVER", &path), "").check(1).stderr;
    assert!(said.contains("another user"), "{said}");
    drop(talk(&port, "x"));
}

#[test]
fn when_the_new_process_dies_during_the_watch_the_old_one_serves_at_once() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let pid_file = place.file("pid");
    let old = place.native(&format!("--pid-file {} {port} {echo}", pid_file.display()));
    let first = old.pid();
    drop(talk(&port, "x"));
    upgrade(&place, "--watch 1m");
    let new = pid(&place);
    assert_ne!(new, first.as_raw_nonzero().get() as u64);
    drop(talk(&port, "served by the new one"));
    kill_process(Pid::from_raw(new as i32).unwrap(), Signal::KILL).unwrap();
    // Nobody is refused: the queue is the same.
    drop(talk(&port, "served by the old one"));
    old.log.wait("this process serves again");
    until("the admin socket to answer", || {
        place.ctl("status --json").stdout.contains(&format!("\"pid\": {}", first.as_raw_nonzero()))
    });
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", first.as_raw_nonzero()));
    // And it can be asked again.
    upgrade(&place, "");
    drop(talk(&port, "served by the third one"));
}

#[test]
fn what_cannot_move_is_shown_and_ends_in_time() {
    let (place, port, hole) = (Place::new(), port(), Backend::black_hole());
    let text = format!(
        "[process]\nupgrade-drain = '3s'\n[defaults]\nconnect-timeout = '1m'\n\
         [listeners.web]\nbind = {port}\npool = 'web'\n[pools.web]\nbackends = ['{hole}']\n"
    );
    fs::write(place.file("web.toml"), text).unwrap();
    let mut old = place.native("run web.toml");
    let client = Client::connect(&port);
    until("the session", || place.sessions() == 1);
    let first = old.pid().as_raw_nonzero().get();
    let said = upgrade(&place, "");
    assert!(
        said.contains(&format!("the old process, {first}, finishes 1 not settled yet")),
        "{said}"
    );
    let shown = place.ctl("status").check(0).stdout;
    let line =
        format!("the process before, {first}, is still there, with sessions: 1 not settled yet");
    assert!(shown.contains(&line), "{shown}");
    assert_eq!(place.status()["predecessor"]["unsettled"], 1);
    assert_ne!(client.rest().1, End::Silence, "it has had its time");
    assert_eq!(old.wait().code(), Some(0));
    until("the other to know", || place.status()["predecessor"].is_null());
}

#[test]
fn files_belong_to_the_new_process() {
    let (place, echo) = (Place::new(), Backend::echo());
    let words = format!("unix:{} {echo}", place.file("sock").display());
    let pid_file = place.file("pid");
    let daemon = format!("--daemon --pid-file {} {words}", pid_file.display());
    place.run("evenkeel", &daemon).check(0);
    let read = || fs::read_to_string(&pid_file).unwrap().trim().parse::<u64>().unwrap();
    let first = read();
    let mut client = UnixStream::connect(place.file("sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"one").unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    upgrade(&place, "");
    until("the old process to go", || !fs::exists(format!("/proc/{first}/exe")).unwrap());
    assert_eq!(read(), pid(&place));
    assert_ne!(read(), first);
    client.write_all(b"two").unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    drop(client);
    drop(UnixStream::connect(place.file("sock")).unwrap());
    place.ctl("shutdown").check(0);
    until("the files to be removed", || {
        !place.file("sock").exists() && !pid_file.exists() && place.all_sockets().is_empty()
    });
    until("nothing to be left", || fs::read_dir(place.runtime()).unwrap().next().is_none());
}

#[test]
fn balance_is_upgraded_with_its_own_words() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut old = place.balance(&format!("-b 127.0.0.1 {port} {echo}"));
    let client = talk(&port, "x");
    place.balance_c_at(&port, "disable 0");
    upgrade(&place, "");
    until_gone(&mut old);
    client.send("y");
    client.expect("y");
    let said = place.balance_c_at(&port, "show").stdout;
    assert!(said.contains("dis"), "{said}");
}

#[test]
fn the_service_manager_hears_which_process_follows() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let mut manager = Manager::new(&place);
    let mut command = place.command("evenkeel", &format!("{port} {echo}"));
    let mut old = Program::spawn(manager.of(&mut command));
    manager.wait_for("READY");
    upgrade(&place, "");
    until_gone(&mut old);
    let new = pid(&place).to_string();
    manager.wait("MAINPID", |it| it == new);
    assert!(manager.values("STOPPING").is_empty());
    let line = manager.wait("STATUS", |it| it.contains("session"));
    assert!(!line.is_empty());
}

#[test]
fn reload_or_upgrade_reloads_the_same_program() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    fs::write(
        place.file("lb.toml"),
        format!("[listeners.web]\nbind = {port}\npool = 'web'\n[pools.web]\nbackends = ['{a}']\n"),
    )
    .unwrap();
    let _running = place.native("run lb.toml");
    let before = pid(&place);
    let said = place.run("evenkeel", "reload --or-upgrade").check(0).stdout;
    assert_eq!(said, "nothing has changed\n");
    assert_eq!(pid(&place), before);
    // Another file with the same contents is another program, as after an update.
    let other = place.file("other");
    fs::copy(env!("CARGO_BIN_EXE_evenkeel"), &other).unwrap();
    let usual = place.command("evenkeel", "");
    let mut command = std::process::Command::new(&other);
    command.args(["reload", "--or-upgrade"]).current_dir(place.file("."));
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = Done::run(&mut command, "").check(0).stdout;
    assert!(said.starts_with("upgraded"), "{said}");
    assert_ne!(pid(&place), before);
    let exe = fs::read_link(format!("/proc/{}/exe", pid(&place))).unwrap();
    assert_eq!(exe, fs::canonicalize(other).unwrap());
    assert_eq!(ask(&port), "a");
}

#[test]
fn run_takes_over_in_the_foreground_or_starts_if_there_is_nobody() {
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    fs::write(
        place.file("lb.toml"),
        format!(
            "[listeners.web]\nbind = {port}\npool = 'web'\n[pools.web]\nbackends = ['{echo}']\n"
        ),
    )
    .unwrap();
    let mut first = place.native("run --take-over lb.toml");
    let client = talk(&port, "x");
    let second = place.native("run --take-over lb.toml");
    until_gone(&mut first);
    client.send("y");
    client.expect("y");
    assert_eq!(pid(&place), second.pid().as_raw_nonzero().get() as u64);
    second.log.wait("the old process has handed everything over");
}

#[test]
fn a_quarantine_goes_on() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let refusing = Backend::refusing();
    let words = format!("--quarantine 1h {port} {refusing} {a}");
    // Without a place for its state, either.
    let old = Program::spawn(place.command("evenkeel", &words).env_remove("STATE_DIRECTORY"));
    old.log.wait("admin socket");
    assert_eq!(ask(&port), "a");
    assert_eq!(place.backend(0, 0)["health"], "quarantined");
    upgrade(&place, "");
    assert_eq!(place.backend(0, 0)["health"], "quarantined");
    assert_eq!(ask_times(&port, 3), "a a a");
    assert_eq!(place.backend(0, 0)["attempts_total"], 1);
}

#[test]
fn limits_hold_while_sessions_are_in_both_processes() {
    let (place, port) = (Place::new(), port());
    let [a, b] = [Backend::echo(), Backend::named("b")];
    let _old = place.native(&format!("{port} {a}:2 ! {b}"));
    // The third one overflows to b; of the first two, one is silent and stays for a while.
    let first = talk(&port, "x");
    let silent = TcpStream::connect(("127.0.0.1", port.number())).unwrap();
    until("two sessions", || place.backend(0, 0)["sessions"] == 2);
    upgrade(&place, "");
    assert_eq!(ask(&port), "b");
    until("the silent one to move", || place.ctl("sessions").check(0).stdout.lines().count() >= 3);
    assert_eq!(ask(&port), "b");
    drop((first, silent));
    until("room at a", || place.backend(0, 0)["sessions"] == 0);
    drop(talk(&port, "to a"));
}

/// A file for an instance that echoes, and sessions through it.
fn echoing(place: &Place, port: &Port, echo: &Backend) -> Program {
    fs::write(
        place.file("lb.toml"),
        format!(
            "[listeners.web]\nbind = {port}\npool = 'web'\n[pools.web]\nbackends = ['{echo}']\n"
        ),
    )
    .unwrap();
    place.native("run lb.toml")
}

/// Moments of an upgrade, from before it begins until after its end. Whatever a moment hits, the
/// test must pass.
const MOMENTS_MS: [u64; 9] = [0, 2, 5, 10, 15, 20, 30, 50, 100];

#[test]
fn a_new_process_that_is_stopped_at_any_moment_costs_nobody_a_session() {
    for moment in MOMENTS_MS {
        let (place, port, echo) = (Place::new(), port(), Backend::echo());
        let _first = echoing(&place, &port, &echo);
        let clients: Vec<_> = (0..30).map(|_| talk(&port, "x")).collect();
        let words = "run --take-over lb.toml";
        let mut second = Program::spawn(&mut place.command("evenkeel", words));
        thread::sleep(Duration::from_millis(moment));
        second.signal(Signal::STOP);
        // Served by the old process, or in the queue until that has taken everything back.
        let newcomer = Client::connect(&port);
        thread::sleep(Duration::from_millis(100));
        clients.iter().for_each(|client| client.send("a"));
        newcomer.send("a");
        second.signal(Signal::CONT);
        expect_once(clients.iter().chain([&newcomer]), moment);
        drop(talk(&port, "somebody listens"));
    }
}

/// Expects of clients that have sent "a" that they get it once, and that their sessions go on.
#[track_caller]
fn expect_once<'a>(clients: impl IntoIterator<Item = &'a Client>, moment: u64) {
    for client in clients {
        client.expect("a");
        client.send("b");
        client.expect("b");
        client.finish();
        assert_eq!(client.end(), End::Eof, "nothing twice, after {moment} ms");
    }
}

#[test]
fn an_old_process_that_is_stopped_at_any_moment_costs_nobody_a_session() {
    for moment in MOMENTS_MS {
        let (place, port, echo) = (Place::new(), port(), Backend::echo());
        let mut first = echoing(&place, &port, &echo);
        let clients: Vec<_> = (0..30).map(|_| talk(&port, "x")).collect();
        let words = "run --take-over lb.toml";
        let _second = Program::spawn(&mut place.command("evenkeel", words));
        thread::sleep(Duration::from_millis(moment));
        first.signal(Signal::STOP);
        clients.iter().for_each(|client| client.send("a"));
        thread::sleep(Duration::from_millis(100));
        first.signal(Signal::CONT);
        expect_once(&clients, moment);
        drop(talk(&port, "somebody listens"));
    }
}

#[test]
fn a_new_process_that_is_killed_at_any_moment_takes_only_its_own_sessions_along() {
    for moment in MOMENTS_MS {
        let (place, port, echo) = (Place::new(), port(), Backend::echo());
        let mut first = echoing(&place, &port, &echo);
        let clients: Vec<_> = (0..30).map(|_| talk(&port, "x")).collect();
        let words = "run --take-over lb.toml";
        let mut second = Program::spawn(&mut place.command("evenkeel", words));
        thread::sleep(Duration::from_millis(moment));
        second.kill();
        // Unless the old process has handed everything over.
        until("the old process to serve or to exit", || {
            first.has_ended() || place.ctl("limit 0.0 999").status == 0
        });
        if first.has_ended() {
            continue;
        }
        drop(talk(&port, "somebody listens"));
        let left = clients.iter().filter(|client| {
            let mut byte = [0];
            let answered = (&client.0).write_all(b"a").and_then(|()| (&client.0).read(&mut byte));
            answered.is_ok_and(|count| count == 1) && byte == *b"a"
        });
        let left = left.count() as u64;
        until("the status to agree", || place.sessions() == left);
    }
}

#[test]
fn root_may_add_a_privileged_port_that_a_reload_could_not() {
    if skip_unless(rustix::process::geteuid().is_root(), "only root has privileged ports") {
        return;
    }
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    fs::create_dir(place.runtime()).unwrap();
    for dir in [place.file("."), place.runtime()] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir, open).unwrap();
    }
    let write = |more: &str| {
        let text = format!(
            "[process]\nuser = 'nobody'\n[listeners.web]\nbind = {port}\npool = 'web'\n{more}\
             [pools.web]\nbackends = ['{a}']\n"
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    write("");
    let mut old = place.native("run lb.toml");
    let client = Client::connect(&port);
    client.expect("a\n");
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let low = (700..1000).find(is_free).expect("a free privileged port");
    write(&format!("[listeners.low]\nbind = '127.0.0.1:{low}'\npool = 'web'\n"));
    let said = place.run("evenkeel", "reload").check(1).stderr;
    assert!(said.contains(&low.to_string()), "{said}");
    upgrade(&place, "");
    until_gone(&mut old);
    assert_eq!(Client::try_to(([127, 0, 0, 1], low).into()).unwrap().line(), "a");
    client.send("still there");
    client.expect("still there");
    let owner = std::os::unix::fs::MetadataExt::uid(
        &fs::metadata(format!("/proc/{}", pid(&place))).unwrap(),
    );
    assert_ne!(owner, 0);
    // The file with its number is out of the user's reach, so nobody else ends it.
    drop(client);
    place.ctl("shutdown").check(0);
}
