//! Metrics that are pushed to a collector of OpenTelemetry.

use crate::counts::Figures;
use crate::desk::{Desk, Request};
use crate::lookup;
use crate::pages::{process_row, zip};
use config::{Collector, Endpoint, Push};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::io;
use std::pin::pin;
use std::time::Duration;
use telemetry::metrics::{Instance, export};
use terms::Address;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Metrics are being pushed. When this is dropped, that ends.
pub(crate) struct Pushing {
    pub push: Push,
    task: AbortHandle,
    /// Whether the last attempt has failed.
    pub has_failed: bool,
}

/// Whose metrics are pushed.
#[derive(Clone)]
struct Source {
    /// What tells the instance from all others.
    id: String,
    /// When it began to count, in nanoseconds since 1970.
    started: u64,
}

/// Why metrics have not been pushed.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("no address is known for {0}")]
    NoAddress(String),
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error("the collector did not answer in order: {0}")]
    Http(#[from] hyper::Error),
    #[error("the collector answered with the status {0}")]
    Status(hyper::StatusCode),
    #[error("the collector refused {count} points: {why:?}")]
    Partial { count: i64, why: String },
    #[error("the collector did not take them within {} s", LIMIT.as_secs())]
    Late,
    #[error("they could not be written: {0}")]
    Form(String),
}

/// How long an attempt may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How much of an answer is read. It is empty, or says what was refused.
const ANSWER_MAX: usize = 64 << 10;

impl Pushing {
    /// Begins. `id` tells the instance, which is this old, from others of this machine.
    pub fn begin(push: Push, id: String, age: Duration, desk: Desk) -> Self {
        let started = Duration::from_nanos(now()).saturating_sub(age);
        // Whole seconds: after an upgrade, another process has to find the same time.
        let started = Duration::from_secs((started + Duration::from_millis(500)).as_secs());
        let source = Source {
            id: format!("{}:{id}", sys::process::host_name()),
            started: started.as_nanos() as u64,
        };
        let task = tokio::spawn(go_on(push.clone(), source, desk)).abort_handle();
        Self { push, task, has_failed: false }
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn go_on(push: Push, source: Source, desk: Desk) {
    let mut ticks = interval(push.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(figures) = desk.ask(Request::PushedFigures).await else { return };
        let Some(figures) = figures else { continue };
        let attempt = timeout(LIMIT, post(&push.collector, &source, figures, &desk));
        let result = attempt.await.unwrap_or(Err(PushError::Late));
        desk.send(Request::Pushed(result.map_err(|error| error.to_string()))).await;
    }
}

async fn post(
    collector: &Collector,
    source: &Source,
    figures: Box<Figures>,
    desk: &Desk,
) -> Result<(), PushError> {
    let source = source.clone();
    // In another thread, because it takes time.
    let body = spawn_blocking(move || body(&figures, &source)).await;
    let body = body.map_err(|error| PushError::Form(error.to_string()))??;
    let request = hyper::Request::post(collector.target())
        .header(HOST, collector.authority())
        .header(USER_AGENT, concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_ENCODING, "gzip")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| PushError::Form(error.to_string()))?;
    let stream = connect(collector, desk).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        judge(status, body.map(http_body_util::Collected::to_bytes).ok().as_deref())
    };
    // Both end with this: nothing goes on for a collector that never answers.
    let mut exchange = pin!(exchange);
    tokio::select! {
        result = &mut exchange => result,
        _ = connection => exchange.await,
    }
}

fn body(figures: &Figures, source: &Source) -> io::Result<Vec<u8>> {
    let process = process_row(&figures.counts, figures.started);
    let host = sys::process::host_name();
    let instance = Instance { id: &source.id, host: &host, started: source.started };
    let text = export(&figures.status, &process, figures.detail, &instance, now());
    zip(|out| out.write_all(text.as_bytes()))
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    u64::try_from(sys::clock::wall_nanos()).unwrap_or_default()
}

/// Connects to the first of the collector's addresses that takes the connection.
async fn connect(collector: &Collector, desk: &Desk) -> Result<TcpStream, PushError> {
    let endpoint = Endpoint::Tcp { host: collector.host.clone(), port: collector.port };
    let mut result = Err(PushError::NoAddress(collector.authority()));
    for address in lookup::look_up(&endpoint, desk).await.addresses {
        let Address::Ip(address) = address else { continue };
        result = TcpStream::connect(address).await.map_err(PushError::from);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// What an answer means (OTLP 1.0, "OTLP/HTTP Response").
fn judge(status: hyper::StatusCode, body: Option<&[u8]>) -> Result<(), PushError> {
    if !status.is_success() {
        return Err(PushError::Status(status));
    }
    let answer: Value = body.and_then(|it| serde_json::from_slice(it).ok()).unwrap_or_default();
    let partial = &answer["partialSuccess"];
    // In JSON, 64-bit numbers are strings; not all write them so.
    let count = match &partial["rejectedDataPoints"] {
        Value::String(count) => count.parse().unwrap_or_default(),
        other => other.as_i64().unwrap_or_default(),
    };
    let why = partial["errorMessage"].as_str().unwrap_or_default().to_owned();
    match count {
        0 => Ok(()),
        count => Err(PushError::Partial { count, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::StatusCode;

    #[track_caller]
    fn check(status: StatusCode, body: &str, expected: &str) {
        let shown = match judge(status, Some(body.as_bytes())) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{body}");
    }

    #[test]
    fn an_answer_says_what_was_refused() {
        check(StatusCode::OK, "{}", "");
        check(StatusCode::OK, "", "");
        check(StatusCode::ACCEPTED, "not JSON", "");
        check(StatusCode::OK, r#"{"partialSuccess":{}}"#, "");
        check(StatusCode::OK, r#"{"partialSuccess":{"errorMessage":"a warning"}}"#, "");
        let refused = r#"the collector refused 3 points: "no\n""#;
        let body = |count| {
            format!(
                r#"{{"partialSuccess":{{"rejectedDataPoints":{count},"errorMessage":"no\n"}}}}"#
            )
        };
        check(StatusCode::OK, &body("3"), refused);
        check(StatusCode::OK, &body("\"3\""), refused);
        let status = "the collector answered with the status 429 Too Many Requests";
        check(StatusCode::TOO_MANY_REQUESTS, "{}", status);
    }
}
