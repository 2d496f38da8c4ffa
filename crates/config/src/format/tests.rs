use super::*;
use crate::arbitrary::config;
use crate::file::{Source, read};
use proptest::prelude::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let formatted = format(text).unwrap();
    assert_eq!(formatted, expected, "{formatted}");
    assert_eq!(format(&formatted).unwrap(), formatted, "it is not stable");
}

#[test]
fn keys_are_put_in_the_order_of_the_table() {
    check(
        "[pools.web]\nbackends=['app1']\npolicy = \"random\"\n",
        "[pools.web]\npolicy = \"random\"\nbackends = [\"app1\"]\n",
    );
    check(
        "[pools.b]\n[listeners.b]\n[pools.a]\n[process]\n",
        "[pools.b]\n\n[listeners.b]\n\n[pools.a]\n\n[process]\n",
    );
    check("[pools.a]\nzz = 1\naa = 2\npolicy = 3\n", "[pools.a]\npolicy = 3\nzz = 1\naa = 2\n");
}

#[test]
fn comments_stay_with_what_they_are_about() {
    check(
        "#:schema ./a.json\n\n# The web.\n[pools.web] # main\n\n\n  # Names\n  backends = ['a'] # two\n  \
         # How\n  policy = 'hash'\n# the end\n",
        "#:schema ./a.json\n\n# The web.\n[pools.web] # main\n# How\npolicy = \"hash\"\n# Names\n\
         backends = [\"a\"] # two\n# the end\n",
    );
    check(
        "[pools.a]\n# About this pool.\n\n# Its members.\nbackends = ['a']\npolicy = 'hash'\n",
        "[pools.a]\n# About this pool.\n\npolicy = \"hash\"\n# Its members.\nbackends = [\"a\"]\n",
    );
    check(
        "[pools.a]\nbackends = ['a']\n# policy = 'hash'\n\n# The other one.\n[pools.b]\n",
        "[pools.a]\nbackends = [\"a\"]\n# policy = 'hash'\n\n# The other one.\n[pools.b]\n",
    );
    check("# only\n\n\n# comments", "# only\n\n# comments\n");
    check("", "");
    check("\n\n", "");
}

#[test]
fn values_have_one_spelling() {
    check(
        "[listeners.a]\nbind='80'\nmax-sessions=20_000\nidle-timeout=3600\nlinger='120s'\n\
         connect-timeout=\"${T:-5}\"\nkeep-alive='0'\nshutdown-timeout='0'\n",
        "[listeners.a]\nbind = 80\nmax-sessions = 20000\nconnect-timeout = \"${T:-5}\"\n\
         idle-timeout = \"1h\"\nlinger = \"2m\"\nkeep-alive = \"never\"\nshutdown-timeout = \"0s\"\n",
    );
    check(
        "[listeners]\na = '''80 app1'''\n\"b\" = 'x\"y'\n",
        "[listeners]\na = '''80 app1'''\nb = 'x\"y'\n",
    );
    check(
        "[pools.a]\nbackends = [{weight=2,to='a', 'name' = \"b\"}]\naccess=['allow   ::1']\n",
        "[pools.a]\naccess = [\"allow ::1\"]\nbackends = [{ to = \"a\", name = \"b\", weight = 2 }]\n",
    );
}

#[test]
fn lists_over_several_lines_have_one_item_per_line() {
    check(
        "[pools.a]\nbackends = ['a', # first\n  # second\n\n\n    'b', 'c' # third\n ]\n",
        "[pools.a]\nbackends = [\n  \"a\", # first\n  # second\n\n  \"b\",\n  \"c\", # third\n]\n",
    );
    check(
        "[pools.a]\ntiers = [\n['a','b'], ['c', 'd']]\n",
        "[pools.a]\ntiers = [\n  [\"a\", \"b\"],\n  [\"c\", \"d\"],\n]\n",
    );
    let name = "x".repeat(40);
    check(
        &format!("[pools.a]\nbackends = ['{name}', '{name}', '{name}']\n"),
        &format!("[pools.a]\nbackends = [\n  \"{name}\",\n  \"{name}\",\n  \"{name}\",\n]\n"),
    );
    check("[pools.a]\nbackends = [\n]\n", "[pools.a]\nbackends = []\n");
    check("[pools.a]\nbackends = [ # none\n]\n", "[pools.a]\nbackends = [ # none\n]\n");
}

#[test]
fn dotted_keys_arrays_of_tables_and_crlf_are_kept() {
    check(
        "process . user = 'a' # who\r\npools.web.tiers = [['a']]\r\n\r\n[[pools.db.tiers]]\r\nbackends=['a']\r\n\
         policy='hash'\r\n[[pools.db.tiers]]\r\nbackends=['b']\r\n",
        "process.user = \"a\" # who\npools.web.tiers = [[\"a\"]]\n\n[[pools.db.tiers]]\npolicy = \"hash\"\n\
         backends = [\"a\"]\n\n[[pools.db.tiers]]\nbackends = [\"b\"]\n",
    );
}

#[test]
fn what_is_not_toml_is_refused() {
    let error = format("[pools.a]\nbackends = ['a'\n").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

/// A file with its keys out of order, badly spaced, and with comments: above some keys, after
/// others. Each comment names its key.
fn disordered(neat: &str, seed: u64) -> String {
    let mut random = seed;
    let mut next = move |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut text = String::new();
    let mut entries: Vec<String> = Vec::new();
    let mut flush = |entries: &mut Vec<String>, text: &mut String| {
        while !entries.is_empty() {
            let at = usize::try_from(next(entries.len() as u64)).unwrap();
            let entry = entries.remove(at);
            let (key, value) = entry.split_once(" = ").unwrap();
            let blank = ["", "\n", "\n\n\n"][next(3) as usize];
            let above = ["".to_owned(), format!("  # above {key}\n")][next(2) as usize].clone();
            let after = ["".to_owned(), format!("\t# after {key}")][next(2) as usize].clone();
            let sign = ["=", "  =\t", " = "][next(3) as usize];
            text.push_str(&format!("{blank}{above} {key}{sign}{value}{after}\n"));
        }
    };
    for line in neat.lines() {
        if line.starts_with('[') {
            flush(&mut entries, &mut text);
            text.push_str(&format!("# above {line}\n{line}\n"));
        } else if line.starts_with([' ', ']']) {
            let entry = entries.last_mut().unwrap();
            entry.push_str(&format!("\n{line}"));
        } else if !line.is_empty() {
            entries.push(line.to_owned());
        }
    }
    flush(&mut entries, &mut text);
    text
}

fn means(text: &str) -> Option<crate::Config> {
    let source = Source { name: String::new(), text: text.to_owned() };
    read(&[source], &|_| None, &|_| None).config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn meaning_and_comments_are_kept(config in config(), seed in any::<u64>()) {
        let neat = config.to_file();
        let text = disordered(&neat, seed);
        let formatted = format(&text).map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?;
        prop_assert_eq!(means(&formatted), means(&neat), "{}", formatted);
        prop_assert_eq!(format(&formatted), Ok(formatted.clone()));
        prop_assert_eq!(comments(&formatted), comments(&text));
        let mut lines = formatted.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(key) = line.strip_prefix("# above ") {
                let below = lines.peek().copied().unwrap_or_default();
                prop_assert!(below.starts_with(key), "{} is above {}", line, below);
            }
        }
        let without = |text: &str| {
            let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
            lines.map(|line| line.split("\t# after").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        prop_assert_eq!(without(&formatted), without(&neat));
    }

    #[test]
    fn no_text_is_a_panic(text in "([a-z=\\[\\]{}#\"',. \n]|pools|backends|listeners|\"\"\"){0,40}") {
        if let Ok(formatted) = format(&text) {
            prop_assert_eq!(format(&formatted), Ok(formatted.clone()));
        }
    }
}
