//! How a personality's companion reaches the instance it runs beside.

use crate::admin::{Desk, Who};
use crate::bind::StartError;
use balancing::Pool;
use config::{Command, CommandError, Config, Reply};
use dataplane::{Observe, SessionInfo};
use std::sync::Arc;
use terms::Instant;

/// Asks the running instance, and changes it.
#[derive(Clone)]
pub struct Operator {
    desk: Arc<Desk>,
}

impl Operator {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Carries a command out.
    ///
    /// # Errors
    /// Says why it was not; then nothing has changed.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        self.desk.command(command, Who::companion()).await
    }

    /// Makes `config` the running configuration; open sessions go on.
    ///
    /// Backends keep what is counted and known of them by tier and place. Addresses are to be
    /// literal: names are looked up by who makes the configuration.
    ///
    /// # Errors
    /// When a new address cannot be listened on; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), StartError> {
        let result = self.desk.instance().reconfigure(config);
        self.desk.note_country_error();
        result
    }

    /// Changes what is observed of sessions.
    pub fn observe(&self, observe: Observe) {
        self.desk.instance().observe(observe);
    }

    /// The pool of the first listener as it is now.
    #[must_use]
    pub fn pool(&self) -> Arc<Pool> {
        self.desk.instance().pool(0)
    }

    /// Every open session, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions = self.desk.instance().plane().list();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.age));
        sessions
    }

    /// Now, as the instance reckons.
    #[must_use]
    pub fn now(&self) -> Instant {
        sys::clock::now()
    }
}
