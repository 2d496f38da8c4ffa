//! Who asks whether clients should be sent here: `/readyz`, `evenkeel ready`, and those that follow
//! the ready interface, such as keepalived and BIRD.

use crate::support::{Backend, Place, Program, Segment, ask, or_skip, port, until};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

fn ready(place: &Place) -> (i32, String) {
    let done = place.run("evenkeel", "ready");
    (done.status, done.stdout.trim_end().to_owned())
}

#[track_caller]
fn check(place: &Place, status: i32, text: &str) {
    assert_eq!(ready(place), (status, text.to_owned()));
    let page = super::support::http(&place.socket(), "GET", "/readyz", "").unwrap();
    assert_eq!(page.status, if status == 0 { 200 } else { 503 });
}

#[test]
fn an_instance_without_an_available_backend_is_not_ready() {
    let (place, web, db) = (Place::new(), port(), port());
    let backend = Backend::named("a");
    let _evenkeel = place.native(&format!("{web} {backend} -- {db} 127.0.0.1:1"));
    check(&place, 0, "ready");
    place.ctl(&format!("disable {web}/0.0")).check(0);
    check(&place, 0, "ready"); // the other pool might serve
    place.ctl(&format!("disable {db}/0.0")).check(0);
    check(&place, 1, "no backend available");
    place.ctl(&format!("enable {web}/0.0")).check(0);
    check(&place, 0, "ready");
}

#[test]
fn every_essential_pool_must_be_able_to_serve() {
    let (place, web, db) = (Place::new(), port(), port());
    let words = format!("{web} 127.0.0.1:1 -- {db} 127.0.0.1:2 --essential");
    let _evenkeel = place.native(&words);
    check(&place, 0, "ready");
    place.ctl(&format!("disable {db}/0.0")).check(0);
    check(&place, 1, &format!("no backend available in pool {db}"));
}

#[test]
fn clients_are_served_for_a_while_after_a_shutdown_was_announced() {
    let (place, web) = (Place::new(), port());
    let backend = Backend::named("a");
    let mut evenkeel = place.native(&format!("{web} {backend} --pre-stop 1h"));
    for end in ["signal", "command"] {
        match end {
            "signal" => evenkeel.signal(Signal::TERM),
            _ => drop(place.ctl("shutdown").check(0)),
        }
        until("it to be announced", || ready(&place) == (1, "shutting down".to_owned()));
        assert_eq!(ask(&web), "a");
        match end {
            "signal" => evenkeel.signal(Signal::TERM), // a second one ends the wait
            _ => drop(place.ctl("shutdown").check(0)),
        }
        assert_eq!(evenkeel.wait().code(), Some(0));
        evenkeel = place.native(&format!("{web} {backend} --pre-stop 1h"));
    }
}

#[test]
fn an_interface_that_cannot_be_made_is_an_error() {
    let (place, web) = (Place::new(), port());
    for (name, status, said) in [
        ("lo", 1, "cannot make the network interface lo (there is an interface of another kind"),
        ("a/b", 2, "the name of a network interface has at most 15 letters"),
    ] {
        let words = format!("{web} 127.0.0.1:1 --ready-interface {name}");
        let done = place.run("evenkeel", &words).check(status);
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
}

/// What a client reads until the end.
fn read_all(address: SocketAddr, time: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, time)?;
    stream.set_read_timeout(Some(time))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The address that two machines share.
const SHARED: &str = "192.0.2.100";

/// A client and two machines with an instance each, whose backend says which machine it is.
struct Pair {
    segment: Arc<Segment>,
    places: [Place; 2],
}

const MACHINES: [&str; 2] = ["a", "b"];

const INTERFACE: &str = "--ready-interface ekready";

impl Pair {
    /// `None` where there can be none; says why.
    #[track_caller]
    fn new(programs: &[&str]) -> Option<Self> {
        let has = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        if let Some(missing) = programs.iter().find(|program| !has(program)) {
            return or_skip(Err(format!("{missing} is not installed")));
        }
        let segment = or_skip(Segment::new(&["client", "a", "b"]))?;
        for machine in MACHINES {
            let listener = segment.within(machine, || TcpListener::bind("127.0.0.1:9000").unwrap());
            thread::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.write_all(machine.as_bytes());
                }
            });
        }
        Some(Self { segment: Arc::new(segment), places: [Place::new(), Place::new()] })
    }

    fn start(&self, machine: usize, options: &str) -> Program {
        let words =
            format!("80 127.0.0.1:9000 --log-sessions none --shutdown-timeout 1s {options}");
        self.segment.within(MACHINES[machine], || self.places[machine].native(&words))
    }

    /// Starts another program on a machine, or on the client's.
    fn run(&self, machine: &str, command: &mut Command) -> Program {
        self.segment.within(machine, || Program::spawn(command))
    }

    /// Which machine answers, if one does.
    fn who(&self) -> Option<String> {
        let address = format!("{SHARED}:80").parse().unwrap();
        let answer = self.segment.within("client", || read_all(address, Duration::from_secs(1)));
        answer.ok().filter(|it| !it.is_empty())
    }

    /// Stops the second instance, and expects the first one to serve and no client to fail.
    #[track_caller]
    fn check_planned_stop(&self, second: &mut Program) {
        let busy = Busy::start(self);
        second.signal(Signal::TERM);
        assert_eq!(second.wait().code(), Some(0));
        self.wait_for("a");
        let seen = busy.stop();
        println!("planned: {seen:?}");
        assert_eq!(seen.failed, 0, "{seen:?}");
    }

    #[track_caller]
    fn wait_for(&self, machine: &str) {
        until("that machine to answer", || self.who().as_deref() == Some(machine));
    }
}

/// A client that connects all the time.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// Errors that say that no answer has come in time.
const WAITS: [ErrorKind; 2] = [ErrorKind::TimedOut, ErrorKind::WouldBlock];

/// What it has seen.
#[derive(Debug)]
struct Seen {
    answered: u32,
    /// Refused, reset or closed.
    failed: u32,
    /// Without an answer so far: the client's system would go on trying.
    late: u32,
    /// The longest time between two answers.
    gap: Duration,
}

impl Busy {
    fn start(pair: &Pair) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (segment, stopped) = (Arc::clone(&pair.segment), Arc::clone(&stop));
        let address = format!("{SHARED}:80").parse().unwrap();
        let run = move || {
            let mut seen = Seen { answered: 0, failed: 0, late: 0, gap: Duration::ZERO };
            let mut last = Instant::now();
            while !stopped.load(Relaxed) {
                match read_all(address, Duration::from_millis(100)) {
                    Ok(text) if !text.is_empty() => {
                        seen.answered += 1;
                        seen.gap = seen.gap.max(last.elapsed());
                        last = Instant::now();
                    }
                    Err(error) if WAITS.contains(&error.kind()) => seen.late += 1,
                    _ => seen.failed += 1,
                }
                thread::sleep(Duration::from_millis(1));
            }
            seen
        };
        let thread = thread::spawn(move || segment.within("client", run));
        Self { stop, thread }
    }

    fn stop(self) -> Seen {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// The recipe of the documentation for one of the machines, which are 192.0.2.2 and 192.0.2.3.
fn recipe(text: &str, machine: usize) -> String {
    if machine == 0 {
        return text.to_owned();
    }
    let text = text.replace("192.0.2.2", "first").replace("192.0.2.3", "192.0.2.2");
    text.replace("first", "192.0.2.3").replace("priority 110", "priority 100")
}

/// Kills one instance and then shuts down the other, while a client connects. Each machine has one of
/// these configurations of keepalived.
#[track_caller]
fn check_keepalived(pair: &Pair, texts: [String; 2], options: &str) {
    let mut instances: Vec<_> = (0..2).map(|machine| Some(pair.start(machine, options))).collect();
    let keep = |machine: usize| {
        let file = |name: &str| pair.places[machine].file(name);
        std::fs::write(file("keepalived.conf"), recipe(&texts[machine], machine)).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]);
        command.arg(file("keepalived.conf"));
        command.arg("--pid").arg(file("pid")).arg("--vrrp_pid").arg(file("vrrp"));
        pair.run(MACHINES[machine], &mut command)
    };
    let _first = keep(0);
    pair.wait_for("a");
    let second = keep(1);
    second.log.wait("Startup complete");
    let busy = Busy::start(pair);
    drop(instances[0].take()); // killed
    pair.wait_for("b");
    println!("killed: {:?}", busy.stop());
    instances[0] = Some(pair.start(0, options));
    until("the first to be ready again", || ready(&pair.places[0]).0 == 0);
    assert_eq!(pair.who().as_deref(), Some("b"), "who has the address keeps it");
    pair.check_planned_stop(instances[1].as_mut().unwrap());
}

#[test]
fn keepalived_follows_the_interface() {
    let Some(pair) = Pair::new(&["keepalived"]) else { return };
    let text = include_str!("../../../../contrib/keepalived/keepalived.conf");
    check_keepalived(&pair, [text, text].map(str::to_owned), INTERFACE);
}

#[test]
fn keepalived_follows_its_script() {
    let Some(pair) = Pair::new(&["keepalived"]) else { return };
    let text = include_str!("../../../../contrib/keepalived/keepalived-script.conf");
    let texts = [0, 1].map(|machine| {
        let command = pair.places[machine].command("evenkeel", "ready");
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let variables =
            variables.map(|(name, value)| format!("{}={} ", name.display(), value.display()));
        let (variables, program) = (variables.collect::<String>(), command.get_program().display());
        // The program that is tested may be where others may write.
        text.replace("/usr/bin/evenkeel", &format!("/usr/bin/env {variables}{program}"))
            .replace("    enable_script_security\n", "")
    });
    check_keepalived(&pair, texts, "--pre-stop 3s");
}

#[test]
fn bird_follows_the_interface() {
    let Some(pair) = Pair::new(&["bird"]) else { return };
    let text = include_str!("../../../../contrib/bird/bird.conf");
    let bird = |machine: &str, place: &Place, text: &str| {
        std::fs::write(place.file("bird.conf"), text).unwrap();
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(place.file("bird.conf"));
        command.arg("-s").arg(place.file("bird.ctl"));
        pair.run(machine, &mut command)
    };
    for machine in MACHINES {
        pair.segment.ip(machine, &format!("address add {SHARED}/32 dev lo")).unwrap();
    }
    let mut instances: Vec<_> =
        (0..2).map(|machine| Some(pair.start(machine, INTERFACE))).collect();
    let router = Place::new();
    let _daemons = [
        bird("client", &router, ROUTER),
        bird("a", &pair.places[0], &recipe(text, 0)),
        bird("b", &pair.places[1], &recipe(text, 1)),
    ];
    let path = |machine: usize| format!("192.0.2.{}", machine + 2);
    let routes = || {
        let list = || Command::new("ip").args(["route", "show", "192.0.2.100"]).output().unwrap();
        String::from_utf8(pair.segment.within("client", list).stdout).unwrap()
    };
    until("both to be announced", || (0..2).all(|machine| routes().contains(&path(machine))));
    let busy = Busy::start(&pair);
    drop(instances[0].take()); // killed
    until("the dead one's route to go", || !routes().contains(&path(0)));
    pair.wait_for("b");
    println!("killed: {:?}", busy.stop());
    instances[0] = Some(pair.start(0, INTERFACE));
    until("it to be announced again", || routes().contains(&path(0)));
    pair.check_planned_stop(instances[1].as_mut().unwrap());
}

#[test]
fn an_upgrade_keeps_the_interface() {
    let Some(pair) = Pair::new(&[]) else { return };
    let _old = pair.start(0, INTERFACE);
    let shown = || {
        let show = || Command::new("ip").args(["-o", "link", "show", "ekready"]).output().unwrap();
        let text = String::from_utf8(pair.segment.within("a", show).stdout).unwrap();
        // Its number, and whether it has a carrier.
        (text.split(':').next().unwrap_or_default().to_owned(), text.contains("LOWER_UP"))
    };
    until("it to be ready", || shown().1);
    let before = shown();
    pair.segment.within("a", || pair.places[0].run("evenkeel", "upgrade")).check(0);
    assert_eq!(shown(), before);
    pair.places[0].ctl("disable 0.0").check(0);
    until("the carrier to go", || shown() == (before.0.clone(), false));
    pair.places[0].ctl("shutdown").check(0);
    until("the interface to go", || shown().0.is_empty());
}

/// The client's own machine is the router.
const ROUTER: &str = "
router id 192.0.2.1;
protocol device { scan time 10; }
protocol kernel { merge paths on; ipv4 { import none; export all; }; }
protocol bgp a { local 192.0.2.1 as 65000; neighbor 192.0.2.2 as 65001; ipv4 { import all; export none; }; }
protocol bgp b { local 192.0.2.1 as 65000; neighbor 192.0.2.3 as 65001; ipv4 { import all; export none; }; }
";
