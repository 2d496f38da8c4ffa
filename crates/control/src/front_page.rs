//! The status page, as the instance itself serves it.

use crate::desk::{Desk, Request};
use crate::status::session_rows;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use config::native::SessionQuery;
use std::hash::{BuildHasher, RandomState};
use telemetry::page::{Live, SESSIONS, render, value};
use terms::SessionOrder;
use tokio::task::spawn_blocking;

/// Answers `GET /`. It shows, and takes no commands.
pub(crate) async fn front_page(State(desk): State<Desk>) -> Response {
    let query = SessionQuery { sort: SessionOrder::Rate, limit: SESSIONS, ..Default::default() };
    let status = desk.ask(Request::Status).await;
    let (Some(status), Ok(Some((sessions, listeners)))) = (status, desk.sessions(query).await)
    else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let sessions = session_rows(sessions, &listeners);
    // Each has keys of its own, which nobody knows.
    let random = || RandomState::new().hash_one(0_u8);
    let live = Live { nonce: format!("{:016x}{:016x}", random(), random()) };
    let policy = live.policy();
    let page =
        spawn_blocking(move || render(&value(&status), &value(&sessions), Some(&live))).await;
    let headers = [
        (CONTENT_SECURITY_POLICY, policy.as_str()),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(page.unwrap_or_default())).into_response()
}
