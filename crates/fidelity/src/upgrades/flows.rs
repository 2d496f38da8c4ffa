//! UDP flows: numbered datagrams, which must all be answered in order, by a backend that always sees
//! the same address.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::Ordering::Relaxed,
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::special::Load;
use crate::clients::{PATIENCE, Trouble};

/// The name of the listener.
pub const NAME: &str = "datagrams";

/// Starts a backend that answers each datagram with the port that it came from, and the datagram.
///
/// # Errors
/// When it cannot be started.
pub fn start_backend() -> io::Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _ = set_socket_recv_buffer_size_force(&socket, QUEUE_BYTES);
    let port = socket.local_addr()?.port();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((count, client)) = socket.recv_from(&mut buffer) {
            let answer = [&client.port().to_be_bytes(), &buffer[..count]].concat();
            let _ = socket.send_to(&answer, client);
        }
    });
    Ok(port)
}

/// One flow, until the load is over.
pub fn talk(port: u16, load: &Load) {
    load.tally.sessions.fetch_add(1, Relaxed);
    if let Err(error) = exchange(port, load) {
        let trouble = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Trouble::Cut,
            _ => Trouble::Wrong,
        };
        load.tally.note(trouble, &format_args!("a flow: {error}"));
    }
}

fn exchange(port: u16, load: &Load) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let mut source = None;
    for round in 0_u64.. {
        if load.is_over() {
            return Ok(());
        }
        let numbers = (round * AT_ONCE)..(round + 1) * AT_ONCE;
        for number in numbers.clone() {
            socket.send(&number.to_be_bytes())?;
        }
        for number in numbers {
            let mut answer = [0; 64];
            let count = socket.recv(&mut answer)?;
            let (seen, rest) = answer[..count].split_at(2.min(count));
            if rest != number.to_be_bytes() {
                return wrong(format!("{rest:?} came instead of {number}"));
            }
            if *source.get_or_insert(seen.to_vec()) != seen {
                return wrong(format!("another socket towards the backend after {number}"));
            }
            load.tally.bytes.fetch_add(rest.len() as u64, Relaxed);
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Datagrams that are under way at one time.
const AT_ONCE: u64 = 4;
const PAUSE: Duration = Duration::from_millis(10);
const QUEUE_BYTES: usize = 8 << 20;
