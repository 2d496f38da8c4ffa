//! `evenkeel demo`: three small web servers and a balancer in front of them, to try things out.

use crate::output::{OutputError, print};
use crate::serve::serve;
use anyhow::Context;
use clap::Parser;
use config::native::{DemoArgs, NativeCli};
use control::ServiceManager;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The names the web servers answer with.
const NAMES: [&str; 3] = ["ann", "bob", "cyd"];

/// Serves until Ctrl-C.
pub fn run(args: &DemoArgs) -> anyhow::Result<u8> {
    // Held until the balancer is about to listen, so that nobody else is given its port.
    let (reserved, port) = listen_from(args.port)?;
    let mut words = vec!["evenkeel".to_owned(), format!("127.0.0.1:{port}")];
    let mut backends = Vec::new();
    let mut next = port;
    for name in NAMES {
        let (listener, port) = listen_after(next)?;
        next = port;
        words.push(format!("127.0.0.1:{port}"));
        let backend = Backend { name, port, stopping: Arc::default() };
        backend.start(listener).context("cannot start a web server")?;
        backends.push(backend);
    }
    let (switches, switch_port) = listen_after(next)?;
    introduce(port, switch_port, &backends, &words)?;
    std::thread::Builder::new()
        .name("demo-switches".to_owned())
        .spawn(move || serve_switches(&switches, backends))
        .context("cannot start the switches")?;
    drop(reserved);
    let cli = NativeCli::try_parse_from(&words)?;
    serve(cli.start.to_config(&|_| None)?, ServiceManager::default(), None)
}

fn introduce(
    port: u16,
    switch_port: u16,
    backends: &[Backend],
    words: &[String],
) -> Result<(), OutputError> {
    let mut text = "Three web servers, each answering with its name:\n".to_owned();
    for Backend { name, port, .. } in backends {
        text += &format!("  {name} on 127.0.0.1:{port}\n");
    }
    let first = backends[0].name;
    text += &format!(
        "
The balancer in front of them is equivalent to
  {}

Try, in another terminal:
  curl http://127.0.0.1:{port}               repeat this: the servers take turns
  curl http://127.0.0.1:{switch_port}/stop/{first}      then repeat the first command: no client notices
  curl http://127.0.0.1:{switch_port}/start/{first}     it is used again ten seconds after it failed
  evenkeel ctl --listen {port} status        how much each server has served
  evenkeel ctl --listen {port} disable 0.1   take one out of service without cutting sessions
  evenkeel --print-config=toml {}
                                             the same balancer as a configuration file

(evenkeel is target/release/evenkeel if you have just built it.)
The log follows. Press Ctrl-C to stop everything.

",
        words.join(" "),
        words.get(1..).unwrap_or_default().join(" "),
    );
    print(&text)
}

/// Listens on the first free port after `port`.
fn listen_after(port: u16) -> anyhow::Result<(TcpListener, u16)> {
    let next = port.checked_add(1).with_context(|| {
        format!("no port is left after {port} for all web servers; choose a lower --port")
    })?;
    listen_from(next)
}

/// Listens on the first port from `first` on that is free.
fn listen_from(first: u16) -> anyhow::Result<(TcpListener, u16)> {
    let last = first.saturating_add(PORTS_TRIED);
    let mut free = (first..=last).filter_map(|port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|listener| (listener, port))
    });
    free.next().with_context(|| {
        format!("ports {first} to {last} are all taken; choose another one with --port")
    })
}

const PORTS_TRIED: u16 = 100;

/// A web server that answers with its name, and can be stopped and started.
struct Backend {
    name: &'static str,
    port: u16,
    stopping: Arc<AtomicBool>,
}

impl Backend {
    fn start(&self, listener: TcpListener) -> std::io::Result<()> {
        self.stopping.store(false, Relaxed);
        let (name, stopping) = (self.name, Arc::clone(&self.stopping));
        std::thread::Builder::new().name(format!("demo-{name}")).spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Relaxed) {
                    return; // closes the listener: from now on connections are refused
                }
                answer_each(stream, move |_| name.to_owned());
            }
        })?;
        Ok(())
    }

    /// Carries out a request to the switch.
    fn switch(&self, on: bool) -> std::io::Result<&'static str> {
        let is_off = self.stopping.load(Relaxed);
        match (is_off, on) {
            (true, true) => {
                self.start(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?)?;
                Ok("is back")
            }
            (false, false) => {
                self.stopping.store(true, Relaxed);
                drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))); // wakes it
                Ok("has stopped")
            }
            (true, false) => Ok("is already stopped"),
            (false, true) => Ok("is already running"),
        }
    }
}

/// The web page that stops and starts backends: `/stop/NAME`, `/start/NAME`.
fn serve_switches(listener: &TcpListener, backends: Vec<Backend>) {
    let backends = Arc::new(backends);
    for stream in listener.incoming().flatten() {
        let backends = Arc::clone(&backends);
        answer_each(stream, move |path| {
            let mut words = path.split('/').skip(1);
            let on = match words.next() {
                Some("start") => true,
                Some("stop") => false,
                _ => return "use /stop/NAME or /start/NAME".to_owned(),
            };
            let name = words.next().unwrap_or_default();
            match backends.iter().find(|backend| backend.name == name) {
                Some(backend) => match backend.switch(on) {
                    Ok(done) => format!("{name} {done}"),
                    Err(error) => format!("{name}: {error}"),
                },
                None => format!("there is no web server called {name}"),
            }
        });
    }
}

/// Answers one request in a thread of its own.
fn answer_each(stream: TcpStream, body: impl FnOnce(&str) -> String + Send + 'static) {
    // A visitor who leaves early, or a thread that cannot be had, is no concern of a demo.
    let _ = std::thread::Builder::new().spawn(move || answer(&stream, body));
}

fn answer(mut stream: &TcpStream, body: impl FnOnce(&str) -> String) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream).take(REQUEST_BYTES_MAX);
    let mut request = String::new();
    lines.read_line(&mut request)?;
    let mut header = String::new();
    while lines.read_line(&mut header)? > 2 {
        header.clear();
    }
    let body = body(request.split(' ').nth(1).unwrap_or("/"));
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}\n",
        body.len() + 1
    )
}

const REQUEST_BYTES_MAX: u64 = 64 << 10;
