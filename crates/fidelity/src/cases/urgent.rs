//! Urgent data (RFC 6093): one byte that a careless relay loses.
//!
//! A receiver that does not ask for it in line gets the byte beside the stream. So does a relay,
//! and if it does not look there, the byte is gone.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, recv},
};
use socket2::SockRef;

use crate::{
    deadline::remaining,
    peer::{End, Peer},
    report::{Check, Failure},
    stage::Stage,
};

/// `telnet`'s interrupt, `rlogin`'s window size: from the client.
pub fn to_backend(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    exchange(&client, &backend, b'X')
}

/// `rlogin`'s control bytes: from the backend.
pub fn to_client(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    exchange(&backend, &client, b'X')
}

/// A relay that keeps the byte in a variable whose 0 means "none" loses this one.
pub fn zero(stage: &Stage) -> Check {
    let (client, backend) = stage.session()?;
    exchange(&client, &backend, 0)?;
    exchange(&backend, &client, 0)
}

fn exchange(from: &Peer, to: &Peer, urgent: u8) -> Check {
    from.send(b"abc")?;
    match SockRef::from(from.stream()).send_out_of_band(&[urgent]) {
        Ok(1) => {}
        Ok(n) => return Err(Failure::new("an urgent byte to be sent", n)),
        Err(error) => return Err(Failure::new("an urgent byte to be sent", error)),
    }
    from.send(b"def")?;
    from.finish()?;
    let (inline, beside, end) = receive(to);
    let in_place = [b"abc", &[urgent][..], b"def"].concat();
    let is_right = match beside[..] {
        [] => inline == in_place,
        [byte] => inline == b"abcdef" && byte == urgent,
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    Err(Failure::new(
        format!("\"abcdef\" with urgent \"{}\" after c", urgent.escape_ascii()),
        format!(
            "\"{}\", beside it \"{}\", and {end}",
            inline.escape_ascii(),
            beside.escape_ascii()
        ),
    ))
}

/// Everything up to the end: the bytes of the stream, those beside it, and which end.
fn receive(peer: &Peer) -> (Vec<u8>, Vec<u8>, End) {
    let (mut inline, mut beside) = (Vec::new(), Vec::new());
    let mut buffer = [0; 64];
    loop {
        wait_readable(peer);
        // First, because reading on past the mark throws the byte away. No race: a read that has
        // something before the mark stops at it, and without anything before it the urgent byte
        // is what woke us.
        beside.extend(out_of_band(peer));
        match peer.read(&mut buffer) {
            Ok(0) => return (inline, beside, End::Eof),
            Ok(n) => inline.extend_from_slice(&buffer[..n]),
            Err(end) => return (inline, beside, end),
        }
    }
}

fn wait_readable(peer: &Peer) {
    let mut waiting = [PollFd::new(peer.stream(), PollFlags::IN | PollFlags::PRI)];
    // The read that follows has the same deadline, and reports what is wrong.
    if let Ok(limit) = Timespec::try_from(remaining(peer.deadline())) {
        let _ = poll(&mut waiting, Some(&limit));
    }
}

/// The urgent byte, if one is there.
fn out_of_band(peer: &Peer) -> Option<u8> {
    let mut byte = [0];
    // It never blocks: without urgent data it is an error.
    matches!(recv(peer.stream(), &mut byte, RecvFlags::OOB), Ok((_, 1))).then_some(byte[0])
}
