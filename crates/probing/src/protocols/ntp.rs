//! NTP: what time it is, of a server that knows. Source: RFC 5905, section 7.3, and section 14.

use super::{Read, Talk};

pub(super) struct Ntp {
    /// What the client's clock is said to show. The server repeats it.
    stamp: [u8; 8],
}

const PACKET_BYTES: usize = 48;
/// Leap indicator unknown, version 4, client: says nothing about the clock here.
const REQUEST: u8 = 0b11_100_011;
const SERVER: u8 = 4;
/// The leap indicator of a clock that is not synchronized.
const ALARM: u8 = 3;
/// From here on, a server is not synchronized.
const STRATUM_MAX: u8 = 15;

impl Ntp {
    pub fn new(nonce: u64) -> Self {
        Self { stamp: nonce.to_be_bytes() }
    }
}

impl Talk for Ntp {
    fn start(&mut self, send: &mut Vec<u8>) -> Read {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = REQUEST;
        packet[40..].copy_from_slice(&self.stamp);
        send.extend_from_slice(&packet);
        Read::More
    }

    /// What does not repeat the stamp is late, or forged.
    fn read(&mut self, received: &[u8], _: &mut Vec<u8>) -> Read {
        let Some(packet) = received.get(..PACKET_BYTES) else { return Read::More };
        if packet[24..32] != self.stamp || packet[0] & 0b111 != SERVER {
            return Read::More;
        }
        match (packet[1], packet[0] >> 6) {
            (0, _) => Read::Failed(match std::str::from_utf8(&packet[12..16]) {
                Ok(code) if code.bytes().all(|it| it.is_ascii_uppercase()) => {
                    format!("sent us away: {code}")
                }
                _ => "sent us away".to_owned(),
            }),
            (1..=STRATUM_MAX, 0..ALARM) => Read::Passed,
            _ => Read::Failed("its clock is not synchronized".to_owned()),
        }
    }
}
