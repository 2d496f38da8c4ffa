//! How a personality's companion reaches its instance.

use crate::bind::StartError;
use crate::desk::{Desk, Request, Who};
use balancing::Pool;
use config::{Command, CommandError, Config, Reply, SessionQuery};
use dataplane::{Observe, SessionInfo};
use std::sync::Arc;
use terms::Instant;

/// Queries and changes the running instance. When the process is about to exit, answers are empty
/// and changes are ignored.
#[derive(Clone)]
pub struct Operator {
    desk: Desk,
}

impl Operator {
    pub(crate) fn new(desk: Desk) -> Self {
        Self { desk }
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// The reason, if it was refused; nothing has changed then.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        self.desk.command(command, Who::Companion).await
    }

    /// Makes `config` the running configuration. Open sessions continue.
    ///
    /// Backends keep their counters and their health by tier and place. New addresses must be
    /// literal: the caller looks up names.
    ///
    /// # Errors
    /// If listening on a new address fails; nothing has changed then.
    pub async fn reconfigure(&self, config: Config) -> Result<(), StartError> {
        let ask = |answer| Request::Reconfigure(Box::new(config), answer);
        self.desk.ask(ask).await.unwrap_or(Ok(()))
    }

    /// Changes what is observed about sessions.
    pub async fn observe(&self, observe: Observe) {
        self.desk.ask(|answer| Request::Observe(observe, answer)).await;
    }

    /// The first pool, as it is now.
    pub async fn pool(&self) -> Arc<Pool> {
        self.desk.ask(Request::Pool).await.unwrap_or_default()
    }

    /// All open sessions, the oldest first.
    pub async fn sessions(&self) -> Vec<SessionInfo> {
        let query = SessionQuery { limit: 0, ..SessionQuery::default() };
        let listed = self.desk.sessions(query).await.ok().flatten();
        listed.map(|(sessions, _)| sessions).unwrap_or_default()
    }

    /// The current time of the instance.
    #[must_use]
    pub fn now(&self) -> Instant {
        sys::clock::now()
    }
}
