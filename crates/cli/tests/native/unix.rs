//! Clients and backends on Unix sockets.

use crate::support::{Backend, PATIENCE, Place, Port, Program, port};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg, sockopt};
use rustix::process::Signal;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};

/// A backend that reports everything a client sent.
fn listening() -> (Backend, Receiver<Vec<u8>>) {
    let (seen, sees) = channel();
    let backend = Backend::new(move |client| {
        socket2::SockRef::from(&client.0).set_out_of_band_inline(true).unwrap();
        let _ = seen.send(client.rest().0);
    });
    (backend, sees)
}

/// A client that says everything before anybody listens, so that all of it waits in one queue.
fn say_at_once(evenkeel: &mut Program, place: &Place, say: impl FnOnce(&UnixStream)) -> UnixStream {
    evenkeel.signal(Signal::STOP);
    let client = UnixStream::connect(place.file("front.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    say(&client);
    evenkeel.signal(Signal::CONT);
    client
}

fn send_with_descriptor(client: &UnixStream, bytes: &[u8]) {
    let descriptors = [client.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(client, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

fn start(place: &Place, backend: &str, splice: &str) -> Program {
    let front = place.file("front.sock");
    place.native(&format!("unix:{} {backend} --splice {splice}", front.display()))
}

#[test]
fn what_follows_a_passed_descriptor_is_not_lost() {
    for splice in ["never", "always"] {
        let (place, (backend, seen)) = (Place::new(), listening());
        let mut evenkeel = start(&place, &backend.to_string(), splice);
        let _client = say_at_once(&mut evenkeel, &place, |client| {
            send_with_descriptor(client, b"one ");
            send_with_descriptor(client, b"two ");
            (&mut &*client).write_all(b"three").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok(&b"one two three"[..]));
    }
}

#[test]
fn an_urgent_byte_from_a_unix_client_keeps_its_place() {
    for splice in ["never", "always"] {
        let (place, (backend, seen)) = (Place::new(), listening());
        let mut evenkeel = start(&place, &backend.to_string(), splice);
        let _client = say_at_once(&mut evenkeel, &place, |client| {
            (&mut &*client).write_all(b"before").unwrap();
            assert_eq!(send(client, b"!", SendFlags::OOB), Ok(1));
            (&mut &*client).write_all(b"after").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok(&b"before!after"[..]));
    }
}

#[test]
fn an_urgent_byte_reaches_a_unix_backend_as_one() {
    let (place, port) = (Place::new(), port());
    let back = place.file("back.sock");
    let listener = UnixListener::bind(&back).unwrap();
    let _evenkeel = place.native(&format!("{port} unix:{}", back.display()));
    let client = connect(&port);
    let (mut backend, _) = listener.accept().unwrap();
    backend.set_read_timeout(Some(PATIENCE)).unwrap();
    sockopt::set_socket_oobinline(&backend, true).unwrap();
    send(&client.0, b"before!", SendFlags::OOB).unwrap();
    client.send("after");
    client.finish();
    let mut heard = vec![];
    backend.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"before!after");
    // And the other way.
    send(&backend, b"b", SendFlags::empty()).unwrap();
    send(&backend, b"!", SendFlags::OOB).unwrap();
    send(&backend, b"a", SendFlags::empty()).unwrap();
    drop(backend);
    assert_eq!(client.rest().0, b"b!a");
}

fn connect(port: &Port) -> crate::support::Client {
    let client = crate::support::Client::connect(port);
    socket2::SockRef::from(&client.0).set_out_of_band_inline(true).unwrap();
    client
}
