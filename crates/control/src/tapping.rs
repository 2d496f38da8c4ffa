//! Who watches sessions: begun and ended, and both are in the log.

use crate::answers::Answers;
use crate::desk::{Request, Tapping, Who};
use crate::owner::Owner;
use crate::tap::{TAPS_MAX, Tally, TapFeed};
use config::{CommandError, TapAccess, TapQuery};
use dataplane::{ClientFilter, TapFilter};
use std::sync::Arc;
use telemetry::{Level, Value};

impl Owner {
    /// Has sessions watched.
    pub fn tap(&mut self, query: TapQuery, who: Who) -> Tapping {
        let asked = serde_json::to_string(&query).unwrap_or_default();
        self.forget_taps();
        let access = self.instance.config.process.access.tap;
        let which = self.which(&query);
        let tapping = match which {
            _ if access == TapAccess::Off => Tapping::Off,
            _ if self.is_handing_over => Tapping::Refused(CommandError::HandingOver),
            _ if self.taps.len() >= TAPS_MAX => Tapping::TooMany,
            Err(error) => Tapping::Refused(error),
            Ok(which) => {
                let names = self.instance.listener_names();
                let mut feed = TapFeed::new(which, &query, access, names);
                if let Some(desk) = self.desk.clone() {
                    let (who, asked) = (who.clone(), asked.clone());
                    feed.at_end(move |tally| desk.send_later(Request::TapOver(who, asked, tally)));
                }
                self.taps.push(Arc::clone(feed.tap()));
                let (reply, answers) = Answers::new();
                self.instance.plane.tap(feed.tap(), reply);
                Tapping::Begun(Box::new(feed), answers)
            }
        };
        let outcome = match &tapping {
            Tapping::Begun(..) => "begun".to_owned(),
            Tapping::Off => "refused: tap is off".to_owned(),
            Tapping::TooMany => "refused: too many taps".to_owned(),
            Tapping::Refused(error) => error.to_string(),
        };
        self.note_tap("tap", &who, &asked, &[("outcome", Value::Text(&outcome))]);
        tapping
    }

    /// Which sessions are meant.
    fn which(&self, query: &TapQuery) -> Result<TapFilter, CommandError> {
        if let Some(session) = query.session {
            return Ok(TapFilter::Session(session));
        }
        let listener = query.listener.as_deref();
        let listener = listener.map(|it| self.instance.listener_for(Some(it))).transpose()?;
        let client = query.client.clone();
        let is_meant =
            |it: config::ClientNetwork| -> ClientFilter { Arc::new(move |who| it.contains(who)) };
        Ok(TapFilter::New {
            listener: listener.map(|(_, listening)| listening.listener.id()),
            client: client.map(is_meant),
        })
    }

    /// Nobody watches any more.
    pub fn tap_over(&mut self, who: &Who, asked: &str, tally: Tally) {
        self.forget_taps();
        let Tally { sessions, bytes, lost } = tally;
        let fields = [
            ("sessions", Value::Count(sessions)),
            ("bytes", Value::Count(bytes)),
            ("lost", Value::Count(lost)),
        ];
        self.note_tap("tap ended", who, asked, &fields);
    }

    fn forget_taps(&mut self) {
        let now = sys::clock::now();
        self.taps.retain(|tap| !tap.is_over(now));
    }

    fn note_tap(&mut self, message: &str, who: &Who, asked: &str, more: &[(&str, Value<'_>)]) {
        let role = who.role();
        let mut fields = vec![("by", Value::Text(who)), ("role", Value::Text(&role))];
        fields.extend(who.pid().map(|pid| ("process", Value::Count(pid))));
        fields.push(("asked", Value::Text(&asked)));
        fields.extend(more.iter().copied());
        self.note(Level::Info, message, &fields);
    }
}
