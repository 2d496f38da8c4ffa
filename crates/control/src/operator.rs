//! How a personality's companion reaches its instance.

use crate::admin::{Desk, Who};
use crate::bind::StartError;
use balancing::Pool;
use config::{Command, CommandError, Config, Reply};
use dataplane::{Observe, SessionInfo};
use std::sync::Arc;
use terms::Instant;

/// Queries and changes the running instance.
#[derive(Clone)]
pub struct Operator {
    desk: Arc<Desk>,
}

impl Operator {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// The reason, if it was refused; nothing has changed then.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        self.desk.command(command, Who::companion()).await
    }

    /// Makes `config` the running configuration. Open sessions continue.
    ///
    /// Backends keep their counters and their health by tier and place. Addresses must be literal:
    /// the caller looks up names.
    ///
    /// # Errors
    /// If listening on a new address fails; nothing has changed then.
    pub fn reconfigure(&self, config: &Config) -> Result<(), StartError> {
        let result = self.desk.instance().reconfigure(config);
        self.desk.note_country_error();
        result
    }

    /// Changes what is observed about sessions.
    pub fn observe(&self, observe: Observe) {
        self.desk.instance().observe(observe);
    }

    /// The current pool of the first listener.
    #[must_use]
    pub fn pool(&self) -> Arc<Pool> {
        self.desk.instance().pool(0)
    }

    /// All open sessions, the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions = self.desk.instance().plane().list();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.age));
        sessions
    }

    /// The current time of the instance.
    #[must_use]
    pub fn now(&self) -> Instant {
        sys::clock::now()
    }
}
