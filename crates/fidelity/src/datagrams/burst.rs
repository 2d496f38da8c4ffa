//! A thousand clients that come at once.

use std::net::UdpSocket;

use super::echo::{Responder, connect};
use crate::{
    Check,
    servers::place::{Place, Servers, check, tried},
};

const CLIENTS: usize = 1_000;
const DATAGRAMS: u8 = 10;

/// Everything comes back in order, and each client has one flow.
pub fn exercise(place: &Place, port: u16, servers: &mut Servers) -> Check {
    let connect = |_| connect(place, port);
    let clients = (0..CLIENTS).map(connect).collect::<Check<Vec<UdpSocket>>>()?;
    for (number, client) in clients.iter().enumerate() {
        for step in 0..DATAGRAMS {
            tried("a datagram to be sent", client.send(&message(number, step)))?;
        }
    }
    let mut received = [0; 16];
    for (number, client) in clients.iter().enumerate() {
        for step in 0..DATAGRAMS {
            let expected = format!("datagram {step} of client {number}");
            let count = tried(&expected, client.recv(&mut received))?;
            let seen = || format!("{:?}", &received[..count]);
            check(received[..count] == message(number, step), &expected, seen())?;
        }
    }
    let responders = servers.iter().filter_map(|it| it.downcast_ref::<Responder>());
    let flows: usize = responders.map(Responder::client_count).sum();
    check(flows == CLIENTS, "one flow for each client", flows)
}

fn message(client: usize, step: u8) -> [u8; 9] {
    let mut message = [step; 9];
    message[..8].copy_from_slice(&client.to_be_bytes());
    message
}
