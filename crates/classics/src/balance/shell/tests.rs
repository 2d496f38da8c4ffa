//! The control shell, as a dialogue with an instance made of rows.

use super::*;
use proptest::prelude::*;

fn services(name: &str) -> Option<u16> {
    (name == "smtp").then_some(25)
}

fn row(group: usize, channel: usize, enabled: bool) -> ShowRow {
    ShowRow {
        group,
        hash: group == 1,
        channel,
        enabled,
        address: "127.0.0.1".to_owned(),
        port: 25,
        connections: 1,
        total_connections: 4,
        maxc: 7,
        sent: 5,
        received: 17,
    }
}

/// Two channels in group 0, the second disabled; one in group 1.
fn rows() -> Vec<ShowRow> {
    vec![row(0, 0, true), row(0, 1, false), row(1, 0, true)]
}

/// Runs a line in a group against [`rows`]: what is printed, or what is sent as `-> ...`.
#[track_caller]
fn check_in(group: usize, line: &str, expected: &str) {
    let seen = match parse(line) {
        None => String::new(),
        Some(Err(error)) => format!("{error}\n"),
        Some(Ok(command)) => match plan(&command, group, &rows(), &services) {
            Step::Print(text) => text,
            Step::Send(command) => format!("-> {command:?}\n"),
            Step::EnterGroup(group) => format!("[{group}]\n"),
            Step::Kill => "kill\n".to_owned(),
            Step::Quit => "quit\n".to_owned(),
        },
    };
    assert_eq!(seen.trim_end_matches('\n'), expected, "for {line:?} in group {group}");
}

#[track_caller]
fn check(line: &str, expected: &str) {
    check_in(0, line, expected);
}

/// Which command a shortened word is.
#[track_caller]
fn word(word: &str, expected: Option<&str>) {
    let known = COMMANDS.iter().find(|(name, _)| name.starts_with(word));
    assert_eq!(known.map(|(name, _)| *name), expected, "{word}");
    // And with all the words any command wants, that is what is parsed.
    let parsed = parse(&format!("{word} 0 1 2")).unwrap();
    assert_eq!(parsed.is_ok(), expected.is_some(), "{word}");
}

#[test]
fn words_may_be_shortened() {
    word("h", Some("help"));
    word("?", Some("?"));
    word("ha", Some("hash"));
    word("r", Some("reset"));
    word("re", Some("reset"));
    word("rr", Some("rr"));
    word("m", Some("maxc"));
    word("ma", Some("maxc"));
    word("mr", Some("mrtg-bytes"));
    word("mrtg-", Some("mrtg-bytes"));
    word("mrtg-b", Some("mrtg-bytes"));
    word("mrtg-c", Some("mrtg-conns"));
    word("k", Some("kill"));
    word("q", Some("quit"));
    word("s", Some("show"));
    word("d", Some("disable"));
    word("g", Some("group"));
    word("e", Some("enable"));
    word("c", Some("create"));
    word("a", Some("assign"));
    word("v", Some("version"));
    word("shows", None);
    word("quit2", None);
    word("SHOW", None);
    word("foo", None);
}

#[test]
fn lines_are_words_between_blanks() {
    check("", "");
    check("  \t ", "");
    check("\r\n", "");
    check(" \tquit  now\n", "quit");
    check("quit\r\n", "quit"); // balance(1) took the carriage return for part of the word
    check("kill", "kill");
}

#[test]
fn channels_are_put_in_and_out_of_service() {
    let enable = "-> SetAdminState { backend: BackendSelector(\"0.1\"), state: Enabled }";
    check("enable 1", enable);
    check("enable +1", enable);
    check("enable 01 and more", enable);
    check_in(
        1,
        "disable 0",
        "-> SetAdminState { backend: BackendSelector(\"1.0\"), state: Disabled }",
    );
    check("disable 2", "no such channel 2");
    check("disable -1", "no such channel -1");
    check("enable 99999999999999999999", "no such channel 9223372036854775807");
    check_in(2, "enable 0", "no such channel 0");
    check("disable", "syntax error");
    check("disable foo", "syntax error"); // disabled channel 0 in the original
    check("disable 1x", "syntax error");
    check("disable -", "syntax error");
}

#[test]
fn counters_and_limits() {
    check("reset 0", "-> ResetCounters { backend: BackendSelector(\"0.0\") }");
    check("reset 5", "no such channel 5");
    check("reset", "syntax error");
    check(
        "maxc 1 5",
        "-> SetSessionsMax { backend: BackendSelector(\"0.1\"), sessions_max: AtMost(5) }",
    );
    check(
        "maxc 1 -5",
        "-> SetSessionsMax { backend: BackendSelector(\"0.1\"), sessions_max: AtMost(0) }",
    );
    check("maxc 64 5", "unknown channel");
    check("maxc -1 5", "unknown channel");
    check("maxc 1 9999999999", "value out of range");
    check("maxc 1", "syntax error");
    check("maxc 1 x", "syntax error");
    check("maxc", "syntax error");
}

#[test]
fn channels_come_and_change() {
    let added = |tier: usize, endpoint: &str| {
        format!("-> AddBackend {{ pool: None, tier: {tier}, endpoint: {endpoint:?} }}")
    };
    check("create 127.0.0.1 81", &added(0, "127.0.0.1:81"));
    check_in(31, "create 127.1 smtp", &added(31, "127.0.0.1:25"));
    check("create db1:82 81", &added(0, "db1:82")); // the port of HOST wins
    check("create db1:smtp 81", &added(0, "db1:25"));
    check("create db1: 81", &added(0, "db1:81"));
    check("create [::1] 81", &added(0, "[::1]:81"));
    check("create [::1]:82 81", &added(0, "[::1]:82"));
    check("create 300.300.300.300 80", "invalid address");
    check("create ::1 80", "invalid address");
    check("create db1 nosuchservice", "invalid address");
    check("create db1 70000", "invalid address");
    check("create db1 0", "invalid address");
    check("create db1", "syntax error");
    check("create", "syntax error");

    check(
        "assign 1 127.0.0.1 smtp",
        "-> SetEndpoint { backend: BackendSelector(\"0.1\"), endpoint: \"127.0.0.1:25\" }",
    );
    // Tested in the original's order.
    check("assign 2", "unknown channel");
    check("assign 0", "channel must be disabled to assign new address");
    check("assign 1", "syntax error");
    check("assign 1 db1", "syntax error");
    check("assign 1 300.300.300.300 80", "invalid address");
    check("assign", "syntax error");
    check("assign x db1 80", "syntax error");
}

#[test]
fn a_group_has_64_channels() {
    let mut rows: Vec<ShowRow> = (0..MAX_CHANNELS).map(|channel| row(0, channel, true)).collect();
    rows.push(row(1, 0, true));
    let create = parse("create a 1").unwrap().unwrap();
    assert_eq!(
        plan(&create, 0, &rows, &services),
        Step::Print("no channel slots available\n".to_owned())
    );
    assert!(matches!(plan(&create, 1, &rows, &services), Step::Send(_)));
}

#[test]
fn groups() {
    check("group 0", "[0]");
    check("group 31", "[31]");
    check("group 32", "value out of range");
    check("group -1", "value out of range");
    check("group 257", "value out of range"); // group 1 in the original
    check("group", "syntax error");
    check("group x", "syntax error");
    check_in(3, "hash", "-> SetPolicy { pool: None, tier: 3, policy: Hash }");
    check("rr", "-> SetPolicy { pool: None, tier: 0, policy: RoundRobin }");
}

#[test]
fn mrtg_looks_into_the_group_asked_for() {
    check("mrtg-bytes 0 1", "17\n5\nUNKNOWN\ngroup 0 channel 1");
    check("mrtg-conns 0 1", "4\nUNKNOWN\nUNKNOWN\ngroup 0 channel 1");
    check_in(5, "mrtg-conns 1 0", "4\nUNKNOWN\nUNKNOWN\ngroup 1 channel 0");
    check("mrtg-bytes 1 1", "unknown channel");
    check("mrtg-bytes 0 2", "unknown channel");
    check("mrtg-bytes 0 -1", "unknown channel");
    check("mrtg-bytes 31 0", "unknown channel");
    check("mrtg-bytes 32 0", "unknown group");
    check("mrtg-conns -1 0", "unknown group");
    check("mrtg-bytes 0", "syntax error");
    check("mrtg-conns", "syntax error");
    check("mrtg-conns 0 x", "syntax error");
}

#[test]
fn replies_in_the_words_of_the_original() {
    let check_reply = |line: &str, reply: Result<Reply, CommandError>, expected: &str| {
        let command = parse(line).unwrap().unwrap();
        assert_eq!(answer(&command, 2, &reply).to_string(), expected, "{line}");
    };
    let done = || Ok(Reply::Done);
    check_reply("disable 1", done(), "channel 1 disabled");
    check_reply("disable 1", Ok(Reply::Unchanged), "channel 1 already disabled");
    check_reply("enable 1", done(), "channel 1 enabled");
    check_reply("enable 1", Ok(Reply::Unchanged), "channel 1 already enabled");
    check_reply("reset 1", done(), "channel 1 counters reset");
    check_reply("maxc 1 5", done(), "maxc of channel 1 changed to 5");
    check_reply("maxc 1 5", Ok(Reply::Unchanged), "maxc of channel 1 changed to 5");
    check_reply("create a 1", done(), "channel created");
    check_reply("assign 1 a 1", done(), "channel reassigned");
    check_reply("hash", done(), "group 2 set to hash");
    check_reply("rr", Ok(Reply::Unchanged), "group 2 set to round robin");
    check_reply("kill", done(), "shutdown complete, exiting.");
    assert_eq!(Answer::ShutdownFailed.to_string(), "shutdown failed.");

    let refused = |error: CommandError| Err(error);
    let gone = || refused(CommandError::UnknownBackend("0.1".to_owned()));
    check_reply("disable 1", gone(), "no such channel 1");
    check_reply("maxc 1 5", gone(), "unknown channel");
    check_reply(
        "create a 1",
        refused(CommandError::InvalidEndpoint("a:1".to_owned())),
        "invalid address",
    );
    check_reply(
        "assign 1 a 1",
        refused(CommandError::NotDisabled("0.1".to_owned())),
        "channel must be disabled to assign new address",
    );
    check_reply("show", refused(CommandError::ShuttingDown), "no master process, exiting.");
}

#[test]
fn the_table_keeps_its_columns() {
    let mut rows = vec![row(0, 0, false), row(1, 0, true)];
    rows[0].address = "255.255.255.254".to_owned();
    rows[0].port = 65535;
    rows[0].maxc = 12345;
    rows[0].connections = 0;
    rows[0].total_connections = 0;
    rows[0].sent = 0;
    rows[0].received = 0;
    rows[1].port = 21360;
    assert_eq!(
        render_show(&rows),
        "GRP Type  #   S       ip-address  port    c      totalc maxc        sent        rcvd\n  \
           0   RR  0 dis  255.255.255.254 65535    0           0 12345           0           0\n  \
           1 Hash  0 ENA        127.0.0.1 21360    1           4    7           5          17\n"
    );
}

#[test]
fn the_fixed_texts() {
    assert_eq!(prompt(31), "balance[31] ");
    assert_eq!(
        banner(6428),
        format!(
            "\nbalance {} interactive command shell\nPID of master process is 6428\n\n",
            crate::balance::VERSION
        )
    );
    assert_eq!(NO_MASTER, "no master process, exiting.");
    assert_eq!(no_master_with_pid(31187), "no master process with pid 31187, exiting.");
    let version = render_version();
    assert!(version.starts_with("  This is balance "), "{version}");
    assert!(version.ends_with("\n  MAXGROUPS=32\n  MAXCHANNELS=64\n"), "{version}");
}

#[test]
fn help_describes_from_column_34() {
    let help = render_help();
    let mut lines = help.lines();
    assert_eq!(lines.next(), Some("available commands:"));
    for line in lines {
        let (synopsis, meaning) = line.split_at(33);
        assert!(synopsis.starts_with("  ") && synopsis.ends_with(' '), "{line}");
        assert!(!meaning.starts_with(' '), "{line}");
    }
    assert_eq!(help.lines().count(), 17);
}

proptest! {
    #[test]
    fn no_line_is_a_panic(line in "[a-z?]{0,10}[ \t]{0,2}[-+0-9a-z:.\\[\\]]{0,12} ?[0-9a-z-]{0,6}", group in 0usize..40) {
        if let Some(Ok(command)) = parse(&line) {
            let _ = plan(&command, group, &rows(), &services);
            let _ = answer(&command, group, &Ok(Reply::Done));
        }
    }
}
