//! Listening sockets that refuse clients for a while.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use sys::net;

#[test]
fn clients_are_whole_after_a_listener_has_refused_some_however_often() {
    // A port that was asked for by number stays with its socket.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind(free).unwrap();
    for times in 1..4 {
        (0..times).for_each(|_| net::refuse_clients(listener.as_fd()));
        assert!(TcpStream::connect(free).is_err());
        net::listen_again(listener.as_fd()).unwrap();
        let mut client = TcpStream::connect(free).unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0; 1];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
