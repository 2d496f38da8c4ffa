//! The command line of balance(1), from words to a configuration or a complaint.

use super::*;
use crate::classic::leading_number;
use balancing::{FailoverScope, Policy};
use clap::Parser as _;
use config::native::NativeCli;
use config::operand::Services;
use config::{Config, ExitStatus, PrintForm};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use terms::SpliceMode;

const SERVICES: Services<'static> = &|name| match name {
    "smtp" => Some(25),
    "http" => Some(80),
    "3com-tsmux" => Some(106),
    _ => None,
};

fn first_ipv4(name: &str) -> Option<Ipv4Addr> {
    match name {
        "localhost" => Some(Ipv4Addr::LOCALHOST),
        "db1" => Some(Ipv4Addr::new(10, 0, 0, 1)),
        _ => None,
    }
}

fn words(line: &str) -> Vec<String> {
    // `''` stands for an empty word.
    line.split_whitespace().map(|word| word.replace("''", "")).collect()
}

fn start(line: &str) -> Result<Mode, BalanceError> {
    BalanceArgs::parse("balance", &words(line))?.mode(SERVICES)
}

fn configure(line: &str) -> Result<(BalanceProxy, Config), BalanceError> {
    match start(line)? {
        Mode::Proxy(proxy) => {
            let mut config = proxy.to_config(SERVICES)?;
            resolve(&proxy, &mut config, &first_ipv4)?;
            Ok((proxy, config))
        }
        mode => panic!("not a proxy: {mode:?}"),
    }
}

/// Shows what a command line listens on and where it leads, or its complaint and status.
#[track_caller]
fn check(line: &str, expected: &str) {
    let seen = match start(line) {
        Ok(Mode::Shell(instance)) => format!("shell {} {}", instance.port, instance.bind_text),
        Ok(Mode::OneShot { instance, command }) => {
            format!("one shot {} {}: {command}", instance.port, instance.bind_text)
        }
        Ok(Mode::Proxy(_)) => match configure(line) {
            Ok((_, config)) => show(&config),
            Err(error) => complaint(&error),
        },
        Err(error) => complaint(&error),
    };
    assert_eq!(seen, expected, "for {line:?}");
}

fn show(config: &Config) -> String {
    let listener = &config.listeners[0];
    let tiers = config.pools[0].tiers.iter().map(|tier| {
        let backends: Vec<String> = tier.backends.iter().map(ToString::to_string).collect();
        let end = if tier.policy == Policy::Hash { " %" } else { " !" };
        backends.join(" ") + end
    });
    let tiers: Vec<String> = tiers.collect();
    format!("{} -> {}", listener.bound_to(), tiers.join(" ")).trim_end().to_owned()
}

fn complaint(error: &BalanceError) -> String {
    let text = error.to_string().replace(&usage(), "USAGE");
    format!("{}: {}", error.exit_status().code(), text.replace('\n', " / "))
}

#[test]
fn options_follow_getopt() {
    let parse = |line: &str| BalanceArgs::parse("balance", &words(line)).unwrap();
    let args = parse("-fp -t3 -T 60 80 a -aHd ! b -b localhost -B10.0.0.1 -6M");
    assert_eq!(args.operands, ["80", "a", "!", "b"]);
    assert!(args.foreground && args.dump && args.auto_disable && args.hash_failover);
    assert!(args.debug && args.ipv6 && !args.interactive);
    assert_eq!((args.connect_seconds, args.idle_seconds), (Some(3), Some(60)));
    assert_eq!(args.bind_text.as_deref(), Some("localhost"));
    assert_eq!(args.source.as_deref(), Some("10.0.0.1"));
    assert_eq!(parse("-ft3x 80").connect_seconds, Some(3)); // numbers are read leniently
    assert_eq!(parse("-t 3 -t 4 80").connect_seconds, Some(4)); // the last one wins
    assert_eq!(parse("-cshow 80").command.as_deref(), Some("show"));
    assert_eq!(parse("-f -- 80 -f --").operands, ["80", "-f", "--"]);
    assert_eq!(parse("80 -").operands, ["80", "-"]);
    assert_eq!(parse("-c -f 80").command.as_deref(), Some("-f"));
}

#[test]
fn bad_usage() {
    check("", "64: USAGE");
    check("-f -a -t 3", "64: USAGE");
    check("-x", "64: balance: invalid option -- 'x' / USAGE");
    check("-fx 80", "64: balance: invalid option -- 'x' / USAGE");
    check("--help", "64: balance: invalid option -- '-' / USAGE");
    check("--version", "64: balance: invalid option -- '-' / USAGE");
    check("-t", "64: balance: option requires an argument -- 't' / USAGE");
    check("-fb", "64: balance: option requires an argument -- 'b' / USAGE");
    check("-t 0 80 a", "64: USAGE");
    check("-T 0 80 a", "64: USAGE");
    check("-t -1 80 a", "64: USAGE");
    check("-t x 80 a", "64: USAGE");
    check("-i", "64: USAGE");
    check("-i 80 127.0.0.1", "64: USAGE");
    check("-c show", "64: USAGE");
    let named = BalanceArgs::parse("./bal", &["-x"]).unwrap_err().to_string();
    assert!(named.starts_with("./bal: invalid option -- 'x'\n  this is balance "), "{named}");
}

#[test]
fn ports() {
    check("80", "0.0.0.0:80 ->");
    check("smtp", "0.0.0.0:25 ->");
    check("nosuchservice", "64: invalid port [nosuchservice], exiting.");
    check("-i 0", "64: invalid port [0], exiting.");
    check("-c show ''", "64: invalid port [], exiting.");
    check("70000", "64: invalid port [70000], exiting."); // listened on 4464 in the original
    check("-- -5", "64: invalid port [-5], exiting.");
    check("80x a", "71: error at getaddrinfo: Servname not supported for ai_socktype / exiting.");
    check("-i 80x", "shell 80 0.0.0.0");
    check("3com-tsmux", "0.0.0.0:106 ->"); // a service, though it begins with a number
}

#[test]
fn control_forms() {
    check("-i 80", "shell 80 0.0.0.0");
    check("80 -i -b localhost", "shell 80 localhost");
    check("-c show smtp", "one shot 25 0.0.0.0: show");
    check("-c help -i -c version 80", "one shot 80 0.0.0.0: version");
    check("-f -a -H -p -M -t 3 -c show 80", "one shot 80 0.0.0.0: show");
    check("-c '' 80", "one shot 80 0.0.0.0: ");
    check("-c show -- 80", "one shot 80 0.0.0.0: show");
}

#[test]
fn where_to_listen() {
    check("-6 80", "[::]:80 ->");
    check("-b 127.1 80", "127.0.0.1:80 ->");
    check("-b ::1 80", "[::1]:80 ->");
    check("-6 -b ::1 80", "[::1]:80 ->");
    check("-b ::ffff:127.0.0.1 80", "[::ffff:127.0.0.1]:80 ->");
    check("-b localhost 80", "localhost:80 ->");
    check(
        "-6 -b 127.0.0.1 80",
        "71: error at getaddrinfo: Address family for hostname not supported / exiting.",
    );
    check("-b '' 80", "71: error at getaddrinfo: Name or service not known / exiting.");
}

#[test]
fn channels() {
    check(
        "-f 81 127.0.0.1:1:0 127.1:1:12 localhost:1::9 0x7f000002:1:7:8",
        "0.0.0.0:81 -> 127.0.0.1:1 127.0.0.1:1:12 127.0.0.1:1 127.0.0.2:1:7 !",
    );
    check(
        "81 127.0.0.2 127.0.0.2: 127.0.0.2::3",
        "0.0.0.0:81 -> 127.0.0.2:81 127.0.0.2:81 127.0.0.2:81:3 !",
    );
    check(
        "81 127.1:smtp db1:http:5 ! 127.1:smtp:-1",
        "0.0.0.0:81 -> 127.0.0.1:25 10.0.0.1:80:5 ! 127.0.0.1:25:-1 !",
    );
    check("81 127.1:80x:5x 127.1:80:x", "0.0.0.0:81 -> 127.0.0.1:80:5 127.0.0.1:80 !");
    check("81 300.300.300.300:80", "65: unknown or invalid address [300.300.300.300]");
    check("81 nosuchhost", "65: unknown or invalid address [nosuchhost]");
    check("81 a! b", "65: unknown or invalid address [a!]");
    check("81 127.1 !%", "65: unknown or invalid address [!%]");
    check("81 127.1:99999", "65: invalid port number [99999]"); // truncated in the original
    check("81 127.1:nosuchservice", "65: invalid port number [nosuchservice]"); // became port 0
}

#[test]
fn ipv6_channels_take_brackets() {
    check("81 [::1]", "0.0.0.0:81 -> [::1]:81 !");
    check("81 [2001:db8::1]:80:5 [::1]::3", "0.0.0.0:81 -> [2001:db8::1]:80:5 [::1]:81:3 !");
    // Without them, a channel is cut at its first colon as ever.
    check("81 ::1", "65: unknown or invalid address []");
    check("81 [::1:80", "65: unknown or invalid address [[]");
    check("81 [x]:80", "65: unknown or invalid address [[x]]");
    check("81 [::1]x", "65: unknown or invalid address [[]");
}

#[test]
fn groups() {
    check("81 127.1 ! 127.2 %", "0.0.0.0:81 -> 127.0.0.1:81 ! 127.0.0.2:81 %");
    check("81 127.1 % 127.2", "0.0.0.0:81 -> 127.0.0.1:81 % 127.0.0.2:81 !");
    check("81 127.1 127.2 !", "0.0.0.0:81 -> 127.0.0.1:81 127.0.0.2:81 !");
    check("81 ! 127.1", "69: balance: no channels in group");
    check("81 127.1 ! ! 127.2", "69: balance: no channels in group");
    check("81 !", "69: balance: no channels in group");
}

#[test]
fn limits_of_the_command_line() {
    // 63 words were all that the original took; groups hold 64 channels.
    let most = format!("81{}", " 127.1".repeat(64));
    assert_eq!(configure(&most).unwrap().1.pools[0].tiers[0].backends.len(), 64);
    check(&format!("{most} 127.1"), "64: MAXCHANNELS exceeded...");
    let groups = format!("81{}", format!("{} !", " 127.1".repeat(64)).repeat(32));
    assert_eq!(configure(&groups).unwrap().1.pools[0].tiers.len(), 32);
    check(&format!("{groups} 127.1"), "64: MAXCHANNELS exceeded...");
    check(&format!("{most} 127.1 ! !"), "64: MAXCHANNELS exceeded...");
}

#[test]
fn the_source_address_is_checked_at_the_start() {
    let source = |line: &str| configure(line).unwrap().1.listeners[0].source;
    assert_eq!(source("80"), terms::Source::System);
    assert_eq!(source("-B 127.2 80"), terms::Source::Fixed(Ipv4Addr::new(127, 0, 0, 2).into()));
    assert_eq!(source("-B db1 80"), terms::Source::Fixed(Ipv4Addr::new(10, 0, 0, 1).into()));
    check("-B nosuchhost 80", "65: unknown or invalid address [nosuchhost]");
    check("-B ::1 80", "65: unknown or invalid address [::1]");
    check("-B '' 80", "65: unknown or invalid address []");
}

#[test]
fn names_to_resolve_are_listed_once() {
    let Mode::Proxy(proxy) = start("-B db1 80 a db1 127.1 ! b a").unwrap() else { panic!() };
    let config = proxy.to_config(SERVICES).unwrap();
    assert_eq!(hosts_to_resolve(&proxy, &config), ["db1", "a", "b"]);
}

#[test]
fn an_original_is_a_setting_of_the_model() {
    let (_, config) = configure("80 127.1 % 127.2").unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.timeouts.connect, Duration::from_secs(5));
    assert_eq!(listener.timeouts.idle, None);
    assert_eq!(listener.timeouts.half_close, None);
    assert_eq!(listener.timeouts.shutdown, None);
    assert_eq!(listener.cut, terms::Cut::Close);
    assert_eq!(listener.splice, SpliceMode::Auto);
    assert_eq!(config.pools[0].quarantine, Duration::ZERO);
    assert!(!config.pools[0].auto_disable && config.process.daemon);
    let failover = |config: &Config| {
        let pool = &config.pools[0];
        pool.tiers.iter().map(|tier| pool.failover_of(tier.policy)).collect::<Vec<_>>()
    };
    assert_eq!(failover(&config), [FailoverScope::LaterTiers, FailoverScope::WholeTier]);

    let (_, config) = configure("-fapH -t 2 -T 9 80 127.1 % 127.2").unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.timeouts.connect, Duration::from_secs(2));
    assert_eq!(listener.timeouts.idle, Some(Duration::from_secs(9)));
    assert_eq!(listener.splice, SpliceMode::Never);
    assert!(config.pools[0].auto_disable && !config.process.daemon);
    assert_eq!(failover(&config), [FailoverScope::WholeTier; 2]);
}

#[test]
fn print_config_is_only_the_first_word() {
    let mut words: &[&str] = &["--print-config", "80"];
    assert_eq!(take_print_config(&mut words), Some(PrintForm::Line));
    assert_eq!(words, ["80"]);
    assert_eq!(take_print_config(&mut words), None);
    let mut words: &[&str] = &["--print-config=toml", "80"];
    assert_eq!(take_print_config(&mut words), Some(PrintForm::Toml));
    assert_eq!(take_print_config(&mut &["--print-config=yaml"][..]), None);
}

#[test]
fn usage_has_the_lines_scripts_look_for() {
    let usage = usage();
    let (head, rest) = usage.split_once('\n').unwrap();
    assert_eq!(head, format!("  this is balance {VERSION}"));
    assert!(
        VERSION.split('.').count() == 2 && VERSION.chars().all(|c| c.is_ascii_digit() || c == '.')
    );
    assert!(rest.starts_with(
        "\nusage:\n  \
           balance [-b addr] [-B addr] [-t sec] [-T sec] [-adfpHM] \\\n          \
                   port [h1[:p1[:maxc1]] [!%] [ ... hN[:pN[:maxcN]]]]\n  \
           balance [-b addr] -i [-d] port\n  \
           balance [-b addr] -c cmd  [-d] port\n\n"
    ));
    let options = usage.lines().filter(|line| line.starts_with("  -"));
    let letters: String = options.clone().filter_map(|line| line.chars().nth(3)).collect();
    assert_eq!(letters, "6abBcdfiHMptT");
    for line in options {
        assert!(line.as_bytes()[11] == b' ' && line.as_bytes()[12] != b' ', "{line}");
    }
    assert!(usage.contains("(default=5)\n") && usage.contains("(default=0)\n"));
    assert!(usage.contains("\n   !        ") && usage.contains("\n   %        "));
    assert!(usage.ends_with("\n\n"));
    assert!(usage.lines().all(|line| line.len() <= 79), "{usage}");
}

#[test]
fn lenient_numbers() {
    let check =
        |text: &str, expected: Option<i32>| assert_eq!(leading_number(text), expected, "{text}");
    check("3", Some(3));
    check("3x", Some(3));
    check(" 3", Some(3));
    check("-3", Some(-3));
    check("+3", Some(3));
    check("", None);
    check("-", None);
    check("x3", None);
    check("99999999999", Some(i32::MAX));
    check("-99999999999999999999999", Some(i32::MIN));
}

#[test]
fn statuses_are_the_originals() {
    assert_eq!(BalanceError::Bind(String::new()).exit_status(), ExitStatus::OsError);
    assert_eq!(
        BalanceError::Bind("Address already in use".to_owned()).to_string(),
        "bind(): Address already in use"
    );
    let path = || PathBuf::from("/run/x/balance.80");
    let status = |error: BalanceError| error.exit_status().code();
    assert_eq!(status(BalanceError::NameDenied { path: path(), control: false }), 66);
    assert_eq!(status(BalanceError::NameDenied { path: path(), control: true }), 71);
    assert_eq!(
        BalanceError::NameDenied { path: path(), control: true }.to_string(),
        "open: Permission denied\ncheck rendezvousfile permissions [/run/x/balance.80]"
    );
    assert_eq!(status(BalanceError::NameNotCreatable(path())), 71);
    assert_eq!(status(BalanceError::NoDirectory(path())), 69);
    let text = BalanceError::NoDirectory(PathBuf::from("/run/x")).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0] == "ERROR: rendezvous directory not available and/or creatable");
    assert!(lines[1].contains("/run/x") && lines[1].contains("01777"), "{text}");
    assert_eq!(lines[2], "# mkdir -m 01777 /run/x");
}

proptest! {
    #[test]
    fn no_command_line_is_a_panic(words in prop::collection::vec("[-a-zA-Z0-9:.!%\\[\\]é]{0,8}", 0..8)) {
        if let Ok(args) = BalanceArgs::parse("balance", &words)
            && let Ok(Mode::Proxy(proxy)) = args.mode(SERVICES)
            && let Ok(mut config) = proxy.to_config(SERVICES)
        {
            let _ = hosts_to_resolve(&proxy, &config).len();
            let _ = resolve(&proxy, &mut config, &first_ipv4);
        }
    }
}

fn any_start() -> impl Strategy<Value = String> {
    let flags = "(-a )?(-H )?(-6 )?(-p )?(-f )?(-t [1-9] )?(-T [1-9]0 )?";
    let bind =
        prop_oneof![Just(""), Just("-b 127.0.0.1 "), Just("-b ::1 "), Just("-b host.example ")];
    let source = prop_oneof![Just(""), Just("-B 127.0.0.2 ")];
    let channel = prop_oneof![
        "[a-z]{1,5}(:[1-9][0-9]{0,3})?(:[0-9]{1,3})?",
        "10\\.[0-9]\\.0\\.[1-9]:[1-9][0-9]",
        "127\\.1",
        "[!%]",
    ];
    let channels = prop::collection::vec(channel, 0..8);
    (flags, bind, source, "[1-9][0-9]{1,3}", channels).prop_map(
        |(flags, bind, source, port, channels)| {
            format!("{flags}{bind}{source}{port} {}", channels.join(" "))
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_as_a_file_is_read_again(line in any_start()) {
        if let Ok(Mode::Proxy(proxy)) = start(&line)
            && let Ok(meant) = proxy.to_config(SERVICES)
        {
            let source = config::file::Source { name: String::new(), text: meant.to_file() };
            let reading = config::file::read(std::slice::from_ref(&source), &|_| None, SERVICES);
            prop_assert_eq!(reading.config, Some(meant), "{} {:?}", source.text, reading.reports);
        }
    }
}

#[test]
fn a_configuration_is_said_in_native_words() {
    let print = |line: &str| {
        let Ok(Mode::Proxy(proxy)) = start(line) else { panic!("{line} is no start") };
        let mut config = proxy.to_config(SERVICES).unwrap();
        config.pools[0].fixed_places = false; // what balance is known by
        let words = std::iter::once("evenkeel".to_owned()).chain(config.to_arguments());
        let native = NativeCli::try_parse_from(words).unwrap().start;
        assert_eq!(native.to_config(SERVICES), Ok(config.clone()));
        config.to_command_line()
    };
    assert_eq!(
        print("-fa -T 60 http 10.0.0.1 10.0.0.2:81:5 % 10.0.0.3"),
        "evenkeel --quarantine 0s --hash-failover later-tiers --auto-disable --idle-timeout 1m \
         --half-close-timeout never --backend-half-close-timeout 1s --shutdown-timeout never --cut close \
         0.0.0.0:80 10.0.0.1:80 10.0.0.2:81:5 % 10.0.0.3:80"
    );
    print("-6pH 80 db1 [::1]:5:-1 %");
}
