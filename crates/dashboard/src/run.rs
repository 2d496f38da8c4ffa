//! The terminal.

use crate::app::{App, Outcome};
use crate::model::{Ask, News};
use ratatui::crossterm::event::{Event, KeyEventKind, poll, read};
use std::io;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// How often to look whether anything has arrived.
const LOOK: Duration = Duration::from_millis(100);

/// How often to draw if nothing arrives: ages are shown in seconds.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows the instance until the user quits. `news` is what arrives from it, `asks` takes what is asked
/// of it. The terminal is left as it was, also after a panic.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(mut app: App, news: &Receiver<News>, asks: &Sender<Ask>) -> io::Result<()> {
    let start = Instant::now();
    let mut terminal = ratatui::try_init()?;
    let mut drawn = None;
    let mut show = || loop {
        while let Ok(news) = news.try_recv() {
            app.take(news, start.elapsed());
            drawn = None;
        }
        let now = start.elapsed();
        if drawn.is_none_or(|drawn| now - drawn >= REDRAW) {
            terminal.draw(|frame| app.draw(frame, now))?;
            drawn = Some(now);
        }
        if !poll(LOOK)? {
            continue;
        }
        drawn = None;
        let Event::Key(key) = read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match app.press(key, start.elapsed()) {
            Outcome::Stay => {}
            Outcome::Quit => return Ok(()),
            // If nobody takes it, the program is about to end.
            Outcome::Ask(ask) => drop(asks.send(ask)),
        }
    };
    let shown = show();
    ratatui::restore();
    shown
}
