//! What WireGuard sends: a handshake of 148 and 92 bytes, then datagrams of both sides, which need
//! not be answers to anything.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use super::echo::{Responder, connect};
use crate::{
    Check,
    servers::place::{Place, Servers, check, tried},
};

/// The kinds of WireGuard's messages, which are their first bytes.
const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 4;
/// Datagrams that the server sends on its own after each one of the client.
const UNASKED: u8 = 3;
const ROUNDS: u8 = 30;

/// One server per port.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers: Servers = Vec::new();
    for &port in ports {
        servers.push(Box::new(Responder::start(place.host(), port, answer)?));
    }
    Ok(servers)
}

fn answer(socket: &UdpSocket, client: SocketAddr, bytes: &[u8]) {
    match bytes {
        [INITIATION, ..] => drop(socket.send_to(&message(RESPONSE, 0, 92), client)),
        [DATA, round, ..] => {
            drop(socket.send_to(bytes, client));
            // Later, as a keep-alive or a notification would come.
            thread::sleep(Duration::from_millis(3));
            for number in 1..=UNASKED {
                drop(socket.send_to(&message(DATA, round ^ number << 6, 1_420), client));
            }
        }
        _ => {}
    }
}

/// A handshake, then data in both directions.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let client = connect(place, port)?;
    let expect = |expected: &[u8], what: &str| -> Check {
        let mut received = [0; 2_000];
        let count = tried(what, client.recv(&mut received))?;
        check(received[..count] == *expected, what, format_args!("{count} other bytes"))
    };
    tried("an initiation to be sent", client.send(&message(INITIATION, 0, 148)))?;
    expect(&message(RESPONSE, 0, 92), "the response to the initiation")?;
    for round in 0..ROUNDS {
        let data = message(DATA, round, 32 + 16 * usize::from(round));
        tried("data to be sent", client.send(&data))?;
        expect(&data, &format!("the answer of round {round}"))?;
        for number in 1..=UNASKED {
            let unasked = message(DATA, round ^ number << 6, 1_420);
            expect(&unasked, &format!("datagram {number} on its own of round {round}"))?;
        }
    }
    Ok(())
}

fn message(kind: u8, number: u8, len: usize) -> Vec<u8> {
    let mut message = vec![number; len];
    message[0] = kind;
    message
}
