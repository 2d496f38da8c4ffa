//! Evenkeel's admin socket, spoken to directly: a program per reload would cost more than the
//! reload.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{Check, Failure};

/// Has the file read again; it must be accepted.
pub fn reload(admin: &Path) -> Check {
    match ask(admin, "POST /v1/commands", RELOAD)? {
        (200, _) => Ok(()),
        (status, answer) => Err(Failure::new("a reload", format!("status {status}: {answer}"))),
    }
}

/// Has the file read again; it must be refused. Returns the reason.
pub fn reload_invalid(admin: &Path) -> Check<String> {
    match ask(admin, "POST /v1/commands", RELOAD)? {
        (200, _) => Err(Failure::new("a refusal of an invalid file", "a reload")),
        (_, answer) => Ok(answer),
    }
}

/// The status report without the age of the process, and of sessions that have ended.
pub fn status(admin: &Path) -> Check<String> {
    let (_, answer) = ask(admin, "GET /v1/status", "")?;
    let mut status: Value =
        serde_json::from_str(&answer).map_err(|error| Failure::new("a status", error))?;
    status["uptime_seconds"] = Value::Null;
    status["ended_sessions"] = Value::Null;
    Ok(status.to_string())
}

fn ask(admin: &Path, what: &str, body: &str) -> Check<(u16, String)> {
    let broken = |error: std::io::Error| Failure::new("an answer from the admin socket", error);
    let mut stream = UnixStream::connect(admin).map_err(broken)?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(broken)?;
    let length = body.len();
    let request = format!(
        "{what} HTTP/1.1\r\nhost: evenkeel\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(broken)?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

const RELOAD: &str = r#"{"command":"reload"}"#;
