//! Lines and files that are carried out in one step.

use super::*;
use std::collections::BTreeMap;

/// Files by name; a script reads nothing else.
fn reader(files: &[(&str, &str)]) -> impl FnMut(&str, usize) -> Result<Vec<u8>, String> {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    move |path, bytes_max| match files.get(path) {
        Some(text) if text.len() <= bytes_max => Ok(text.clone()),
        Some(_) => Err("too long".to_owned()),
        None => Err("not there".to_owned()),
    }
}

/// Carries a script out on the settings of a plain start.
fn carry_out(script: &Script, may_listen: bool) -> (PenSettings, Ran) {
    let mut settings = start("127.0.0.1:80 127.0.0.1:81").unwrap();
    let with = Surroundings {
        names: NAMES,
        clock: "now",
        show: &|settings, show| match show {
            Show::Servers => servers(settings, &[]),
            show => format!("{show:?}\n"),
        },
        log_fault: &|text| text.starts_with("/bad").then(|| "no".to_owned()),
        may_listen,
    };
    let ran = settings.run(script, &with);
    (settings, ran)
}

/// Carries out a file called `main`.
#[track_caller]
fn file(files: &[(&str, &str)]) -> (PenSettings, Ran) {
    carry_out(&Script::file("main", &mut reader(files)).unwrap(), true)
}

#[test]
fn a_file_and_what_it_includes_is_one_script() {
    let (settings, ran) = file(&[
        ("main", "blacklist 7\ninclude other\ninclude nowhere\ntimeout 9\n"),
        ("other", "tracking 8\nacl 1 deny bogus\n"),
    ]);
    assert_eq!((settings.blacklist, settings.tracking, settings.timeout), (7, 8, 9));
    assert_eq!((ran.printed.as_str(), ran.reply.as_str()), ("7\n8\n9\n", ""));
    let complaints = ["acl: bogus address 'bogus'", "Can't read config file 'nowhere': not there"];
    assert_eq!(ran.said, complaints);
    assert!(ran.has_changed);
}

#[test]
fn a_line_is_answered_and_what_it_includes_is_printed() {
    let script = Script::line(b"include main\nexit\n", &mut reader(&[("main", "timeout 9\n")]));
    let (settings, ran) = carry_out(&script, true);
    assert_eq!((settings.timeout, ran.printed.as_str(), ran.reply.as_str()), (9, "9\n", ""));
    let (_, ran) = carry_out(&Script::line(b"timeout\r\n", &mut reader(&[])), true);
    assert_eq!((ran.printed.as_str(), ran.reply.as_str()), ("", "3\n"));
}

#[test]
fn answers_see_what_was_changed_before_them() {
    let (_, ran) = file(&[("main", "server 0 max 5\nservers\nserver 0 max 6\nwrite f\n")]);
    assert!(ran.printed.contains(" max 5 "), "{}", ran.printed);
    let [(path, text)] = &ran.writes[..] else { panic!("{:?}", ran.writes) };
    assert_eq!(path, "f");
    assert!(text.contains(" max 6 "), "{text}");
}

#[test]
fn an_exit_is_the_end() {
    let mut settings = start("-X 80 127.0.0.1:81").unwrap();
    let files = [("main", "include other\ntimeout 9\n"), ("other", "close 1\nexit\n")];
    let script = Script::file("main", &mut reader(&files)).unwrap();
    let with = Surroundings {
        names: NAMES,
        clock: "now",
        show: &|_, _| String::new(),
        log_fault: &|_| None,
        may_listen: true,
    };
    let ran = settings.run(&script, &with);
    assert_eq!(ran.orders, [Order::CloseConnection(1), Order::Exit]);
    assert_eq!(settings.timeout, 3);
}

#[test]
fn what_cannot_be_had_leaves_the_old_address_and_the_old_log() {
    let files = [("main", "listen 127.0.0.1:99\nlog /good\nlog /bad\n")];
    let script = Script::file("main", &mut reader(&files)).unwrap();
    let (settings, ran) = carry_out(&script, false);
    assert_eq!(settings.listen.unwrap().text, "127.0.0.1:80");
    assert_eq!(settings.log.as_deref(), Some("/good"));
    assert_eq!(ran.log, Some(Some("/good".to_owned())));
    assert_eq!(ran.said, ["Can't open logfile /bad: no"]);
    assert_eq!(ran.printed, "127.0.0.1:80\n/good\n/good\n");
    let (settings, _) = carry_out(&script, true);
    assert_eq!(settings.listen.unwrap().text, "127.0.0.1:99");
}

#[test]
fn a_script_says_what_it_needs() {
    let files =
        [("main", "server 1 address six\nlog h:514\ninclude other\n"), ("other", "recent 9")];
    let needs = Script::file("main", &mut reader(&files)).unwrap().needs();
    assert_eq!(needs.hosts.into_iter().collect::<Vec<_>>(), ["six"]);
    assert_eq!(needs.logs.into_iter().collect::<Vec<_>>(), ["h:514"]);
    assert_eq!(needs.facts, FactsNeeded::RecentClients(9));
    for (line, takes_time) in
        [("timeout 3", false), ("server 1 address 1.2.3.4", false), ("listen six:1", true)]
    {
        assert_eq!(Script::takes_time(line.as_bytes()), takes_time, "{line}");
    }
}

#[test]
fn circles_and_floods_come_to_an_end() {
    let (_, ran) = file(&[("main", "include main\n")]);
    assert_eq!(ran.said, ["include: 'main' is included too deeply"]);
    let (_, ran) = file(&[("main", "include main\ninclude main\n")]);
    assert!(ran.said.iter().any(|text| text.contains("more than 1000 files")), "{:?}", ran.said);
    let (_, ran) = file(&[("main", &"servers\n".repeat(100_000))]);
    assert!(ran.printed.len() < 2 << 20, "{}", ran.printed.len());
    assert_eq!(ran.said, ["there is too much to say; further replies are dropped"]);
    let writes: String = (0..200).map(|number| format!("write f{number}\nwrite f0\n")).collect();
    let (_, ran) = file(&[("main", &writes)]);
    assert_eq!(ran.writes.len(), 100);
    let long = "x".repeat(SCRIPT_BYTES_MAX);
    let (_, ran) = file(&[("main", "include long\n"), ("long", &long)]);
    assert_eq!(ran.said, ["Can't read config file 'long': too long"]);
}
