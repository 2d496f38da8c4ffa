//! What is drawn, at two sizes, and what keys do.

use crate::app::{App, Outcome};
use crate::model::{Ask, News};
use balancing::AdminState;
use config::Command;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use serde_json::{Value, json};
use std::time::Duration;
use telemetry::{ListenerRow, PoolRow, SessionRow, Status, TotalsRow};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A row with some fields of its own, whatever others there are.
fn row(mut row: Value, own: Value) -> Value {
    for (name, value) in own.as_object().into_iter().flatten() {
        row[name] = value.clone();
    }
    row
}

fn backend(endpoint: &str, state: [&str; 2], sessions: u64, more: Value) -> Value {
    let usual = json!({
        "totals": TotalsRow::default(), "name": null, "endpoint": endpoint, "addresses": [], "admin": state[0], "health": state[1],
        "probe": null, "last_change": null, "sessions": sessions, "sessions_max": 0,
        "attempts_total": 1200 + sessions, "failures_total": 3, "sent_bytes_total": 123_456_789_u64,
        "received_bytes_total": 4_567_890_123_u64 + 1_000_000 * sessions,
    });
    row(usual, more)
}

fn status(pid: u32) -> Status {
    let probe = json!({
        "probe": "http:/healthz", "verdict": "down", "since_seconds": 754,
        "last_error": "the answer was HTTP/1.1 503 Service Unavailable", "last_error_seconds": 4,
    });
    let change = |seconds: u64, what: &str| json!({ "seconds": seconds, "what": what });
    let web = json!({ "policy": "round-robin", "backends": [
        backend("app1.internal:8080", ["enabled", "healthy"], 17, json!({ "sessions_max": 20 })),
        backend("app2.internal:8080", ["enabled", "down"], 0, json!({ "probe": probe })),
        backend("app3.internal:8080", ["draining", "healthy"], 3,
            json!({ "last_change": change(60, "drained by user 1000") })),
    ]});
    let spare = json!({ "policy": "least-sessions", "backends": [
        backend("10.0.0.9:8080", ["enabled", "unknown"], 0, json!({})),
    ]});
    let databases = json!({ "policy": "round-robin", "backends": [
        backend("db1.internal:5432", ["enabled", "healthy"], 42, json!({ "name": "primary" })),
        backend("db2.internal:5432", ["enabled", "quarantined"], 0,
            json!({ "last_change": change(8, "quarantined: connection refused") })),
    ]});
    let listener = |name: &str, bind: &str, sessions: u64| {
        let own = json!({ "name": name, "binds": [bind], "pool": name, "sessions": sessions,
            "sessions_total": 98_765 + sessions });
        row(json!(ListenerRow::default()), own)
    };
    let pool = |name: &str, tiers: Value| {
        row(json!(PoolRow::default()), json!({ "name": name, "tiers": tiers }))
    };
    let status = json!({
        "version": "0.1.0", "pid": pid, "uptime_seconds": 12_345, "shutting_down": false,
        "file": "/etc/evenkeel/evenkeel.toml", "revision": 3, "file_hash": null,
        "unconfirmed_seconds": null, "workers": [{ "sessions": 30 }, { "sessions": 32 }],
        "listeners": [listener("web", "*:80", 20), listener("db", "127.0.0.1:5432", 42)],
        "pools": [
            pool("web", json!([web, spare])),
            pool("db", json!([databases])),
        ],
        "departed_listeners": [], "departed_backends": [], "names": [],
    });
    serde_json::from_value(status).unwrap()
}

fn sessions(moved: u64) -> Vec<SessionRow> {
    let session = |number: u64, client: &str, backend: &str, bytes: u64| {
        json!({
            "session": number, "worker": number % 2, "listener": "*:80", "client": client,
            "peer": null, "server_name": null, "backend": backend, "backend_address": "10.0.0.1:8080",
            "source": "10.0.0.254:40001", "phase": "open", "sent_bytes": 78, "received_bytes": bytes,
            "age_seconds": 5.0 * number as f64, "idle_seconds": 0.0, "first_byte_seconds": null,
            "rtt_seconds": null, "retransmits": null, "backend_rtt_seconds": null,
            "backend_retransmits": null,
        })
    };
    let all = json!([
        session(7, "192.0.2.7:50123", "app1.internal:8080", 4_000_000 + moved),
        session(8, "192.0.2.7:50124", "app1.internal:8080", 100),
        session(9, "[2001:db8::1]:50125", "db1.internal:5432", 2_000_000 + 10 * moved),
        session(321, "198.51.100.200:1", "app3.internal:8080", 12),
    ]);
    serde_json::from_value(all).unwrap()
}

/// An instance that was read twice, a second apart.
fn app() -> App {
    let mut app = App::new(true, true);
    app.take(News::Reading(Box::new(status(38)), sessions(0)), at(1));
    for event in [
        r#"{"time":"2026-11-26T18:00:00.123Z","level":"info","message":"command","by":"1000","outcome":"done"}"#,
        r#"{"time":"2026-11-26T18:01:02.003Z","level":"warn","message":"backend quarantined","backend":"db2.internal:5432","error":"connection refused"}"#,
        "\n",
        r#"{"time":"2026-11-26T18:01:03.003Z","level":"info","message":"session ended","session":6,"listener":"0.0.0.0:5432","client":"192.0.2.9:49152","backend":"db1.internal:5432","source":"192.0.2.250:39999","reason":"backend-reset","sent":120,"received":0,"connect":0.000412,"duration":1.5,"sni":"evil\u202e\u001b[2J"}"#,
    ] {
        app.take(News::Event(event.to_owned()), at(1));
    }
    app.take(News::Reading(Box::new(status(38)), sessions(54_321)), at(2));
    app
}

fn drawn(app: &App, (width, height): (u16, u16), now: Duration) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| app.draw(frame, now)).unwrap();
    terminal.backend().to_string()
}

fn press(app: &mut App, keys: &str) -> Outcome {
    let mut last = Outcome::Stay;
    for key in keys.chars() {
        let code = match key {
            'v' => KeyCode::Down,
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            key => KeyCode::Char(key),
        };
        last = app.press(KeyEvent::from(code), at(3));
    }
    last
}

#[test]
fn every_pane_fits_two_sizes() {
    for (name, size) in [("80x24", (80, 24)), ("120x40", (120, 40))] {
        for (pane, keys) in
            [("overview", "1"), ("backends", "2v"), ("sessions", "3"), ("events", "4")]
        {
            let mut app = app();
            press(&mut app, keys);
            insta::assert_snapshot!(format!("{pane}_{name}"), drawn(&app, size, at(2)));
        }
    }
}

#[test]
fn questions_say_what_would_happen() {
    let mut app = app();
    assert_eq!(press(&mut app, "2d"), Outcome::Stay);
    let seen = drawn(&app, (80, 24), at(3));
    for expected in [
        "Drain web/0.0 app1.internal:8080?",
        "Its 17 open sessions continue until they end.",
        "It is the last of its tier: new sessions go to tier 1: 10.0.0.9:8080.",
    ] {
        assert!(seen.contains(expected), "{expected} is missing:\n{seen}");
    }
    insta::assert_snapshot!("question_80x24", seen);
    let state = AdminState::Draining;
    let command = Command::SetAdminState { backend: "web/0.0".to_owned().into(), state };
    assert_eq!(press(&mut app, "y"), Outcome::Ask(Ask::Command(command)));
    // The only backend left of the pool.
    press(&mut app, "/primary\nd");
    let seen = drawn(&app, (80, 24), at(3));
    assert!(seen.contains("NOBODY ELSE IS AVAILABLE: new clients will be refused."), "{seen}");
    assert_eq!(press(&mut app, "n"), Outcome::Stay, "anything but y leaves it");
    assert!(drawn(&app, (80, 24), at(3)).contains("nothing was changed"));
}

#[test]
fn sessions_are_sorted_filtered_and_ended() {
    let mut app = app();
    let busiest = Outcome::Ask(Ask::Command(Command::KillSession { session: 9 }));
    assert_eq!(press(&mut app, "3ky"), busiest);
    let biggest = Outcome::Ask(Ask::Command(Command::KillSession { session: 7 }));
    assert_eq!(press(&mut app, "sky"), biggest);
    let found = Outcome::Ask(Ask::Command(Command::KillSession { session: 321 }));
    assert_eq!(press(&mut app, "/198.51\nky"), found);
}

#[test]
fn a_row_stays_selected_when_others_move() {
    let mut app = app();
    press(&mut app, "3v");
    let selected = app.selected_session().unwrap().row.session;
    assert_eq!(selected, 7);
    let mut rows = sessions(54_321);
    rows[0].received_bytes += 1_000_000_000;
    app.take(News::Reading(Box::new(status(38)), rows), at(3));
    assert_eq!(app.sessions()[0].row.session, 7, "it is the busiest now");
    assert_eq!(app.selected_session().unwrap().row.session, 7);
}

#[test]
fn who_may_only_look_changes_nothing() {
    let mut app = app();
    app.may_change = false;
    assert_eq!(press(&mut app, "2dy"), Outcome::Stay);
    assert_eq!(press(&mut app, "3ky"), Outcome::Stay);
    let seen = drawn(&app, (80, 24), at(3));
    assert!(seen.contains("read only") && seen.contains("may only look"), "{seen}");
}

#[test]
fn a_restart_is_survived_and_reported() {
    let mut app = app();
    app.take(News::Lost("no instance answers at /run/x".to_owned()), at(3));
    let seen = drawn(&app, (80, 24), at(13));
    assert!(seen.contains("NO ANSWER for 10s") && seen.contains("trying again"), "{seen}");
    app.take(News::Reading(Box::new(status(39)), sessions(0)), at(14));
    let seen = drawn(&app, (80, 24), at(15));
    assert!(seen.contains("another process now: pid 39, version 0.1.0"), "{seen}");
    assert!(!seen.contains("NO ANSWER"), "{seen}");
    let (_, bytes) = app.model.backend_rates(&app.model.backends()[0]);
    assert_eq!(bytes, 0.0, "the counters of two processes are not compared");
}

#[test]
fn without_colours_there_are_none() {
    let mut app = app();
    app.has_colour = false;
    for pane in ["1", "2", "3", "4", "2d"] {
        press(&mut app, pane);
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| app.draw(frame, at(2))).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|it| it.fg == ratatui::style::Color::Reset));
    }
}

#[test]
fn a_small_terminal_says_what_is_needed() {
    assert!(drawn(&app(), (60, 10), at(2)).contains("needs 80 x 24 characters"));
}

#[test]
fn nothing_that_others_write_is_obeyed() {
    let mut app = app();
    press(&mut app, "4");
    let seen = drawn(&app, (300, 24), at(2));
    assert!(seen.contains("sni=evil??[2J"), "{seen}");
}
