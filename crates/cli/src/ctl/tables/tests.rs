use super::*;
use telemetry::{AgentRow, Health, ProbeRow, ProbeVerdict, Stance, TierRow, TotalsRow, WorkerRow};
use terms::Phase;

fn table(rows: &[[&str; 2]]) -> Table<'static> {
    let rows = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    Table { headings: &["A", "B"], numbers: 1, rows }
}

#[test]
fn tables_line_up() {
    assert_eq!(table(&[["bcd", "1"], ["a", "100"]]).in_full(), "A      B\nbcd    1\na    100\n");
}

#[test]
fn what_does_not_fit_is_cut_in_the_middle() {
    let text = table(&[["[2001:db8:0:1:2:3:4:5]:8080", "17"]]).within(20, &[0]);
    assert_eq!(text, "A                  B\n[2001:d…:5]:8080  17\n");
    let long = table(&[["short", "a number that is not cut"]]).within(20, &[0]);
    assert!(long.contains("a number that is not cut"));
}

#[test]
fn counts_are_short() {
    for (count, text) in [
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (1_234_567, "1.2M"),
        (12_345_678, "12M"),
        (999_999_999, "999M"),
        (1_000_000_000, "1.0G"),
        (u64::MAX, "18E"),
    ] {
        assert_eq!(short(count), text);
    }
    let ages = [(0.04, "0.0s"), (59.6, "60s"), (3600.0, "60m"), (90_000.0, "25h"), (4e6, "46d")];
    for (seconds, text) in ages {
        assert_eq!(age(seconds), text);
    }
}

fn backend(sessions: u64, sessions_max: Limit) -> BackendRow {
    BackendRow {
        name: None,
        endpoint: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into(),
        addresses: Vec::new(),
        admin: AdminState::Enabled,
        health: Health::Quarantined,
        probe: None,
        agent: None,
        last_change: None,
        sessions,
        sessions_max,
        attempts_total: u64::MAX,
        failures_total: u64::MAX,
        sent_bytes_total: u64::MAX,
        received_bytes_total: u64::MAX,
        totals: TotalsRow::default(),
    }
}

#[test]
fn why_a_backend_is_down_is_said_below_the_table() {
    let probe = ProbeRow {
        probe: "http:/".to_owned(),
        verdict: ProbeVerdict::Down,
        since_seconds: 75,
        last_error: Some("answered \"HTTP/1.1 503\"".to_owned()),
        last_error_seconds: Some(80),
    };
    let down = BackendRow {
        probe: Some(Box::new(probe)),
        health: Health::Down,
        ..backend(0, Limit::None)
    };
    let text = status_text(&status(vec![backend(0, Limit::None), down]), false);
    let last = text.lines().last().unwrap();
    assert_eq!(last, "0.1: probes have failed for 75s: answered \"HTTP/1.1 503\"");
}

#[test]
fn what_agents_have_said_stands_below_the_table() {
    let silent = AgentRow {
        at: "192.0.2.1:9100".to_owned(),
        says: None,
        since_seconds: 3,
        is_down: false,
        declines_sessions: false,
        share_percent: 100,
        sessions_max: None,
        is_overruled: false,
        last_error: Some("connection refused".to_owned()),
    };
    let drains = AgentRow {
        says: Some("drain".to_owned()),
        declines_sessions: true,
        last_error: None,
        ..silent.clone()
    };
    let [silent, drains] = [silent, drains].map(|it| BackendRow {
        agent: Some(Box::new(it)),
        health: Health::Healthy,
        ..backend(0, Limit::None)
    });
    assert!(silent.is_offered() && !drains.is_offered());
    let text = status_text(&status(vec![silent, drains]), false);
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    assert_eq!(lines[1], "0.0: agent 192.0.2.1:9100 says nothing; now: connection refused");
    assert_eq!(lines[0], "0.1: agent 192.0.2.1:9100 says \"drain\" for 3s");
    assert!(lines[2].contains("draining"), "{}", lines[2]);
}

fn status(backends: Vec<BackendRow>) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 4_194_304,
        uptime_seconds: 1,
        shutting_down: false,
        workers: vec![WorkerRow { sessions: 1 }],
        forwarded_sessions: 3,
        listeners: vec![ListenerRow {
            name: "main".to_owned(),
            binds: vec!["*:65535".to_owned()],
            sessions: 1,
            sessions_total: u64::MAX,
            pool: "main".to_owned(),
            routes: Vec::new(),
            ..ListenerRow::default()
        }],
        pools: vec![PoolRow {
            name: "main".to_owned(),
            tiers: vec![TierRow {
                policy: Policy::LeastSessions,
                stance: Stance::Normal,
                backends,
            }],
            ..PoolRow::default()
        }],
        file: None,
        revision: 1,
        file_hash: None,
        unconfirmed_seconds: None,
        drain_seconds: None,
        predecessor: None,
        names: Vec::new(),
        departed_listeners: Vec::new(),
        departed_backends: Vec::new(),
        ended_sessions: Vec::new(),
    }
}

#[track_caller]
fn fits(text: &str) {
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|width| width <= WIDTH), "{widest:?}\n{text}");
}

#[test]
fn the_largest_counters_fit_a_terminal() {
    fits(&status_text(&status(vec![backend(1_000_000, Limit::AtMost(u32::MAX))]), false));
    let session = SessionRow {
        session: 99_999_999,
        worker: Some(1023),
        listener: "*:65535".to_owned(),
        client: "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".to_owned(),
        peer: None,
        server_name: None,
        tls: None,
        alpn: None,
        backend: Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".into()),
        backend_address: Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".to_owned()),
        source: Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:65535".to_owned()),
        phase: Phase::Connecting,
        sent_bytes: u64::MAX,
        received_bytes: u64::MAX,
        age_seconds: 3.2e9,
        idle_seconds: 3.2e9,
        first_byte_seconds: Some(1e6),
        rtt_seconds: Some(1e3),
        retransmits: Some(u32::MAX),
        backend_rtt_seconds: Some(1e3),
        backend_retransmits: Some(u32::MAX),
    };
    fits(&sessions_text(&[session], false));
}

#[test]
fn a_pool_at_its_limit_says_so() {
    let says = "as many sessions as its limit allows";
    assert!(
        status_text(
            &status(vec![backend(3, Limit::AtMost(3)), backend(5, Limit::AtMost(4))]),
            false
        )
        .contains(says)
    );
    assert!(
        !status_text(&status(vec![backend(3, Limit::AtMost(3)), backend(5, Limit::None)]), false)
            .contains(says)
    );
    assert!(!status_text(&status(vec![]), false).contains(says));
}

#[test]
fn pools_show_who_shares_them_and_how_commands_name_their_backends() {
    let mut status =
        status(vec![BackendRow { name: Some("db1".to_owned()), ..backend(3, Limit::None) }]);
    let listener = |name: &str, binds: &[&str], pool: &str| ListenerRow {
        name: name.to_owned(),
        binds: binds.iter().map(|bind| (*bind).to_owned()).collect(),
        pool: pool.to_owned(),
        routes: Vec::new(),
        sessions: 2,
        sessions_total: 7,
        ..ListenerRow::default()
    };
    status.listeners = vec![
        listener("web", &["*:80", "*:8080"], "main"),
        listener("tls", &["*:443"], "main"),
        listener("lost", &["*:25"], "mail"),
    ];
    let second = PoolRow { name: "second".to_owned(), ..status.pools[0].clone() };
    status.pools.push(second);
    let text = status_text(&status, false);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[2..5],
        [
            "*:80, *:8080: 2 sessions open, 7 since start",
            "*:443: 2 sessions open, 7 since start",
            "pool main, least-sessions",
        ]
    );
    assert!(lines[6].starts_with("main/0.0  db1 "), "{text}");
    assert_eq!(lines[8], "pool second without a listener, least-sessions");
    assert!(lines[10].starts_with("second/0.0  db1 "), "{text}");
    let last = "*:25: 2 sessions open, 7 since start, which serves nobody: no pool mail";
    assert_eq!(lines[12..], [last]);
}
