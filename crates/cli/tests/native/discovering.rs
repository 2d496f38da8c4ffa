//! Names that stand for several backends, in a network namespace whose name server is this test.

use super::names::Namespace;
use crate::support::{Place, Program, until};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

impl Namespace {
    /// Does something inside; sockets that it opens stay there.
    fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                what()
            });
            inside.join().unwrap()
        })
    }
}

/// What the name server answers.
#[derive(Clone, Default)]
struct Zone {
    ttl: u32,
    /// `app.test` in A records.
    addresses: Vec<Ipv4Addr>,
    /// `_app._tcp.test` in SRV records: priority, weight, port, and the address of the target, which
    /// is called `a.test` for the first of [`local`], `b.test` for the second, and so on.
    services: Vec<(u16, u16, u16, Ipv4Addr)>,
    mood: Mood,
    /// Questions that have no records, and the response codes that they are answered with.
    faults: Vec<(Question, u8)>,
}

/// A name, as it is in a message, and a kind of records.
type Question = (&'static str, u16);

#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Normal,
    Silent,
    Failing,
    Unknowing,
    /// Whoever asks by UDP is sent to TCP, which does not answer.
    Cutting,
}

/// A name server at 127.0.0.1 inside the namespace.
struct Server {
    zone: Arc<Mutex<Zone>>,
    questions: Arc<AtomicUsize>,
    by_tcp: Arc<AtomicUsize>,
}

impl Server {
    fn new(namespace: &Namespace) -> Self {
        let (udp, tcp) = namespace.within(|| {
            (UdpSocket::bind("127.0.0.1:53").unwrap(), TcpListener::bind("127.0.0.1:53").unwrap())
        });
        let zone = Arc::new(Mutex::new(Zone { ttl: 1, ..Zone::default() }));
        let (questions, by_tcp) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (known, asked) = (Arc::clone(&zone), Arc::clone(&questions));
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((len, client)) = udp.recv_from(&mut question) {
                asked.fetch_add(1, Relaxed);
                let zone = known.lock().unwrap().clone();
                if zone.mood == Mood::Silent {
                    continue;
                }
                let mut answer = zone.answer(&question[..len]);
                if answer.len() > 512 || zone.mood == Mood::Cutting {
                    answer[2] |= 2; // truncated
                    answer.truncate(12 + question_len(&question[12..]));
                    answer[6..12].fill(0);
                }
                let _ = udp.send_to(&answer, client);
            }
        });
        let (known, counted) = (Arc::clone(&zone), Arc::clone(&by_tcp));
        thread::spawn(move || {
            for mut client in tcp.incoming().flatten() {
                let zone = known.lock().unwrap().clone();
                let mut len = [0; 2];
                if matches!(zone.mood, Mood::Silent | Mood::Cutting)
                    || client.read_exact(&mut len).is_err()
                {
                    continue;
                }
                let mut question = vec![0; u16::from_be_bytes(len).into()];
                if client.read_exact(&mut question).is_ok() {
                    counted.fetch_add(1, Relaxed);
                    let answer = zone.answer(&question);
                    let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = client.write_all(&[&len[..], &answer].concat());
                }
            }
        });
        Self { zone, questions, by_tcp }
    }

    fn set(&self, change: impl FnOnce(&mut Zone)) {
        change(&mut self.zone.lock().unwrap());
    }

    /// Waits until this many more questions have come.
    fn wait_asked(&self, times: usize) {
        let before = self.questions.load(Relaxed);
        until("questions", || self.questions.load(Relaxed) >= before + times);
    }
}

/// The length of a question: a name, a kind and a class.
fn question_len(question: &[u8]) -> usize {
    question.iter().position(|byte| *byte == 0).unwrap() + 5
}

impl Zone {
    /// RFC 1035, section 4.
    fn answer(&self, asked: &[u8]) -> Vec<u8> {
        let question = &asked[12..12 + question_len(&asked[12..])];
        let (name, kind) = question.split_at(question.len() - 4);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let kind = u16::from_be_bytes([kind[0], kind[1]]);
        let data: Vec<Vec<u8>> = match (&*name, kind) {
            ("\u{3}app\u{4}test\0", 1) => {
                self.addresses.iter().map(|it| it.octets().to_vec()).collect()
            }
            ("\u{4}_app\u{4}_tcp\u{4}test\0", 33) => {
                let record = |(priority, weight, port, address): &(u16, u16, u16, Ipv4Addr)| {
                    let letter = b'a' + address.octets()[3] - 1;
                    let mut data = [priority, weight, port].map(|it| it.to_be_bytes()).concat();
                    data.extend([1, letter, 4, b't', b'e', b's', b't', 0]);
                    data
                };
                self.services.iter().map(record).collect()
            }
            (target, 1) if target.len() == 8 && target.ends_with("\u{4}test\0") => {
                vec![local(target.as_bytes()[1] - b'a' + 1).octets().to_vec()]
            }
            _ => Vec::new(),
        };
        let (code, data) = match self.mood {
            Mood::Failing => (2, Vec::new()),
            Mood::Unknowing => (3, Vec::new()),
            _ => {
                let fault = self.faults.iter().find(|(it, _)| *it == (&*name, kind));
                fault.map_or((0, data), |(_, code)| (*code, Vec::new()))
            }
        };
        let count = u16::try_from(data.len()).unwrap().to_be_bytes();
        let mut answer = vec![asked[0], asked[1], 0x85, 0x80 | code, 0, 1];
        answer.extend([count[0], count[1], 0, 0, 0, 0]);
        answer.extend(question);
        for data in data {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(self.ttl.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
        }
        answer
    }
}

/// Backends at port 9000 of all addresses of 127.0.0.0/8 inside, each of which says its address; and
/// a client that asks them through evenkeel all the time.
struct Clients {
    ended: Arc<AtomicBool>,
    /// Sessions that a backend has answered, and others.
    counts: Arc<[AtomicUsize; 2]>,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

const EVENKEEL: &str = "127.0.0.1:8000";

impl Clients {
    fn new(namespace: &Namespace) -> Self {
        let listener = namespace.within(|| TcpListener::bind("0.0.0.0:9000").unwrap());
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.write_all(client.local_addr().unwrap().to_string().as_bytes());
            }
        });
        Self { ended: Arc::default(), counts: Arc::default(), seen: Arc::default() }
    }

    fn run(&self, namespace: &Namespace) {
        let (ended, counts) = (Arc::clone(&self.ended), Arc::clone(&self.counts));
        let seen = Arc::clone(&self.seen);
        let file = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let evenkeel: SocketAddr = EVENKEEL.parse().unwrap();
            while !ended.load(Relaxed) {
                let mut text = String::new();
                let session = TcpStream::connect(evenkeel)
                    .and_then(|mut session| session.read_to_string(&mut text));
                let is_served = session.is_ok() && !text.is_empty();
                counts[usize::from(!is_served)].fetch_add(1, Relaxed);
                seen.lock().unwrap().insert(text);
                thread::sleep(Duration::from_millis(1));
            }
        });
    }

    /// Waits for a hundred further sessions, and returns who has answered them.
    fn answers(&self) -> BTreeSet<String> {
        let served = |more: usize| {
            let before = self.counts[0].load(Relaxed);
            until("sessions", || self.counts[0].load(Relaxed) >= before + more);
        };
        served(2); // one may be from before
        self.seen.lock().unwrap().clear();
        served(100);
        self.seen.lock().unwrap().clone()
    }

    fn refused(&self) -> usize {
        self.counts[1].load(Relaxed)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
    }
}

fn name(place: &Place) -> Value {
    place.status()["names"][0].clone()
}

fn addresses(place: &Place) -> Vec<Vec<String>> {
    let status = place.status();
    let tiers = status["pools"][0]["tiers"].as_array().unwrap().clone();
    let backends = |tier: &Value| -> Vec<String> {
        let backends = tier["backends"].as_array().unwrap();
        backends.iter().map(|it| it["addresses"][0].as_str().unwrap().to_owned()).collect()
    };
    tiers.iter().map(backends).collect()
}

fn local(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, last)
}

fn at(last: u8) -> String {
    format!("{}:9000", local(last))
}

fn set_up() -> Option<(Namespace, Place, Server, Clients)> {
    let namespace = Namespace::or_skip()?;
    let (server, clients) = (Server::new(&namespace), Clients::new(&namespace));
    server.set(|zone| zone.addresses = vec![local(1), local(2), local(3)]);
    Some((namespace, Place::new(), server, clients))
}

fn all(range: std::ops::RangeInclusive<u8>) -> BTreeSet<String> {
    range.map(at).collect()
}

#[test]
fn instances_of_a_fleet_share_the_backends_of_a_name() {
    let Some((namespace, _, server, _)) = set_up() else { return };
    server.set(|zone| zone.addresses = (1..=12).map(local).collect());
    let mut used = Vec::new();
    for node in 0..3 {
        let place = Place::new();
        let subset = format!("--subset size=4,node={node},nodes=3 --policy weighted-turn");
        let words = format!("127.0.0.1:80{node}0 dns:app.test:9000 {subset}");
        let _evenkeel = namespace.evenkeel(&place, &words);
        until("an answer", || name(&place)["backends"] == 12);
        let mine = addresses(&place).concat();
        assert_eq!(mine.len(), 4, "{mine:?}");
        used.extend(mine);
    }
    let different: BTreeSet<_> = used.into_iter().collect();
    assert_eq!(different, all(1..=12));
}

#[test]
fn no_client_notices_what_happens_to_dns() {
    let Some((namespace, place, server, clients)) = set_up() else { return };
    let words = format!("{EVENKEEL} dns:app.test:9000 --log-sessions none");
    let evenkeel = namespace.evenkeel(&place, &words);
    clients.run(&namespace);
    assert_eq!(clients.answers(), all(1..=3));
    assert_eq!(name(&place)["backends"], 3);

    // Nothing found changes nothing, however often.
    for mood in [Mood::Unknowing, Mood::Failing, Mood::Cutting, Mood::Silent] {
        server.set(|zone| zone.mood = mood);
        server.wait_asked(4);
        until("an error", || name(&place)["error"].is_string());
        assert_eq!(clients.answers(), all(1..=3));
        server.set(|zone| zone.mood = Mood::Normal);
        until("an answer", || name(&place)["error"].is_null());
    }
    server.set(|zone| zone.addresses = Vec::new());
    until("an error", || name(&place)["error"] == "it has no addresses");
    assert_eq!(clients.answers(), all(1..=3));

    // What is missing twice gets no further sessions.
    server.set(|zone| zone.addresses = vec![local(1), local(3)]);
    evenkeel.log.wait(&format!("backend main/{}: removed", at(2)));
    assert_eq!(clients.answers(), [at(1), at(3)].into());

    // Many do not fit into a datagram.
    server.set(|zone| zone.addresses = (1..=200).map(local).collect());
    until("200 backends", || name(&place)["backends"] == 200);
    assert!(server.by_tcp.load(Relaxed) > 0);
    until("all of them", || clients.answers().len() > 50);

    // Nobody is asked more than about once a second.
    server.set(|zone| (zone.ttl, zone.addresses) = (0, (7..=9).map(local).collect()));
    until("3 backends", || name(&place)["backends"] == 3);
    let (asked, begin) = (server.questions.load(Relaxed), std::time::Instant::now());
    server.wait_asked(6);
    let rate = (server.questions.load(Relaxed) - asked) as f64 / begin.elapsed().as_secs_f64();
    assert!(rate < 4.0, "{rate} questions in a second"); // A and AAAA, 10 % earlier at most
    assert_eq!(clients.answers(), all(7..=9));
    assert_eq!(clients.refused(), 0);
    let text = place.ctl("status").stdout;
    assert!(text.contains("names:\ndns:app.test:9000: 3 backends, answered "), "{text}");
}

#[test]
fn priorities_of_srv_records_are_tiers() {
    let Some((namespace, place, server, clients)) = set_up() else { return };
    server.set(|zone| {
        zone.services = vec![(0, 3, 9000, local(1)), (0, 1, 9000, local(2)), (5, 1, 9000, local(3))]
    });
    let words = format!(
        "{EVENKEEL} srv:_app._tcp.test ! 127.0.1.99:9000 --policy weighted-turn --log-sessions none"
    );
    let _evenkeel = namespace.evenkeel(&place, &words);
    clients.run(&namespace);
    assert_eq!(clients.answers(), [at(1), at(2)].into());
    let expected = vec![vec![at(1), at(2)], vec![at(3)], vec![at(99)]];
    assert_eq!(addresses(&place), expected);

    // The better tier is empty, or another.
    server.set(|zone| zone.services.rotate_left(2));
    server.set(|zone| zone.services[0].0 = 0);
    until("one tier less", || addresses(&place) == vec![vec![at(1), at(2), at(3)], vec![at(99)]]);
    server.set(|zone| zone.services.truncate(1));
    until("one backend", || addresses(&place) == vec![vec![at(3)], vec![at(99)]]);
    assert_eq!(clients.answers(), [at(3)].into());
    assert_eq!(clients.refused(), 0);
}

#[test]
fn a_host_of_srv_records_that_has_no_address_keeps_only_its_own_backend() {
    let Some((namespace, place, server, clients)) = set_up() else { return };
    let services = |lasts: &[u8]| lasts.iter().map(|last| (0, 1, 9000, local(*last))).collect();
    server.set(|zone| zone.services = services(&[1, 2, 3]));
    let words = format!("{EVENKEEL} srv:_app._tcp.test --log-sessions none");
    let _evenkeel = namespace.evenkeel(&place, &words);
    clients.run(&namespace);
    assert_eq!(clients.answers(), all(1..=3));
    const THIRD: Question = ("\u{1}c\u{4}test\0", 1);
    // Each time, another host leaves while the third one has no address.
    for (code, hosts) in [(2, [1, 3]), (3, [3, 4]), (0, [3, 5])] {
        server.set(|zone| (zone.services, zone.faults) = (services(&hosts), vec![(THIRD, code)]));
        until("two backends", || addresses(&place) == [hosts.map(at)]);
        let error = name(&place)["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.starts_with("c.test.: "), "{error}");
        assert_eq!(clients.answers(), hosts.map(at).into());
    }
    assert_eq!(clients.refused(), 0);
}

#[test]
fn a_start_without_dns_uses_the_last_answer() {
    let Some((namespace, place, server, clients)) = set_up() else { return };
    let state = place.file("state");
    let words = format!("{EVENKEEL} dns:app.test:9000 --state {}", state.display());
    let mut first = namespace.evenkeel(&place, &words);
    place.ctl(&format!("disable {}", at(2))).check(0);
    first.signal(Signal::TERM);
    first.wait();

    server.set(|zone| zone.mood = Mood::Silent);
    let second = namespace.evenkeel(&place, &words);
    assert_eq!(second.log.with("using its last known backends").len(), 1);
    clients.run(&namespace);
    assert_eq!(clients.answers(), [at(1), at(3)].into());
    assert_eq!(clients.refused(), 0);
    assert_eq!(place.backend(0, 1)["admin"], "disabled");
}

#[test]
fn a_reload_knows_names_and_keeps_what_commands_changed() {
    let Some((namespace, place, server, clients)) = set_up() else { return };
    let file = place.file("evenkeel.toml");
    let write = |backends: &str| {
        let text = format!("listeners.main = '{EVENKEEL} {backends}'\n");
        std::fs::write(&file, text).unwrap();
    };
    write("127.0.1.50:9000");
    let evenkeel = namespace.evenkeel(&place, &format!("run {}", file.display()));
    clients.run(&namespace);
    write("127.0.1.50:9000 dns:app.test:9000");
    place.ctl("reload").check(0);
    let with_names = vec![vec![at(50), at(1), at(2), at(3)]];
    assert_eq!(addresses(&place), with_names);
    place.ctl(&format!("drain {}", at(1))).check(0);
    let differing = namespace.start(&place, &format!("diff {}", file.display())).output().unwrap();
    assert!(differing.status.success(), "{differing:?}");

    server.set(|zone| zone.addresses.push(local(4)));
    until("another backend", || addresses(&place)[0].len() == 5);
    assert_eq!(place.backend(0, 1)["admin"], "draining");
    assert_eq!(clients.answers(), [at(2), at(3), at(4), at(50)].into());

    // A name in the place of an address is no change for a backend that it stands for.
    write("127.0.1.1:9000");
    place.ctl("reload").check(0);
    assert_eq!(addresses(&place), vec![vec![at(1)]]);
    assert_eq!(place.backend(0, 0)["admin"], "draining");
    assert_eq!(place.status()["names"].as_array().unwrap().len(), 0);
    drop(evenkeel);
}

#[test]
fn a_name_without_backends_is_refused_at_the_start() {
    let Some((namespace, place, server, _)) = set_up() else { return };
    server.set(|zone| zone.mood = Mood::Unknowing);
    let start = |words: &str| Program::spawn(&mut namespace.start(&place, words));
    let mut refused = start(&format!("{EVENKEEL} dns:app.test:9000"));
    refused.wait();
    let expected = "cannot resolve any backend; the first one is dns:app.test:9000: ";
    assert_eq!(refused.log.with(expected).len(), 1, "{:?}", refused.log.all());
}

#[test]
fn dnsmasq_is_understood() {
    let Some(namespace) = Namespace::or_skip() else { return };
    let place = Place::new();
    std::fs::write(place.file("hosts"), "127.0.1.1 app.test\n127.0.1.2 app.test\n").unwrap();
    let mut names = namespace.name_server(&place.file("hosts"));
    let clients = Clients::new(&namespace);
    let words = format!("{EVENKEEL} dns:app.test:9000 --log-sessions none");
    let _evenkeel = namespace.evenkeel(&place, &words);
    clients.run(&namespace);
    assert_eq!(clients.answers(), all(1..=2));
    std::fs::write(place.file("hosts"), "127.0.1.2 app.test\n127.0.1.3 app.test\n").unwrap();
    names.signal(Signal::HUP);
    until("the others", || clients.answers() == all(2..=3));
    names.signal(Signal::STOP);
    until("an error", || name(&place)["error"].is_string());
    assert_eq!(clients.answers(), all(2..=3));
    assert_eq!(clients.refused(), 0);
}
