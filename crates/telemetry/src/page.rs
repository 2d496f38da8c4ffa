//! The status page: one self-contained HTML page from a status report and a list of sessions.
//!
//! Pure text from JSON values. Everything that comes from them is escaped. No script is needed; the
//! page that an instance serves has one of a few lines, which fetches the page again and shows its
//! contents ([`Live`]). As a CGI program it is `Content-Type: text/html`, an empty line, and this
//! ([`cgi`]). It replaces the classics' `penstats` and, for looking, `penctl.cgi`; changing anything
//! by way of a page is left out on purpose.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use terms::CloseReason;

/// How many sessions a page shows.
pub const SESSIONS: usize = 20;

/// A report as the page takes it.
#[must_use]
pub fn value(report: &impl Serialize) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// How a page that renews itself is delivered: with [`Live::policy`] as its
/// `Content-Security-Policy`.
#[derive(Clone, Debug)]
pub struct Live {
    /// A random word, another one for each delivery.
    pub nonce: String,
}

impl Live {
    /// What the page may do: use its own style and script, and fetch from where it came from.
    #[must_use]
    pub fn policy(&self) -> String {
        let nonce = &self.nonce;
        format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }
}

/// Renders a status report and a list of sessions. Keys that are missing show as `–`.
#[must_use]
pub fn render(status: &Value, sessions: &Value, live: Option<&Live>) -> String {
    let (listeners, pools) = (list(status, "listeners"), list(status, "pools"));
    let nonce = live.map(|it| format!(" nonce=\"{}\"", escape(&it.nonce))).unwrap_or_default();
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Evenkeel status</title>\n<style{nonce}>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Evenkeel</h1>\n<p>Version {}, process {}, up for {}. {}</p>\n</header>\n<main aria-live=\"off\">\n",
        text(status, "version"),
        text(status, "pid"),
        status.get("uptime_seconds").and_then(Value::as_f64).map_or(MISSING.to_owned(), uptime),
        overview(pools),
    );
    if listeners.is_empty() {
        page.push_str("<p>Nothing is listened on.</p>\n");
    }
    for pool in pools {
        render_pool(&mut page, pool, listeners);
    }
    render_sessions(&mut page, sessions);
    render_ended(&mut page, list(status, "ended_sessions"));
    page.push_str(
        "</main>\n<footer><p><a href=\"\">Reload</a>. <span id=\"live\"></span> This page only shows.</p>\
         </footer>\n",
    );
    if live.is_some() {
        let _ = writeln!(page, "<script{nonce}>\n{SCRIPT}</script>");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The sessions that move most, if there are any.
fn render_sessions(page: &mut String, sessions: &Value) {
    let sessions = sessions.as_array().map_or(&[][..], Vec::as_slice);
    if sessions.is_empty() {
        return;
    }
    page.push_str(
        "<section>\n<h2>Busiest sessions</h2>\n\
         <div class=\"wide\" role=\"region\" aria-label=\"Busiest sessions\" tabindex=\"0\">\n\
         <table>\n<thead>\n<tr><th scope=\"col\">Client</th><th scope=\"col\">Backend</th>\
         <th scope=\"col\">Age</th><th scope=\"col\">Sent</th><th scope=\"col\">Received</th></tr>\n\
         </thead>\n<tbody>\n",
    );
    for session in sessions {
        let age = session.get("age_seconds").and_then(Value::as_f64);
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(session, "client"),
            text(session, "backend"),
            age.map_or(MISSING.to_owned(), uptime),
            bytes(session, "sent_bytes"),
            bytes(session, "received_bytes"),
        );
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

/// The sessions that ended last and why, if there are any.
fn render_ended(page: &mut String, sessions: &[Value]) {
    if sessions.is_empty() {
        return;
    }
    page.push_str(
        "<section>\n<h2>Ended sessions</h2>\n\
         <div class=\"wide\" role=\"region\" aria-label=\"Ended sessions\" tabindex=\"0\">\n\
         <table>\n<caption>The latest 20 that had a problem, and 10 others</caption>\n<thead>\n\
         <tr><th scope=\"col\">Client</th><th scope=\"col\">Ended</th>\
         <th scope=\"col\" class=\"why\">Why</th><th scope=\"col\">Backend</th>\
         <th scope=\"col\">Lasted</th><th scope=\"col\">Sent</th><th scope=\"col\">Received</th></tr>\n\
         </thead>\n<tbody>\n",
    );
    for session in sessions {
        let seconds = |key| session.get(key).and_then(Value::as_f64);
        let span = |key| seconds(key).map_or(MISSING.to_owned(), uptime);
        let reason = session.get("reason").cloned().unwrap_or_default();
        let meaning = serde_json::from_value(reason).map_or("", CloseReason::meaning);
        let error = session.get("error").and_then(Value::as_str);
        let error = error.map(|it| format!(" ({})", escape(it))).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{} ago</td>\
             <td class=\"why\">{}: {meaning}{error}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(session, "client"),
            span("seconds"),
            text(session, "reason"),
            text(session, "backend"),
            span("duration_seconds"),
            bytes(session, "sent_bytes"),
            bytes(session, "received_bytes"),
        );
    }
    page.push_str("</tbody>\n</table>\n</div>\n</section>\n");
}

/// Since when a backend has been as it is, and why, if that is known.
fn render_change(backend: &Value) -> String {
    let named = |value: &Value, key: &str| value.get(key).filter(|it| !it.is_null()).cloned();
    let down = named(backend, "probe").filter(|it| it.get("verdict") == Some(&"down".into()));
    let (seconds, what) = match (down, named(backend, "last_change")) {
        (Some(probe), _) => (named(&probe, "since_seconds"), named(&probe, "last_error")),
        (None, Some(change)) => (named(&change, "seconds"), named(&change, "what")),
        (None, None) => return MISSING.to_owned(),
    };
    let since = seconds.and_then(|it| it.as_f64()).map(uptime);
    let parts =
        [what.as_ref().and_then(Value::as_str).map(escape), since.map(|it| format!("{it} ago"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The answer of a CGI program: the page, or why there is none.
#[must_use]
pub fn cgi(status: Result<(&Value, &Value), &str>) -> String {
    let header = "Content-Type: text/html; charset=utf-8\nCache-Control: no-store\n";
    match status {
        Ok((status, sessions)) => format!("{header}\n{}", render(status, sessions, None)),
        Err(reason) => format!(
            "Status: 503 Service Unavailable\n{header}\n<!DOCTYPE html>\n<html lang=\"en\">\n\
             <head><meta charset=\"utf-8\"><title>Evenkeel status</title></head>\n\
             <body><h1>Evenkeel is not running here</h1>\n<p>{}</p></body>\n</html>\n",
            escape(reason)
        ),
    }
}

fn render_pool(page: &mut String, pool: &Value, listeners: &[Value]) {
    page.push_str("<section>\n");
    let mut all = String::new();
    for listener in listeners.iter().filter(|it| it.get("pool") == pool.get("name")) {
        let binds = list(listener, "binds").iter();
        let binds: Vec<_> = binds.map(|bind| escape(bind.as_str().unwrap_or(MISSING))).collect();
        let binds = binds.join(", ");
        let _ = write!(
            page,
            "<h2>{binds}</h2>\n<p>{} sessions now, {} in all</p>\n",
            number(listener, "sessions"),
            number(listener, "sessions_total"),
        );
        let _ = write!(all, "{}{binds}", if all.is_empty() { "" } else { ", " });
    }
    if all.is_empty() {
        all = format!("pool {}", text(pool, "name"));
        let _ = write!(page, "<h2>{all}</h2>\n<p>No listener</p>\n");
    }
    let tiers = list(pool, "tiers");
    for (i, tier) in tiers.iter().enumerate() {
        let name = if tiers.len() > 1 { format!("Tier {i}, ") } else { String::new() };
        let _ = write!(
            page,
            "<div class=\"wide\" role=\"region\" aria-label=\"Backends of {all}\" tabindex=\"0\">\n\
             <table>\n<caption>{name}policy {}{}</caption>\n<thead>\n<tr>",
            text(tier, "policy"),
            stance(tier),
        );
        for (heading, column) in COLUMNS {
            let class = if let Column::Change = column { " class=\"why\"" } else { "" };
            let _ = write!(page, "<th scope=\"col\"{class}>{heading}</th>");
        }
        page.push_str("</tr>\n</thead>\n<tbody>\n");
        for backend in list(tier, "backends") {
            render_backend(page, backend);
        }
        page.push_str("</tbody>\n</table>\n</div>\n");
    }
    page.push_str("</section>\n");
}

/// What a tier does about too few backends, if it does anything.
fn stance(tier: &Value) -> &'static str {
    match tier.get("stance").and_then(Value::as_str) {
        Some("fail-open") => ". Too few backends are available: health is ignored",
        Some("refusing") => ". Too few backends are available: new sessions are refused",
        _ => "",
    }
}

fn render_backend(page: &mut String, backend: &Value) {
    let mut shown = text(backend, "endpoint"); // by which sessions and the log refer to it
    if backend.get("name").is_some_and(Value::is_string) {
        shown = format!("{} <small>{shown}</small>", text(backend, "name"));
    }
    let _ = write!(page, "<tr><th scope=\"row\">{shown}</th>");
    for (_, column) in &COLUMNS[1..] {
        let cell = match column {
            Column::State => {
                let (admin, health) = (text(backend, "admin"), text(backend, "health"));
                let shown = if matches!(&*admin, "enabled" | MISSING) {
                    health
                } else {
                    format!("{admin}, {health}")
                };
                format!("<td class=\"{}\">{shown}</td>", state_class(backend))
            }
            Column::Change => format!("<td class=\"why\">{}</td>", render_change(backend)),
            Column::Sessions => format!("<td>{}</td>", sessions(backend)),
            Column::Number(key) => format!("<td>{}</td>", number(backend, key)),
            Column::Bytes(key) => format!("<td>{}</td>", bytes(backend, key)),
        };
        page.push_str(&cell);
    }
    page.push_str("</tr>\n");
}

enum Column {
    State,
    Change,
    Sessions,
    Number(&'static str),
    Bytes(&'static str),
}

const COLUMNS: &[(&str, Column)] = &[
    ("Backend", Column::State),
    ("State", Column::State),
    ("Last change", Column::Change),
    ("Sessions", Column::Sessions),
    ("Attempts", Column::Number("attempts_total")),
    ("Failures", Column::Number("failures_total")),
    ("Sent", Column::Bytes("sent_bytes_total")),
    ("Received", Column::Bytes("received_bytes_total")),
];

/// Colour only underlines what the words say.
fn state_class(backend: &Value) -> &'static str {
    let is = |key: &str, value: &str| backend.get(key).and_then(Value::as_str) == Some(value);
    if is("admin", "disabled") || is("admin", "draining") {
        "off"
    } else if is("health", "healthy") {
        "good"
    } else if backend.get("health").is_some() && !is("health", "unknown") {
        "bad"
    } else {
        "unknown"
    }
}

/// How many backends there are, and how many of them take sessions.
fn overview(pools: &[Value]) -> String {
    let tiers = pools.iter().flat_map(|pool| list(pool, "tiers"));
    let backends: Vec<&Value> = tiers.flat_map(|t| list(t, "backends")).collect();
    let good = backends.iter().filter(|b| state_class(b) == "good").count();
    format!("{good} of {} backends healthy and enabled.", backends.len())
}

/// The sessions now, with a bar when there is a limit.
fn sessions(backend: &Value) -> String {
    let now = number(backend, "sessions");
    match backend.get("sessions_max").and_then(Value::as_u64) {
        Some(max) if max > 0 => {
            let value = backend.get("sessions").and_then(Value::as_u64).unwrap_or(0);
            format!(
                "{now} of {} <meter max=\"{max}\" value=\"{value}\">{now}</meter>",
                grouped(max)
            )
        }
        _ => now,
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => MISSING.to_owned(),
        Some(Value::String(text)) => escape(text),
        Some(other) => escape(&other.to_string()),
    }
}

fn number(value: &Value, key: &str) -> String {
    match value.get(key).and_then(Value::as_u64) {
        Some(number) => grouped(number),
        None => text(value, key),
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn bytes(value: &Value, key: &str) -> String {
    let Some(number) = value.get(key).and_then(Value::as_u64) else { return text(value, key) };
    let mut scaled = number as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].iter();
    let mut unit = units.next().unwrap_or(&"");
    for larger in units {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        unit = larger;
    }
    let shown = if scaled < 10.0 && number >= 1000 {
        format!("{scaled:.1}")
    } else {
        format!("{scaled:.0}")
    };
    format!("<span title=\"{} bytes\">{shown} {unit}</span>", grouped(number))
}

fn uptime(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e15) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Fetches the page again and shows its contents. Whoever selects text or has a table in another
/// place keeps both.
const SCRIPT: &str = "\
\"use strict\";
const note = document.getElementById(\"live\");
async function renew() {
  try {
    const answer = await fetch(location.href, { cache: \"no-store\" });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), \"text/html\");
    if (getSelection().isCollapsed) {
      const left = [...document.querySelectorAll(\".wide\")].map(it => it.scrollLeft);
      const all = [...document.querySelectorAll(\".wide\")];
      const focused = all.indexOf(document.activeElement);
      for (const part of [\"header\", \"main\"]) {
        document.querySelector(part).replaceChildren(...page.querySelector(part).childNodes);
      }
      document.querySelectorAll(\".wide\").forEach((it, at) => {
        it.scrollLeft = left[at] ?? 0;
        if (at === focused) it.focus({ preventScroll: true });
      });
    }
    note.textContent = \"Live, \" + new Date().toLocaleTimeString() + \".\";
  } catch {
    note.textContent = \"The instance does not answer; trying again.\";
  }
  setTimeout(renew, document.hidden ? 10000 : 2000);
}
setTimeout(renew, 2000);
";

const MISSING: &str = "–";

const STYLE: &str = "\
:root { --line: #d5dbe1; --soft: #5a6672; --back: #f6f8fa; --card: #fff; --ink: #1c2733; --sea: #0b5a83; --good: #10632f; --bad: #a8201a; --off: #6b5200; }
@media (prefers-color-scheme: dark) { :root { --line: #36424d; --soft: #a3b0bc; --back: #12181e; --card: #1a222a; --ink: #e6ebf0; --sea: #7cc4ea; --good: #6fd392; --bad: #ff9088; --off: #e3c567; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--back); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0; color: var(--sea); font-size: 1.6rem; }
h2 { margin: 0; font-size: 1.15rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
p { margin: .25rem 0 .75rem; }
header p, section > p, footer, caption { color: var(--soft); }
a { color: var(--sea); }
section { margin: 1rem 0; padding: 1rem 1.25rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { padding: .25rem 0; text-align: left; }
th, td { padding: .4rem .75rem; border-top: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:nth-child(2), th:nth-child(2), .why { text-align: left; }
td.why { white-space: normal; min-width: 11rem; }
tbody th { font-weight: normal; font-family: ui-monospace, monospace; }
small { display: block; color: var(--soft); }
thead th { font-size: .85rem; color: var(--soft); }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; }
.off { color: var(--off); }
meter { width: 5rem; vertical-align: middle; }
@media (max-width: 40rem) {
  body { padding: .75rem; font-size: .85rem; }
  section { padding: .75rem; }
  th, td { padding: .3rem .4rem; }
  td.why { min-width: 9rem; }
}
";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        json!({
            "version": "0.1.0", "pid": 4711, "uptime_seconds": 93_784.5,
            "ended_sessions": [
                { "client": "192.0.2.9:49152", "seconds": 75.5, "reason": "backend-reset", "error": null,
                  "backend": "10.0.0.1:80", "sent_bytes": 120, "received_bytes": 0,
                  "duration_seconds": 1.5 },
                { "client": "192.0.2.9:49153", "seconds": 80, "reason": "tls-handshake-failed",
                  "error": "no certificate for \"<x>\"", "backend": null },
            ],
            "listeners": [{
                "name": "web", "binds": ["[::]:8080"], "pool": "main",
                "sessions": 12, "sessions_total": 1_234_567
            }],
            "pools": [{
                "name": "main",
                "tiers": [
                    { "policy": "round-robin", "backends": [
                        { "name": null, "endpoint": "10.0.0.1:80", "admin": "enabled", "health": "healthy",
                          "sessions": 7, "sessions_max": 100, "attempts_total": 900_000,
                          "failures_total": 0, "sent_bytes_total": 999,
                          "received_bytes_total": 1_234_567_890_123u64 },
                        { "name": "second", "endpoint": "10.0.0.2:80", "admin": "disabled", "health": "healthy",
                          "last_change": { "seconds": 75, "what": "disabled by user 0" } },
                        { "endpoint": "10.0.0.3:80", "admin": "enabled", "health": "quarantined",
                          "sessions": 0, "failures_total": 17, "sent_bytes_total": 0 }
                    ] },
                    { "policy": "least-sessions", "backends": [] }
                ]
            }]
        })
    }

    fn sessions() -> Value {
        json!([{ "client": "192.0.2.7:50123", "backend": "10.0.0.1:80", "age_seconds": 61.5,
                 "sent_bytes": 78, "received_bytes": 4_000_000 }])
    }

    #[test]
    fn a_live_page_is_small_and_needs_nothing_else() {
        let live = Live { nonce: "abc".to_owned() };
        let page = render(&sample(), &sessions(), Some(&live));
        assert!(page.len() < 60_000, "{}", page.len());
        assert_eq!(page.matches(" nonce=\"abc\"").count(), 2, "style and script");
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains(" style="));
        assert!(live.policy().starts_with("default-src 'none'; style-src 'nonce-abc'"));
    }

    #[test]
    fn the_page_of_a_typical_report() {
        insta::assert_snapshot!("typical", render(&sample(), &sessions(), None));
    }

    #[test]
    fn missing_keys_and_odd_types_are_tolerated() {
        for odd in [
            json!(null),
            json!({}),
            json!([]),
            json!({"listeners": 3, "pools": 3}),
            json!({"listeners": [null, {"binds": [3]}], "pools": [null, {"tiers": [{"backends": [1, {"sessions": "many"}]}]}]}),
        ] {
            let page = render(&odd, &odd, None);
            assert!(page.ends_with("</html>\n"), "{odd}");
        }
        insta::assert_snapshot!("empty", render(&json!({}), &json!([]), None));
    }

    #[test]
    fn nothing_in_a_report_becomes_markup() {
        let evil = "<script>alert(\"x\")</script>&'";
        let page = render(
            &json!({
                "version": evil, "pid": evil, "uptime_seconds": evil,
                "ended_sessions": [{ "client": evil, "seconds": evil, "reason": evil, "error": evil }],
                "listeners": [{ "name": evil, "binds": [evil], "pool": evil, "sessions": evil }],
                "pools": [{ "name": evil, "tiers": [{ "policy": evil, "backends": [
                    { "name": evil, "endpoint": evil, "admin": evil, "health": evil, "sessions": evil,
                      "sent_bytes_total": { "a": evil } }
                ]}]}],
            }),
            &json!([{ "client": evil, "backend": evil, "age_seconds": evil }]),
            None,
        );
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"));
        assert!(cgi(Err(evil)).contains("&lt;script"));
    }

    #[test]
    fn the_answer_of_a_cgi_program() {
        assert!(
            cgi(Ok((&json!({}), &json!([]))))
                .starts_with("Content-Type: text/html; charset=utf-8\n")
        );
        let down = cgi(Err("cannot connect to /run/evenkeel.sock"));
        assert!(down.starts_with("Status: 503 Service Unavailable\nContent-Type"), "{down}");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(
            [5.0, 65.0, 3_700.0, 93_784.0, -1.0].map(uptime),
            ["5 s", "1 min", "1 h 1 min", "1 d 2 h", "0 s"]
        );
        let shown = |n: u64| bytes(&json!({ "n": n }), "n");
        assert!(shown(999).contains("999 B") && shown(1000).contains("1.0 kB"));
        assert!(shown(u64::MAX).contains("18 EB"), "{}", shown(u64::MAX));
    }
}
