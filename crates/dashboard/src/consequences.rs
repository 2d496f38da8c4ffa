//! What a command would do, in the words of the question before it.

use crate::model::{Model, Placed, Session};
use crate::words::{counted, short, span};
use balancing::AdminState;
use config::{BackendSelector, Command};

/// A command that waits for a yes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub title: String,
    pub lines: Vec<String>,
    pub command: Command,
}

/// Draining or enabling a backend.
pub(crate) fn set_state(model: &Model, backend: &Placed<'_>, state: AdminState) -> Question {
    let name = format!("{} {}", backend.place(), backend.row.called());
    let (title, lines) = match state {
        AdminState::Enabled => {
            let limit = "It gets new sessions at once, as its tier's policy has it.".to_owned();
            (format!("Enable {name}?"), vec![limit])
        }
        AdminState::Disabled | AdminState::Draining => {
            let open = match backend.row.sessions {
                0 => "It has no open sessions.".to_owned(),
                1 => "Its open session continues until it ends.".to_owned(),
                count => format!("Its {count} open sessions continue until they end."),
            };
            let lines = vec!["It gets no new sessions.".to_owned(), open, without(model, backend)];
            (format!("Drain {name}?"), lines)
        }
    };
    let backend = BackendSelector::from(backend.place());
    Question { title, lines, command: Command::SetAdminState { backend, state } }
}

/// Where new sessions go without this backend.
fn without(model: &Model, backend: &Placed<'_>) -> String {
    let all = model.backends();
    let others = all.iter().filter(|it| {
        it.pool == backend.pool && (it.tier, it.index) != (backend.tier, backend.index)
    });
    let others: Vec<_> = others.filter(|it| it.is_available()).collect();
    let Some(tier) = others.iter().map(|it| it.tier).min() else {
        return "NOBODY ELSE IS AVAILABLE: new clients will be refused.".to_owned();
    };
    let names: Vec<_> =
        others.iter().filter(|it| it.tier == tier).map(|it| it.row.called()).collect();
    let names = match names.len() {
        ..4 => names.join(", "),
        count => format!("{} and {} others", names[..2].join(", "), count - 2),
    };
    match tier.cmp(&backend.tier) {
        std::cmp::Ordering::Less => format!("New sessions go to tier {tier} anyway: {names}."),
        std::cmp::Ordering::Equal => format!("New sessions go to {names}."),
        std::cmp::Ordering::Greater => {
            format!("It is the last of its tier: new sessions go to tier {tier}: {names}.")
        }
    }
}

/// Ending a session.
pub(crate) fn kill(Session { row, .. }: &Session) -> Question {
    let moved = short(row.sent_bytes + row.received_bytes);
    let age = span(row.age_seconds as u64);
    let backend = row.backend.as_deref().unwrap_or("no backend yet");
    let lines = vec![
        format!("{} <-> {backend}, open for {age}, {moved} bytes.", row.client),
        "Both connections are closed. The client may connect again.".to_owned(),
    ];
    let title = format!("End session {}?", row.session);
    Question { title, lines, command: Command::KillSession { session: row.session } }
}

/// The sum of what clients do, for the head.
pub(crate) fn availability(model: &Model) -> String {
    let all = model.backends();
    let available = all.iter().filter(|it| it.is_available()).count();
    match all.len() {
        0 => "no backends".to_owned(),
        total if available == total => {
            format!("all {} available", counted(total as u64, "backend"))
        }
        total => format!("{available} of {} available", counted(total as u64, "backend")),
    }
}
