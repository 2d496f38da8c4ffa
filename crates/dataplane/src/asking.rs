//! Brings a backend to where a client is that has asked for TLS: `relay::Asking` has the rules.
//!
//! What the backend says is peeked at, and taken off line by line, so that nothing of what follows
//! is touched.

use crate::tools::Tools;
use relay::{ASKING_BYTES_MAX, Asking, AskingStep};
use std::os::fd::BorrowedFd;
use sys::{Errno, net};
use terms::ConnectFailure;

/// Takes all steps that are possible now. Returns whether the backend is there.
///
/// # Errors
/// If it is not, and will not be.
pub(crate) fn ask(
    socket: BorrowedFd<'_>,
    asking: &mut Asking,
    tools: &mut Tools,
) -> Result<bool, ConnectFailure> {
    let buffer = &mut tools.buffer[..ASKING_BYTES_MAX];
    loop {
        let count = match net::peek(socket, buffer) {
            Ok(0) | Err(Errno::CONNRESET) => return Err(ConnectFailure::Reset),
            Ok(count) => count,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(ConnectFailure::Other(error.raw_os_error())),
        };
        match asking.next_step(&buffer[..count]) {
            AskingStep::Wait => return Ok(false),
            AskingStep::Say(count, text) => {
                take(socket, count)?;
                if !text.is_empty() {
                    net::transmit_first(socket, text, false)?;
                }
            }
            AskingStep::Done(count) => return take(socket, count).map(|()| true),
            AskingStep::Refused if asking.wants_tls() => return Err(ConnectFailure::NoTls),
            AskingStep::Refused => return Err(ConnectFailure::Unready),
        }
    }
}

fn take(socket: BorrowedFd<'_>, count: usize) -> Result<(), ConnectFailure> {
    if net::discard(socket, count) { Ok(()) } else { Err(ConnectFailure::Reset) }
}
