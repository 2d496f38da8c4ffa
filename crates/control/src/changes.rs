//! When the state of a backend changed last, and why.

use balancing::BackendChange;
use dataplane::Event;
use std::collections::HashMap;
use telemetry::ChangeRow;
use terms::{BackendId, Instant};

/// The last change of every backend that has changed since the start.
#[derive(Debug, Default)]
pub(crate) struct Changes(HashMap<BackendId, (Instant, String)>);

impl Changes {
    /// Notes what has become of a backend, in words.
    pub fn note(&mut self, backend: BackendId, what: String) {
        self.0.insert(backend, (sys::clock::now(), what));
    }

    /// Notes what the data plane has found out about a backend.
    pub fn note_event(&mut self, event: &Event) {
        if let Event::Backend { backend, change, failure, .. } = event {
            let what = match change {
                BackendChange::Quarantined => "quarantined",
                BackendChange::Recovered => "recovered",
                BackendChange::AutoDisabled => "disabled after a failure",
            };
            let why = failure.as_ref().map(|failure| format!(": {failure}"));
            self.note(backend.id, format!("{what}{}", why.unwrap_or_default()));
        }
    }

    /// When a backend changed last, and how, for another process.
    pub fn last(&self, backend: BackendId) -> Option<(u64, String)> {
        self.0.get(&backend).map(|(when, what)| (when.as_nanos(), what.clone()))
    }

    /// Takes over what another process knew of a backend, unless it has changed since.
    pub fn inherit(&mut self, backend: BackendId, (when, what): &(u64, String)) {
        let earlier = || (Instant::from_nanos(*when), what.clone());
        self.0.entry(backend).or_insert_with(earlier);
    }

    /// What the status says about a backend.
    pub fn row(&self, backend: BackendId, now: Instant) -> Option<ChangeRow> {
        let (when, what) = self.0.get(&backend)?;
        Some(ChangeRow { seconds: now.since(*when).as_secs(), what: what.clone() })
    }

    /// Forgets backends that are no more.
    pub fn keep(&mut self, is_there: impl Fn(BackendId) -> bool) {
        self.0.retain(|backend, _| is_there(*backend));
    }
}
