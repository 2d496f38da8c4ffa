//! Backends that hang, drop or dawdle: how many clients fail, until when, and what HAProxy does with
//! its checks on, in front of the same backends. The figures are printed (`--nocapture`).

use crate::postgres::Pair;
use crate::support::{Backend, Client, Place, Port, Program, port, skip_unless, until};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Two backends, behind both balancers.
struct Stage {
    place: Place,
    ports: [Port; 2],
    /// Evenkeel, and HAProxy if it is there.
    programs: Vec<Program>,
}

impl Stage {
    /// `words` are Evenkeel's options, `lines` those of HAProxy's section, `checks` of its servers.
    fn new(backends: [&str; 2], words: &[&str], lines: &str, checks: &str) -> Self {
        let (place, ports) = (Place::new(), [port(), port()]);
        let mut evenkeel = place.command("evenkeel", &ports[0].to_string());
        let evenkeel = Program::spawn(evenkeel.args(backends).args(words));
        evenkeel.log.wait("admin socket");
        let mut programs = vec![evenkeel];
        let has_haproxy = Command::new("haproxy").arg("-v").output().is_ok();
        if !skip_unless(has_haproxy, "the comparison needs HAProxy (haproxy)") {
            let [a, b] = backends;
            let text = format!(
                "defaults\n mode tcp\n timeout connect 1s\n timeout client 10s\n \
                 timeout server 10s\nlisten it\n bind 127.0.0.1:{}\n {lines}\n \
                 server a {a} check {checks}\n server b {b} check {checks}\n",
                ports[1]
            );
            fs::write(place.file("haproxy.cfg"), text).unwrap();
            let mut haproxy = Command::new("haproxy");
            haproxy.args(["-db", "-f"]).arg(place.file("haproxy.cfg"));
            programs.push(Program::spawn(&mut haproxy));
            let to = ([127, 0, 0, 1], ports[1].number()).into();
            until("HAProxy listens", || Client::try_to(to).is_ok());
        }
        until("both are known", || (0..2).all(|it| place.backend(0, it)["health"] == "healthy"));
        Self { place, ports, programs }
    }

    /// Has clients `ask` through both, before and for `length` after something has happened to the
    /// second backend. Returns for each balancer when the sessions began that failed, and how many
    /// there were in all.
    fn watch(
        &self,
        ask: impl Fn(&Port) -> bool + Sync,
        happen: impl FnOnce(),
        length: Duration,
    ) -> Vec<Failures> {
        let outcomes = [(); 2].map(|()| Mutex::new(Vec::new()));
        let (is_over, good) = (AtomicBool::new(false), [(); 2].map(|()| AtomicUsize::new(0)));
        let balancers = self.programs.len();
        let happened = thread::scope(|scope| {
            for it in (0..balancers).flat_map(|it| [it; CLIENTS]) {
                let (outcomes, good, is_over, ask) = (&outcomes, &good, &is_over, &ask);
                scope.spawn(move || {
                    while !is_over.load(SeqCst) {
                        let begun = Instant::now();
                        let is_good = ask(&self.ports[it]);
                        outcomes[it].lock().unwrap().push((begun, is_good));
                        good[it].fetch_add(usize::from(is_good), SeqCst);
                        thread::sleep(PACE);
                    }
                });
            }
            until("clients to be served", || {
                good[..balancers].iter().all(|it| it.load(SeqCst) > 20)
            });
            happen();
            let happened = Instant::now();
            thread::sleep(length);
            is_over.store(true, SeqCst);
            happened
        });
        let all = outcomes.into_iter().take(balancers).map(|it| it.into_inner().unwrap());
        let failures = all.zip(["Evenkeel", "HAProxy"]).map(|(outcomes, name)| {
            let after: Vec<_> =
                outcomes.into_iter().filter(|(begun, _)| *begun >= happened).collect();
            let failed = after.iter().filter(|(_, is_good)| !is_good);
            let mut begun: Vec<_> = failed.map(|(begun, _)| *begun - happened).collect();
            begun.sort();
            eprintln!(
                "{name}: {} of {} failed, the last began after {:?}",
                begun.len(),
                after.len(),
                begun.last()
            );
            Failures { begun, of: after.len() }
        });
        failures.collect()
    }
}

/// How many clients there are at a time, and how long they pause.
const CLIENTS: usize = 3;
const PACE: Duration = Duration::from_millis(5);

struct Failures {
    /// After what time they began, in order.
    begun: Vec<Duration>,
    of: usize,
}

impl Failures {
    /// Those who begin after this time are all served, and somebody was.
    #[track_caller]
    fn end_within(&self, bound: Duration) {
        let late: Vec<_> = self.begun.iter().filter(|it| **it > bound).collect();
        assert!(late.is_empty(), "began after {bound:?} and failed: {late:?}");
        assert!(self.of > self.begun.len());
    }
}

/// What is read as an answer to `question`, within a second.
fn answer(port: &Port, question: &[u8]) -> Option<(Vec<u8>, Duration)> {
    let begun = Instant::now();
    let client = Client::try_to(([127, 0, 0, 1], port.number()).into()).ok()?;
    client.0.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    (&client.0).write_all(question).ok()?;
    let mut answer = vec![0; 512];
    let count = (&client.0).read(&mut answer).ok().filter(|count| *count > 0)?;
    answer.truncate(count);
    Some((answer, begun.elapsed()))
}

/// `fall × (interval + time-out)`, as docs/health.md promises, and a little for a busy machine.
const FOUND: Duration = Duration::from_millis(2 * (500 + 400) + 300);
const PROBED: [&str; 6] = ["--probe-interval", "500ms", "--probe-timeout", "400ms", "--fall", "2"];
const CHECKED: &str = "inter 500ms fall 2";

#[test]
fn a_postgresql_that_hangs_is_left_within_the_stated_time() {
    let Some(pair) = Pair::new() else { return };
    pair.initialize(1);
    let [_a, mut b] = [0, 1].map(|node| pair.start(node));
    let [a, stopped] = pair.ports.each_ref().map(|port| format!("127.0.0.1:{port}"));
    let words: Vec<_> = ["--probe", "pgsql"].into_iter().chain(PROBED).collect();
    let lines = "balance roundrobin\n option pgsql-check user postgres\n timeout check 400ms";
    let stage = Stage::new([&a, &stopped], &words, lines, CHECKED);
    let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = (parameters.len() as u32 + 4).to_be_bytes();
    let question = [length.as_slice(), parameters].concat();
    let ask = |port: &Port| answer(port, &question).is_some_and(|(it, _)| it[0] == b'R');
    let failures = stage.watch(ask, || b.signal(Signal::STOP), FOUND * 2);
    failures[0].end_within(FOUND);
    assert_eq!(stage.place.backend(0, 1)["health"], "down");
    b.signal(Signal::CONT);
}

/// A backend that answers HTTP, unless it `is_ill`; then it does what `ill` says.
fn web(ill: impl Fn(Client) + Send + Sync + 'static) -> (Backend, Arc<AtomicBool>) {
    let is_ill = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_ill);
    let backend = Backend::new(move |client| match seen.load(SeqCst) {
        true => ill(client),
        false => serve(&client),
    });
    (backend, is_ill)
}

fn serve(client: &Client) {
    // A health check may go without waiting.
    if client.line().starts_with("GET ") {
        let _ = (&client.0).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// Both balancers only check that a connect succeeds.
const TCP: [&str; 2] = ["--probe", "tcp"];

#[test]
fn who_accepts_and_drops_is_left_within_the_stated_time() {
    let ((a, _), (b, is_ill)) = (web(drop), web(drop));
    let [a_at, b_at] = [&a, &b].map(ToString::to_string);
    let words: Vec<_> = ["--probe", "http:/"].into_iter().chain(PROBED).collect();
    let lines = "balance roundrobin\n option httpchk GET /\n timeout check 400ms";
    let stage = Stage::new([&a_at, &b_at], &words, lines, CHECKED);
    let ask = |port: &Port| answer(port, REQUEST).is_some();
    let failures = stage.watch(ask, || is_ill.store(true, SeqCst), FOUND * 2);
    failures[0].end_within(FOUND);
}

#[test]
fn who_passes_checks_and_drops_clients_is_ejected() {
    let ((a, _), (b, is_ill)) = (web(drop), web(drop));
    let [a_at, b_at] = [&a, &b].map(ToString::to_string);
    let words: Vec<_> = TCP.into_iter().chain(PROBED).chain(["--eject", "50%"]).collect();
    let stage = Stage::new([&a_at, &b_at], &words, "balance roundrobin", CHECKED);
    let ask = |port: &Port| answer(port, REQUEST).is_some();
    let failures = stage.watch(ask, || is_ill.store(true, SeqCst), FOUND * 2);
    failures[0].end_within(FOUND);
    assert_eq!(stage.place.backend(0, 1)["health"], "ejected");
}

#[test]
fn who_gives_half_of_the_answers_late_is_avoided_by_fastest() {
    let nth = AtomicUsize::new(0);
    let dawdle = move |client: Client| {
        if nth.fetch_add(1, SeqCst).is_multiple_of(2) {
            thread::sleep(Duration::from_millis(500));
        }
        serve(&client);
    };
    let ((a, _), (b, is_ill)) = (web(drop), web(dawdle));
    let [a_at, b_at] = [&a, &b].map(ToString::to_string);
    let more = ["--policy", "fastest", "--eject", "50%"];
    let words: Vec<_> = TCP.into_iter().chain(PROBED).chain(more).collect();
    let stage = Stage::new([&a_at, &b_at], &words, "balance leastconn", CHECKED);
    let is_soon = |(_, took): (Vec<u8>, Duration)| took < Duration::from_millis(250);
    let ask = |port: &Port| answer(port, REQUEST).is_some_and(is_soon);
    let failures = stage.watch(ask, || is_ill.store(true, SeqCst), FOUND * 2);
    failures[0].end_within(FOUND);
    let late = failures[0].begun.len();
    assert!(late <= 2 * CLIENTS, "{late} were late before it was noticed");
}

/// What the backends that are down have seen.
#[derive(Default)]
struct Sick {
    probes: AtomicUsize,
    clients: AtomicUsize,
}

/// The most probes that come in a second, during the next seconds.
fn busiest_second(seen: &AtomicUsize, seconds: usize) -> usize {
    let count = |_| {
        let before = seen.load(SeqCst);
        thread::sleep(Duration::from_secs(1));
        seen.load(SeqCst) - before
    };
    (0..seconds).map(count).max().unwrap_or(0)
}

#[test]
fn a_reload_and_a_restart_send_nobody_to_ten_of_twenty_that_are_down() {
    let (place, port, sick) = (Place::new(), port(), Arc::new(Sick::default()));
    let probes = Arc::new(AtomicUsize::new(0));
    let backends: Vec<_> = (0..20)
        .map(|number| {
            let (sick, probes) = (Arc::clone(&sick), Arc::clone(&probes));
            Backend::new(move |client| {
                let (line, is_sick) = (client.line(), number % 2 == 1);
                let is_probe = line.starts_with("GET /health");
                probes.fetch_add(usize::from(is_probe), SeqCst);
                if is_sick {
                    let seen = if is_probe { &sick.probes } else { &sick.clients };
                    seen.fetch_add(1, SeqCst);
                } else {
                    let _ = (&client.0).write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                }
            })
        })
        .collect();
    let list: Vec<_> = backends.iter().map(|it| format!("'{it}'")).collect();
    let file = |policy: &str| {
        let text = format!(
            "[listeners.web]\nbind = '127.0.0.1:{port}'\npool = 'web'\n[pools.web]\n\
             policy = '{policy}'\nprobe = 'http:/health'\nprobe-interval = '1s'\nfall = 1\n\
             backends = [{}]\n[process]\nstate = '{}'\n",
            list.join(", "),
            place.file("state").display()
        );
        fs::write(place.file("lb.toml"), text).unwrap();
    };
    fs::create_dir(place.file("state")).unwrap();
    file("round-robin");
    let mut evenkeel = place.native("run lb.toml");
    let are_down = || {
        let down = |it: &usize| place.backend(0, *it)["health"] == "down";
        (0..20).filter(down).count() == 10
    };
    until("ten are down", are_down);
    let usual = busiest_second(&probes, 3);
    let served = AtomicUsize::new(0);
    let ask = || match answer(&port, REQUEST) {
        Some((answer, _)) => {
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            served.fetch_add(1, SeqCst);
        }
        None => thread::sleep(PACE), // between two instances
    };
    let is_over = AtomicBool::new(false);
    let busiest = thread::scope(|scope| {
        let asking = [(); 2].map(|()| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    ask()
                }
            })
        });
        let mut busiest = Vec::new();
        for policy in ["random", "least-sessions", "round-robin"] {
            file(policy);
            place.run("evenkeel", "reload").check(0);
            busiest.push(busiest_second(&probes, 1));
        }
        evenkeel.signal(Signal::TERM);
        evenkeel.wait();
        evenkeel = place.native("run lb.toml");
        busiest.push(busiest_second(&probes, 2));
        evenkeel.kill();
        evenkeel = place.native("run lb.toml");
        busiest.push(busiest_second(&probes, 2));
        is_over.store(true, SeqCst);
        for thread in asking {
            thread.join().unwrap();
        }
        busiest
    });
    eprintln!("{} served; probes in a second: {usual}, then {busiest:?}", served.load(SeqCst));
    assert!(served.load(SeqCst) > 100);
    assert_eq!(sick.clients.load(SeqCst), 0, "sessions of clients at those that are down");
    assert!(sick.probes.load(SeqCst) > 10);
    // Each is probed once in the first second, whatever is known about it.
    assert!(busiest.iter().all(|it| *it <= 2 * usual.max(20)), "{busiest:?}");
    assert!(are_down());
}
