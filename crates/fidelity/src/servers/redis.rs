//! Redis: pipelines of small requests, and values that must come back exactly.

use std::time::Duration;

use super::place::{Place, Servers, check, command};
use crate::{Check, Failure, backend, pattern::Pattern, peer::Peer};

/// One server per port.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let dir = place.make_dir(&format!("redis-{port}"))?;
        let text = port.to_string();
        let args = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--dir", &dir];
        servers.push(Box::new(place.server(&[port], &mut command("redis-server", args))?));
    }
    Ok(servers)
}

/// The benchmark, then 50 values of up to 100 kB set and read in one pipeline.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let text = port.to_string();
    let args = ["-h", "127.0.0.1", "-p", &text, "-n", "50000", "-c", "40", "-P", "16", "-q"];
    let args = args.into_iter().chain(["-t", "set,get"]);
    let output = place.client(&mut command("redis-benchmark", args))?;
    let is_done = ["SET:", "GET:"].iter().all(|test| output.contains(test));
    check(is_done && !output.contains("rror"), "SET and GET without errors", output.trim())?;
    check_values(place, port)
}

fn check_values(place: &Place, port: u16) -> Check {
    let stream = backend::connect(port, None, Duration::from_secs(5))
        .map_err(|error| Failure::new("the proxy to take a connection", error))?;
    let client = Peer::new("client", stream, place.deadline())?;
    let values: Vec<Vec<u8>> = (0..50).map(|i| Pattern::new(i).take(i as usize * 2_000)).collect();
    for (i, value) in values.iter().enumerate() {
        client.send(&request(&[b"SET", &key(i), value]))?;
    }
    client.expect(&b"+OK\r\n".repeat(values.len()))?;
    for i in 0..values.len() {
        client.send(&request(&[b"GET", &key(i)]))?;
    }
    values.iter().try_for_each(|value| client.expect(&bulk(value)))
}

fn key(i: usize) -> Vec<u8> {
    format!("key{i}").into_bytes()
}

/// An array of bulk strings (Redis serialization protocol).
fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    bytes.extend(words.iter().flat_map(|word| bulk(word)));
    bytes
}

fn bulk(word: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()
}
