//! What `evenkeel ctl events` prints: each event as it comes.

use super::{Failure, printable};
use config::EventQuery;
use control::Client;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// Prints events until the instance ends, or nobody reads them any more.
pub fn follow(client: &Client, query: &EventQuery, as_json: bool) -> Result<String, Failure> {
    let render = |line: &str| if as_json { format!("{line}\n") } else { as_text(line) + "\n" };
    client.events(query, printing(render))?;
    Ok(String::new())
}

/// Prints what `render` makes of each line of a stream that comes in pieces. Returns whether
/// somebody reads it.
pub fn printing(mut render: impl FnMut(&str) -> String) -> impl FnMut(&[u8]) -> bool {
    let mut rest = Vec::new();
    move |bytes| {
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return true };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        let lines = String::from_utf8_lossy(&lines);
        let lines = lines.lines().filter(|line| !line.is_empty());
        let text: String = lines.map(&mut render).collect();
        let mut out = io::stdout().lock();
        out.write_all(printable(&text).as_bytes()).and_then(|()| out.flush()).is_ok()
    }
}

/// A line of a JSON log as one of a text log would be, but with its fields in alphabetical order.
fn as_text(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let mut text = ["time", "level", "message"].map(|name| take(&mut fields, name)).join(" ");
    for (name, value) in &fields {
        text += &match value {
            Value::String(value) if is_plain(value) => format!(" {name}={value}"),
            value => format!(" {name}={value}"),
        };
    }
    text
}

fn take(fields: &mut Map<String, Value>, name: &str) -> String {
    fields.remove(name).and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
}

fn is_plain(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'=';
    !value.is_empty() && value.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_like_a_line_of_the_log() {
        let line = r#"{"time":"T","level":"info","message":"session ended","client":"::1","n":7,"e":"a b"}"#;
        assert_eq!(as_text(line), "T info session ended client=::1 e=\"a b\" n=7");
        assert_eq!(as_text("nonsense"), "nonsense");
    }
}
