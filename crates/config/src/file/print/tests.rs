use super::super::{Source as Text, read};
use super::*;
use crate::arbitrary::config;
use balancing::{AccessEntry, Subject, Verdict};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Reads what was printed.
fn again(text: &str) -> Result<Config, String> {
    let source = Text { name: "a.toml".to_owned(), text: text.to_owned() };
    let reading = read(&[source], &|_| None, &|_| None);
    let reports = reading.reports.iter().map(|it| format!("{it}\n")).collect::<String>();
    reading.config.ok_or(reports)
}

#[track_caller]
fn check(line: &str, expected: &str) {
    let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
    let Ok(crate::native::Typed::Start(start)) = crate::native::parse(&words) else { panic!() };
    let config = start.to_config(&|_| None).unwrap();
    let text = config.to_file();
    assert_eq!(text, expected, "{text}");
    assert_eq!(again(&text), Ok(config));
}

#[test]
fn a_line_becomes_a_file() {
    check(
        "80 app1 app2:81",
        "[listeners.main]\nbind = 80\npool = \"main\"\n\n\
         [pools.main]\nbackends = [\"app1:80\", \"app2:81\"]\n",
    );
    check(
        "--user web --policy random --max-sessions 5 --deny 10.0.0.0/8 unix:/run/a a:1:2 % b:1 ! c:1",
        "[process]\nuser = \"web\"\n\n[listeners.main]\nbind = \"unix:/run/a\"\npool = \"main\"\n\
         max-sessions = 5\n\n[pools.main]\npolicy = \"random\"\naccess = [\"deny 10.0.0.0/8\"]\n\
         tiers = [{ policy = \"hash\", backends = [\"a:1:2\"] }, [\"b:1\"], [\"c:1\"]]\n",
    );
    check(
        "80 a -- [::1]:81 b",
        "[listeners.80]\nbind = 80\npool = \"80\"\n\n[pools.80]\nbackends = [\"a:80\"]\n\n\
         [listeners.\"[::1]:81\"]\nbind = \"[::1]:81\"\npool = \"[::1]:81\"\n\n\
         [pools.\"[::1]:81\"]\nbackends = [\"b:81\"]\n",
    );
}

#[test]
fn what_a_file_cannot_say_stands_in_a_comment() {
    let mut config = again("[listeners]\na = '80 b'\n").unwrap();
    let (address, mask) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(255, 0, 0, 0));
    let entry = AccessEntry { verdict: Verdict::Deny, subject: Subject::V4 { address, mask } };
    config.pools[0].access = Arc::new(AccessList::new(vec![entry]));
    let text = config.to_file();
    assert!(text.starts_with("# not expressible: pool a: an entry of the access list"), "{text}");
    assert!(text.contains("access = [\"deny 0.0.0.0/0\", \"deny ::/0\"]"), "{text}");
    assert!(again(&text).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_printed_configuration_reads_as_itself(config in config()) {
        let text = config.to_file();
        prop_assert_eq!(crate::format(&text), Ok(text.clone()));
        let mut read = again(&text).map_err(|it| TestCaseError::fail(format!("{it}{text}")))?;
        // A pool is printed after the first of its listeners.
        read.pools.sort_by_key(|pool| config.pools.iter().position(|it| it.name == pool.name));
        prop_assert_eq!(read, config, "{}", text);
    }
}
