//! Many at once, and rubbish: the program stays up, serves, and stays small.

use crate::Pen;
use crate::support::{Backend, Client, End};
use fidelity::pattern::Pattern;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

#[test]
fn a_thousand_idle_control_connections_while_traffic_runs() {
    let a = Backend::named("a");
    let mut pen = Pen::start("-r", &format!("{a}"));
    let before = pen.memory();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let asked = thread::scope(|scope| {
        let talker = scope.spawn(|| {
            let mut asked = 0;
            while !is_over.load(SeqCst) {
                asked += 1;
                let client = Client::connect(&pen.port);
                client.expect("a\n");
                client.send("echo");
                client.finish();
                assert_eq!(client.rest(), (b"echo".to_vec(), End::Eof));
                served.fetch_add(1, SeqCst);
            }
            asked
        });
        let idle: Vec<_> = (0..1000).filter_map(|_| pen.control_stream().ok()).collect();
        assert_eq!(idle.len(), 1000);
        let so_far = served.load(SeqCst);
        crate::until("traffic beside them", || served.load(SeqCst) > so_far + 100);
        // Some of the idle ones may be given up in favour of one who has something to say.
        assert_eq!(pen.ctl("timeout"), "3\n");
        let done = pen.place.run("penctl", &format!("127.0.0.1:{} pid", pen.control)).check(0);
        assert_eq!(done.stdout.trim(), pen.program.pid().to_string());
        let so_far = served.load(SeqCst);
        crate::until("more traffic", || served.load(SeqCst) > so_far + 100);
        drop(idle);
        is_over.store(true, SeqCst);
        talker.join().unwrap()
    });
    assert_eq!(asked, served.load(SeqCst), "every request is served");
    assert!(pen.memory() < before + 50_000, "{before} kB, then {}", pen.memory());
    pen.check_alive();
    let ticks = pen.ticks_in_a_second();
    assert!(ticks < 20, "{ticks} ticks of 10 ms in an idle second");
}

/// Small numbers from a seed, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Sends something that is no command, in one of the ways in which that can go wrong.
fn send_rubbish(stream: &mut TcpStream, dice: &mut Dice) -> std::io::Result<()> {
    let bytes = Pattern::new(dice.roll(1 << 20) as u64).take(1 + dice.roll(3000));
    match dice.roll(7) {
        0 => stream.write_all(&bytes)?,
        1 => stream.write_all(&[b'a' + dice.roll(26) as u8; 70_000])?,
        2 => stream.write_all(b"server 0 blackl")?,
        3 => stream.write_all(&[b"servers \0\xff\xfe", bytes.as_slice(), b"\n"].concat())?,
        4 => {}
        5 => stream.write_all(&b"timeout ".repeat(5000))?,
        _ => {
            for byte in b"tracking \t \r" {
                stream.write_all(&[*byte])?;
            }
        }
    }
    match dice.roll(4) {
        0 => SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?,
        1 => stream.shutdown(std::net::Shutdown::Write)?,
        2 => {
            stream.write_all(b"\n")?;
            let _ = stream.read(&mut [0; 100])?;
        }
        _ => {}
    }
    Ok(())
}

#[test]
fn rubbish_on_the_control_port_does_no_harm() {
    let seed = std::env::var("EVENKEEL_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(0x5eed_cafe);
    eprintln!("EVENKEEL_SIM_SEED={seed}");
    let a = Backend::named("a");
    let mut pen = Pen::start("-r", &format!("{a}"));
    let mut dice = Dice(seed);
    let mut memory = 0;
    for burst in 0..20 {
        for _ in 0..50 {
            let mut stream = pen.control_stream().unwrap();
            // A balancer that has heard enough may close or reset.
            let _ = send_rubbish(&mut stream, &mut dice);
        }
        assert_eq!(pen.ask(2), "a a", "burst {burst}");
        pen.check_alive();
        match burst {
            4 => memory = pen.memory(),
            5.. => {
                let now = pen.memory();
                assert!(now < memory + 20_000, "burst {burst}: {memory} kB, then {now}");
            }
            _ => {}
        }
    }
}
