//! The command lines of pen and penctl.

use super::*;

#[test]
fn bad_usage_leaves_with_status_0() {
    check("", "0:  USAGE");
    check("-f", "0:  USAGE");
    check("-y 80 a", "0: pen: invalid option -- 'y' USAGE");
    check("-fy 80 a", "0: pen: invalid option -- 'y' USAGE");
    check("--help", "0: pen: invalid option -- '-' USAGE");
    check("-b", "0: pen: option requires an argument -- 'b' USAGE");
    check("-t 0 80", "0:  USAGE");
    check("-t x 80", "0:  USAGE");
    check("-i name 80", "0: Windows only");
    check("-L tls9 80", "1: protocol version tls9 not known");
    assert!(usage().starts_with("usage:\n  pen "));
}

#[test]
fn listening_operands() {
    check("80", "0.0.0.0:80 ->");
    check("127.0.0.1:80", "127.0.0.1:80 ->");
    check("localhost:smtp", "127.0.0.1:25 ->");
    check("::1:2222", "[::1]:2222 ->");
    check("[::1]:2222", "[::1]:2222 ->");
    check(":::2222", "[::]:2222 ->");
    check("[::]:2222", "[::]:2222 ->");
    check("0.0.0.0:80", "0.0.0.0:80 ->");
    check("47002x", "0.0.0.0:47002 ->"); // numbers are read leniently
    check("/run/l", "unix:/run/l ->");
    check("70000", "1: Port 70000 out of range");
    check("127.0.0.1:0", "1: Port 0 out of range");
    check("127.0.0.1:nosuch", "1: Port 0 out of range");
    check("-f -- -3", "1: Port -3 out of range");
    check("''", "1: Port 0 out of range");
    check(":80", "1: Can't convert address ''");
    check("*:80", "1: Can't convert address '*'");
    check("no.such:80", "1: Can't convert address 'no.such'");
}

#[test]
fn server_operands() {
    check(
        "1 127.0.0.1:81:1:2:3:4 127.0.0.1:82:5 127.0.0.1:83:0:6 [127.0.0.2]:84:7:8:9 127.1 [::1]",
        "0.0.0.0:1 -> 0 127.0.0.1:81:1:2:3:4 | 1 127.0.0.1:82:5:0:0:0 | 2 127.0.0.1:83:0:6:0:0 \
         | 3 127.0.0.2:84:7:8:9:0 | 4 127.0.0.1:1:0:0:0:0 | 5 ::1:1:0:0:0:0",
    );
    check("1 [::1]:81:3:4:5:6", "0.0.0.0:1 -> 0 ::1:81:3:4:5:6");
    check("1 localhost:http:9", "0.0.0.0:1 -> 0 127.0.0.1:80:9:0:0:0");
    // Reading stops at the first field that is empty or no number.
    check("7 127.0.0.1::5", "0.0.0.0:7 -> 0 127.0.0.1:7:0:0:0:0");
    check("7 127.0.0.1:90:x:5", "0.0.0.0:7 -> 0 127.0.0.1:90:0:0:0:0");
    check("7 127.0.0.1:90:5x:6", "0.0.0.0:7 -> 0 127.0.0.1:90:5:0:0:0");
    check("7 127.0.0.1:80x:7", "0.0.0.0:7 -> 0 127.0.0.1:80:7:0:0:0");
    check("7 127.0.0.1:81:-3:+4::", "0.0.0.0:7 -> 0 127.0.0.1:81:-3:4:0:0");
    // An unknown port is never used.
    check("7 127.0.0.1:x:6", "0.0.0.0:7 -> 0 127.0.0.1:0:6:0:0:0");
    check("7 /s.sock:5:6 /b", "0.0.0.0:7 -> 0 /s.sock:1:6:0:0:0 | 1 /b:1:0:0:0:0");
    check("7 no.such:80", "1: unknown or invalid address [no.such]");
    check("7 ::1", "1: unknown or invalid address []");
    check("-e no.such 7", "1: unknown or invalid address [no.such]");
    check("-B no.such 7", "1: unknown or invalid address [no.such]");
}

/// The ciphers of pen with these commands and TLS, or why it does not start.
fn ciphers(commands: &[&str]) -> Result<String, String> {
    let options = commands.iter().flat_map(|command| ["-O", command]);
    let words: Vec<&str> = options.chain(["-E", "/c.pem", "80", "127.0.0.1:81"]).collect();
    let args = PenArgs::parse("pen", &words).unwrap();
    let mut settings = PenSettings::new(&args, |settings, line| {
        run(settings, line);
    });
    match settings.take_listener(&args.operands, NAMES) {
        Ok(_) => Ok(settings.tls.allowed_ciphers().unwrap().to_string()),
        Err(error) => Err(format!("{}: {error}", error.exit_status().code())),
    }
}

#[test]
fn a_list_of_ciphers_counts_if_it_leaves_some() {
    let all = ciphers(&[]).unwrap();
    assert_eq!(ciphers(&["ssl_ciphers AESGCM+aRSA", "ssl_ciphers"]).as_ref(), Ok(&all));
    let one = "ECDHE-RSA-CHACHA20-POLY1305";
    assert_eq!(ciphers(&["ssl_ciphers HIGH:!aECDSA:!AES"]).as_deref(), Ok(one));
    let refused = ciphers(&["ssl_ciphers AES128-SHA"]).unwrap_err();
    let reason = "1: ssl_ciphers: none of the ciphers of TLS 1.2 that are spoken here is in it: ";
    assert_eq!(refused, format!("{reason}{all}"));
}

#[test]
fn what_this_version_does_not_do_is_refused() {
    let refusal = |what| format!("1: {what}, which this version of Evenkeel does not do yet; ");
    let what = "-U with a path to listen on asks for Unix datagrams";
    check("-U /run/pen", &format!("{}give an address and a port, or leave out -U", refusal(what)));
    let refused = refusal("-U with the path of a server asks for Unix datagrams");
    check("-U 80 /s", &format!("{refused}give an address and a port, or leave out -U"));
    // Without -E these have no effect.
    check("-Z -L tls1 -R -G /g -A /a -K /k 80", "0.0.0.0:80 ->");
}

#[test]
fn options_and_commands_count_in_their_order() {
    let replies = |line: &[&str]| {
        let args = PenArgs::parse("pen", line).unwrap();
        let mut replies = String::new();
        let settings = PenSettings::new(&args, |settings, line| replies += &run(settings, line).0);
        (replies, settings.blacklist)
    };
    assert_eq!(replies(&["-b", "5", "-O", "blacklist"]), ("5\n".to_owned(), 5));
    assert_eq!(replies(&["-Oblacklist", "-b5"]), ("30\n".to_owned(), 5));
    assert_eq!(replies(&["-o", "blacklist 7", "80", "-O", "blacklist"]), ("7\n7\n".to_owned(), 7));
}

#[test]
fn remarks_are_for_standard_error() {
    let remarks = |line: &str| PenArgs::parse("pen", &words(line)).unwrap().remarks.join("\n");
    let text = remarks("-D -n -Q -S 16 -m 0 -q 1 80 -P");
    for letter in "DnQS".chars() {
        assert!(text.contains(&format!("\nmaking the -{letter} option obsolete")), "{text}");
    }
    assert!(text.ends_with("\nmulti_accept bumped to 1\nlisten_queue bumped to 50"), "{text}");
    assert_eq!(remarks("-m 1 -q 50 -rfh -P 80"), "");
    let settings = start("-c 0 -x 0 -q 1 80").unwrap();
    assert_eq!((settings.clients_max, settings.conn_max), (2048, 500));
}

#[test]
fn operands_go_over_the_servers_of_a_file() {
    let args = PenArgs::parse("pen", &["127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82:2"]).unwrap();
    let mut settings = PenSettings::new(&args, |_, _| {});
    let file =
        b"# comment\nblacklist 11\r\n\n  timeout 9\nserver 0 address 127.0.0.9 port 81 max 4\n\
        server 2 address 127.0.0.1 port 83 max 7";
    for line in lines(file) {
        settings.apply(&PenCommand::parse(line), NAMES);
    }
    let rest = settings.take_listener(&args.operands, NAMES).unwrap();
    settings.take_servers(rest, NAMES).unwrap();
    assert_eq!(
        server_table(&settings)[1..],
        [" 0 127.0.0.1:81:0:0:0:0", " 1 127.0.0.1:82:2:0:0:0", " 2 127.0.0.1:83:7:0:0:0"]
    );
    assert_eq!((settings.blacklist, settings.timeout), (11, 9));
    // What the file says to listen on stands in for the first operand.
    let mut settings = PenSettings::default();
    run(&mut settings, "listen 127.0.0.1:99");
    let rest = settings.take_listener(&args.operands, NAMES).unwrap();
    assert_eq!(rest, ["127.0.0.1:81", "127.0.0.1:82:2"]);
    assert_eq!(settings.listen.unwrap().text, "127.0.0.1:99");
}

#[test]
fn the_language_of_penctl() {
    let check = |line: &str, expected: &str| {
        let seen = match PenctlArgs::parse(&words(line)) {
            Ok(PenctlArgs { target: PenctlTarget::Tcp { host, port }, line }) => {
                format!("{host} {port}: {line}")
            }
            Ok(PenctlArgs { target: PenctlTarget::Unix(path), line }) => format!("{path}: {line}"),
            Err(error) => format!("{}: {error}", error.exit_status().code()),
        };
        assert_eq!(seen.trim_end_matches('\n'), expected, "for {line:?}");
    };
    check("127.0.0.1:8888 server 0  max 3", "127.0.0.1 8888: server 0 max 3");
    check("::1:8888 mode", "::1 8888: mode");
    check("[::1]:8888 mode", "::1 8888: mode");
    check("/run/c:1 mode", "/run/c:1: mode");
    check("localhost mode", "1: no port given");
    check("", "0: ");
    check("127.0.0.1:8888", "0: ");
    check(&format!("a:1 {}", "x".repeat(1022)), "1: Overlong argument list");
    assert!(PenctlArgs::parse(&["a:1", &"x".repeat(1021)]).is_ok());
}
