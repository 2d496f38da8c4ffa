//! Mail relays with an emergency server: `-r -e`, servers that stop and start as they like.

use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::{
    Settings, Summary,
    balancer::{Balancer, operate},
    service::{Service, Stream, same},
    tally::Tally,
};
use crate::{Check, Failure, wait_until};

const CLIENTS: usize = 3;

/// Plays it until `deadline`.
pub fn play(settings: &Settings, deadline: Instant) -> Check<Summary> {
    let relay = |name: &'static str| Service::start(move |stream| serve(stream, name));
    let servers = [relay("mx0")?, relay("mx1")?, relay("mx2")?];
    let emergency = relay("emergency")?;
    let options = format!("-r -b 1 -t 2 -e 127.0.0.1:{}", emergency.port());
    let mut pen = Balancer::start(settings, "", &options, &servers.each_ref().map(Service::port))?;
    let (tally, saved) = (Tally::default(), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (tally, saved, port) = (&tally, &saved, pen.port());
            scope.spawn(move || {
                let from = Ipv4Addr::new(127, 2, 0, client as u8 + 1);
                while Instant::now() < deadline {
                    let done = deliver(from, port, saved);
                    tally.session(
                        done.map_err(|error| {
                            Failure::new(format!("mail taken from {from}"), error)
                        }),
                    );
                    thread::sleep(PAUSE);
                }
            });
        }
        let pause = Duration::from_millis(200);
        operate(deadline, pause, |step| tally.order(run_relays(&pen, &servers, &saved, step)), 8);
    });
    tally.order(pen.end());
    let saved = saved.into_inner();
    let notes = format!("{saved} served by the emergency server");
    Ok(tally.summary("mail", notes))
}

/// A relay: speaks first, and takes mail.
fn serve(mut stream: Stream, name: &str) -> io::Result<()> {
    stream.send(format!("220 {name} ready\r\n"))?;
    loop {
        let line = stream.line()?;
        match line.split(' ').next() {
            Some("EHLO") => stream.send("250-hello\r\n250 PIPELINING\r\n")?,
            Some("QUIT") => return stream.send("221 bye\r\n"),
            Some("DATA") => {
                stream.send("354 go on\r\n")?;
                let mut bytes = 0;
                loop {
                    let line = stream.line()?;
                    if line == "." {
                        break;
                    }
                    bytes += line.len();
                }
                stream.send(format!("250 {bytes} bytes\r\n"))?;
            }
            _ => stream.send("250 fine\r\n")?,
        }
    }
}

/// A client with one message.
fn deliver(from: Ipv4Addr, port: u16, saved: &AtomicU64) -> io::Result<()> {
    let mut stream = Stream::connect(from, port)?;
    let greeting = stream.line()?;
    if !greeting.starts_with("220 ") {
        return Err(io::Error::other(format!("the greeting is {greeting:?}")));
    }
    if greeting.contains("emergency") {
        saved.fetch_add(1, SeqCst);
    }
    stream.send("EHLO client\r\n")?;
    same("EHLO", &stream.line()?, "250-hello")?;
    same("EHLO", &stream.line()?, "250 PIPELINING")?;
    stream.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n")?;
    same("MAIL", &stream.line()?, "250 fine")?;
    same("RCPT", &stream.line()?, "250 fine")?;
    stream.send("DATA\r\n")?;
    same("DATA", &stream.line()?, "354 go on")?;
    let line = "x".repeat(70);
    stream.send(format!("{line}\r\n").repeat(200))?;
    stream.send(".\r\n")?;
    same("the message", &stream.line()?, "250 14000 bytes")?;
    stream.send("QUIT\r\n")?;
    same("QUIT", &stream.line()?, "221 bye")?;
    stream.end()
}

/// Stops one, then all, and has them back.
fn run_relays(pen: &Balancer, servers: &[Service; 3], saved: &AtomicU64, step: usize) -> Check {
    let one = &servers[step / 8 % 3];
    match step % 8 {
        0 => one.stop(),
        1 => pen.check_pid()?,
        2 => one.restart()?,
        3 => pen.set(&format!("server {} blacklist 0", step / 8 % 3))?,
        4 => {
            let before = saved.load(SeqCst);
            servers.iter().for_each(Service::stop);
            let is_used = || saved.load(SeqCst) > before + 3;
            let in_time = wait_until(Instant::now() + Duration::from_secs(5), is_used);
            for server in servers {
                server.restart()?;
            }
            if !in_time {
                return Err(Failure::new("the emergency server in use", "it is not"));
            }
        }
        5 => {
            for server in 0..servers.len() {
                pen.set(&format!("server {server} blacklist 0"))?;
            }
            // Whoever is on the way there still may get there.
            thread::sleep(Duration::from_millis(300));
            let before = saved.load(SeqCst);
            thread::sleep(Duration::from_millis(300));
            let after = saved.load(SeqCst);
            if after != before {
                return Err(Failure::new("the relays in use again", "the emergency server"));
            }
        }
        6 => {
            pen.ctl("recent 10")?;
        }
        _ => {
            pen.ctl("servers")?;
        }
    }
    Ok(())
}

/// Between two messages of a client.
const PAUSE: Duration = Duration::from_millis(8);
