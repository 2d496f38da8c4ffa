//! Messages to the system log, for programs in the background.

use std::os::unix::net::UnixDatagram;

/// Sends a message with facility `user` and the given severity (3 error, 7 debug). Without a
/// system log it is lost.
pub fn send(ident: &str, severity: u8, message: &str) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let line = format!("<{}>{ident}[{}]: {message}", 8 + severity, std::process::id());
    let _ = socket.send_to(line.as_bytes(), "/dev/log");
}
