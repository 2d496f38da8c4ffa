//! Tells about changes: by mail, command and webhook, and systemd about ourselves.

use std::io::{self, Write};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::commands::{self, Ended};
use super::config::{Notify, Url, Watch};
use super::decide::{Change, Trouble};
use super::probes;
use crate::lines::stamp;

/// A change of a watched program.
#[derive(Debug)]
pub struct News<'a> {
    /// The program.
    pub name: &'a str,
    /// What changed.
    pub change: Change,
    /// What is wrong.
    pub trouble: &'a Trouble,
    /// How often it was started lately.
    pub starts: usize,
}

impl News<'_> {
    /// The change as a sentence.
    pub fn text(&self) -> String {
        let (name, reason, starts) = (self.name, &self.trouble.reason, self.starts);
        match self.change {
            Change::Down => format!("{name}: down ({reason})"),
            Change::Up => format!("{name}: up again"),
            Change::TooMany => format!("{name}: {reason}"),
            Change::GaveUp => format!(
                "{name}: gave up after {starts} starts ({reason}); it is not started again until \
                 it was well once, or until dwatch --reset {name}"
            ),
        }
    }
}

/// Tells everybody; what went wrong comes back as text.
pub fn all(news: &News<'_>, notify: &Notify, watch: &Watch) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{}: cannot tell by {what}: {error}", news.name));
        }
    };
    for command in watch.alert.iter().chain(&notify.command) {
        note("command", by_command(news, command));
    }
    if let Some(address) = &notify.mail {
        note("mail", by_mail(news, address));
    }
    if let Some(url) = &notify.webhook {
        note("webhook", by_webhook(news, url));
    }
    failures
}

fn by_command(news: &News<'_>, command: &str) -> io::Result<()> {
    let mut environment = super::pass::environment(news.name, news.trouble);
    environment.push(("DWATCH_CHANGE", news.change.word().to_owned()));
    match commands::run(command, &environment, TIMEOUT)? {
        Ended::Status(0) => Ok(()),
        Ended::Status(status) => Err(io::Error::other(format!("status {status}"))),
        Ended::Killed => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn by_mail(news: &News<'_>, address: &str) -> io::Result<()> {
    let text = news.text();
    // A header must stay on its line, whatever is in the reason.
    let subject: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mail = format!("To: {address}\nSubject: dwatch on {}: {subject}\n\n{text}\n", host());
    let directories = "/usr/sbin:/usr/lib:/usr/local/sbin";
    let path =
        std::env::var("PATH").map_or(directories.to_owned(), |p| format!("{p}:{directories}"));
    let mut sendmail = Command::new("sendmail")
        .args(["-t", "-i"])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut input) = sendmail.stdin.take() {
        input.write_all(mail.as_bytes())?;
    }
    let status = sendmail.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("sendmail: {status}"))) }
}

fn by_webhook(news: &News<'_>, url: &str) -> io::Result<()> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let mut time = Vec::new();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    stamp::write_rfc3339(&mut time, i64::try_from(since.as_millis()).unwrap_or_default());
    let body = serde_json::json!({
        "time": String::from_utf8_lossy(&time),
        "host": host(),
        "name": news.name,
        "change": news.change.word(),
        "reason": news.trouble.reason,
        "count": news.trouble.running,
        "starts": news.starts,
        "text": news.text(),
    });
    match probes::post(&url, &body.to_string(), TIMEOUT)? {
        200..=299 => Ok(()),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Tells systemd about ourselves (`sd_notify(3)`); nothing happens when it did not ask.
pub fn systemd(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_encoded_bytes().strip_prefix(b"@") {
        Some(name) => abstract_address(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(message.as_bytes(), &address);
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How often systemd wants to hear that we are alive, halved.
pub fn watchdog() -> Option<Duration> {
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}

const TIMEOUT: Duration = Duration::from_secs(10);
