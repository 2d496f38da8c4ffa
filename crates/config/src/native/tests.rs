//! The native command line, from words to a configuration and back.

use super::*;
use crate::operand::Services;
use crate::{Bind, Config};
use proptest::prelude::*;
use std::time::Duration;
use terms::Source;

const SERVICES: Services<'static> = &|name| (name == "http").then_some(80);

fn parse(line: &str) -> Result<NativeCli, String> {
    let words = std::iter::once("evenkeel").chain(line.split_whitespace());
    NativeCli::try_parse_from(words).map_err(|error| error.to_string())
}

fn configure(line: &str) -> Result<Config, String> {
    let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    match super::parse(&words).map_err(|error| error.to_string())? {
        Typed::Verb(verb) => panic!("{verb:?}"),
        Typed::Start(start) => start.to_config(SERVICES).map_err(|error| error.to_string()),
    }
}

/// A command line means what its printed form says, which means the same again.
#[track_caller]
fn check(line: &str, expected: &str) {
    let config = configure(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(config.to_command_line(), expected, "for {line:?}");
    assert_eq!(configure(&config.to_arguments().join(" ")).as_ref(), Ok(&config));
}

/// A command line is refused, with these words among others.
#[track_caller]
fn refuse(line: &str, expected: &str) {
    match configure(line) {
        Ok(config) => panic!("{line} became {config:?}"),
        Err(error) => assert!(error.contains(expected), "{line} gave {error:?}"),
    }
}

#[test]
fn the_shortest_form_has_modern_defaults() {
    let config = configure("8080 a b").unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.timeouts, terms::Timeouts::default());
    let pool = &config.pools[0];
    assert_eq!(pool.quarantine, Duration::from_secs(10));
    assert_eq!((listener.sessions_max, listener.source), (None, Source::System));
    assert_eq!((listener.cut, listener.splice), (Cut::Reset, SpliceMode::Auto));
    assert_eq!(pool.tiers.len(), 1);
    assert_eq!(pool.tiers[0].policy, Policy::RoundRobin);
    assert_eq!(config.process, crate::Process::default());
    check("8080 a b", "evenkeel 8080 a:8080 b:8080");
}

#[test]
fn operands_and_tiers() {
    check("http a::5 b:81", "evenkeel 80 a:80:5 b:81");
    check("*:8080 a", "evenkeel 8080 a:8080");
    check("0.0.0.0:80 a ! b c", "evenkeel 0.0.0.0:80 a:80 ! b:80 c:80");
    check("[::1]:80 [::2] unix:/run/a %", "evenkeel '[::1]:80' '[::2]:80' unix:/run/a %");
    check("80 a % b !", "evenkeel 80 a:80 % b:80");
    check("unix:/run/l unix:/run/a:3 a:80", "evenkeel unix:/run/l unix:/run/a:3 a:80");
    check("80 demo ctl", "evenkeel 80 demo:80 ctl:80"); // words after an operand are no verbs
    refuse("80 ! a", "tier 0 has no backends; '!' and '%' end a tier");
    refuse("80 a ! ! b", "tier 1 has no backends");
    refuse("80 !", "tier 0 has no backends");
    refuse("80", "required arguments were not provided:\n  <BACKEND>");
    refuse("", "evenkeel demo");
    refuse("80x a", "listening address '80x': '80x' is neither a port");
    refuse("80 a:b:c", "backend 'a:b:c': 'b' is neither a port");
    refuse("unix:/run/l a", "backend 'a': has no port");
}

#[test]
fn options_anywhere() {
    check("--policy random 80 a ! b", "evenkeel --policy random 80 a:80 ! b:80");
    check("80 a b --policy hash", "evenkeel 80 a:80 b:80 %");
    check("80 --policy=least-sessions a % b", "evenkeel --policy least-sessions 80 a:80 % b:80");
    check("--quarantine 0 80 a", "evenkeel --quarantine 0s 80 a:80");
    check("--quarantine 10 80 a", "evenkeel 80 a:80");
    check("--hash-failover later-tiers 80 a %", "evenkeel --hash-failover later-tiers 80 a:80 %");
    check(
        "--auto-disable --max-sessions 9 80 a",
        "evenkeel --auto-disable --max-sessions 9 80 a:80",
    );
    check(
        "--connect-timeout 500ms --idle-timeout 1h 80 a",
        "evenkeel --connect-timeout 500ms --idle-timeout 1h 80 a:80",
    );
    check(
        "--idle-timeout 0 --half-close-timeout 0 80 a",
        "evenkeel --half-close-timeout never 80 a:80",
    );
    check(
        "--linger 0 --shutdown-timeout 0 80 a",
        "evenkeel --linger 0s --shutdown-timeout 0s 80 a:80",
    );
    check("--shutdown-timeout never 80 a", "evenkeel --shutdown-timeout never 80 a:80");
    check(
        "--keep-alive 90 --user-timeout 20 80 a",
        "evenkeel --keep-alive 90s --user-timeout 20s 80 a:80",
    );
    check(
        "--log-sample 1 --log-start --log-every 600 --log-slow-connect 500ms 80 a",
        "evenkeel --log-start --log-every 10m --log-slow-connect 500ms 80 a:80",
    );
    check("--log-sample 100 80 a", "evenkeel --log-sample 100 80 a:80");
    check("--keep-alive 0 --user-timeout 0 80 a", "evenkeel --keep-alive never 80 a:80");
    check(
        "--source ::1 --splice always --cut close --workers 2 --spin 100us 80 a",
        "evenkeel --source ::1 --splice always --cut close --workers 2 --spin 100us 80 a:80",
    );
    check(
        "--daemon --pid-file /p --user u --admin /s --log-format json 80 a",
        "evenkeel --daemon --pid-file /p --user u --admin /s --log-format json 80 a:80",
    );
    check(
        "--policy address-hash --no-last-resort --failover nothing 80 a ! b",
        "evenkeel --policy address-hash --no-last-resort --failover nothing 80 a:80 ! b:80",
    );
    check(
        "--affinity 2048 --affinity-time 1h --affinity-count-only 80 a",
        "evenkeel --affinity 2048 --affinity-time 1h --affinity-count-only 80 a:80",
    );
    check("--affinity 9 --affinity-time 0 80 a", "evenkeel --affinity 9 80 a:80");
    check(
        "--deny 10.0.0.1 --allow 10.0.0.0/8 --deny country:se 80 a --allow ::/0",
        "evenkeel --deny 10.0.0.1 --allow 10.0.0.0/8 --deny country:SE --allow ::/0 80 a:80",
    );
    check(
        "--reject jail --max-connecting 9 --share-port 80 a",
        "evenkeel --reject jail:80 --max-connecting 9 --share-port 80 a:80",
    );
    check(
        "--transparent --forwarded-headers --root /j 80 a",
        "evenkeel --transparent --forwarded-headers --root /j 80 a:80",
    );
    check(
        "--accept-proxy 10.0.0.0/8,unix --accept-proxy ::1 --send-proxy v2-crc32c 80 a",
        "evenkeel --send-proxy v2-crc32c --accept-proxy 10.0.0.0/8,::1,unix 80 a:80",
    );
    check(
        "--load-bound 1.50 --policy maglev 80 a",
        "evenkeel --policy maglev --load-bound 1.5 80 a:80",
    );
    refuse("--load-bound 1 80 a", "from 1.01 to 100");
    for option in ["--requests", "--responses", "--log-sample"] {
        refuse(&format!("{option} 0 53/udp a"), "must be a whole number from 1 to 4294967295");
    }
    check("--half-close-timeout now 80 a", "evenkeel --half-close-timeout now 80 a:80");
    check(
        "--backend-half-close-timeout now 80 a",
        "evenkeel --backend-half-close-timeout now 80 a:80",
    );
    check("80 a:80:1:2:3:4 ! b::5", "evenkeel 80 a:80:1:2:3:4 ! b:80:5");
    refuse("--affinity-time 1h 80 a", "--affinity <CLIENTS>");
    refuse("--transparent --source ::1 80 a", "cannot be used with");
    refuse("--allow 10.0.0.1/8 80 a", "write 10.0.0.0/8");
    refuse("--accept-proxy 10.0.0.1/8 80 a", "no proxy can match");
    refuse("--accept-proxy country:SE 80 a", "2001:db8::/32, or unix");
    refuse("--send-proxy v3 80 a", "[possible values: v1, v2, v2-unique-id, v2-crc32c,");
    refuse("--reject a:b 80 a", "'b' is neither a port");
    refuse("--connect-timeout 0 80 a", "must be longer than zero");
    refuse("--idle-timeout 1.5s 80 a", "as in 1500ms");
    refuse("--workers 0 80 a", "from 1 to 1024");
    refuse(
        "--policy quickest 80 a",
        "[possible values: round-robin, hash, least-sessions, random,",
    );
    refuse("--worker 2 80 a", "similar argument exists: '--workers'");
    refuse("--source db1 80 a", "invalid value 'db1' for '--source <ADDR>'");
}

#[test]
fn several_services() {
    check("80 a b -- 5432 db1 ! db2", "evenkeel 80 a:80 b:80 -- 5432 db1:5432 ! db2:5432");
    check(
        "http a --policy random -- [::1]:81 b % -- unix:/run/l c:1",
        "evenkeel --policy random 80 a:80 -- '[::1]:81' b:81 % -- unix:/run/l c:1",
    );
    check(
        "80 a -- --workers 2 81 b --user u -- 82 c --workers 2 --daemon",
        "evenkeel --workers 2 --daemon --user u 80 a:80 -- 81 b:81 -- 82 c:82",
    );
    let config = configure("80 a -- 5432 b").unwrap();
    let names: Vec<_> = config.listeners.iter().map(|it| (&*it.name, &*it.pool)).collect();
    assert_eq!(names, [("80", "80"), ("5432", "5432")]);
    assert!(config.pools.iter().map(|pool| &*pool.name).eq(["80", "5432"]));
    check("80 a -- 81 ctl", "evenkeel 80 a:80 -- 81 ctl:81");
}

#[test]
fn several_services_that_make_no_whole() {
    refuse("80 a -- *:80 b", "two services listen on *:80; each needs an address of its own");
    let says = "--workers is 2 for '80' and 3 for '81', but there is one process; give it once";
    refuse("80 a --workers 2 -- 81 b --workers 3", says);
    let says = "--spin is 0 for '80' and 5us for '82'";
    refuse("80 a --spin 0 -- 81 b -- 82 b --spin 5us", says);
    refuse("80 a --spin 5us -- 81 b -- 82 b --spin 0", "--spin is 5us for '80' and 0 for '82'");
    for line in ["80 a --", "-- 80 a", "80 a -- -- 81 b", "--"] {
        refuse(line, "'--' stands between two services");
    }
    refuse("80 a -- 81", "required arguments were not provided:\n  <BACKEND>");
    refuse("80 a -- ctl status", "listening address 'ctl'");
    refuse("80 a -- 81 b:b", "backend 'b:b'");
}

#[test]
fn protocols() {
    check("53/udp a", "evenkeel 53/udp a:53");
    check("udp://[::1]:53 a b:54", "evenkeel '[::1]:53/udp' a:53 b:54");
    check("53/tcp a", "evenkeel 53 a:53");
    check(
        "53/tcp+udp a --retry-after 1s --responses 1 --splice never",
        "evenkeel --responses 1 --retry-after 1s --splice never 53/tcp+udp a:53",
    );
    check("53/tcp+udp a -- 54/udp b", "evenkeel 53/tcp+udp a:53 -- 54/udp b:54");
    check("[::1]:53/tcp+udp a", "evenkeel '[::1]:53/tcp+udp' a:53");
    check(
        "53/udp a --accept-proxy ::1 --send-proxy v2",
        "evenkeel --send-proxy v2 --accept-proxy ::1 53/udp a:53",
    );
    let config = configure("localhost:53/tcp+udp a").unwrap();
    let binds = &config.listeners[0].binds;
    assert_eq!(binds.iter().map(Bind::is_udp).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn what_a_protocol_has_no_use_for() {
    refuse("53/udp a --splice never", "'53/udp': --splice is for TCP, and the clients speak UDP");
    let cannot = "--send-proxy v1 cannot announce clients that speak UDP; v2 can";
    refuse("53/udp a --send-proxy v1", cannot);
    refuse("53/tcp+udp a --send-proxy v1", cannot);
    refuse("53/udp a --backend-tls insecure", "'53/udp': --backend-tls is for TCP");
    refuse("53 a --retry-after 1s", "'53': --retry-after is for UDP, and the clients speak TCP");
    refuse("53/tcp+udp a --tls-cert c", "--tls-cert is for TCP, and there are clients");
    refuse("53/tcp+udp unix:/run/a", "the backend unix:/run/a is a Unix socket");
    refuse("80 a -- 53/udp a --linger 1s", "'53/udp': --linger is for TCP");
    refuse("53/udp a --responses 0", "invalid value '0' for '--responses");
}

#[test]
fn verbs() {
    assert!(matches!(parse("demo").unwrap().verb, Some(Verb::Demo(DemoArgs { port: 8080 }))));
    assert!(matches!(parse("demo --port 9").unwrap().verb, Some(Verb::Demo(DemoArgs { port: 9 }))));
    let Some(Verb::EngineClear(clear)) = parse("engine-clear a b --dry-run").unwrap().verb else {
        panic!("another verb");
    };
    assert!(clear.names.len() == 2 && clear.dry_run && !clear.force);
    assert!(matches!(parse("links /bin").unwrap().verb, Some(Verb::Links { .. })));
    assert!(matches!(parse("install").unwrap().verb, Some(Verb::Install { .. })));
    assert!(matches!(parse("version").unwrap().verb, Some(Verb::Version)));
}

/// What a `ctl` line comes to.
#[track_caller]
fn ctl(line: &str, expected: &str) {
    let seen = match parse(&format!("ctl {line}")) {
        Ok(NativeCli { verb: Some(Verb::Ctl(ctl)), .. }) => match ctl.verb.command() {
            Some(command) => format!("{command:?}"),
            None => format!("{:?} {:?} {:?}", ctl.verb, ctl.which.admin, ctl.which.listen),
        },
        Ok(other) => format!("{other:?}"),
        Err(error) => error,
    };
    assert!(seen.contains(expected), "{line} gave {seen}");
}

#[test]
fn ctl_verbs_are_commands() {
    ctl("status", "Status { json: false, wide: false } None None");
    ctl(
        "--listen 80 sessions --json",
        "limit: 50 }, json: true, wide: false } None Some(Port(80))",
    );
    ctl("sessions --client 10.0.0.0/8 --sort idle --limit 0", "sort: Idle, limit: 0 }");
    ctl("sessions --client 10.0.0", "clients are an address");
    ctl("events --only ends", "Events { query: EventQuery { only: Some(Ends) }, json: false }");
    ctl("events --only some", "invalid value 'some'");
    ctl("status --admin /s", "Some(\"/s\") None");
    ctl("status --admin /s --listen 80", "cannot be used with");
    ctl("enable 0.1", "SetAdminState { backend: BackendSelector(\"0.1\"), state: Enabled }");
    ctl("disable db1:80", "BackendSelector(\"db1:80\"), state: Disabled }");
    ctl("drain [::1]:80", "BackendSelector(\"[::1]:80\"), state: Draining }");
    ctl("drain 0.1 --wait 5m", "state: Draining }");
    ctl("drain 0.1 --wait long", "a duration is a whole number and a unit");
    ctl("status --json --wide", "cannot be used with");
    ctl("limit 0.0 -1", "sessions_max: AtMost(0) }");
    ctl("limit 0.0", "required arguments");
    ctl("quarantine 0.1 5m", "Quarantine { backend: BackendSelector(\"0.1\"), seconds: 300 }");
    ctl("quarantine db1:80 0", "seconds: 0 }");
    ctl("quarantine 0.1 1500ms", "seconds: 2 }");
    ctl("quarantine 0.1 long", "a duration is a whole number and a unit");
    ctl("reset 0.0", "ResetCounters");
    ctl("add 1 db1:80", "AddBackend { pool: None, tier: 1, endpoint: \"db1:80\" }");
    ctl("add web/1 db1:80", "AddBackend { pool: Some(\"web\"), tier: 1, endpoint: \"db1:80\" }");
    ctl("add x db1:80", "a tier is a number, from 0");
    ctl("remove 0.1", "RemoveBackend");
    ctl("assign 0.0 db1:80", "SetEndpoint");
    ctl("policy 0 random", "SetPolicy { pool: None, tier: 0, policy: Random }");
    ctl("policy 0 best", "possible values: round-robin");
    ctl("kill 7", "KillSession { session: 7 }");
    ctl("shutdown", "Shutdown");
    ctl("drain-all --by 10m", "DrainAll { seconds: 600, wait: false }");
    ctl("drain-all --by 1500ms --wait", "DrainAll { seconds: 2, wait: true }");
    ctl("drain-all --by 17:05", "DrainAll { by: Some(At { hour: 17, minute: 5 }), wait: false");
    ctl("drain-all --cancel", "CancelDrainAll");
    ctl("drain-all", "--by <TIME>");
    ctl("enable 10.0.0.1:80", "BackendSelector(\"10.0.0.1:80\")");
    ctl("frobnicate", "unrecognized subcommand");
}

#[test]
fn the_tree_is_sound() {
    command_tree().debug_assert();
}

/// The file is what `--help` prints on a wide terminal; a difference is shown whole, to be copied.
#[test]
fn help_is_as_recorded() {
    let tree = command_tree().term_width(100);
    let help = tree.try_get_matches_from(["evenkeel", "--help"]).unwrap_err().to_string();
    let recorded = include_str!("help.txt");
    assert!(help == recorded, "crates/config/src/native/help.txt should be:\n{help}");
    assert!(help.lines().count() <= 180, "everything is to fit on three pages");
    assert!(help.lines().all(|line| line.len() <= 100));
}

fn any_span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..100_000).prop_map(Duration::from_millis),
        (1u64..9).prop_map(Duration::from_secs)
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    let operand = prop_oneof![
        "[a-z]{1,5}(:[1-9][0-9]{0,3})?(:[0-9]{1,3})?",
        "10\\.[0-9]\\.0\\.[1-9]:[1-9][0-9]",
        Just("[2001:db8::1]:80:-4".to_owned()),
        "unix:/[a-z]{1,4}(:[0-9])?",
        Just("!".to_owned()),
        Just("%".to_owned()),
    ];
    let listen = prop_oneof![
        "[1-9][0-9]{0,3}",
        Just("[::]:80".to_owned()),
        Just("0.0.0.0:80".to_owned()),
        Just("[fe80::1%eth0]:80".to_owned()),
        Just("localhost:80".to_owned()),
    ];
    let policies =
        prop_oneof![Just("round-robin"), Just("hash"), Just("least-sessions"), Just("random")];
    let scopes = prop_oneof![Just("whole-tier"), Just("later-tiers"), Just("nothing")];
    let words = (listen, prop::collection::vec(operand, 1..8), policies, scopes);
    let times = (any_span(), prop::option::of(any_span()), prop::option::of(any_span()));
    (words, times, any::<(bool, bool)>(), prop::option::of(1usize..9)).prop_filter_map(
        "tiers have backends",
        |((listen, operands, policy, scope), (connect, idle, shutdown), flags, workers)| {
            let mut line = vec!["evenkeel".to_owned(), listen];
            line.extend(operands);
            line.extend(["--policy", policy, "--hash-failover", scope].map(str::to_owned));
            let mut config =
                NativeCli::try_parse_from(line).ok()?.start.to_config(SERVICES).ok()?;
            let listener = &mut config.listeners[0];
            listener.timeouts.connect = connect;
            listener.timeouts.idle = idle;
            listener.timeouts.backend_half_close = idle;
            listener.timeouts.shutdown = shutdown;
            config.pools[0].auto_disable = flags.0;
            config.process.daemon = flags.1;
            config.process.workers = workers;
            config.process.user = Some("it's me".to_owned());
            Some(config)
        },
    )
}

proptest! {
    #[test]
    fn a_printed_configuration_reads_as_itself(config in any_config()) {
        let words = std::iter::once("evenkeel".to_owned()).chain(config.to_arguments());
        let cli = NativeCli::try_parse_from(words).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(cli.start.to_config(SERVICES), Ok(config));
    }
}
