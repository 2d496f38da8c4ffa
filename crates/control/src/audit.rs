//! Who has sent which command, and what came of it: for the log, and for the history of backends.

use crate::desk::{Asked, Who};
use crate::owner::Owner;
use balancing::AdminState;
use config::{Command, CommandError, Reply};
use serde_json::json;
use telemetry::{Level, Value};
use tokio::time::Instant;

impl Owner {
    /// Reports that something was not taken.
    pub fn refuse(&mut self, who: &Who, why: &str) {
        let Some(silent) = self.refusals.admit(Instant::now()) else { return };
        let outcome = match silent {
            0 => "refused".to_owned(),
            silent => format!("refused, as were {silent} before it"),
        };
        self.audit(Level::Warn, who, ("error", why), &outcome);
    }

    /// Notes which backend a command has changed.
    fn note_change(&mut self, command: &Command, who: &Who) {
        let (backend, what) = match command {
            Command::SetAdminState { backend, state } => match state {
                AdminState::Enabled => (backend, "enabled"),
                AdminState::Disabled => (backend, "disabled"),
                AdminState::Draining => (backend, "drained"),
            },
            Command::Quarantine { backend, .. } => (backend, "quarantined"),
            _ => return,
        };
        if let Ok(id) = self.instance.backend_id(backend) {
            let by = match who {
                Who::User { id, .. } => format!("user {id}"),
                Who::Companion => "the control port".to_owned(),
                Who::Token { .. } | Who::Unknown | Who::Signal | Who::Watch => who.to_string(),
            };
            self.instance.changes.note(id, format!("{what} by {by}"));
        }
    }

    /// Reports who sent what, and what came of it.
    fn audit(&mut self, level: Level, who: &Who, (name, what): (&str, &str), outcome: &str) {
        let mut fields = vec![("by", Value::Text(who))];
        let role = who.role();
        fields.push(("role", Value::Text(&role)));
        fields.extend(who.pid().map(|pid| ("process", Value::Count(pid))));
        fields.extend([(name, Value::Text(&what)), ("outcome", Value::Text(&outcome))]);
        let message = if level == Level::Info { "command" } else { "command refused" };
        self.note(level, message, &fields);
    }

    /// Reports who sent a command, and answers.
    pub fn conclude(&mut self, asked: Asked, result: Result<Reply, CommandError>) {
        if result == Ok(Reply::Done) {
            self.note_change(&asked.command, &asked.who);
        }
        let text = serde_json::to_string(&asked.command).unwrap_or_default();
        let outcome = match &result {
            Ok(reply) => json!(reply).as_str().unwrap_or("done").to_owned(),
            Err(error) => error.to_string(),
        };
        self.audit(Level::Info, &asked.who, ("asked", &text), &outcome);
        drop(asked.answer.send(result));
    }
}
