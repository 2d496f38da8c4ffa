//! Lines on their way out: as text or JSON, put in order within a delay if wanted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::lines::access::Access;
use crate::lines::{Millis, json, stamp};
use crate::output::Output;

/// A line and what was found out about it.
pub struct Resolved<'a> {
    /// The line as it was read.
    pub line: &'a [u8],
    /// Its fields.
    pub access: &'a Access,
    /// The server it comes from.
    pub server: &'a [u8],
    /// The client, or nothing when it was not found.
    pub client: Option<&'a [u8]>,
}

/// Writes lines in the wanted form.
pub struct Emitter {
    output: Output,
    json: bool,
    keep_stamps: bool,
    sort: Option<Sorter>,
    scratch: Vec<u8>,
}

struct Sorter {
    delay: Millis,
    waiting: BinaryHeap<Reverse<(Millis, u64, Vec<u8>)>>,
    number: u64,
    newest: Millis,
}

impl Emitter {
    /// `sort` is how late a line may come and still be put in its place.
    pub fn new(output: Output, json: bool, keep_stamps: bool, sort: Option<Millis>) -> Self {
        let sorter =
            |delay| Sorter { delay, waiting: BinaryHeap::new(), number: 0, newest: Millis::MIN };
        Self { output, json, keep_stamps, sort: sort.map(sorter), scratch: Vec::new() }
    }

    /// Takes a line.
    pub fn emit(&mut self, resolved: &Resolved<'_>) -> io::Result<()> {
        self.scratch.clear();
        if self.json {
            as_json(resolved, &mut self.scratch);
        } else {
            let client = resolved.client.unwrap_or(resolved.server);
            resolved.access.write(resolved.line, client, self.keep_stamps, &mut self.scratch);
        }
        self.scratch.push(b'\n');
        let Some(sorter) = &mut self.sort else { return self.output.write_all(&self.scratch) };
        let instant = resolved.access.instant;
        sorter.newest = sorter.newest.max(instant);
        sorter.waiting.push(Reverse((instant, sorter.number, self.scratch.clone())));
        sorter.number += 1;
        let due = sorter.newest - sorter.delay;
        self.release(due)
    }

    /// Writes what is still held back.
    pub fn finish(mut self) -> io::Result<()> {
        self.release(Millis::MAX)?;
        self.output.finish()
    }

    fn release(&mut self, due: Millis) -> io::Result<()> {
        let Some(sorter) = &mut self.sort else { return Ok(()) };
        while sorter.waiting.peek().is_some_and(|Reverse((instant, ..))| *instant < due) {
            if let Some(Reverse((_, _, line))) = sorter.waiting.pop() {
                self.output.write_all(&line)?;
            }
        }
        Ok(())
    }
}

/// Appends the line as a JSON object.
pub fn as_json(resolved: &Resolved<'_>, out: &mut Vec<u8>) {
    let Resolved { line, access, server, client } = resolved;
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    let mut object = Map::new();
    let mut time = Vec::new();
    stamp::write_rfc3339(&mut time, access.instant);
    object.insert("time".into(), text(&time));
    object.insert("server".into(), text(server));
    object.insert("client".into(), client.map_or(Value::Null, text));
    object.insert("matched".into(), client.is_some().into());
    object.insert("logged_client".into(), text(access.client(line)));
    object.insert("request".into(), text(access.request(line)));
    if line.first() == Some(&b'{') {
        for (name, names) in JSON_FIELDS {
            if let Some(value) = json::field(line, names) {
                object.insert((*name).into(), value);
            }
        }
    } else {
        rest(access.rest(line), &mut object, text);
    }
    // A map of texts and numbers always has a form as JSON.
    out.extend_from_slice(Value::Object(object).to_string().as_bytes());
}

/// ` STATUS BYTES "REFERER" "AGENT"`, as much as there is.
fn rest(rest: &[u8], object: &mut Map<String, Value>, text: impl Fn(&[u8]) -> Value) {
    let (numbers, quoted) = match memchr::memchr(b'"', rest) {
        Some(at) => rest.split_at(at),
        None => (rest, &[][..]),
    };
    let mut words = numbers.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    for name in ["status", "bytes"] {
        let Some(word) = words.next() else { break };
        let number = std::str::from_utf8(word).ok().and_then(|w| w.parse::<u64>().ok());
        object.insert(name.into(), number.map_or(Value::Null, Value::from));
    }
    let mut parts = quoted.split(|b| *b == b'"').skip(1).step_by(2);
    for name in ["referer", "agent"] {
        if let Some(part) = parts.next() {
            object.insert(name.into(), text(part));
        }
    }
}

const JSON_FIELDS: &[(&str, &[&str])] = &[
    ("status", &["status", "response", "status_code"]),
    ("bytes", &["bytes", "body_bytes_sent", "bytes_sent", "size"]),
    ("referer", &["referer", "http_referer", "referrer"]),
    ("agent", &["agent", "http_user_agent", "user_agent"]),
];
