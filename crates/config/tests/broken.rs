//! Broken files, each with the code, line and column of everything that is wrong with it.
//!
//! The first line of a file in `broken/` says what is expected: `# expect: E005 3:1, W001 5:2`, in
//! the order of the file. `#--- NAME` begins another file, which is read beside the first.

use config::file::{Reader, Report, Severity, Source, read};
use config::keys::{Place, all};
use std::path::{Path, PathBuf};

fn environment(name: &str) -> Option<String> {
    (name == "PORT").then(|| "80".to_owned())
}

fn services(name: &str) -> Option<u16> {
    (name == "http").then_some(80)
}

/// The files in `text`.
fn sources(text: &str) -> Vec<Source> {
    let mut sources = vec![Source { name: String::new(), text: String::new() }];
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("#--- "), sources.last_mut()) {
            (Some(name), _) => {
                sources.push(Source { name: name.trim().to_owned(), text: String::new() });
            }
            (None, Some(source)) => source.text.push_str(line),
            (None, None) => {}
        }
    }
    sources
}

fn shown(report: &Report) -> String {
    let start = report.span.start;
    let file = if report.file.is_empty() { String::new() } else { format!("{}:", report.file) };
    format!("{} {file}{}:{}", report.code, start.line, start.column)
}

#[expect(clippy::disallowed_methods, reason = "a test reads its cases")]
fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let paths = folder.read_dir().expect("the cases are there");
    let paths = paths.map(|entry| entry.expect("the cases are there").path());
    let read = |path: &Path| std::fs::read_to_string(path).expect("a case can be read");
    paths.map(|path| (path.clone(), read(&path))).collect()
}

#[test]
fn every_broken_file_is_reported_where_it_is_broken() {
    let files = files();
    assert!(files.len() >= 60, "{}", files.len());
    let mut wrong = String::new();
    for (path, text) in &files {
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("# expect: ").expect("the first line says what is wrong");
        let reading = read(&sources(text), &environment, &services);
        let seen: Vec<_> = reading.reports.iter().map(shown).collect();
        let seen = seen.join(", ");
        let is_usable = reading.reports.iter().all(|it| it.severity() == Severity::Warning);
        assert_eq!(reading.config.is_some(), is_usable, "{path:?}");
        if seen != expected {
            let drawn: String = reading.reports.iter().map(ToString::to_string).collect();
            wrong += &format!("{path:?}\nexpected {expected}\nreported {seen}\n{drawn}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_a_reader_remembers_changes_nothing() {
    let mut reader = Reader::default();
    let wrong_weight = "[listeners.a]\nbind = '80'\npool = 'a'\n[pools.a]\nconnect-timeout = '2s'\n\
                        policy = 'weighted'\n[[pools.a.backends]]\nto = 'x'\nweight = 70000\n";
    let right = wrong_weight.replace("70000", "7");
    let default_rejects = |port: u16| {
        let rest = "[defaults]\nreject = 'jail'\n[listeners]\na = ";
        format!("{rest}'{port} x'\n")
    };
    let texts = [wrong_weight.to_owned(), right, default_rejects(80), default_rejects(81)];
    let texts = files().into_iter().map(|(_, text)| text).chain(texts).collect::<Vec<_>>();
    // Each after itself, and each after all the others.
    for text in texts.iter().flat_map(|text| [text, text]).chain(&texts) {
        let sources = sources(text);
        let [again, anew] = [
            reader.read(&sources, &environment, &services),
            read(&sources, &environment, &services),
        ];
        assert_eq!(again.config, anew.config, "{text}");
        let [again, anew] =
            [again, anew].map(|it| it.reports.iter().map(shown).collect::<Vec<_>>());
        assert_eq!(again, anew, "{text}");
    }
}

/// The reports about a value in a table of this place, and the text.
fn about_value(place: Place, key: &str, value: &str) -> (Vec<Report>, String) {
    let header = match place {
        Place::File => "",
        Place::Process => "[process]",
        Place::Defaults => "[defaults]",
        Place::Listener => "[listeners.x]",
        Place::Route => "[[listeners.x.routes]]",
        Place::Pool => "[pools.x]",
        Place::Tier => "[[pools.x.tiers]]",
        Place::Backend => "[[pools.x.backends]]",
    };
    let text = format!("{header}\n{key} = {value}\n");
    let reports = read(&sources(&text), &environment, &services).reports;
    (reports.into_iter().filter(|it| it.span.start.line == 2).collect(), text)
}

#[test]
fn a_number_in_place_of_a_string_is_cured_by_what_the_key_takes() {
    let check = |place, key, value, expected: Result<&str, &str>| {
        let (reports, text) = about_value(place, key, value);
        let [report] = &reports[..] else { panic!("{text}{reports:?}") };
        assert_eq!(report.code.to_string(), "E007", "{text}");
        assert_eq!(report.replace.as_deref(), expected.ok(), "{text}");
        let help = expected.map_or_else(|help| help.to_owned(), |it| format!("write `{it}`"));
        assert_eq!(report.help.as_deref(), Some(&*help), "{text}");
    };
    check(Place::Pool, "eject", "50", Ok("\"50%\""));
    check(Place::Pool, "eject", "500", Err("as in `eject = \"50%\"`"));
    check(Place::Listener, "max-rate", "5", Err("as in `max-rate = \"100/s\"`"));
    check(Place::Pool, "probe", "3", Err("as in `probe = \"http:/healthz\"`"));
    check(Place::Pool, "load-bound", "2", Ok("\"2\""));
    check(Place::Process, "user", "1000", Ok("\"1000\""));
    check(Place::Process, "tap", "true", Err("as in `tap = \"off\"`"));
}

#[test]
fn no_suggested_value_is_refused() {
    let mut suggested = 0;
    for key in all() {
        for value in ["5", "50", "true"] {
            let (reports, text) = about_value(key.place, key.name, value);
            let cure = reports.iter().find(|it| it.code.to_string() == "E007");
            let Some(cure) = cure.and_then(|it| it.replace.as_deref()) else { continue };
            suggested += 1;
            let (reports, _) = about_value(key.place, key.name, cure);
            // Not that a key beside it is missing, or a pool of this name.
            let refused = ["E007", "E008", "E009", "E013", "E014", "E016", "E021"];
            let refused = reports.iter().find(|it| refused.contains(&&*it.code.to_string()));
            assert!(refused.is_none(), "{text}{cure}: {refused:?}");
        }
    }
    assert!(suggested > 10, "{suggested}");
}
