//! The checks: whether a watched program is well.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::commands::{self, Ended};
use super::config::{Udp, Url, Watch};
use super::decide::{Health, Trouble};
use super::processes::{self, Process};
use crate::daemon::User;

/// Passes a watch through all its checks; the first that fails is the reason.
pub fn check(name: &str, watch: &Watch) -> Health {
    let counted = match watch.counts_processes().then(|| count(watch)).transpose() {
        Ok(counted) => counted,
        Err(reason) => return Health::Ill(Trouble { reason, ..Trouble::default() }),
    };
    let running = counted.as_ref().map_or(0, Vec::len);
    // Whoever has a pid file may have a process that the file does not name.
    let left = running > 0 || watch.pid_file.is_some();
    let trouble = |reason| Trouble { reason, running, left };
    if counted.is_some() && running < watch.min {
        return Health::Ill(trouble(format!("{running} of {}", watch.min)));
    }
    let pid_file = watch.pid_file.as_deref();
    let alive = pid_file.map_or(Ok(()), |path| by_pid_file(path, counted.as_deref()));
    match alive.and_then(|()| probe(name, watch)) {
        Err(reason) => Health::Ill(trouble(reason)),
        Ok(()) => match watch.max {
            Some(max) if running > max => {
                Health::TooMany(trouble(format!("{running} processes, at most {max} wanted")))
            }
            _ => Health::Well,
        },
    }
}

fn count(watch: &Watch) -> Result<Vec<Process>, String> {
    let uid = match &watch.user {
        Some(user) => Some(User::find(user).ok_or(format!("no such user '{user}'"))?.uid()),
        None => None,
    };
    let mut found = processes::all();
    found.retain(|process| process.belongs_to(watch, uid));
    Ok(found)
}

fn by_pid_file(path: &Path, counted: Option<&[Process]>) -> Result<(), String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let pid: u32 = text.trim().parse().map_err(|_| format!("{shown} holds no process id"))?;
    let alive = match counted {
        // The number may have been given to another program.
        Some(counted) => counted.iter().any(|process| process.pid == pid),
        None => processes::read(pid).is_some(),
    };
    if alive { Ok(()) } else { Err(format!("process {pid} of {shown} is not running")) }
}

fn probe(name: &str, watch: &Watch) -> Result<(), String> {
    let timeout = watch.timeout;
    if let Some(address) = &watch.tcp {
        connect(address, timeout).map_err(|error| format!("tcp {address}: {error}"))?;
    }
    if let Some(probe) = &watch.udp {
        udp(probe, timeout).map_err(|error| format!("udp {}: {error}", probe.address))?;
    }
    if let Some(path) = &watch.unix {
        UnixStream::connect(path).map_err(|error| format!("unix {}: {error}", path.display()))?;
    }
    if let Some(url) = &watch.http {
        let status = Url::parse(url).map_err(io::Error::other).and_then(|url| get(&url, timeout));
        match status {
            Ok(200..=399) => {}
            Ok(status) => return Err(format!("http {url}: status {status}")),
            Err(error) => return Err(format!("http {url}: {error}")),
        }
    }
    if let Some(command) = &watch.exec {
        match commands::run(command, &[("DWATCH_NAME", name.to_owned())], timeout) {
            Ok(Ended::Status(0)) => {}
            Ok(Ended::Status(status)) => return Err(format!("exec: status {status}")),
            Ok(Ended::Killed) => return Err(format!("exec: no end within {timeout:?}")),
            Err(error) => return Err(format!("exec: {error}")),
        }
    }
    Ok(())
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn udp(probe: &Udp, timeout: Duration) -> io::Result<()> {
    let address = probe.address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let any: SocketAddr =
        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(address)?;
    socket.send(probe.send.as_bytes())?;
    socket.recv(&mut [0; 2048]).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other("no answer"),
        _ => error,
    })?;
    Ok(())
}

fn get(url: &Url, timeout: Duration) -> io::Result<u16> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: dwatch\r\nConnection: close\r\n\r\n",
        url.path, url.host
    );
    talk(url, request.as_bytes(), timeout)
}

/// Posts JSON and gives the status of the answer.
pub fn post(url: &Url, body: &str, timeout: Duration) -> io::Result<u16> {
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: dwatch\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        url.path,
        url.host,
        body.len()
    );
    talk(url, request.as_bytes(), timeout)
}

/// Sends a request and reads the first line of the answer, all within the time-out.
fn talk(url: &Url, request: &[u8], timeout: Duration) -> io::Result<u16> {
    let end = Instant::now() + timeout;
    let mut stream = connect(&url.address, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
