//! Mistyped keys: which was meant.

use config::file::{Source, read};
use config::keys::{Key, Place, all};
use std::collections::BTreeMap;

/// A file with this key in a table of its kind.
fn file(key: &Key, word: &str) -> String {
    let header = match key.place {
        Place::File => "",
        Place::Process => "[process]\n",
        Place::Defaults => "[defaults]\n",
        Place::Listener => "[listeners.x]\n",
        Place::Route => "[[listeners.x.routes]]\n",
        Place::Pool => "[pools.x]\n",
        Place::Tier => "[[pools.x.tiers]]\n",
        Place::Backend => "[[pools.x.backends]]\n",
    };
    format!("{header}{word} = {}\n", key.example)
}

/// What the reader suggests to write instead of the key.
fn suggestion(key: &Key, word: &str) -> Option<String> {
    let sources = [Source { name: String::new(), text: file(key, word) }];
    let reports = read(&sources, &|_| None, &|_| None).reports;
    reports.into_iter().find(|report| report.message.contains(&format!("`{word}`")))?.replace
}

/// The word with one mistake, at each place where it can be made.
fn typos(word: &str) -> Vec<(&'static str, String)> {
    let letters: Vec<char> = word.chars().collect();
    let mut typos = vec![("other case", word.to_uppercase())];
    for at in 0..letters.len() {
        let without: String =
            letters.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, c)| c).collect();
        typos.push(("letter missing", without));
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        typos.push(("letter doubled", doubled.iter().collect()));
        if at > 0 {
            let mut swapped = letters.clone();
            swapped.swap(at - 1, at);
            typos.push(("letters swapped", swapped.iter().collect()));
        }
        let mut capital = letters.clone();
        capital[at] = capital[at].to_ascii_uppercase();
        typos.push(("other case", capital.iter().collect()));
    }
    typos.retain(|(_, typo)| typo != word && !typo.is_empty());
    typos
}

#[test]
fn nearly_every_mistyped_key_is_recognised() {
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for key in all() {
        for (kind, typo) in typos(key.name) {
            if key.place.keys().any(|known| known.name == typo) {
                continue;
            }
            let (right, count) = seen.entry(kind).or_default();
            let suggestion = suggestion(key, &typo);
            *count += 1;
            if suggestion.as_deref() == Some(key.name) {
                *right += 1;
            } else {
                wrong.push(format!("{} as {typo}: {suggestion:?}", key.name));
            }
        }
    }
    for (kind, (right, count)) in &seen {
        assert!(right * 100 >= count * 98, "{kind}: {right} of {count}; {wrong:#?}");
    }
}

#[test]
fn a_part_of_a_key_is_recognised() {
    let help = |text: &str| {
        let sources = [Source { name: String::new(), text: text.to_owned() }];
        let reports = read(&sources, &|_| None, &|_| None).reports;
        reports.into_iter().find(|it| it.message.starts_with("no such key"))?.help
    };
    let several = "did you mean `probe-interval` or `agent-interval`?";
    assert_eq!(help("[pools.x]\ninterval = \"1s\"\n").unwrap(), several);
    let none = "remove it; the reference lists all keys";
    assert_eq!(help("[process]\nlevel = 3\n").unwrap(), none);
    let many = help("[listeners.x]\ntimeout = \"1s\"\n").unwrap();
    assert!(many.contains("`connect-timeout`") && many.contains(" or `"), "{many}");
}
