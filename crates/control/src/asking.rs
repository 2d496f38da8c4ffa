//! What is to be done before or after a request, and takes time: lookups, and collecting the answers
//! of workers. It happens in the task that asks.

use crate::desk::{Asked, Desk, Listing, Request, Who};
use crate::lookup::look_up;
use crate::why::WhyQuery;
use config::{Command, CommandError, Drained, Reply, SessionQuery};
use dataplane::SessionInfo;
use std::collections::HashMap;
use std::time::Duration;
use telemetry::{Configs, Why};
use terms::{Address, ListenerId};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

impl Desk {
    /// Open sessions, in the order that the query wants, and the names of their listeners. `None`
    /// when the process is about to exit.
    ///
    /// # Errors
    /// If the query names a pool or a backend that there is not.
    pub async fn sessions(
        &self,
        query: SessionQuery,
    ) -> Result<Option<(Vec<SessionInfo>, HashMap<ListenerId, String>)>, CommandError> {
        let ask = |answer| Request::Sessions(Box::new(query), answer);
        let Some(listing) = self.ask(ask).await else { return Ok(None) };
        let Listing { filter, sessions, forwarded, listeners } = listing?;
        let mut all: Vec<_> = sessions.all().await.into_iter().flatten().collect();
        if let Some(forwarded) = forwarded {
            all.extend(forwarded.await.unwrap_or_default());
        }
        Ok(Some((filter.merge(all), listeners)))
    }

    /// Where a client would be sent, and why.
    pub async fn why(&self, query: WhyQuery) -> Result<Why, CommandError> {
        let circumstances = self.ask(|answer| Request::Why(query, answer)).await;
        let circumstances = circumstances.ok_or(CommandError::ShuttingDown)??;
        let why = spawn_blocking(|| circumstances.explain()).await;
        why.map_err(|_| CommandError::ShuttingDown)
    }

    /// What was given and what runs, as files.
    pub async fn configs(&self) -> Option<Configs> {
        let configs = self.ask(Request::Configs).await?;
        let print = move || {
            let (loaded, running) = *configs;
            Configs { loaded: loaded.to_file(), running: running.to_file() }
        };
        spawn_blocking(print).await.ok()
    }

    /// Has a command carried out.
    pub async fn command(&self, command: Command, who: Who) -> Result<Reply, CommandError> {
        let (needs, has) = (command.needs(), who.role());
        if has < needs {
            let error = CommandError::NotAllowed { needs, has };
            let asked = serde_json::to_string(&command).unwrap_or_default();
            self.ask(|answer| Request::Refused(who, format!("{asked}: {error}"), answer)).await;
            return Err(error);
        }
        if let Command::Reload { confirm_seconds } = command {
            let confirm = confirm_seconds.map(|seconds| Duration::from_secs(seconds.into()));
            return self.reload(who, confirm).await;
        }
        let addresses = self.addresses(&command).await?;
        let ask = |answer| Request::Command(Asked { command, addresses, who, answer });
        self.ask(ask).await.unwrap_or(Err(CommandError::ShuttingDown))
    }

    /// What will have become of the sessions when a drain ends that is yet to begin; nothing if it
    /// is called off.
    pub async fn drained(&self) -> Option<oneshot::Receiver<Drained>> {
        let (answer, drained) = oneshot::channel();
        self.send(Request::Drained(answer)).await;
        Some(drained)
    }

    /// The addresses of the endpoint in a command, if it has one.
    async fn addresses(&self, command: &Command) -> Result<Vec<Address>, CommandError> {
        let (Command::AddBackend { endpoint, .. } | Command::SetEndpoint { endpoint, .. }) =
            command
        else {
            return Ok(Vec::new());
        };
        let parsed = config::operand::parse_endpoint(endpoint, &sys::process::service_port)
            .map_err(|error| CommandError::InvalidEndpoint(error.to_string()))?;
        Ok(look_up(&parsed, self).await.addresses)
    }
}
