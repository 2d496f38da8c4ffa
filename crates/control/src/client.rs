//! A client for the admin socket of a running instance.

use crate::invocation::Invocation;
use crate::why::WhyQuery;
use config::{Command, CommandError, Drained, EventQuery, Reply, SessionQuery, TapQuery};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use telemetry::{Configs, InstanceRow, SessionRow, Status, Why};
use tokio::net::UnixStream;

/// A running instance. Requests are made one at a time, and block.
pub struct Client {
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// Why an instance did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No process listens there.
    #[error("no instance answers at {}", path.display())]
    NotRunning {
        /// The admin socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket belongs to another user.
    #[error("that instance runs as another user: {} is not open to this one", path.display())]
    Forbidden {
        /// The admin socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer was not understood.
    #[error("the instance at {} gave no usable answer: {detail}", path.display())]
    Protocol {
        /// The admin socket.
        path: PathBuf,
        /// What was wrong.
        detail: String,
    },
    /// The instance has said why it does not give what was wanted.
    #[error("{0}")]
    Declined(String),
    /// The instance refused the command.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

/// Whether clients should be sent to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether they should.
    pub is_ready: bool,
    /// A line that says so, or why not.
    pub text: String,
}

/// The time-out for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream of events may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

impl Client {
    /// A client of the instance with this admin socket. Nothing is sent yet.
    ///
    /// # Errors
    /// If this process has no file descriptor left.
    pub fn new(path: &Path) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { path: path.to_owned(), runtime })
    }

    /// The status of the instance.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn status(&self) -> Result<Status, ClientError> {
        self.read(Method::GET, "/v1/status", Bytes::new())
    }

    /// The instance in brief.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn instance(&self) -> Result<InstanceRow, ClientError> {
        self.read(Method::GET, "/v1/instance", Bytes::new())
    }

    /// Open sessions.
    ///
    /// # Errors
    /// See [`ClientError`]. [`ClientError::Refused`] if the query names an unknown pool or backend.
    pub fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionRow>, ClientError> {
        let query = serde_urlencoded::to_string(query).map_err(|error| self.unusable(&error))?;
        self.read(Method::GET, &format!("/v1/sessions?{query}"), Bytes::new())
    }

    /// Follows what happens: passes pieces of a stream of JSON objects, one on each line, to `sink`
    /// until that returns false, or the instance ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn events(
        &self,
        query: &EventQuery,
        sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        self.follow("/v1/events", query, sink)
    }

    /// Watches sessions, and passes what is seen on as [`Self::events`] does.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn tap(
        &self,
        query: &TapQuery,
        sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        self.follow("/v1/tap", query, sink)
    }

    fn follow(
        &self,
        path: &str,
        query: &impl Serialize,
        mut sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), ClientError> {
        let query = serde_urlencoded::to_string(query).map_err(|error| self.unusable(&error))?;
        let path = format!("{path}?{query}");
        self.runtime.block_on(async {
            let response = self.within(self.request(Method::GET, &path, Bytes::new())).await?;
            let (status, mut body) = (response.status(), response.into_body());
            if status != StatusCode::OK {
                let body = body.collect().await.map_err(|error| self.unusable(&error))?;
                return Err(self.complaint(status, &body.to_bytes()));
            }
            loop {
                // There is a sign of life every ten seconds.
                let next = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
                let next = next.map_err(|_| self.unusable(&"nothing was heard for 30 s"))?;
                let Some(frame) = next else { return Ok(()) };
                // A process that exits ends the stream, in whatever way.
                let Ok(frame) = frame else { return Ok(()) };
                if let Some(bytes) = frame.data_ref()
                    && !sink(bytes)
                {
                    return Ok(());
                }
            }
        })
    }

    /// What the instance was given and what it runs, as files.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn configs(&self) -> Result<Configs, ClientError> {
        self.read(Method::GET, "/v1/config", Bytes::new())
    }

    /// Where a client would be sent, and why.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn why(&self, query: &WhyQuery) -> Result<Why, ClientError> {
        let query = serde_urlencoded::to_string(query).map_err(|error| self.unusable(&error))?;
        self.read(Method::GET, &format!("/v1/why?{query}"), Bytes::new())
    }

    /// Whether clients should be sent to the instance.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn readiness(&self) -> Result<Readiness, ClientError> {
        let (status, body) = self.exchange(Method::GET, "/readyz", Bytes::new())?;
        let text = String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::OK => Ok(Readiness { is_ready: true, text }),
            StatusCode::SERVICE_UNAVAILABLE => Ok(Readiness { is_ready: false, text }),
            status => Err(self.complaint(status, &body)),
        }
    }

    /// How the instance was started.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn invocation(&self) -> Result<Invocation, ClientError> {
        self.read(Method::GET, "/v1/start", Bytes::new())
    }

    /// The admin socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a command.
    ///
    /// # Errors
    /// See [`ClientError`]. [`ClientError::Refused`] has the reason why nothing was changed.
    pub fn command(&self, command: &Command) -> Result<Reply, ClientError> {
        #[derive(Deserialize)]
        struct Done {
            reply: Reply,
        }
        let body = serde_json::to_vec(command).map_err(|error| self.unusable(&error))?;
        let done: Done = self.read(Method::POST, "/v1/commands", body.into())?;
        Ok(done.reply)
    }

    /// Has the instance drained within a time, waits for the end, and returns what became of its
    /// sessions.
    ///
    /// # Errors
    /// See [`ClientError`]. [`ClientError::Refused`] also if the drain was called off.
    pub fn drain_all(&self, seconds: u32) -> Result<Drained, ClientError> {
        #[derive(Deserialize)]
        struct Done {
            drained: Option<Drained>,
        }
        let command = Command::DrainAll { seconds, wait: true };
        let body = serde_json::to_vec(&command).map_err(|error| self.unusable(&error))?;
        let talk = self.talk(Method::POST, "/v1/commands", body.into());
        let (status, body) = self.runtime.block_on(talk)?;
        let done: Done = self.understand(status, &body)?;
        done.drained.ok_or(ClientError::Refused(CommandError::CalledOff))
    }

    fn read<T: for<'a> Deserialize<'a>>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let (status, body) = self.exchange(method, path, body)?;
        self.understand(status, &body)
    }

    fn understand<T: for<'a> Deserialize<'a>>(
        &self,
        status: StatusCode,
        body: &[u8],
    ) -> Result<T, ClientError> {
        match status {
            StatusCode::OK => serde_json::from_slice(body).map_err(|error| self.unusable(&error)),
            status => Err(self.complaint(status, body)),
        }
    }

    /// What an answer other than the wanted one says.
    fn complaint(&self, status: StatusCode, body: &[u8]) -> ClientError {
        #[derive(Deserialize)]
        struct Complaint {
            message: String,
        }
        if let Ok(refusal) = serde_json::from_slice::<CommandError>(body) {
            return refusal.into();
        }
        match serde_json::from_slice::<Complaint>(body) {
            Ok(Complaint { message }) => ClientError::Declined(message),
            Err(_) => self.unusable(&status),
        }
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        self.runtime.block_on(self.within(self.talk(method, path, body)))
    }

    /// Waits for the answer for as long as the instance lives.
    async fn talk(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let response = self.request(method, path, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        Ok((status, body.map_err(|error| self.unusable(&error))?.to_bytes()))
    }

    /// The result of `talk`, if it comes in time.
    async fn within<T>(
        &self,
        talk: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, talk).await;
        answer.unwrap_or_else(|_| Err(self.unusable(&"nothing was heard for 10 s")))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| {
            let path = self.path.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Forbidden { path, source },
                _ => ClientError::NotRunning { path, source },
            }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unusable(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "evenkeel")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| self.unusable(&error))?;
        sender.send_request(request).await.map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, detail: &dyn std::fmt::Display) -> ClientError {
        ClientError::Protocol { path: self.path.clone(), detail: detail.to_string() }
    }
}
