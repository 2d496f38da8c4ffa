//! What a connection passes on.

use crate::support::{Backend, Client, End, PATIENCE, Place, pattern, port, until};
use socket2::SockRef;
use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn fault_10_both_directions_move_at_once() {
    const LEN: usize = 20 << 20;
    let (place, port, echo) = (Place::new(), port(), Backend::echo());
    let _balance = place.balance(&format!("{port} {echo}"));
    let client = Client::connect(&port);
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send(pattern(1, LEN));
            client.finish();
        });
        let (bytes, end) = client.rest();
        assert_eq!((bytes.len(), end), (LEN, End::Eof));
        assert!(bytes == pattern(1, LEN));
    });
}

/// A nearer deadline wins over one set before: without that the idle time of a minute decided.
#[test]
fn a_server_that_has_finished_ends_a_silent_session_soon_whatever_the_idle_time() {
    let (place, port) = (Place::new(), port());
    let backend = Backend::new(|client| {
        client.send("bye");
        client.finish();
        client.rest();
    });
    let _balance = place.balance(&format!("-T 60 {port} {backend}"));
    let client = Client::connect(&port);
    assert_eq!(client.rest(), (b"bye".to_vec(), End::Eof));
    until("the session to end", || place.sessions() == 0);
}

#[test]
fn fault_11_a_half_close_leaves_the_other_direction_open() {
    let (place, port) = (Place::new(), port());
    let (heard, hears) = channel();
    let backend = Backend::new(move |client| {
        let mut first = [0; 5];
        (&client.0).read_exact(&mut first).unwrap();
        if &first == b"whole" {
            assert_eq!(client.rest(), (b" question".to_vec(), End::Eof));
            client.send(pattern(2, 1 << 20));
        } else {
            client.send("enough said");
            client.finish();
            let _ = heard.send(client.rest());
        }
    });
    let _balance = place.balance(&format!("{port} {backend}"));
    let client = Client::connect(&port);
    client.send("whole question");
    client.finish();
    let (answer, end) = client.rest();
    assert_eq!((answer.len(), end), (1 << 20, End::Eof));
    assert!(answer == pattern(2, 1 << 20));

    let client = Client::connect(&port);
    client.send("first");
    assert_eq!(client.rest(), (b"enough said".to_vec(), End::Eof));
    client.send("and the client goes on");
    client.finish();
    let expected = (b"and the client goes on".to_vec(), End::Eof);
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(expected));
}

#[test]
fn fault_12_a_tail_is_not_lost() {
    let (place, port) = (Place::new(), port());
    let backend = Backend::new(|client| {
        thread::scope(|scope| {
            scope.spawn(|| client.rest());
            client.send(pattern(3, 300_000));
            client.finish();
        });
    });
    let _balance = place.balance(&format!("{port} {backend}"));
    for _ in 0..5 {
        let client = Client::connect(&port);
        thread::scope(|scope| {
            // Sends until the other side is gone.
            scope.spawn(|| while (&client.0).write_all(&[b'x'; 4096]).is_ok() {});
            let mut bytes = Vec::new();
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = (&client.0).read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
            }
            let _ = client.0.shutdown(std::net::Shutdown::Both);
            assert_eq!(bytes.len(), 300_000);
            assert!(bytes == pattern(3, 300_000));
        });
    }
}

#[test]
fn fault_13_a_flood_does_not_hold_up_the_answers() {
    let (place, port) = (Place::new(), port());
    let start = Instant::now();
    let backend = Backend::new(move |client| {
        thread::scope(|scope| {
            scope.spawn(|| client.rest());
            for _ in 0..50 {
                let now = start.elapsed().as_micros();
                if (&client.0).write_all(format!("{now}\n").as_bytes()).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(10)); // the pace of the answers
            }
            let _ = client.0.shutdown(std::net::Shutdown::Both);
        });
    });
    let _balance = place.balance(&format!("{port} {backend}"));
    let client = Client::connect(&port);
    let mut delays: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| while (&client.0).write_all(&[b'x'; 1 << 16]).is_ok() {});
        let delays = (0..50).map(|_| {
            let sent = client.line().parse().unwrap();
            start.elapsed().saturating_sub(Duration::from_micros(sent))
        });
        let delays = delays.collect();
        let _ = client.0.shutdown(std::net::Shutdown::Both);
        delays
    });
    delays.sort();
    assert!(delays[25] < Duration::from_millis(300), "{delays:?}");
}

#[test]
fn fault_21_urgent_bytes_arrive_in_both_directions() {
    let (place, port) = (Place::new(), port());
    let (heard, hears) = channel();
    let backend = Backend::new(move |client| {
        let socket = SockRef::from(&client.0);
        socket.set_out_of_band_inline(true).unwrap();
        let mut seen = [1; 4];
        (&client.0).read_exact(&mut seen).unwrap();
        let _ = heard.send(seen);
        socket.send_out_of_band(&[0]).unwrap();
        client.send("xyz");
        client.rest();
    });
    let _balance = place.balance(&format!("{port} {backend}"));
    let client = Client::connect(&port);
    let socket = SockRef::from(&client.0);
    socket.set_out_of_band_inline(true).unwrap();
    // No normal byte before it, and zero.
    socket.send_out_of_band(&[0]).unwrap();
    client.send("abc");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(*b"\0abc"));
    client.expect(b"\0xyz");
}

#[test]
fn an_idle_connection_ends_in_order() {
    let (place, port) = (Place::new(), port());
    let (ended, ends) = channel();
    let backend = Backend::new(move |client| {
        let _ = ended.send(client.rest());
    });
    let balance = place.balance(&format!("-T 1 {port} {backend}"));
    let client = Client::connect(&port);
    client.send("x");
    assert_eq!(client.end(), End::Eof);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok((b"x".to_vec(), End::Eof)));
    balance.log.wait("timed out after 1 seconds");
}
