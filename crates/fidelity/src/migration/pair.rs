//! Two services that must agree on a client's server, as a web site and its chat do: two
//! processes with `-h`, changed together.

use std::{
    io,
    net::Ipv4Addr,
    sync::{PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    Settings, Summary,
    balancer::{Balancer, operate},
    service::{Service, Stream, same},
    tally::Tally,
};
use crate::{Check, Failure};

const CLIENTS: usize = 3;
const CHATS: u8 = 5;
/// Failures are forgotten when an operator says so, never by themselves: the two processes see
/// them at different times.
const OPTIONS: &str = "-h -b 600 -F pen.cfg";

/// Plays it until `deadline`.
pub fn play(settings: &Settings, deadline: Instant) -> Check<Summary> {
    let web = services()?;
    let chat = services()?;
    let start = |servers: &[Service]| {
        let ports: Vec<_> = servers.iter().take(4).map(Service::port).collect();
        Balancer::start(settings, "timeout 2\n", OPTIONS, &ports)
    };
    let mut site = Site { pens: [start(&web)?, start(&chat)?], servers: [web, chat] };
    let tally = Tally::default();
    // A visitor sees the two either before a change or after it.
    let changing = RwLock::new(());
    let mut visitors = 0;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (tally, changing) = (&tally, &changing);
            let ports = site.pens.each_ref().map(Balancer::port);
            scope.spawn(move || {
                let mut session = 0;
                while Instant::now() < deadline {
                    let from = Ipv4Addr::new(127, 3, client as u8, (session % 200) as u8 + 1);
                    let calm = changing.read().unwrap_or_else(PoisonError::into_inner);
                    let done = visit_both(from, ports);
                    drop(calm);
                    tally.session(done.map_err(|error| {
                        Failure::new(format!("the same server twice for {from}"), error)
                    }));
                    session += 1;
                    thread::sleep(PAUSE);
                }
            });
        }
        for chat in 0..CHATS {
            let (tally, port) = (&tally, site.pens[1].port());
            scope.spawn(move || {
                let from = Ipv4Addr::new(127, 3, 9, chat + 1);
                let done = talk(from, port, deadline);
                tally.session(done.map_err(|error| {
                    Failure::new(format!("a chat of {from} that nothing disturbs"), error)
                }));
            });
        }
        let change = |step: usize| {
            let alone = changing.write().unwrap_or_else(PoisonError::into_inner);
            let done = site.change(step);
            drop(alone);
            tally.order(done);
        };
        operate(deadline, Duration::from_millis(250), change, STEPS);
        visitors = CLIENTS * 200;
    });
    for pen in &mut site.pens {
        tally.order(pen.end());
    }
    let notes = format!("{visitors} addresses, {CHATS} chats open all the time");
    Ok(tally.summary("web and chat", notes))
}

/// Five servers, each with its place as its name; the fifth is added later.
fn services() -> Check<Vec<Service>> {
    (0..5).map(|index| Service::start(move |stream| serve(stream, index))).collect()
}

fn serve(mut stream: Stream, index: usize) -> io::Result<()> {
    stream.send(format!("{index}\n"))?;
    loop {
        let line = stream.line()?;
        stream.send(format!("{line}\n"))?;
    }
}

/// One visitor's look at both; the server must be the same.
fn visit_both(from: Ipv4Addr, ports: [u16; 2]) -> io::Result<()> {
    let mut names = [String::new(), String::new()];
    for (name, port) in names.iter_mut().zip(ports) {
        let mut stream = Stream::connect(from, port)?;
        *name = stream.line()?;
        stream.send("hello\n")?;
        same("the echo", &stream.line()?, "hello")?;
    }
    same("the chat's server", &names[1], &names[0])
}

/// One that stays.
fn talk(from: Ipv4Addr, port: u16, deadline: Instant) -> io::Result<()> {
    let mut stream = Stream::connect(from, port)?;
    stream.line()?;
    let mut number = 0;
    while Instant::now() < deadline {
        stream.send(format!("{number}\n"))?;
        same("the echo", &stream.line()?, &number.to_string())?;
        number += 1;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Two of each.
struct Site {
    pens: [Balancer; 2],
    servers: [Vec<Service>; 2],
}

/// How many different things [`Site::change`] does.
const STEPS: usize = 7;

impl Site {
    fn change(&self, step: usize) -> Check {
        let server = step / STEPS % 4;
        match step % STEPS {
            0 => self.set_both(&format!("server {server} blacklist 500")),
            1 => self.set_both(&format!("server {server} blacklist 0")),
            2 => {
                // The table grows at its end, in both.
                for (pen, servers) in self.pens.iter().zip(&self.servers) {
                    pen.set(&format!("server 4 address 127.0.0.1 port {}", servers[4].port()))?;
                }
                Ok(())
            }
            3 => {
                // Both lose the same place, and find out by themselves.
                self.servers.iter().for_each(|servers| servers[server].stop());
                Ok(())
            }
            4 => {
                for servers in &self.servers {
                    servers[server].restart()?;
                }
                self.set_both(&format!("server {server} blacklist 0"))
            }
            5 => {
                self.pens.iter().for_each(|pen| pen.signal(Signal::HUP));
                self.pens.iter().try_for_each(Balancer::check_pid)
            }
            _ => {
                let modes = [self.pens[0].ctl("mode")?, self.pens[1].ctl("mode")?];
                if modes.iter().all(|mode| mode.starts_with("hash no roundrobin")) {
                    return Ok(());
                }
                Err(Failure::new("the mode hash", format!("{modes:?}")))
            }
        }
    }

    fn set_both(&self, command: &str) -> Check {
        self.pens.iter().try_for_each(|pen| pen.set(command))
    }
}

/// Between two visits.
const PAUSE: Duration = Duration::from_millis(8);
