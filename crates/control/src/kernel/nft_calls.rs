//! Calls of nft(8).

use forwarding::{Kind, TableName};
use serde_json::Value;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// The elements of a set. Several cannot be listed at once: nft 1.0.6 does not find them then.
pub(super) fn list(nft: &Path, table: &TableName, kind: Kind, set: &str) -> io::Result<Vec<Value>> {
    let words = ["-j", "list", "set", kind.family(), &table.to_string(), set];
    let listed: Value = serde_json::from_slice(&listed(nft, &words)?)?;
    let mut parts = listed["nftables"].as_array().into_iter().flatten();
    let elements = parts.find_map(|part| part["set"]["elem"].as_array());
    Ok(elements.cloned().unwrap_or_default())
}

/// The tables, as text: nft 1.0.6 writes broken JSON where one of them has an owner, as an anchor has.
pub(super) fn list_tables(nft: &Path) -> io::Result<String> {
    String::from_utf8(listed(nft, &["list", "tables"])?).map_err(io::Error::other)
}

/// What nft(8) says if it is asked this.
fn listed(nft: &Path, words: &[&str]) -> io::Result<Vec<u8>> {
    let output = Command::new(nft).args(words).env_clear().stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(refusal(&output.stderr)),
    }
}

fn refusal(complaint: &[u8]) -> io::Error {
    let complaint = String::from_utf8_lossy(complaint);
    let first = complaint.lines().next().unwrap_or("no reason given");
    io::Error::other(format!("nft: {first}"))
}

/// Has nft(8) read this text. All of it is done, or nothing.
pub(super) fn run(nft: &Path, text: &str) -> io::Result<()> {
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let input = child.stdin.take();
    let written = input.map_or(Ok(()), |mut input| input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written;
    }
    Err(refusal(&output.stderr))
}
