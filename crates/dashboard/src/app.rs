//! What the user looks at, and what keys do.

use crate::consequences::{Question, kill, set_state};
use crate::model::{Ask, Event, Model, News, Placed, Session};
use balancing::AdminState;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

/// The program: what is known, and what is looked at.
#[derive(Debug)]
pub struct App {
    pub(crate) model: Model,
    pub(crate) pane: Pane,
    cursors: [Cursor; 4],
    pub(crate) order: [usize; 4],
    pub(crate) is_reversed: [bool; 4],
    pub(crate) filter: String,
    /// Whether keys go to the filter.
    pub(crate) is_filtering: bool,
    pub(crate) question: Option<Question>,
    pub(crate) shows_help: bool,
    /// Whether commands may be sent.
    pub(crate) may_change: bool,
    /// Whether there may be colours.
    pub(crate) has_colour: bool,
}

/// What a key has led to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Stay,
    Quit,
    Ask(Ask),
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Overview,
    Backends,
    Sessions,
    Events,
}

impl Pane {
    pub const ALL: [Self; 4] = [Self::Overview, Self::Backends, Self::Sessions, Self::Events];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Backends => "Backends",
            Self::Sessions => "Sessions",
            Self::Events => "Events",
        }
    }

    /// What its rows can be sorted by; the first is the default.
    pub const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Overview | Self::Events => &["time"],
            Self::Backends => &["place", "state", "sessions", "bytes/s", "failures"],
            Self::Sessions => &["bytes/s", "bytes", "age", "client"],
        }
    }
}

/// The selected row: by what it is, because rows move, and by its number, in case it goes.
#[derive(Clone, Debug, Default)]
struct Cursor {
    key: Option<String>,
    index: usize,
}

impl App {
    /// Nothing is known yet. `may_change` says whether commands may be sent, `has_colour` whether the
    /// user wants colours.
    #[must_use]
    pub fn new(may_change: bool, has_colour: bool) -> Self {
        Self {
            model: Model::default(),
            pane: Pane::Overview,
            cursors: Default::default(),
            order: [0; 4],
            is_reversed: [false; 4],
            filter: String::new(),
            is_filtering: false,
            question: None,
            shows_help: false,
            may_change,
            has_colour,
        }
    }

    /// Takes in what has arrived. Times are counted from the start of the program.
    pub fn take(&mut self, news: News, now: Duration) {
        self.model.take(news, now);
    }

    /// Handles a key.
    pub(crate) fn press(&mut self, key: KeyEvent, now: Duration) -> Outcome {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Outcome::Quit;
        }
        if let Some(question) = self.question.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Outcome::Ask(Ask::Command(question.command)),
                _ => {
                    self.say("nothing was changed", now);
                    Outcome::Stay
                }
            };
        }
        if std::mem::take(&mut self.shows_help) {
            return Outcome::Stay;
        }
        if self.is_filtering {
            self.edit_filter(key.code);
            return Outcome::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Outcome::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.shows_help = true,
            KeyCode::Char('1') => self.pane = Pane::Overview,
            KeyCode::Char('2') => self.pane = Pane::Backends,
            KeyCode::Char('3') => self.pane = Pane::Sessions,
            KeyCode::Char('4') => self.pane = Pane::Events,
            KeyCode::Tab | KeyCode::Right => self.pane = self.beside(1),
            KeyCode::BackTab | KeyCode::Left => self.pane = self.beside(3),
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Char('s') => {
                let order = &mut self.order[self.pane as usize];
                *order = (*order + 1) % self.pane.orders().len();
            }
            KeyCode::Char('r') => {
                let is_reversed = &mut self.is_reversed[self.pane as usize];
                *is_reversed = !*is_reversed;
            }
            KeyCode::Up => self.step(-1),
            KeyCode::Down => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home => self.step(isize::MIN / 2),
            KeyCode::End => self.step(isize::MAX / 2),
            KeyCode::Char('d') => self.ask_about_backend(AdminState::Draining, now),
            KeyCode::Char('e') => self.ask_about_backend(AdminState::Enabled, now),
            KeyCode::Char('k') => self.ask_about_session(now),
            _ => {}
        }
        Outcome::Stay
    }

    fn edit_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.len() < FILTER_MAX => self.filter.push(letter),
            _ => {}
        }
    }

    fn beside(&self, steps: usize) -> Pane {
        Pane::ALL[(self.pane as usize + steps) % Pane::ALL.len()]
    }

    fn say(&mut self, text: &str, now: Duration) {
        self.model.note = Some((text.to_owned(), now));
    }

    fn ask_about_backend(&mut self, state: AdminState, now: Duration) {
        if !self.may(now) {
            return;
        }
        let selected = if self.pane == Pane::Backends { self.selected_backend() } else { None };
        self.question = selected.map(|it| set_state(&self.model, &it, state));
        if self.question.is_none() {
            self.say("select a backend first: 2, then the arrow keys", now);
        }
    }

    fn ask_about_session(&mut self, now: Duration) {
        if !self.may(now) {
            return;
        }
        let selected = if self.pane == Pane::Sessions { self.selected_session() } else { None };
        self.question = selected.map(kill);
        if self.question.is_none() {
            self.say("select a session first: 3, then the arrow keys", now);
        }
    }

    fn may(&mut self, now: Duration) -> bool {
        if !self.may_change {
            self.say("this user may only look: commands need the role operate", now);
        }
        self.may_change
    }

    fn keys(&self) -> Vec<String> {
        match self.pane {
            Pane::Overview => Vec::new(),
            Pane::Backends => self.backends().iter().map(|it| it.place()).collect(),
            Pane::Sessions => self.sessions().iter().map(|it| it.row.session.to_string()).collect(),
            Pane::Events => self.events().iter().map(|it| it.number.to_string()).collect(),
        }
    }

    fn step(&mut self, by: isize) {
        let keys = self.keys();
        let Some(last) = keys.len().checked_sub(1) else { return };
        let index = self.place_of(&keys).saturating_add_signed(by).min(last);
        // The top of a list is where what is new or most appears: it is not a certain row.
        let key = (index > 0).then(|| keys[index].clone());
        self.cursors[self.pane as usize] = Cursor { key, index };
    }

    fn place_of(&self, keys: &[String]) -> usize {
        let cursor = &self.cursors[self.pane as usize];
        let found = cursor.key.as_ref().and_then(|key| keys.iter().position(|it| it == key));
        found.unwrap_or(cursor.index).min(keys.len().saturating_sub(1))
    }

    /// The number of the selected row.
    pub(crate) fn selected(&self) -> usize {
        self.place_of(&self.keys())
    }

    pub(crate) fn selected_backend(&self) -> Option<Placed<'_>> {
        self.backends().get(self.selected()).copied()
    }

    pub(crate) fn selected_session(&self) -> Option<&Session> {
        self.sessions().get(self.selected()).copied()
    }

    pub(crate) fn selected_event(&self) -> Option<&Event> {
        self.events().get(self.selected()).copied()
    }

    fn passes(&self, texts: &[&str]) -> bool {
        let filter = self.filter.to_lowercase();
        filter.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&filter))
    }

    fn put_in_order<T>(&self, rows: &mut [T]) {
        if self.is_reversed[self.pane as usize] {
            rows.reverse();
        }
    }

    /// The backends to show, in the order wanted.
    pub(crate) fn backends(&self) -> Vec<Placed<'_>> {
        let mut rows = self.model.backends();
        rows.retain(|it| self.passes(&[it.row.called(), &it.row.endpoint, it.pool, it.state()]));
        let speed = |it: &Placed<'_>| self.model.backend_rates(it).1;
        match self.order[Pane::Backends as usize] {
            1 => rows.sort_by_key(|it| (it.is_available(), it.state())),
            2 => rows.sort_by_key(|it| std::cmp::Reverse(it.row.sessions)),
            3 => rows.sort_by(|one, other| speed(other).total_cmp(&speed(one))),
            4 => rows.sort_by_key(|it| std::cmp::Reverse(it.row.failures_total)),
            _ => {}
        }
        self.put_in_order(&mut rows);
        rows
    }

    /// The sessions to show, in the order wanted.
    pub(crate) fn sessions(&self) -> Vec<&Session> {
        let mut rows: Vec<_> = self.model.sessions.iter().collect();
        rows.retain(|Session { row, .. }| {
            let optional = [
                row.backend.as_deref(),
                row.backend_address.as_deref(),
                row.server_name.as_deref(),
            ];
            let optional = optional.into_iter().flatten();
            let all: Vec<_> =
                [row.client.as_str(), &row.listener].into_iter().chain(optional).collect();
            self.passes(&all)
        });
        let bytes = |it: &Session| it.row.sent_bytes + it.row.received_bytes;
        match self.order[Pane::Sessions as usize] {
            0 => rows.sort_by(|one, other| {
                other.rate.total_cmp(&one.rate).then(one.row.session.cmp(&other.row.session))
            }),
            1 => rows.sort_by_key(|it| std::cmp::Reverse(bytes(it))),
            2 => rows.sort_by(|one, other| other.row.age_seconds.total_cmp(&one.row.age_seconds)),
            _ => rows.sort_by(|one, other| one.row.client.cmp(&other.row.client)),
        }
        self.put_in_order(&mut rows);
        rows
    }

    /// The lines of the log to show, the latest first.
    pub(crate) fn events(&self) -> Vec<&Event> {
        let mut rows: Vec<_> = self.model.events.iter().collect();
        rows.retain(|it| self.passes(&[&it.text(), &it.level]));
        self.put_in_order(&mut rows);
        rows
    }
}

/// The longest filter.
const FILTER_MAX: usize = 60;
