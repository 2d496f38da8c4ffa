//! The admin socket: HTTP and JSON, for those who have a role.

use crate::bodies::{Awaited, WithSigns};
use crate::desk::{Desk, Request, Tapping, Who};
use crate::door::{Door, Limits, Peer};
use crate::events::FOLLOWERS_MAX;
use crate::front_page::front_page;
use crate::pages::{self, Site};
use crate::roles::Roles;
use crate::status::session_rows;
use crate::tap::TAPS_MAX;
use crate::tokens::Tokens;
use crate::why::WhyQuery;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{self, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use config::{Command, CommandError, EventQuery, Role, SessionQuery, TapQuery};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;

impl Connected<IncomingStream<'_, Door>> for Who {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        let Peer { uid, pid, role } = stream.io().who;
        Self::User { id: uid, pid, role }
    }
}

/// Serves until the process ends. Whoever connects may do no more than `most`.
pub(crate) async fn serve(listener: UnixListener, site: Site, roles: Arc<Roles>, most: Role) {
    let service = routes(site).into_make_service_with_connect_info::<Who>();
    // Ends only with the process: accept errors are retried inside, after a pause.
    let _ = axum::serve(Door::new(listener, Limits::USUAL, roles, most), service).await;
}

/// What the admin socket serves, for clients that send a token.
pub(crate) fn for_tokens(site: Site, tokens: Tokens) -> Router {
    let keys = (site.desk.clone(), Arc::new(tokens));
    routes(site).layer(axum::middleware::from_fn_with_state(keys, by_token))
}

fn routes(site: Site) -> Router {
    let desk = site.desk.clone();
    Router::new()
        .route("/", get(front_page))
        .route("/v1/status", get(status))
        .route("/v1/instance", get(instance))
        .route("/v1/sessions", get(sessions))
        .route("/v1/events", get(events))
        .route("/v1/config", get(config))
        .route("/v1/why", get(why))
        .route("/v1/tap", get(tap))
        .route("/v1/start", get(start))
        .route("/v1/commands", post(commands))
        .with_state(desk.clone())
        .merge(pages::routes(site))
        .fallback(unknown)
        .layer(axum::middleware::from_fn(same_shape))
        .layer(axum::middleware::from_fn_with_state(desk, not_from_elsewhere))
}

/// Lets those in who have a token (RFC 6750, 2.1).
async fn by_token(
    State((desk, tokens)): State<(Desk, Arc<Tokens>)>,
    mut request: extract::Request,
    next: Next,
) -> Response {
    let sent = request.headers().get(AUTHORIZATION).map(|it| it.as_bytes());
    let text = sent.and_then(|it| it.split_at_checked("bearer ".len()));
    let text = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    if let Some(token) = text.and_then(|(_, text)| tokens.find(text.trim_ascii())) {
        let who = Who::Token { name: token.name.clone(), role: token.role };
        request.extensions_mut().insert(ConnectInfo(who));
        return next.run(request).await;
    }
    if sent.is_some() {
        let why = format!("{} {}: wrong token", request.method(), request.uri().path());
        drop(request); // its body cannot be shared while this waits
        desk.ask(|answer| Request::Refused(Who::Unknown, why, answer)).await;
    }
    let message = "send a token of the file `admin-tokens`, as in Authorization: Bearer TOKEN";
    let answer = failure(StatusCode::UNAUTHORIZED, "no-token", message);
    ([(WWW_AUTHENTICATE, "Bearer")], answer).into_response()
}

/// An answer that is long where there are many backends or sessions: written in another thread,
/// because others wait for this one.
async fn long<T: Serialize>(answer: impl FnOnce() -> T + Send + 'static) -> Response {
    let written = spawn_blocking(move || Json(answer()).into_response()).await;
    written.unwrap_or_else(|_| refusal(&CommandError::ShuttingDown))
}

async fn status(State(desk): State<Desk>) -> Response {
    match desk.ask(Request::Status).await {
        Some(status) => long(move || status).await,
        None => refusal(&CommandError::ShuttingDown),
    }
}

async fn instance(State(desk): State<Desk>) -> Response {
    match desk.ask(Request::Instance).await {
        Some(row) => Json(row).into_response(),
        None => refusal(&CommandError::ShuttingDown),
    }
}

async fn sessions(State(desk): State<Desk>, query: Asks<SessionQuery>) -> Response {
    let query = match query {
        Ok(extract::Query(query)) => query,
        Err(rejection) => return unclear(&rejection),
    };
    match desk.sessions(query).await {
        Ok(Some((sessions, listeners))) => long(move || session_rows(sessions, &listeners)).await,
        Ok(None) => refusal(&CommandError::ShuttingDown),
        Err(error) => refusal(&error),
    }
}

async fn events(State(desk): State<Desk>, query: Asks<EventQuery>) -> Response {
    let query = match query {
        Ok(extract::Query(query)) => query,
        Err(rejection) => return unclear(&rejection),
    };
    match desk.ask(|answer| Request::Follow(query, answer)).await {
        Some(Some(feed)) => {
            ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(WithSigns::new(feed)))
                .into_response()
        }
        Some(None) => {
            let message = format!("{FOLLOWERS_MAX} clients follow the events already");
            failure(StatusCode::TOO_MANY_REQUESTS, "too-many-followers", &message)
        }
        None => refusal(&CommandError::ShuttingDown),
    }
}

async fn config(State(desk): State<Desk>) -> Response {
    match desk.configs().await {
        Some(configs) => long(move || configs).await,
        None => refusal(&CommandError::ShuttingDown),
    }
}

async fn why(State(desk): State<Desk>, query: Asks<WhyQuery>) -> Response {
    match query {
        Ok(extract::Query(query)) => match desk.why(query).await {
            Ok(why) => Json(why).into_response(),
            Err(error) => refusal(&error),
        },
        Err(rejection) => unclear(&rejection),
    }
}

/// The query of a request.
type Asks<T> = Result<extract::Query<T>, QueryRejection>;

fn unclear(rejection: &QueryRejection) -> Response {
    failure(rejection.status(), "invalid-query", &rejection.body_text())
}

/// Answers with the environment, too, which may have secrets.
async fn start(State(desk): State<Desk>, ConnectInfo(who): ConnectInfo<Who>) -> Response {
    let (needs, has) = (Role::Admin, who.role());
    if has < needs {
        return refusal(&CommandError::NotAllowed { needs, has });
    }
    Json(&*desk.invocation).into_response()
}

async fn tap(
    State(desk): State<Desk>,
    ConnectInfo(who): ConnectInfo<Who>,
    query: Asks<TapQuery>,
) -> Response {
    let (needs, has) = (Role::Admin, who.role());
    if has < needs {
        let error = CommandError::NotAllowed { needs, has };
        let why = format!("GET /v1/tap: {error}");
        desk.ask(|answer| Request::Refused(who, why, answer)).await;
        return refusal(&error);
    }
    let query = match query {
        Ok(extract::Query(query)) => query,
        Err(rejection) => return unclear(&rejection),
    };
    if let Err(message) = query.check() {
        return failure(StatusCode::BAD_REQUEST, "invalid-query", &message);
    }
    let session = query.session;
    match desk.ask(|answer| Request::Tap(Box::new(query), who, answer)).await {
        Some(Tapping::Begun(feed, found)) => {
            let is_watched = found.all().await.into_iter().flatten().next();
            match (session, is_watched) {
                (Some(session), None) => refusal(&CommandError::UnknownSession(session)),
                (Some(session), Some(false)) => {
                    let message = format!("somebody else watches session {session}");
                    failure(StatusCode::CONFLICT, "already-tapped", &message)
                }
                _ => ([(CONTENT_TYPE, "application/x-ndjson")], Body::new(WithSigns::new(*feed)))
                    .into_response(),
            }
        }
        Some(Tapping::Off) => {
            let message = "the configuration has tap = \"off\" in [process]";
            failure(StatusCode::FORBIDDEN, "tap-off", message)
        }
        Some(Tapping::TooMany) => {
            let message = format!("{TAPS_MAX} taps are open already");
            failure(StatusCode::TOO_MANY_REQUESTS, "too-many-taps", &message)
        }
        Some(Tapping::Refused(error)) => refusal(&error),
        None => refusal(&CommandError::ShuttingDown),
    }
}

async fn commands(
    State(desk): State<Desk>,
    ConnectInfo(who): ConnectInfo<Who>,
    body: Result<Json<Command>, JsonRejection>,
) -> Response {
    let Json(command) = match body {
        Ok(command) => command,
        Err(rejection) => {
            let text = rejection.body_text();
            desk.ask(|answer| Request::Refused(who, text.clone(), answer)).await;
            return failure(rejection.status(), "invalid-command", &text);
        }
    };
    let drained = match command {
        Command::DrainAll { wait: true, .. } => desk.drained().await,
        _ => None,
    };
    let reply = match desk.command(command, who).await {
        Ok(reply) => reply,
        Err(error) => return refusal(&error),
    };
    match drained {
        None => Json(json!({ "reply": reply })).into_response(),
        Some(drained) => {
            // None if it is called off: by then, the status of the response has been sent.
            let result = async move { json!({ "reply": reply, "drained": drained.await.ok() }) };
            let body = Body::new(WithSigns::new(Awaited::new(result)));
            ([(CONTENT_TYPE, "application/json")], body).into_response()
        }
    }
}

fn refusal(error: &CommandError) -> Response {
    let status = match error {
        CommandError::UnknownBackend(_)
        | CommandError::UnknownPool(_)
        | CommandError::UnknownListener(_)
        | CommandError::UnknownSession(_) => StatusCode::NOT_FOUND,
        CommandError::InvalidEndpoint(_)
        | CommandError::InvalidClient(_)
        | CommandError::InvalidFile(_)
        | CommandError::TierOutOfRange { .. }
        | CommandError::TooManyTiers(_) => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::AmbiguousBackend(_)
        | CommandError::AmbiguousPool(_)
        | CommandError::AmbiguousListener(_)
        | CommandError::FixedPlaces(_)
        | CommandError::NotDisabled(_)
        | CommandError::NoFile
        | CommandError::NotReloadable(_)
        | CommandError::NothingToConfirm
        | CommandError::NotDraining
        | CommandError::CalledOff
        | CommandError::NotResumable(_) => StatusCode::CONFLICT,
        CommandError::NotAllowed { .. } => StatusCode::FORBIDDEN,
        CommandError::HandingOver | CommandError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut body = json!(error); // `error` and, for most, `detail`
    body["message"] = error.to_string().into();
    (status, Json(body)).into_response()
}

async fn unknown() -> Response {
    let message = "try GET /v1/status, GET /v1/instance, GET /v1/sessions, GET /v1/events, \
                   GET /v1/config, GET /v1/why, GET /v1/tap, GET /v1/start, GET /metrics or \
                   POST /v1/commands";
    failure(StatusCode::NOT_FOUND, "unknown-path", message)
}

/// Refuses what a browser sends in the name of a page: there may be a way from a web server to this
/// socket, and no page but our own, which sends no such header, is to read or change anything.
async fn not_from_elsewhere(
    State(desk): State<Desk>,
    ConnectInfo(who): ConnectInfo<Who>,
    request: extract::Request,
    next: Next,
) -> Response {
    if !is_of_a_page(&request) {
        return next.run(request).await;
    }
    let message = "requests of web pages are refused";
    if request.method() != Method::GET {
        let sent = format!("{} {}", request.method(), request.uri().path());
        drop(request); // its body cannot be shared while this waits
        let why = format!("{sent}: {message}");
        desk.ask(|answer| Request::Refused(who, why, answer)).await;
    }
    failure(StatusCode::FORBIDDEN, "cross-origin", message)
}

/// Whether a browser says that a page of another origin has made the request.
fn is_of_a_page(request: &extract::Request) -> bool {
    let says = |name: &str, word: &str| request.headers().get(name).is_some_and(|it| it == word);
    let site = "sec-fetch-site";
    let is_cross = says(site, "cross-site") || says(site, "same-site");
    // A link that is followed shows the page to the user, and to nobody else.
    let is_link = request.method() == Method::GET && says("sec-fetch-mode", "navigate");
    request.headers().contains_key("origin") || is_cross && !is_link
}

/// Gives the router's own answers the shape of the others.
async fn same_shape(request: extract::Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let message = format!("{path} does not take this method");
        return failure(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", &message);
    }
    response
}

fn failure(status: StatusCode, error: &str, message: &str) -> Response {
    (status, Json(json!({ "error": error, "message": message }))).into_response()
}
