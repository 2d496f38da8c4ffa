//! What `evenkeel ctl tap` prints: what passes in sessions, as it passes.

use super::{Failure, events::printing};
use config::TapQuery;
use control::Client;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;

/// Prints what passes until the tap is over, or nobody reads it any more.
pub fn watch(client: &Client, query: &TapQuery, as_json: bool) -> Result<String, Failure> {
    let mut seen = Seen::default();
    let render = |line: &str| if as_json { format!("{line}\n") } else { seen.as_text(line) };
    client.tap(query, printing(render))?;
    Ok(String::new())
}

/// What has been seen, by session and sender.
#[derive(Default)]
struct Seen(HashMap<(u64, String), u64>);

/// The maximum number of sessions and senders remembered.
const REMEMBERED_MAX: usize = 4096;

impl Seen {
    fn as_text(&mut self, line: &str) -> String {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return format!("{line}\n") };
        let text = |name: &str| value[name].as_str().unwrap_or("-");
        let number = |name: &str| value[name].as_u64().unwrap_or(0);
        let (time, session) = (text("time"), number("session"));
        match text("event") {
            "begun" => format!(
                "{time} session {session}: {} at {}, served by {} from {}\n",
                text("client"),
                text("listener"),
                text("backend"),
                text("source")
            ),
            "served" => format!(
                "{time} session {session}: now served by {} from {}\n",
                text("backend"),
                text("source")
            ),
            "data" => {
                let (offset, size) = (number("offset"), number("size"));
                let bytes = value["hex"].as_str().map(unhex);
                let mut out = self.gap(session, text("from"), offset, size);
                let _ =
                    write!(out, "{time} session {session}: {} sends {size} bytes", text("from"));
                out += &match &bytes {
                    None => ", which TLS protects".to_owned(),
                    Some(bytes) if (bytes.len() as u64) < size => {
                        format!(", of which these are the first {}", bytes.len())
                    }
                    Some(_) => String::new(),
                };
                out.push('\n');
                out + &dump(offset, &bytes.unwrap_or_default())
            }
            "end-of-file" => {
                let from = text("from");
                let gap = self.gap(session, from, number("offset"), 0);
                format!("{gap}{time} session {session}: {from} has sent everything\n")
            }
            "ended" => match text("why") {
                "bytes" => format!("{time} session {session}: enough bytes\n"),
                "moved" => format!("{time} session {session}: went to another process\n"),
                reason => format!("{time} session {session}: ended, {reason}\n"),
            },
            "over" => {
                let why =
                    if text("why") == "time" { "the time is over" } else { "enough sessions" };
                let (sessions, bytes) = (number("sessions"), number("bytes"));
                let lost = match number("lost") {
                    0 => String::new(),
                    lost => format!(", {lost} lost: they were not read in time"),
                };
                format!("{time} {why}: {sessions} sessions, {bytes} bytes{lost}\n")
            }
            _ => format!("{line}\n"),
        }
    }

    /// Says how many bytes are missing before those at `offset`.
    fn gap(&mut self, session: u64, from: &str, offset: u64, size: u64) -> String {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        let next = self.0.insert((session, from.to_owned()), offset + size).unwrap_or(0);
        match offset.saturating_sub(next) {
            0 => String::new(),
            lost => format!("... {lost} bytes of {from} were not read in time, and are lost ...\n"),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.map_while(byte).collect()
}

/// Sixteen bytes on a line, in hexadecimal and as ASCII.
fn dump(offset: u64, bytes: &[u8]) -> String {
    let mut out = String::new();
    for (chunk, at) in bytes.chunks(16).zip((offset..).step_by(16)) {
        let _ = write!(out, "  {at:08x} ");
        for place in 0..16 {
            let gap = if place == 8 { " " } else { "" };
            match chunk.get(place) {
                Some(byte) => _ = write!(out, "{gap} {byte:02x}"),
                None => _ = write!(out, "{gap}   "),
            }
        }
        let shown = |byte: &u8| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        };
        let _ = writeln!(out, "  |{}|", chunk.iter().map(shown).collect::<String>());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_with_their_offsets_and_gaps_are_named() {
        let mut seen = Seen::default();
        let line = r#"{"time":"T","session":7,"event":"data","from":"client","offset":0,"size":17,"hex":"00474554202f0d0a1b7e7f80ff61626364"}"#;
        assert_eq!(
            seen.as_text(line),
            "T session 7: client sends 17 bytes\n  \
             00000000  00 47 45 54 20 2f 0d 0a  1b 7e 7f 80 ff 61 62 63  |.GET /...~...abc|\n  \
             00000010  64                                                |d|\n"
        );
        let line = r#"{"time":"T","session":7,"event":"data","from":"client","offset":100,"size":9,"hex":null}"#;
        let text = seen.as_text(line);
        assert!(text.starts_with("... 83 bytes of client"), "{text}");
        assert!(text.ends_with("client sends 9 bytes, which TLS protects\n"), "{text}");
    }
}
