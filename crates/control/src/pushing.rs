//! How metrics come to be pushed.

use crate::counts::Figures;
use crate::owner::Owner;
use crate::push::Pushing;
use telemetry::{Level, Value};

impl Owner {
    /// Pushes metrics, or ceases to, as configured.
    pub fn keep_pushing(&mut self) {
        let wanted = self.instance.config.process.push.as_ref();
        if self.pushing.as_ref().map(|it| &it.push) == wanted {
            return;
        }
        self.pushing = wanted.cloned().zip(self.desk.clone()).map(|(push, desk)| {
            let age = sys::clock::now().since(self.instance.started);
            Pushing::begin(push, self.socket.path().display().to_string(), age, desk)
        });
        if let Some(it) = &self.pushing {
            let to = it.push.collector.to_string();
            self.note(Level::Info, "metrics are pushed", &[("to", Value::Text(&to))]);
        }
    }

    /// What is pushed now: nothing while another process may be the instance, since counts would
    /// go back.
    pub fn pushed_figures(&self) -> Option<Box<Figures>> {
        let is_alone = !self.is_handing_over && !self.has_left && self.others_names.is_none();
        let figures = is_alone.then(|| self.figures(None).ok()).flatten();
        figures.map(Box::new)
    }

    /// Logs that metrics can be pushed no longer, or again.
    pub fn note_pushed(&mut self, result: Result<(), String>) {
        let Some(pushing) = &mut self.pushing else { return };
        let had_failed = std::mem::replace(&mut pushing.has_failed, result.is_err());
        let to = pushing.push.collector.to_string();
        match result {
            Err(error) if !had_failed => {
                let fields = [("to", Value::Text(&to)), ("error", Value::Text(&error))];
                self.note(Level::Warn, "metrics cannot be pushed", &fields);
            }
            Ok(()) if had_failed => {
                self.note(Level::Info, "metrics are pushed again", &[("to", Value::Text(&to))]);
            }
            Ok(()) | Err(_) => {}
        }
    }
}
