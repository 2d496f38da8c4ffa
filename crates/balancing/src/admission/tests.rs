use super::*;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

fn limits(sessions: Option<u32>, rate: Option<&str>, table: u32) -> ClientLimits {
    let rate = rate.map(|it| it.parse().unwrap());
    ClientLimits { sessions, rate, table, ..ClientLimits::default() }
}

fn v4(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

const NOW: Instant = Instant::from_millis(1_000_000);

#[test]
fn texts_are_read_and_written() {
    let rate = |text: &str| text.parse::<Rate>().map(|it| it.to_string());
    for (text, expected) in [
        ("20/s", "20/s"),
        ("20/1s", "20/s"),
        ("100/10s", "100/10s"),
        ("1/1m", "1/60s"),
        ("5/1", "5/s"),
    ] {
        assert_eq!(rate(text).as_deref(), Ok(expected), "{text}");
    }
    for text in ["", "5", "5/", "/s", "0/s", "5/0s", "5/2h", "5/x", "-5/s", "5/ s", "9999999999/s"]
    {
        assert_eq!(rate(text), Err(InvalidRate), "{text}");
    }
    let prefixes = |text: &str| text.parse::<Prefixes>().map(|it| it.to_string());
    assert_eq!(prefixes("24/48").as_deref(), Ok("24/48"));
    for text in ["", "24", "0/64", "33/64", "32/129", "+1/64", "24/48/1"] {
        assert_eq!(prefixes(text), Err(InvalidPrefixes), "{text}");
    }
}

#[test]
fn limits_are_read_and_written() {
    let read = |text: &str| match text.parse::<ClientLimits>() {
        Ok(limits) => limits.to_string(),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(read(""), "");
    assert_eq!(read("rate=5/1m,sessions=3"), "sessions=3,rate=5/60s");
    let all = "sessions=3,rate=5/s,prefix=24/48,table=9,full=refuse";
    assert_eq!(read(all), all);
    assert_eq!(read("sessions=3,prefix=32/64,table=100000,full=admit"), "sessions=3");
    let refused = |text: &str, expected: &str| {
        let seen = read(text);
        assert!(seen.starts_with("error") && seen.contains(expected), "{text} gave {seen}");
    };
    refused("table=5", "needs sessions=N or rate=N/TIME");
    refused("sessions=0", "a number from 1 to 1000000");
    refused("sessions=3,sessions=4", "'sessions' is given twice");
    refused("rate=5", "'rate=5': write a number and a time");
    refused("sessions=3,", "'' is no limit");
    refused("session=3", "'session=3' is no limit");
    refused("sessions=3,full=maybe", "'full=maybe' is no limit");
}

#[test]
fn clients_are_networks() {
    let same = |one: &str, other: &str| {
        let of = |text: &str| Prefixes::default().of(text.parse().unwrap());
        of(one) == of(other)
    };
    assert!(same("2001:db8::1", "2001:db8::ffff:1"));
    assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
    assert!(!same("10.0.0.1", "10.0.0.2"));
}

#[test]
fn a_rate_is_a_burst_and_then_even() {
    let limits = limits(None, Some("5/10s"), 100);
    let table = Admission::new(&limits, 1);
    let begun = |millis: u64, times: usize| {
        let now = NOW + Duration::from_millis(millis);
        (0..times).filter(|_| table.admit(v4(1), &limits, now) == Ok(true)).count()
    };
    assert_eq!(begun(0, 9), 5);
    assert_eq!(begun(1999, 9), 0);
    assert_eq!(begun(2000, 9), 1);
    assert_eq!(begun(6000, 9), 2);
    assert_eq!(begun(60_000, 9), 5);
    assert_eq!(table.admit(v4(2), &limits, NOW), Ok(true));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "workers are threads")]
fn a_limit_is_exact_for_all_threads_together() {
    let limits = limits(Some(100), None, 1000);
    for seed in 0..20 {
        let table = Admission::new(&limits, seed);
        let admitted: usize = thread::scope(|scope| {
            let work = || (0..1000).filter(|_| table.admit(v4(7), &limits, NOW).is_ok()).count();
            let all: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            all.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert_eq!(admitted, 100);
        (0..100).for_each(|_| table.release(v4(7)));
        assert_eq!((0..200).filter(|_| table.admit(v4(7), &limits, NOW).is_ok()).count(), 100);
    }
}

#[test]
fn whoever_has_no_sessions_gives_way() {
    let limits = limits(Some(1), Some("1/1m"), 1);
    let table = Admission::new(&limits, 3);
    assert_eq!(table.sets, 1);
    assert_eq!(table.admit(v4(1), &limits, NOW), Ok(true));
    for client in 2..10_000 {
        assert_eq!(table.admit(v4(client), &limits, NOW), Ok(true));
        table.release(v4(client));
    }
    // The first one has kept its place, and its time.
    assert_eq!(table.admit(v4(1), &limits, NOW), Err(Refused::Sessions));
    table.release(v4(1));
    assert_eq!(table.admit(v4(1), &limits, NOW), Err(Refused::Rate));
    for client in 10_000..10_015 {
        assert_eq!(table.admit(v4(client), &limits, NOW), Ok(true));
    }
    assert_eq!(table.admit(v4(1), &limits, NOW), Ok(false));
    let refusing = ClientLimits { when_full: WhenFull::Refuse, ..limits };
    assert_eq!(table.admit(v4(1), &refusing, NOW), Err(Refused::Table));
}

/// Compares the table with a map, in a table that is large enough.
#[test]
fn the_table_counts_as_a_map_does() {
    testing::sweep(50, |seed, step| {
        let mut dice = testing::Rng::new(seed);
        let limits = limits(Some(3), None, 1000);
        let table = Admission::new(&limits, seed);
        let mut open: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for at in 0..500 {
            step.set(at);
            let client = v4(u32::try_from(dice.below(20)).unwrap());
            let count = open.entry(client).or_default();
            if dice.one_in(2) {
                let expected = if *count < 3 { Ok(true) } else { Err(Refused::Sessions) };
                assert_eq!(table.admit(client, &limits, NOW), expected);
                *count += u32::from(expected.is_ok());
            } else if *count > 0 {
                table.release(client);
                *count -= 1;
            }
        }
    });
}

#[test]
fn a_large_table_takes_no_memory_before_clients_come() {
    let limits = limits(Some(1), Some("1/1m"), ClientLimits::TABLE_MAX);
    let table = Admission::new(&limits, 5);
    let allocated = || {
        let times = table.times.get().into_iter().flat_map(|it| &it.0);
        let times = times.filter(|it| it.get().is_some()).count();
        table.places.0.iter().filter(|it| it.get().is_some()).count() + times
    };
    assert_eq!(allocated(), 0);
    (0..100).for_each(|client| assert_eq!(table.admit(v4(client), &limits, NOW), Ok(true)));
    assert!(allocated() <= 200, "{} pieces of 4 kB", allocated());
}
