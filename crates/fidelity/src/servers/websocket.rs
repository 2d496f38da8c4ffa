//! A WebSocket echo (RFC 6455) and its client, as small as the standard allows.
//!
//! It is the one protocol here that starts as HTTP and stays open, and no usual package has a
//! client for a command line, so both ends are here. They share the frame code; what both would
//! get wrong in it is not the proxy's fault anyway.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};

use super::place::{Place, Servers, check, tried};
use crate::{
    Check, Failure,
    backend::{Server, connect},
    pattern::Pattern,
    peer::{End, Peer},
};

/// One echo server per port, as threads of this program.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let bind = |port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(128).map(|()| socket)
    };
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let socket = tried(&format!("port {port} to be free"), bind(port))?;
        // A session that breaks shows at the client, so its failure needs no words here.
        let server = Server::start(socket, false, place.deadline(), |peer| drop(serve(&peer)));
        servers.push(Box::new(server));
    }
    Ok(servers)
}

/// Four sessions: handshake, messages in all three length formats, a ping, a close.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    for session in 0..4 {
        let stream = connect(port, None, Duration::from_secs(5));
        let stream = tried("the proxy to take a connection", stream)?;
        let client = Peer::new("client", stream, place.deadline())?;
        shake_hands(&client)?;
        for len in [5, 125, 126, 65_535, 65_536, 100_000] {
            exchange(&client, Opcode::Binary, Opcode::Binary, &Pattern::new(session).take(len))?;
        }
        exchange(&client, Opcode::Text, Opcode::Text, "grüße".as_bytes())?;
        exchange(&client, Opcode::Ping, Opcode::Pong, b"still there?")?;
        exchange(&client, Opcode::Close, Opcode::Close, &1000_u16.to_be_bytes())?;
        client.expect_end(End::Eof)?;
    }
    Ok(())
}

fn exchange(client: &Peer, ask: Opcode, answer: Opcode, payload: &[u8]) -> Check {
    client.send(&frame(ask, payload, Some(MASK)))?;
    let (opcode, received) = read_frame(client)?;
    let expected = format!("{answer:?} with the {} bytes of the {ask:?}", payload.len());
    let seen = format!("{opcode:?} with {} bytes, or others", received.len());
    check(opcode == answer && received == payload, &expected, seen)
}

fn shake_hands(client: &Peer) -> Check {
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    client.send(request.as_bytes())?;
    let head = read_head(client)?;
    let is_right = head.starts_with("HTTP/1.1 101 ")
        && header(&head, "Sec-WebSocket-Accept") == Some(&accept(KEY));
    check(is_right, "101 and the right Sec-WebSocket-Accept", head.escape_debug())
}

fn serve(peer: &Peer) -> Check {
    let head = read_head(peer)?;
    let key = header(&head, "Sec-WebSocket-Key").ok_or_else(|| Failure::new("a key", &head))?;
    let accept = accept(key);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    peer.send(response.as_bytes())?;
    loop {
        let (opcode, payload) = read_frame(peer)?;
        let answer = if opcode == Opcode::Ping { Opcode::Pong } else { opcode };
        peer.send(&frame(answer, &payload, None))?;
        if opcode == Opcode::Close {
            return Ok(());
        }
    }
}

/// Section 4.2.2: proof that the server has read the key, and is no cache.
fn accept(key: &str) -> String {
    BASE64.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

fn read_head(peer: &Peer) -> Check<String> {
    let mut head = Vec::new();
    // Byte by byte, so that no frame behind the head is read with it.
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4_096 {
        head.extend(read_bytes(peer, 1)?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// One whole message in one frame (section 5.2): flags, length in one of three formats, mask.
fn frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mask_flag = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | opcode as u8];
    match payload.len() {
        len @ 0..126 => bytes.push(mask_flag | len as u8),
        len @ 126..=0xffff => {
            bytes.push(mask_flag | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(mask_flag | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.into_iter().flatten());
    bytes.extend(masked(payload, mask.unwrap_or_default()));
    bytes
}

fn read_frame(peer: &Peer) -> Check<(Opcode, Vec<u8>)> {
    let head = read_bytes(peer, 2)?;
    let known = [Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let opcode = known.into_iter().find(|&opcode| head[0] == 0x80 | opcode as u8);
    let opcode = opcode.ok_or_else(|| Failure::new("a frame", format!("{head:02x?}")))?;
    let len = match head[1] & 0x7f {
        126 => number(&read_bytes(peer, 2)?),
        127 => number(&read_bytes(peer, 8)?),
        len => usize::from(len),
    };
    check(len <= 1_000_000, "a frame of at most 1 MB", len)?;
    let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { read_bytes(peer, 4)? };
    let payload = read_bytes(peer, len)?;
    Ok((opcode, masked(&payload, [mask[0], mask[1], mask[2], mask[3]])))
}

fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

fn read_bytes(peer: &Peer, len: usize) -> Check<Vec<u8>> {
    let mut bytes = vec![0; len];
    match peer.read_full(&mut bytes) {
        (_, None) => Ok(bytes),
        (count, Some(end)) => {
            Err(Failure::new(format!("{len} more bytes"), format!("{count}, then {end}")))
        }
    }
}

/// That of the example in section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(accept(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // section 1.3
        let hello = frame(Opcode::Text, b"Hello", Some(MASK)); // section 5.7
        assert_eq!(hello, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert_eq!(frame(Opcode::Binary, &[0; 256], None)[..4], [0x82, 0x7e, 1, 0]);
        assert_eq!(frame(Opcode::Binary, &[0; 65_536], None)[..4], [0x82, 0x7f, 0, 0]);
    }
}
