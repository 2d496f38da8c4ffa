//! Metrics and signs of life by HTTP: on the admin socket, and at an address of their own, where
//! there is nothing else.

use crate::answers::Answers;
use crate::counts::Figures;
use crate::desk::{Desk, Request};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dataplane::RollCall;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use std::io::{self, Write};
use std::time::Duration;
use telemetry::metrics::{MEDIA_TYPE, render};
use telemetry::{ControlCounts, ProcessRow};
use tokio::task::spawn_blocking;

/// Where the pages get what they show.
#[derive(Clone)]
pub(crate) struct Site {
    pub desk: Desk,
    pub roll_call: RollCall,
}

/// The query of `GET /metrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricsQuery {
    /// Only what concerns this pool.
    pool: Option<String>,
}

/// The pages.
pub(crate) fn routes(site: Site) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(site)
}

/// The pages, for an address at which there is nothing else.
pub(crate) fn alone(site: Site) -> Router {
    let unknown = || async { (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n") };
    routes(site).fallback(unknown)
}

async fn metrics(
    State(site): State<Site>,
    query: Result<Query<MetricsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let pool = match query {
        Ok(Query(MetricsQuery { pool })) => pool,
        Err(rejection) => {
            return (rejection.status(), rejection.body_text() + "\n").into_response();
        }
    };
    let figures = match site.desk.ask(|answer| Request::Figures(pool, answer)).await {
        Some(Ok(figures)) => figures,
        Some(Err(error)) => return (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
        None => return ending(),
    };
    let accepted = headers.get_all(ACCEPT_ENCODING).iter();
    let is_zipped = accepted.flat_map(|it| it.to_str()).any(takes_gzip);
    // In another thread, because it takes time.
    let page = spawn_blocking(move || page(&figures, is_zipped)).await;
    let Ok(Ok(page)) = page else { return ending() };
    let headers = [(CONTENT_TYPE, MEDIA_TYPE), (VARY, "accept-encoding")];
    match is_zipped {
        true => (headers, [(CONTENT_ENCODING, "gzip")], Bytes::from(page)).into_response(),
        false => (headers, Bytes::from(page)).into_response(),
    }
}

fn page(figures: &Figures, is_zipped: bool) -> io::Result<Vec<u8>> {
    let Figures { status, counts, detail, started } = figures;
    let process = process_row(counts, *started);
    if is_zipped {
        return zip(|out| render(status, &process, *detail, out));
    }
    let mut text = Vec::new();
    render(status, &process, *detail, &mut text)?;
    Ok(text)
}

/// What metrics say of this process.
pub(crate) fn process_row(counts: &ControlCounts, started: i64) -> ProcessRow {
    let usage = sys::process::usage("worker-");
    ProcessRow {
        started_seconds: started as f64 / 1e9,
        cpu_seconds: usage.processor.as_secs_f64(),
        worker_cpu_seconds: usage.threads.iter().map(Duration::as_secs_f64).collect(),
        resident_bytes: usage.resident_bytes,
        descriptors: usage.descriptors,
        descriptors_max: sys::process::descriptor_limit() as u64,
        counts: counts.clone(),
    }
}

/// What `write` writes, compressed.
pub(crate) fn zip(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    write(&mut encoder)?;
    encoder.finish()
}

/// Whether a client takes gzip (RFC 9110, 12.5.3).
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality =
            quality.trim().strip_prefix("q=").and_then(|it| it.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && quality.is_none_or(|quality| quality > 0.0)
    })
}

/// Whether the control plane and all workers respond.
async fn livez(State(site): State<Site>) -> Response {
    let (reply, answers) = Answers::new();
    site.roll_call.begin(reply);
    let all = answers.all().await.len();
    match site.desk.ask(Request::Instance).await {
        Some(_) if all == site.roll_call.workers() => "alive\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "a worker does not respond\n").into_response(),
        None => ending(),
    }
}

/// Whether clients should be sent to this instance.
async fn readyz(State(site): State<Site>) -> Response {
    match site.desk.ask(Request::Readiness).await {
        Some(Ok(())) => "ready\n".into_response(),
        Some(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        None => ending(),
    }
}

fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accepted: &str, expected: bool) {
        assert_eq!(takes_gzip(accepted), expected, "{accepted}");
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        check("gzip", true);
        check("deflate, GZIP;q=0.5, br", true);
        check("gzip;q=0", false);
        check("gzip; q=0.0", false);
        check("identity", false);
        check("", false);
    }
}
