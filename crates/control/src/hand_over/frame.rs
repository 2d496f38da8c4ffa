//! Messages of a hand-over: their form, and how they pass on a channel.
//!
//! ~~~text
//!   EVKL | kind (1) | 0 (1) | major, minor (2) | length (4) | tail (4) | JSON | tail
//! ~~~
//!
//! Numbers are little-endian; the length is that of the JSON text. The tail has the bytes that
//! sessions hold back. Descriptors come with the first byte; the JSON says how many there must be.

use super::protocol::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use sys::channel::Channel;
use terms::Instant;

/// The version of the protocol. Another major version is not understood; a message of another minor
/// version may have more fields.
pub(crate) const VERSION: (u8, u8) = (1, 0);

/// The maximum length of a message's text, and of its tail.
const BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"EVKL";
const HEADER_BYTES: usize = 16;

/// All kinds, in the order of their numbers, which begin with 1.
const KINDS: [Kind; 14] = [
    Kind::Hello,
    Kind::State,
    Kind::Refuse,
    Kind::Ready,
    Kind::Switch,
    Kind::Batch,
    Kind::Taken,
    Kind::Commit,
    Kind::Rest,
    Kind::Final,
    Kind::Progress,
    Kind::Beat,
    Kind::Release,
    Kind::Stop,
];

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub kind: Kind,
    pub text: Vec<u8>,
    pub tail: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The channel has ended or failed, or nothing came in time.
    Channel(io::Error),
    /// The other side speaks something else.
    Foreign(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("the other process did not answer in time")
            }
            Self::Channel(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the other process has ended the hand-over")
            }
            Self::Channel(error) => write!(f, "the channel failed: {error}"),
            Self::Foreign(what) => f.write_str(what),
        }
    }
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Channel(error)
    }
}

/// Sends a message.
///
/// # Errors
/// If the channel has failed, or nobody reads before the deadline.
pub(crate) fn send(
    channel: &Channel,
    kind: Kind,
    record: &impl Serialize,
    tail: &[&[u8]],
    descriptors: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> Result<(), FrameError> {
    let text = serde_json::to_vec(record).map_err(io::Error::other)?;
    let tail_bytes = tail.iter().map(|it| it.len()).sum();
    let mut bytes = header(kind, text.len(), tail_bytes)?.to_vec();
    bytes.extend(&text);
    tail.iter().for_each(|it| bytes.extend(*it));
    Ok(channel.send(&bytes, descriptors, deadline)?)
}

/// Sends a message of nothing but its kind: all of it or none.
///
/// # Errors
/// As for [`send`].
pub(crate) fn send_bare(
    channel: &Channel,
    kind: Kind,
    deadline: Option<Instant>,
) -> Result<(), FrameError> {
    Ok(channel.send(&header(kind, 0, 0)?, &[], deadline)?)
}

fn header(kind: Kind, text: usize, tail: usize) -> io::Result<[u8; HEADER_BYTES]> {
    let length = |bytes: usize| match u32::try_from(bytes) {
        Ok(length) if bytes <= BYTES_MAX => Ok(length.to_le_bytes()),
        _ => Err(io::Error::other("a message is too long")),
    };
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = KINDS.iter().position(|it| *it == kind).map_or(0, |place| place as u8 + 1);
    (header[6], header[7]) = VERSION;
    header[8..12].copy_from_slice(&length(text)?);
    header[12..].copy_from_slice(&length(tail)?);
    Ok(header)
}

/// Reads a header: the kind, and the lengths of text and tail.
fn parse(header: [u8; HEADER_BYTES]) -> Result<(Kind, usize, usize), String> {
    let [m0, m1, m2, m3, kind, _, major, minor, t0, t1, t2, t3, l0, l1, l2, l3] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err("the other process does not speak the hand-over protocol".to_owned());
    }
    if major != VERSION.0 {
        return Err(format!(
            "the other process speaks version {major}.{minor} of the hand-over protocol, and this \
             one {}.{}",
            VERSION.0, VERSION.1
        ));
    }
    let kind = usize::from(kind).checked_sub(1).and_then(|place| KINDS.get(place));
    let kind = *kind.ok_or("the other process has sent an unknown message")?;
    let lengths = [[t0, t1, t2, t3], [l0, l1, l2, l3]];
    let [text, tail] =
        lengths.map(|it| usize::try_from(u32::from_le_bytes(it)).unwrap_or(usize::MAX));
    match text.max(tail) > BYTES_MAX {
        true => Err("the other process has sent a message that is too long".to_owned()),
        false => Ok((kind, text, tail)),
    }
}

/// Receives a message.
///
/// # Errors
/// If there is none before the deadline, or it is not understood.
pub(crate) fn receive(channel: &Channel, deadline: Option<Instant>) -> Result<Frame, FrameError> {
    let mut header = [0; HEADER_BYTES];
    let mut descriptors = Vec::new();
    let ended = || FrameError::Channel(io::ErrorKind::UnexpectedEof.into());
    if !channel.receive(&mut header, &mut descriptors, deadline)? {
        return Err(ended());
    }
    let (kind, text, tail) = parse(header).map_err(FrameError::Foreign)?;
    let mut read = |count: usize| -> Result<Vec<u8>, FrameError> {
        // In pieces, so that a length alone takes no memory.
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let start = bytes.len();
            bytes.resize(count.min(start + PIECE_BYTES), 0);
            if !channel.receive(&mut bytes[start..], &mut descriptors, deadline)? {
                return Err(ended());
            }
        }
        Ok(bytes)
    };
    let (text, tail) = (read(text)?, read(tail)?);
    Ok(Frame { kind, text, tail, descriptors })
}

const PIECE_BYTES: usize = 1 << 20;

impl Frame {
    /// What its text says.
    ///
    /// # Errors
    /// If it says something else.
    pub fn record<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let unclear = |error| format!("the message {:?} cannot be understood: {error}", self.kind);
        serde_json::from_slice(&self.text).map_err(|error| FrameError::Foreign(unclear(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_message_arrives_with_its_tail_and_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let tail = [&b"ab"[..], b"", b"cde"];
        let sent = send(&one, Kind::Batch, &[1, 2], &tail, &[file.as_fd(), file.as_fd()], None);
        sent.unwrap();
        send_bare(&one, Kind::Commit, None).unwrap();
        let frame = receive(&other, None).unwrap();
        assert_eq!((frame.kind, frame.descriptors.len()), (Kind::Batch, 2));
        assert_eq!(frame.record::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(frame.tail, b"abcde");
        assert!(frame.record::<String>().is_err());
        assert_eq!(receive(&other, None).unwrap().kind, Kind::Commit);
    }

    #[track_caller]
    fn refused(header: [u8; HEADER_BYTES], part: &str) {
        let why = parse(header).unwrap_err();
        assert!(why.contains(part), "{why}");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let good = header(Kind::Hello, 7, 0).unwrap();
        assert_eq!(parse(good), Ok((Kind::Hello, 7, 0)));
        let with = |place: usize, byte: u8| {
            let mut header = good;
            header[place] = byte;
            header
        };
        refused(with(0, b'G'), "does not speak");
        refused(with(6, 2), "version 2.0");
        refused(with(4, 0), "unknown message");
        refused(with(4, 99), "unknown message");
        refused(with(11, 255), "too long");
        assert_eq!(parse(with(7, 9)), Ok((Kind::Hello, 7, 0)), "another minor version");
    }

    #[test]
    fn a_channel_that_ends_in_the_middle_is_no_message() {
        let (one, other) = Channel::pair().unwrap();
        one.send(&header(Kind::Hello, 100, 0).unwrap(), &[], None).unwrap();
        one.send(b"half", &[], None).unwrap();
        drop(one);
        assert!(matches!(receive(&other, None), Err(FrameError::Channel(_))));
    }
}
