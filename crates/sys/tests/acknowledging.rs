//! When a peer that has accepted a connect learns that its answer has come.

use std::error::Error;
use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use sys::net::{self, Acknowledge, Source};
use terms::Address;

type Tested<T = ()> = Result<T, Box<dyn Error>>;

/// Whether a program sees a connect before `act`, and after it, if it looks at once: the system
/// does not wait for long.
fn seen(when: Acknowledge, act: impl Fn(&OwnedFd)) -> Tested<[bool; 2]> {
    // A busy machine may take too long, but not each time.
    let looks = (0..20).map(|_| look(when, &act)).collect::<Result<Vec<_>, _>>()?;
    let most = |seen: &[bool; 2]| looks.iter().filter(|it| *it == seen).count() > 10;
    let seen = [[true, false], [false, true], [false, false]].into_iter().find(most);
    seen.ok_or_else(|| format!("now this, now that: {looks:?}").into())
}

fn look(when: Acknowledge, act: impl Fn(&OwnedFd)) -> Tested<[bool; 2]> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let is_there = || match listener.accept() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    };
    let address = Address::Ip(listener.local_addr()?);
    let (socket, _) = net::start_connect(&address, Source::System, when)?;
    let before = is_there()?;
    act(&socket);
    Ok([before, is_there()?])
}

#[test]
fn programs_see_a_connect_with_its_first_bytes_or_when_it_is_acknowledged() -> Tested {
    let acknowledge = |it: &OwnedFd| net::acknowledge(it.as_fd());
    let send = |it: &OwnedFd| assert_eq!(net::transmit(it.as_fd(), b"x"), Ok(1));
    assert_eq!(seen(Acknowledge::AtOnce, |_| {})?, [true, false]);
    assert_eq!(seen(Acknowledge::WithData, |_| {})?, [false, false]);
    assert_eq!(seen(Acknowledge::WithData, acknowledge)?, [false, true]);
    assert_eq!(seen(Acknowledge::WithData, send)?, [false, true]);
    Ok(())
}

#[test]
fn the_last_bytes_arrive_with_the_end_of_file() -> Tested {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = Address::Ip(listener.local_addr()?);
    let mut held_back = 0;
    for _ in 0..20 {
        let (socket, _) = net::start_connect(&address, Source::System, Acknowledge::AtOnce)?;
        let (mut peer, _) = listener.accept()?;
        assert_eq!(net::transmit_last(socket.as_fd(), b"bye"), Ok(3));
        peer.set_nonblocking(true)?;
        // The kernel does not hold them back for long, which a busy machine may exceed.
        let early = peer.peek(&mut [0; 3]).map_err(|error| error.kind());
        held_back += usize::from(early == Err(ErrorKind::WouldBlock));
        net::finish(socket.as_fd());
        peer.set_nonblocking(false)?;
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard)?;
        assert_eq!(heard, b"bye");
    }
    assert!(held_back > 10, "{held_back} of 20");
    Ok(())
}
