//! The admin socket: HTTP and JSON, for the owner of the process only.

use crate::door::{Door, Limits};
use crate::instance::Instance;
use crate::lookup::Names;
use crate::report::Reporter;
use crate::socket::AdminSocket;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use config::{Command, CommandError};
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use telemetry::{Level, Line, Value};
use terms::Address;
use tokio::net::UnixListener;

/// What requests and the main loop share. Both run on the control thread.
pub(crate) struct Desk {
    pub instance: Mutex<Instance>,
    pub reporter: Mutex<Box<dyn Reporter>>,
    pub names: Names,
    /// Notified when a command requests the shutdown.
    pub shutdown: tokio::sync::Notify,
    pub socket: Mutex<AdminSocket>,
}

impl Desk {
    pub fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn reporter(&self) -> MutexGuard<'_, Box<dyn Reporter>> {
        self.reporter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn socket(&self) -> MutexGuard<'_, AdminSocket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops listening for clients, and gives up the admin socket's name: the next instance can
    /// have both.
    pub fn shut_down(&self) {
        // Refused only if it has been done already.
        let _ = self.instance().apply(&Command::Shutdown {}, Vec::new());
        self.socket().retire();
    }

    /// Reports, once, that a country database is needed and missing.
    pub fn note_country_error(&self) {
        let error = self.instance().take_country_error();
        if let Some(error) = error {
            let message = "no country database: country rules match nobody";
            self.note(Level::Error, message, &[("error", Value::Text(&error))]);
        }
    }

    pub fn note(&self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        let mut reporter = self.reporter();
        reporter.note(&Line { level, message, fields });
        reporter.flush();
    }

    /// Carries out a command, and reports who sent it.
    pub async fn command(&self, command: Command, who: Who) -> Result<config::Reply, CommandError> {
        let addresses = self.look_up(&command).await?;
        let result = self.instance().apply(&command, addresses);
        let asked = serde_json::to_string(&command).unwrap_or_default();
        let outcome = match &result {
            Ok(reply) => json!(reply).as_str().unwrap_or("done").to_owned(),
            Err(error) => error.to_string(),
        };
        let fields = [
            ("uid", Value::Text(&who)),
            ("asked", Value::Text(&asked)),
            ("outcome", Value::Text(&outcome)),
        ];
        self.note(Level::Info, "command", &fields);
        if result.is_ok() && matches!(command, Command::Shutdown {}) {
            self.socket().retire();
            self.shutdown.notify_one();
        }
        result
    }

    /// The addresses of the endpoint in a command, if it has one.
    async fn look_up(&self, command: &Command) -> Result<Vec<Address>, CommandError> {
        let (Command::AddBackend { endpoint, .. } | Command::SetEndpoint { endpoint, .. }) =
            command
        else {
            return Ok(Vec::new());
        };
        let parsed = config::operand::parse_endpoint(endpoint, &sys::process::service_port)
            .map_err(|error| CommandError::InvalidEndpoint(error.to_string()))?;
        Ok(self.names.look_up(&parsed).await.addresses)
    }
}

/// The sender of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who(Option<u32>);

impl Who {
    /// A client of the personality's own control protocol, which has no user ids.
    pub fn companion() -> Self {
        Self(None)
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(uid) => uid.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl Connected<IncomingStream<'_, Door>> for Who {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(Some(stream.io().uid))
    }
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: UnixListener, desk: Arc<Desk>) {
    let routes = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/sessions", get(sessions))
        .route("/v1/commands", post(commands))
        .fallback(unknown)
        .layer(axum::middleware::from_fn(same_shape))
        .with_state(desk);
    let service = routes.into_make_service_with_connect_info::<Who>();
    // Ends only with the process: accept errors are retried inside, after a pause.
    let _ = axum::serve(Door::new(listener, Limits::USUAL), service).await;
}

async fn status(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.instance().status()).into_response()
}

async fn sessions(State(desk): State<Arc<Desk>>) -> Response {
    Json(desk.instance().sessions()).into_response()
}

async fn commands(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(who): ConnectInfo<Who>,
    body: Result<Json<Command>, JsonRejection>,
) -> Response {
    let Json(command) = match body {
        Ok(command) => command,
        Err(rejection) => {
            return failure(rejection.status(), "invalid-command", &rejection.body_text());
        }
    };
    match desk.command(command, who).await {
        Ok(reply) => Json(json!({ "reply": reply })).into_response(),
        Err(error) => {
            let status = match error {
                CommandError::UnknownBackend(_)
                | CommandError::UnknownPool(_)
                | CommandError::UnknownSession(_) => StatusCode::NOT_FOUND,
                CommandError::InvalidEndpoint(_)
                | CommandError::TierOutOfRange { .. }
                | CommandError::TooManyTiers(_) => StatusCode::UNPROCESSABLE_ENTITY,
                CommandError::AmbiguousBackend(_)
                | CommandError::AmbiguousPool(_)
                | CommandError::FixedPlaces(_)
                | CommandError::NotDisabled(_) => StatusCode::CONFLICT,
                CommandError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut body = json!(error); // `error` and, for most, `detail`
            body["message"] = error.to_string().into();
            (status, Json(body)).into_response()
        }
    }
}

async fn unknown() -> Response {
    let message = "try GET /v1/status, GET /v1/sessions or POST /v1/commands";
    failure(StatusCode::NOT_FOUND, "unknown-path", message)
}

/// Gives the router's own answers the shape of the others.
async fn same_shape(request: Request, next: Next) -> Response {
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
