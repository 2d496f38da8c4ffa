//! Draws it.

mod panes;

use crate::app::{App, Pane};
use crate::consequences::availability;
use crate::words::span;
use panes::body;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};
use std::time::Duration;
use terms::CloseReason;

/// The smallest terminal that shows everything.
pub(crate) const SMALLEST: (u16, u16) = (80, 24);

/// For how long a note is shown.
const NOTE: Duration = Duration::from_secs(8);

impl App {
    /// Draws everything into the terminal.
    pub(crate) fn draw(&self, frame: &mut Frame<'_>, now: Duration) {
        let area = frame.area();
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            let text = format!("evenkeel top needs {} x {} characters", SMALLEST.0, SMALLEST.1);
            return frame.render_widget(Paragraph::new(text), area);
        }
        let rows = [1, 1, 0, 1, 1].map(|height| match height {
            0 => Constraint::Fill(1),
            height => Constraint::Length(height),
        });
        let [head, tabs, middle, detail, keys] = Layout::vertical(rows).areas(area);
        frame.render_widget(self.head(), head);
        frame.render_widget(self.tabs(now), tabs);
        match &self.model.status {
            Some(_) => body(self, frame, middle),
            None => frame.render_widget(Paragraph::new("\n  waiting for the instance..."), middle),
        }
        frame.render_widget(self.detail(now), detail);
        frame.render_widget(self.keys_line(), keys);
        if let Some(question) = &self.question {
            let last = "y: do it    any other key: leave it";
            let lines = question.lines.iter().map(String::as_str);
            let lines: Vec<_> = lines.chain(["", last]).map(str::to_owned).collect();
            self.window(frame, &question.title, &lines);
        } else if self.shows_help {
            self.window(frame, "Keys", &HELP.map(str::to_owned));
        }
    }

    /// A colour, unless the user wants none.
    pub(crate) fn colour(&self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// How a state is written. The word says it; colour only underlines that.
    pub(crate) fn state_style(&self, state: &str) -> Style {
        match state {
            "healthy" => self.colour(Color::Green),
            "down" | "ejected" | "quarantined" | "unresolved" => {
                self.colour(Color::Red).add_modifier(Modifier::BOLD)
            }
            "disabled" | "draining" | "drained" | "probation" => self.colour(Color::Yellow),
            _ => Style::new(),
        }
    }

    fn head(&self) -> Paragraph<'_> {
        let mut spans = vec![Span::styled(" evenkeel", Modifier::BOLD)];
        if let Some(status) = &self.model.status {
            let mut text = format!(
                " {}  pid {}  up {}  {} open  {}",
                status.version,
                status.pid,
                span(status.uptime_seconds),
                crate::words::counted(status.sessions(), "session"),
                availability(&self.model),
            );
            if status.shutting_down {
                text += "  SHUTTING DOWN";
            }
            if let Some(seconds) = status.drain_seconds {
                text += &format!("  DRAINING for {seconds}s at most");
            }
            if let Some(old) = &status.predecessor {
                text += &format!("  process before: {}", old.pid);
                let sessions = old.sessions();
                if !sessions.is_empty() {
                    text += &format!(" ({sessions})");
                }
            }
            if let Some(seconds) = status.unconfirmed_seconds {
                text += &format!("  reload taken back in {seconds}s");
            }
            spans.push(text.into());
        }
        Paragraph::new(Line::from(spans))
    }

    fn tabs(&self, now: Duration) -> Paragraph<'_> {
        let mut spans = Vec::new();
        for (pane, number) in Pane::ALL.into_iter().zip(1..) {
            let is_this = pane == self.pane;
            let style = if is_this { Modifier::REVERSED } else { Modifier::empty() };
            spans.push(" ".into());
            spans.push(Span::styled(format!(" {number} {} ", pane.name()), style));
        }
        if let Some((_, since)) = &self.model.lost {
            let text = format!("  NO ANSWER for {}", span((now - *since).as_secs()));
            spans.push(Span::styled(text, self.state_style("down")));
        } else if !self.may_change {
            spans.push("  read only".into());
        }
        if !self.filter.is_empty() || self.is_filtering {
            let cursor = if self.is_filtering { "_" } else { "" };
            spans.push(Span::styled(format!("   / {}{cursor}", self.filter), Modifier::BOLD));
        }
        Paragraph::new(Line::from(spans))
    }

    /// The line at the bottom: a recent message, a lost connection, or details of the selected row.
    fn detail(&self, now: Duration) -> Paragraph<'_> {
        let lost = self.model.lost.as_ref().map(|(why, _)| format!("{why}; trying again"));
        let note = self.model.note.as_ref().filter(|(_, said)| now - *said < NOTE);
        let note = note.map(|(text, _)| text.clone());
        let text = note.or(lost).or_else(|| match self.pane {
            Pane::Overview => None,
            Pane::Backends => self.selected_backend().map(|it| {
                let (since, why) = it.why();
                let since = since.map(|it| format!(" for {}", span(it))).unwrap_or_default();
                let why = why.map(|it| format!(": {it}")).unwrap_or_default();
                format!("{} is {}{since}{why}", it.row.described(), it.state())
            }),
            Pane::Sessions => self.selected_session().map(|it| {
                let row = &it.row;
                let parts = [
                    Some(row.client.clone()),
                    Some(format!("at {}", row.listener)),
                    row.peer.as_ref().map(|it| format!("proxy {it}")),
                    row.server_name.as_ref().map(|it| format!("asks for {it}")),
                    row.backend.as_ref().map(|it| format!("with {it}")),
                    row.source.as_ref().map(|it| format!("from {it}")),
                ];
                parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
            }),
            Pane::Events => self.selected_event().and_then(|it| {
                let word = it.field("reason")?;
                let reason = CloseReason::ALL.into_iter().find(|it| it.to_string() == word)?;
                Some(format!("{word}: {}", reason.meaning()))
            }),
        });
        Paragraph::new(format!(" {}", clean(&text.unwrap_or_default())))
    }

    fn keys_line(&self) -> Paragraph<'_> {
        let by = self.pane.orders()[self.order[self.pane as usize]];
        let text = match self.pane {
            Pane::Overview => " 1-4 panes  ? help  q quit".to_owned(),
            Pane::Backends => {
                format!(" d drain  e enable  / filter  s sort ({by})  r reverse  ? help  q quit")
            }
            Pane::Sessions => {
                format!(" k kill  / filter  s sort ({by})  r reverse  ? help  q quit")
            }
            Pane::Events => " / filter  r reverse  ? help  q quit".to_owned(),
        };
        Paragraph::new(text).style(Modifier::DIM)
    }

    fn window(&self, frame: &mut Frame<'_>, title: &str, lines: &[String]) {
        let area = frame.area();
        let widest = lines.iter().map(|it| it.chars().count()).max().unwrap_or(0);
        let width = (widest.max(title.chars().count()) as u16 + 6).min(area.width);
        let height = (lines.len() as u16 + 2).min(area.height);
        let place =
            Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
        let frame_style = self.colour(Color::Cyan);
        let block = Block::bordered().border_type(BorderType::Rounded).border_style(frame_style);
        let block = block.title(format!(" {} ", clean(title))).title_alignment(Alignment::Center);
        let lines: Vec<_> = lines.iter().map(|it| Line::from(format!("  {}", clean(it)))).collect();
        frame.render_widget(Clear, place);
        frame.render_widget(Paragraph::new(lines).block(block), place);
    }
}

/// Text of others, without characters that a terminal would obey or that turn its direction.
pub(crate) fn clean(text: &str) -> String {
    let is_bad = |it: char| {
        it.is_control()
            || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(is_bad, "?")
}

const HELP: [&str; 12] = [
    "1 2 3 4, Tab     panes",
    "arrows, PgUp/Dn  select a row",
    "s, r             sort by something else, reverse",
    "/                show only rows with a text; Esc shows all",
    "d, e             drain or enable the selected backend",
    "k                end the selected session",
    "q, Ctrl-C        quit",
    "",
    "Every command is explained before it is sent.",
    "Rates are those since the last reading, a second ago.",
    "Events are those since this program was started.",
    "Any key closes this.",
];
