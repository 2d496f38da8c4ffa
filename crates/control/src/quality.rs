//! What the ejector has changed, in words.

use balancing::{Complaint, QualityChange, Stance};
use std::fmt::{self, Display, Formatter};
use telemetry::{Level, Line, Value};
use terms::BackendId;

/// The last change of a backend, if this is one.
pub(crate) fn word(change: &QualityChange) -> Option<(BackendId, String)> {
    match change {
        QualityChange::Ejected(backend, complaint, _) => {
            Some((backend.id, format!("ejected: {}", Why(complaint))))
        }
        QualityChange::Recovered(backend) => Some((backend.id, "recovered".to_owned())),
        QualityChange::OnTrial(_) | QualityChange::Stance { .. } => None,
    }
}

/// Passes the line about a change to `out`, if it has one.
pub(crate) fn describe(pool: &str, change: &QualityChange, out: &mut dyn FnMut(&Line<'_>)) {
    let mut fields = vec![("pool", Value::Text(&pool))];
    match change {
        QualityChange::Ejected(backend, complaint, length) => {
            let why = Why(complaint);
            fields.extend([
                ("backend", Value::Text(&backend.name)),
                ("error", Value::Text(&why)),
                ("for", Value::Time(*length)),
            ]);
            out(&Line { level: Level::Warn, message: "backend ejected", fields: &fields });
        }
        QualityChange::Recovered(backend) => {
            fields.push(("backend", Value::Text(&backend.name)));
            out(&Line { level: Level::Info, message: "backend recovered", fields: &fields });
        }
        QualityChange::OnTrial(_) => {}
        QualityChange::Stance { tier, stance, available, enabled } => {
            let (level, message) = match stance {
                Stance::Normal => (Level::Info, "enough backends are available again"),
                Stance::FailOpen => {
                    (Level::Warn, "too few backends are available: health is ignored")
                }
                Stance::Refuse => {
                    (Level::Error, "too few backends are available: new sessions are refused")
                }
            };
            fields.extend([
                ("tier", Value::Count(*tier as u64)),
                ("available", Value::Count(*available as u64)),
                ("enabled", Value::Count(*enabled as u64)),
            ]);
            out(&Line { level, message, fields: &fields });
        }
    }
}

/// Why a backend was ejected.
struct Why<'a>(&'a Complaint);

impl Display for Why<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Complaint::Failed(failed, of) => write!(f, "{failed} of {of} sessions failed"),
            Complaint::Slow(wait, usual) => {
                let millis = |it: &std::time::Duration| it.as_millis();
                write!(f, "answers took {} ms, elsewhere {} ms", millis(wait), millis(usual))
            }
        }
    }
}
