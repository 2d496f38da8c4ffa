//! The process that may change what the kernel does: it carries out what another process asks, which
//! is to make, change or remove the rules of one table, and starts no program but nft(8).

use forwarding::{Edit, TableName, change, clear, install};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the helper is asked.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Replace the table by what these steps make of nothing.
    Install(Vec<Edit>),
    /// Change the table.
    Change(Vec<Edit>),
    /// Remove the table.
    Clear,
}

/// What it answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done {
        /// Whether the kernel forwards packets of IPv4 and IPv6 to other machines.
        forwards: [bool; 2],
    },
    /// Nothing has changed; why.
    Failed(String),
}

/// Carries out requests until there are no more.
pub(super) fn serve(mut stream: UnixStream, nft: &Path, table: &TableName) {
    while let Ok(request) = receive(&mut stream) {
        let text = match request {
            Request::Install(edits) => install(table, &edits),
            Request::Change(edits) => change(table, &edits),
            Request::Clear => clear(table),
        };
        let answer = match run(nft, &text) {
            Ok(()) => Answer::Done { forwards: FORWARDING.map(is_on) },
            Err(error) => Answer::Failed(error.to_string()),
        };
        if send(&mut stream, &answer).is_err() {
            return;
        }
    }
}

const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

fn is_on(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

/// Has nft(8) read this text. All of it is done, or nothing.
fn run(nft: &Path, text: &str) -> io::Result<()> {
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take();
    let written = input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().next().unwrap_or("no reason given");
    Err(io::Error::other(format!("nft: {first}")))
}

/// Sends one message.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&text)
}

/// Waits for one message.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// More than the table of the largest pool needs.
const MESSAGE_MAX: u32 = 64 << 20;
