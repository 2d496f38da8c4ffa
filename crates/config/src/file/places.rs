//! Reports about problems that lie not in the text of a file but in the machine, such as a user who
//! does not exist.

use super::merge::merge;
use super::report::{At, Fault, Reports};
use super::syntax::parse;
use super::tree::{Entry, Node, Value};
use super::{Code, Report, Source};

/// Where the parts of a configuration are written in its files.
pub struct Places<'s> {
    entries: Vec<Entry>,
    reports: Reports<'s>,
}

/// A part of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'c> {
    /// A key of `[process]`.
    Process(&'c str),
    /// An address of a listener, by its index.
    Bind(&'c str, usize),
    /// A key of a listener.
    Listener(&'c str, &'c str),
    /// A backend of a pool, by its tier and index.
    Backend(&'c str, usize, usize),
    /// A key of a pool.
    Pool(&'c str, &'c str),
}

#[derive(Clone, Copy)]
enum Step<'c> {
    Key(&'c str),
    Index(usize),
}

impl<'s> Places<'s> {
    /// The places in these files, which have no errors.
    pub fn new(sources: &'s [Source]) -> Self {
        let mut unwanted = Reports::new(sources);
        let files = (0..sources.len()).map(|number| parse(number, &mut unwanted)).collect();
        let entries = merge(files, &mut unwanted);
        Self { entries, reports: Reports::new(sources) }
    }

    /// Adds a report about a part.
    pub fn report(&mut self, code: Code, part: Part<'_>, message: &str, help: &str) {
        let fault = Fault::new(code, &self.find(part), message).place(place(part));
        self.reports.add(fault.help(help));
    }

    /// The reports in the order of the files, and how many were left out.
    #[must_use]
    pub fn finish(self) -> (Vec<Report>, usize) {
        self.reports.finish()
    }

    fn find(&self, part: Part<'_>) -> At {
        use Step::{Index, Key};
        let found = match part {
            Part::Process(key) => self.follow(&[Key("process"), Key(key)]),
            Part::Bind(listener, index) => {
                self.follow(&[Key("listeners"), Key(listener), Key("bind"), Index(index)])
            }
            Part::Listener(listener, key) => {
                self.follow(&[Key("listeners"), Key(listener), Key(key)])
            }
            Part::Pool(pool, key) => self.pool(pool, &[Key(key)]),
            Part::Backend(pool, tier, index) => {
                let tiers = [Key("tiers"), Index(tier)];
                let list = [tiers[0], tiers[1], Index(index)];
                let table = [tiers[0], tiers[1], Key("backends"), Index(index)];
                let only = [Key("backends"), Index(index)];
                let all = [&only[..], &table, &list].map(|steps| self.pool(pool, steps));
                all.into_iter().flatten().max_by_key(|(depth, _)| *depth)
            }
        };
        found.map_or(Reports::BEGINNING, |(_, at)| at)
    }

    /// Follows steps from a pool, or else from the command line of its name.
    fn pool(&self, pool: &str, steps: &[Step<'_>]) -> Option<(usize, At)> {
        let from = |table| [&[Step::Key(table), Step::Key(pool)], steps].concat();
        let (pool, line) = (self.follow(&from("pools")), self.follow(&from("listeners")));
        [pool, line].into_iter().flatten().max_by_key(|(depth, _)| *depth)
    }

    /// The place after these steps, or as many of them as there are, and how many that is.
    fn follow(&self, steps: &[Step<'_>]) -> Option<(usize, At)> {
        let mut entries = &self.entries[..];
        let mut found: Option<(usize, At)> = None;
        let mut list: &[Node] = &[];
        for (depth, step) in steps.iter().enumerate() {
            let (node, at) = match step {
                Step::Key(name) => match entries.iter().find(|entry| entry.key == *name) {
                    Some(entry) => (&entry.node, &entry.at),
                    None => break,
                },
                Step::Index(index) => match list.get(*index) {
                    Some(node) => (node, &node.at),
                    None => break,
                },
            };
            (entries, list) = (&[], &[]);
            let at = match &node.value {
                Value::Table(inside) => {
                    entries = inside;
                    at
                }
                Value::List(nodes) => {
                    list = nodes;
                    &node.at
                }
                _ => &node.at,
            };
            found = Some((depth + 1, at.clone()));
        }
        found
    }
}

fn place(part: Part<'_>) -> String {
    match part {
        Part::Process(_) => "process".to_owned(),
        Part::Bind(listener, _) | Part::Listener(listener, _) => format!("listeners.{listener}"),
        Part::Backend(pool, ..) | Part::Pool(pool, _) => format!("pools.{pool}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[listeners]
line = "81 a:1 ! b:2"
[listeners.web]
bind = [80, "unix:/run/web"]
pool = "web"
[pools.web]
tiers = [["a:1", "b:2"], { backends = ["c:3"] }]
[pools.db]
backends = ["d:4", { to = "e:5" }]
reject = "x:9"
[process]
user = "nobody"
"#;

    #[track_caller]
    fn check(part: Part<'_>, expected: &str) {
        let sources = [Source { name: "a".to_owned(), text: TEXT.to_owned() }];
        let mut places = Places::new(&sources);
        places.report(Code::File, part, "it is missing", "");
        let (reports, _) = places.finish();
        assert_eq!(&TEXT[reports[0].span.bytes.clone()], expected);
    }

    #[test]
    fn a_part_is_found_where_it_is_written() {
        check(Part::Process("user"), "\"nobody\"");
        check(Part::Process("root"), "process");
        check(Part::Bind("web", 0), "80");
        check(Part::Bind("web", 1), "\"unix:/run/web\"");
        check(Part::Bind("line", 0), "\"81 a:1 ! b:2\"");
        check(Part::Backend("web", 0, 1), "\"b:2\"");
        check(Part::Backend("web", 1, 0), "\"c:3\"");
        check(Part::Backend("db", 0, 0), "\"d:4\"");
        check(Part::Backend("line", 1, 0), "\"81 a:1 ! b:2\"");
        check(Part::Pool("db", "reject"), "\"x:9\"");
    }
}
