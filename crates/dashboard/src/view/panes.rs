//! What the panes show.

use super::clean;
use crate::app::{App, Pane};
use crate::words::{rate, short, span};
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};
use terms::Limit;

/// Draws the pane that is looked at.
pub(crate) fn body(app: &App, frame: &mut Frame<'_>, area: Rect) {
    match app.pane {
        Pane::Overview => overview(app, frame, area),
        Pane::Backends => backends(app, frame, area),
        Pane::Sessions => sessions(app, frame, area),
        Pane::Events => events(app, frame, area),
    }
}

/// A column: heading, width, and whether it is set to the right.
type Column = (&'static str, Constraint, bool);

const fn wide(heading: &'static str) -> Column {
    (heading, Constraint::Fill(1), false)
}

const fn left(heading: &'static str, width: u16) -> Column {
    (heading, Constraint::Length(width), false)
}

const fn right(heading: &'static str, width: u16) -> Column {
    (heading, Constraint::Length(width), true)
}

fn row(columns: &[Column], cells: Vec<Span<'static>>) -> Row<'static> {
    let cells = columns.iter().zip(cells).map(|((_, _, is_right), cell)| {
        let line = Line::from(cell);
        Cell::from(if *is_right { line.right_aligned() } else { line })
    });
    Row::new(cells.collect::<Vec<_>>())
}

fn table(columns: &[Column], rows: Vec<Row<'static>>) -> Table<'static> {
    let heads = columns.iter().map(|(heading, _, _)| Span::from(*heading)).collect();
    let header = row(columns, heads).style(Modifier::UNDERLINED);
    let widths: Vec<_> = columns.iter().map(|(_, width, _)| *width).collect();
    let table = Table::new(rows, widths).header(header).column_spacing(1);
    table.row_highlight_style(Modifier::REVERSED).flex(Flex::Start)
}

fn text(text: &str) -> Span<'static> {
    Span::from(clean(text))
}

/// Draws a table with a selected row.
fn draw_list(app: &App, frame: &mut Frame<'_>, area: Rect, table: Table<'static>, count: usize) {
    let area = inset(area);
    let selected = (count > 0).then(|| app.selected());
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
    if count == 0 {
        let what = if app.filter.is_empty() { "nothing" } else { "nothing with this text" };
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        frame.render_widget(Paragraph::new(what).style(Modifier::DIM), below);
    }
}

fn inset(area: Rect) -> Rect {
    Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area }
}

fn backends(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let columns = [
        left("PLACE", 9),
        wide("BACKEND"),
        left("STATE", 11),
        right("SINCE", 5),
        right("OPEN", 5),
        right("MAX", 5),
        right("NEW/S", 5),
        right("FAILED", 6),
        right("BYTES/S", 7),
    ];
    let all = app.backends();
    let rows = all.iter().map(|it| {
        let (connects, bytes) = app.model.backend_rates(it);
        let cells = vec![
            text(&it.place()),
            text(&it.row.described()),
            Span::styled(it.state(), app.state_style(it.state())),
            text(&it.why().0.map(span).unwrap_or_else(|| "-".to_owned())),
            text(&short(it.row.sessions)),
            text(&limit(it.row.sessions_max)),
            text(&rate(connects)),
            text(&short(it.row.failures_total)),
            text(&rate(bytes)),
        ];
        row(&columns, cells)
    });
    let table = table(&columns, rows.collect());
    draw_list(app, frame, area, table, all.len());
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::None => "-".to_owned(),
        Limit::AtMost(most) => short(most.into()),
    }
}

fn sessions(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let columns = [
        right("SESSION", 8),
        wide("CLIENT"),
        wide("BACKEND"),
        left("PHASE", 10),
        right("AGE", 5),
        right("SENT", 5),
        right("RECVD", 5),
        right("BYTES/S", 7),
    ];
    let all = app.sessions();
    let rows = all.iter().map(|it| {
        let phase = serde_json::to_value(it.row.phase).unwrap_or_default();
        let cells = vec![
            text(&it.row.session.to_string()),
            text(&it.row.client),
            text(it.row.backend.as_deref().unwrap_or("-")),
            text(phase.as_str().unwrap_or_default()),
            text(&span(it.row.age_seconds as u64)),
            text(&short(it.row.sent_bytes)),
            text(&short(it.row.received_bytes)),
            text(&rate(it.rate)),
        ];
        row(&columns, cells)
    });
    let table = table(&columns, rows.collect());
    draw_list(app, frame, area, table, all.len());
}

/// The time of day in a time stamp.
fn time_of_day(stamp: &str) -> &str {
    stamp.split_once('T').map_or(stamp, |(_, time)| time.get(..8).unwrap_or(time))
}

fn level_style(app: &App, level: &str) -> Style {
    match level {
        "error" => app.state_style("down"),
        "warn" => app.state_style("disabled"),
        _ => Style::new(),
    }
}

const EVENTS: [Column; 3] = [left("TIME", 8), left("LEVEL", 5), wide("EVENT")];

fn event_row(app: &App, it: &crate::model::Event) -> Row<'static> {
    let level = Span::styled(clean(&it.level), level_style(app, &it.level));
    row(&EVENTS, vec![text(time_of_day(&it.time)), level, text(&it.text())])
}

fn events(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let all = app.events();
    let rows = all.iter().map(|it| event_row(app, it)).collect();
    draw_list(app, frame, area, table(&EVENTS, rows), all.len());
}

/// The most urgent first: who is unavailable, what listens, who uses most, what happened last.
fn overview(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let model = &app.model;
    let unavailable: Vec<_> =
        model.backends().into_iter().filter(|it| !it.is_available()).collect();
    let listeners = model.status.iter().flat_map(|it| &it.listeners).collect::<Vec<_>>();
    let clients = model.clients();
    // A heading, the rows, and an empty line; events get what is left, four lines at least.
    let room = area.height.saturating_sub(4) as usize;
    let third = (room / 3).max(4);
    let down_height = (unavailable.len() + 2).clamp(3, third);
    let listener_height = (listeners.len() + 2).clamp(3, third);
    let client_height = (clients.len() + 2).clamp(3, third);
    let heights = [down_height, listener_height, client_height];
    let heights = heights.map(|it| Constraint::Length(it as u16));
    let [first, second, third] = heights;
    let areas = Layout::vertical([first, second, third, Constraint::Fill(1)]).areas(inset(area));
    let [down_area, listener_area, client_area, event_area]: [Rect; 4] = areas;

    let columns = [left("UNAVAILABLE", 12), wide("BACKEND"), right("SINCE", 6), wide("WHY")];
    let rows = unavailable.iter().map(|it| {
        let (since, why) = it.why();
        let state = Span::styled(it.state(), app.state_style(it.state()));
        let since = since.map(span).unwrap_or_else(|| "-".to_owned());
        let name = format!("{} {}", it.place(), it.row.described());
        row(&columns, vec![state, text(&name), text(&since), text(&why.unwrap_or_default())])
    });
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        rows.push(row(&columns, vec![text("none"), text(""), text(""), text("")]));
    }
    draw_part(frame, down_area, &columns, rows, unavailable.len());

    let columns = [
        wide("LISTENER"),
        wide("POOL"),
        right("OPEN", 6),
        right("NEW/S", 6),
        right("SINCE START", 11),
    ];
    let rows = listeners.iter().map(|it| {
        let cells = vec![
            text(&it.binds.join(", ")),
            text(&it.pool),
            text(&short(it.sessions)),
            text(&rate(model.listener_rate(&it.name))),
            text(&short(it.sessions_total)),
        ];
        row(&columns, cells)
    });
    draw_part(frame, listener_area, &columns, rows.collect(), listeners.len());

    let columns =
        [wide("BUSIEST CLIENTS"), right("SESSIONS", 8), right("BYTES/S", 8), right("BYTES", 8)];
    let rows = clients.iter().take(50).map(|(who, sessions, speed, bytes)| {
        let cells =
            vec![text(who), text(&short(*sessions)), text(&rate(*speed)), text(&short(*bytes))];
        row(&columns, cells)
    });
    draw_part(frame, client_area, &columns, rows.collect(), clients.len());

    let rows = model.events.iter().take(usize::from(event_area.height));
    let rows: Vec<_> = rows.map(|it| event_row(app, it)).collect();
    frame.render_widget(table(&EVENTS, rows), event_area);
}

/// Draws a part of the overview. If it does not fit, the last line says how much is missing.
fn draw_part(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column],
    mut rows: Vec<Row<'static>>,
    count: usize,
) {
    let room = usize::from(area.height).saturating_sub(2);
    if count > room && room > 0 {
        rows.truncate(room - 1);
        let more = format!("... and {} more", count - (room - 1));
        let is_first = |at: usize| if at == 0 { more.clone() } else { String::new() };
        // In the first column that is wide enough.
        let widest = columns.iter().position(|(_, width, _)| matches!(width, Constraint::Fill(_)));
        let at = widest.unwrap_or(0);
        let cells = (0..columns.len()).map(|column| text(&is_first(column.abs_diff(at))));
        rows.push(row(columns, cells.collect()).style(Modifier::DIM));
    }
    frame.render_widget(table(columns, rows), area);
}
