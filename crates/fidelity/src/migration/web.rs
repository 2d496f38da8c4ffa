//! A farm of web servers: `-H`, a log that cron rotates, a status page, a file that is written
//! and read again, servers that come, are limited, blacklisted, restarted and lost.

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    Settings, Summary,
    balancer::{Balancer, operate, soon},
    service::{Service, Stream, same},
    tally::Tally,
};
use crate::{Check, Failure, wait_until};

const OPTIONS: &str = "-H -w status.html -l access.log -F pen.cfg -b 2 -x 1000 -c 4096";
const CONFIG: &str = "# The farm.\nno acl 1\nacl 1 deny 10.0.0.0 255.0.0.0\nclient_acl 1\n\
                      timeout 3\nno roundrobin\n";
const CLIENTS: usize = 4;

/// Plays it until `deadline`.
pub fn play(settings: &Settings, deadline: Instant) -> Check<Summary> {
    let servers = (0..4).map(|_| Service::start(serve)).collect::<Check<Vec<_>>>()?;
    let ports: Vec<_> = servers.iter().take(3).map(Service::port).collect();
    let mut pen = Balancer::start(settings, CONFIG, OPTIONS, &ports)?;
    let (tally, requests) = (Tally::default(), AtomicU64::new(0));
    let mut logs = Vec::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (tally, requests, port) = (&tally, &requests, pen.port());
            scope.spawn(move || {
                let mut session = 0;
                while Instant::now() < deadline {
                    let from = Ipv4Addr::new(127, 1, client as u8, (session % 250) as u8 + 1);
                    let done = visit(from, port, session, requests);
                    tally.session(
                        done.map_err(|error| Failure::new(format!("pages for {from}"), error)),
                    );
                    session += 1;
                    thread::sleep(PAUSE);
                }
            });
        }
        let mut farm = Farm { pen: &pen, servers: &servers, logs: &mut logs };
        let pause = Duration::from_millis(150);
        operate(deadline, pause, |step| tally.order(farm.operate(step)), STEPS);
    });
    tally.order(pen.end());
    logs.push(pen.file("access.log"));
    let requests = requests.into_inner();
    tally.order(check_logs(&logs, requests));
    let notes = format!("{requests} requests, {} logs, each request in them once", logs.len());
    Ok(tally.summary("web farm", notes))
}

/// A web server: names the request and the client in a page of some length.
fn serve(mut stream: Stream) -> io::Result<()> {
    loop {
        let mut forwarded_for = String::new();
        let request = stream.line()?;
        loop {
            let line = stream.line()?;
            if line.is_empty() {
                break;
            }
            if let Some(address) = line.strip_prefix("X-Forwarded-For: ") {
                forwarded_for = address.to_owned();
            }
        }
        let number = number_of(&request).unwrap_or(0);
        let page = format!("{request} for {forwarded_for}\n");
        let filler = "x".repeat(filler_of(number));
        let length = page.len() + filler.len();
        stream
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{page}{filler}"))?;
    }
}

/// The number in `GET /page/17 HTTP/1.1`.
fn number_of(request: &str) -> Option<u64> {
    request.strip_prefix("GET /page/")?.split(' ').next()?.parse().ok()
}

/// Pages are of all lengths.
fn filler_of(number: u64) -> usize {
    if number.is_multiple_of(50) { 300_000 } else { number as usize % 7 * 900 }
}

/// One client's session: a few pages over one connection.
fn visit(from: Ipv4Addr, port: u16, session: usize, requests: &AtomicU64) -> io::Result<()> {
    let mut stream = Stream::connect(from, port)?;
    for _ in 0..=session % 3 {
        let number = requests.fetch_add(1, SeqCst);
        let request = format!("GET /page/{number} HTTP/1.1");
        stream.send(format!("{request}\r\nHost: farm\r\nUser-Agent: migration\r\n\r\n"))?;
        same("the status", &stream.line()?, "HTTP/1.1 200 OK")?;
        let length = stream.line()?;
        let length = length.strip_prefix("Content-Length: ").and_then(|it| it.parse().ok());
        let length: usize = length.ok_or_else(|| io::Error::other("no length"))?;
        same("the end of the head", &stream.line()?, "")?;
        let page = stream.bytes(length)?;
        let expected = format!("{request} for {from}\n");
        let text = String::from_utf8_lossy(&page[..expected.len().min(page.len())]).into_owned();
        same("the page", &text, &expected)?;
        same("its length", &length.to_string(), &(text.len() + filler_of(number)).to_string())?;
    }
    Ok(())
}

/// What the operators of the farm have.
struct Farm<'a> {
    pen: &'a Balancer,
    servers: &'a [Service],
    logs: &'a mut Vec<PathBuf>,
}

/// How many different things [`Farm::operate`] does.
const STEPS: usize = 10;

impl Farm<'_> {
    fn operate(&mut self, step: usize) -> Check {
        let turn = step / STEPS;
        let pen = self.pen;
        match step % STEPS {
            0 | 5 => {
                let old = pen.rotate(&pen.file("access.log"), self.logs.len())?;
                self.logs.push(old);
                Ok(())
            }
            1 => self.check_page(),
            2 => pen.set(&format!(
                "server 3 address 127.0.0.1 port {} max 0 hard 0",
                self.servers[3].port()
            )),
            3 => {
                pen.set(&format!("server {} max 2 hard 3", turn % 3))?;
                pen.set(&format!("server {} max 0 hard 0", (turn + 1) % 3))
            }
            4 => self.restart_drained(turn % 3),
            6 => {
                pen.set("write")?;
                pen.signal(Signal::HUP);
                pen.check_pid()
            }
            7 => self.lose(2 - turn % 3),
            8 => pen.set(if turn.is_multiple_of(2) { "roundrobin" } else { "no roundrobin" }),
            _ => {
                let servers = pen.ctl("servers")?;
                match servers.lines().count() {
                    4 => pen.check_pid(),
                    _ => Err(Failure::new("four servers", servers)),
                }
            }
        }
    }

    /// The page on request, by signal.
    fn check_page(&self) -> Check {
        let page = self.pen.file("status.html");
        // Whoever reads the page removes it first, to see that it is new.
        let _ = fs::remove_file(&page);
        self.pen.signal(Signal::USR1);
        let is_there = || {
            fs::read_to_string(&page)
                .is_ok_and(|text| text.contains("Pen status page") && text.contains("</html>"))
        };
        if wait_until(soon(), is_there) {
            return Ok(());
        }
        Err(Failure::new("a status page after USR1", "none"))
    }

    /// A restart as it should be: nobody is sent there while it lasts.
    fn restart_drained(&self, server: usize) -> Check {
        self.pen.set(&format!("server {server} blacklist 5"))?;
        self.servers[server].wait_idle()?;
        self.servers[server].stop();
        thread::sleep(Duration::from_millis(100));
        self.servers[server].restart()?;
        self.pen.set(&format!("server {server} blacklist 0"))
    }

    /// A server that dies while it has nothing to do; pen finds out by itself.
    fn lose(&self, server: usize) -> Check {
        self.pen.set(&format!("server {server} blacklist 5"))?;
        self.servers[server].wait_idle()?;
        self.servers[server].stop();
        self.pen.set(&format!("server {server} blacklist 0"))?;
        thread::sleep(Duration::from_millis(400)); // clients meet it meanwhile
        self.servers[server].restart()?;
        self.pen.set(&format!("server {server} blacklist 0"))
    }
}

/// Every request is in the logs, once.
fn check_logs(logs: &[PathBuf], requests: u64) -> Check {
    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut odd = 0;
    for log in logs {
        let text = fs::read(log).map_err(|error| Failure::new("a log", error))?;
        for line in String::from_utf8_lossy(&text).lines() {
            // CLIENT SECONDS SERVER TEXT
            let text = line.splitn(4, ' ').nth(3);
            match text.and_then(number_of) {
                Some(number) => *seen.entry(number).or_default() += 1,
                None => odd += 1,
            }
        }
    }
    let lost = (0..requests).filter(|number| !seen.contains_key(number)).count();
    let twice = seen.values().filter(|&&times| times != 1).count();
    if (lost, twice, odd) == (0, 0, 0) {
        return Ok(());
    }
    let seen = format!("{lost} missing, {twice} more than once, {odd} other lines");
    Err(Failure::new(format!("each of {requests} requests in the logs once"), seen))
}

/// Between two sessions of a client: the load shall be steady, not the most that is possible.
const PAUSE: Duration = Duration::from_millis(5);
