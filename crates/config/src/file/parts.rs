//! The parts of a file: its listeners, pools and settings, whichever way they were written. What
//! their values mean is not looked at yet.

mod line;

use super::Code;
use super::report::{At, Fault, Reports};
use super::walk::{Item, Member, Named, Table, Text};
use crate::keys::{Key, Shape};
use crate::words::Choice;
use crate::{Protocol, operand};

/// All parts of a configuration.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) process: Vec<Setting>,
    pub(super) watch: bool,
    pub(super) upgrade_drain: Option<Word>,
    pub(super) otlp: Option<Word>,
    pub(super) otlp_interval: Option<Word>,
    pub(super) access: AccessPart,
    pub(super) defaults: Vec<Setting>,
    /// The reject backend of `[defaults]`, if it is written as a table.
    pub(super) default_reject: Option<BackendPart>,
    pub(super) listeners: Vec<ListenerPart>,
    pub(super) pools: Vec<PoolPart>,
    /// The names of listeners and pools that could not be read, which was reported.
    pub(super) unread: Vec<String>,
}

/// Who may use the admin socket, and where else it is served.
#[derive(Debug, Default)]
pub(super) struct AccessPart {
    pub(super) viewers: Vec<Word>,
    pub(super) operators: Vec<Word>,
    pub(super) admins: Vec<Word>,
    pub(super) view_socket: Option<Word>,
    pub(super) listen: Option<Word>,
    pub(super) tokens: Option<Word>,
    pub(super) tap: Option<Word>,
}

/// An option with its value.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: &'static Key,
    /// The text, for other options than flags.
    pub(super) text: Option<String>,
    /// Whether it is set. Only a flag can be false.
    pub(super) is_set: bool,
    /// Where the value is written, or the flag.
    pub(super) at: At,
    /// How strings are quoted there.
    pub(super) quote: &'static str,
}

/// A word with its place.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: At,
}

#[derive(Debug)]
pub(super) struct ListenerPart {
    pub(super) name: String,
    pub(super) binds: Vec<Word>,
    /// The protocol of the names among the addresses.
    pub(super) family: Option<Word>,
    /// Absent if that was reported.
    pub(super) pool: Option<Word>,
    pub(super) routes: Vec<RoutePart>,
    pub(super) hello_wait: Option<Word>,
    pub(super) starttls: Option<Word>,
    pub(super) dummy: bool,
    pub(super) settings: Vec<Setting>,
}

#[derive(Debug)]
pub(super) struct RoutePart {
    pub(super) at: At,
    pub(super) sni: Vec<Word>,
    pub(super) alpn: Vec<Word>,
    /// Whether it has neither, not even with a value that was reported.
    pub(super) is_for_all: bool,
    /// Absent if that was reported.
    pub(super) pool: Option<Word>,
}

#[derive(Debug)]
pub(super) struct PoolPart {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) fixed_places: bool,
    pub(super) settings: Vec<Setting>,
    /// False if the file has a policy that does not exist.
    pub(super) is_policy_known: bool,
    /// The reject backend, if it is written as a table.
    pub(super) reject: Option<BackendPart>,
    pub(super) tiers: Vec<TierPart>,
}

#[derive(Debug)]
pub(super) struct TierPart {
    /// If absent, the pool's.
    pub(super) policy: Option<String>,
    pub(super) backends: Vec<BackendPart>,
}

#[derive(Debug)]
pub(super) enum BackendPart {
    Operand(Word),
    Table(Box<BackendTable>),
}

#[derive(Debug)]
pub(super) struct BackendTable {
    pub(super) to: Word,
    pub(super) name: Option<Word>,
    pub(super) max_sessions: Option<Word>,
    pub(super) max_affine: Option<Word>,
    pub(super) weight: Option<Word>,
    pub(super) priority: Option<Word>,
    pub(super) access: Vec<Setting>,
    pub(super) send_proxy: Option<Word>,
    pub(super) tls: Option<Word>,
    pub(super) tls_name: Option<Word>,
    pub(super) admin: Option<Word>,
}

impl ListenerPart {
    /// The names of its pools; `None` for one whose absence was reported.
    pub(super) fn pools(&self) -> impl Iterator<Item = Option<&Word>> {
        let routed = self.routes.iter().map(|route| route.pool.as_ref());
        std::iter::once(self.pool.as_ref()).chain(routed)
    }
}

impl Text {
    fn word(&self) -> Word {
        Word { text: self.value().to_owned(), at: self.at() }
    }
}

/// The parts of the file's table. Reports what is left to be seen in its tables: pools without
/// backends, and command lines that are not understood.
pub(super) fn parts(file: &Table, reports: &mut Reports<'_>) -> Parts {
    let mut parts = Parts::default();
    for Member { key, item, .. } in &file.members {
        match (key.name, item) {
            ("process", Item::Table(table)) => {
                parts.process = settings(table);
                parts.watch = table.flag("watch");
                let word = |name| table.text(name).map(Text::word);
                parts.upgrade_drain = word("upgrade-drain");
                (parts.otlp, parts.otlp_interval) = (word("otlp"), word("otlp-interval"));
                parts.access = access(table);
            }
            ("defaults", Item::Table(table)) => {
                parts.defaults = settings(table);
                parts.default_reject = reject(table);
            }
            ("pools", Item::Named(all)) => {
                for named in all {
                    match pool(named, reports) {
                        Some(pool) => parts.pools.push(pool),
                        None => parts.unread.push(named.name.clone()),
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(Item::Named(all)) = file.get("listeners") {
        all.iter().for_each(|named| listener(named, &mut parts, reports));
    }
    parts
}

fn listener(named: &Named, parts: &mut Parts, reports: &mut Reports<'_>) {
    match &named.item {
        Some(Item::Text(text)) => match line::parts(named, text, reports) {
            Some((listener, pool)) => {
                parts.listeners.push(listener);
                parts.pools.push(pool);
            }
            None => parts.unread.push(named.name.clone()),
        },
        Some(Item::Table(table)) => parts.listeners.push(ListenerPart {
            name: named.name.clone(),
            binds: {
                let protocol = table.text("protocol").map(Text::word);
                let protocol = protocol.and_then(|word| Protocol::from_word(&word.text));
                each_protocol(texts(table.get("bind")), protocol)
            },
            family: table.text("family").map(Text::word),
            pool: table.text("pool").map(Text::word),
            routes: table.member("routes").map(routes).unwrap_or_default(),
            hello_wait: table.text("hello-wait").map(Text::word),
            starttls: table.text("starttls").map(Text::word),
            dummy: table.flag("dummy"),
            settings: settings(table),
        }),
        _ => parts.unread.push(named.name.clone()),
    }
}

fn access(table: &Table) -> AccessPart {
    let word = |name| table.text(name).map(Text::word);
    AccessPart {
        viewers: texts(table.get("viewers")),
        operators: texts(table.get("operators")),
        admins: texts(table.get("admins")),
        view_socket: word("view-socket"),
        listen: word("admin-listen"),
        tokens: word("admin-tokens"),
        tap: word("tap"),
    }
}

/// The addresses, once for each of their protocols.
fn each_protocol(words: Vec<Word>, default: Option<Protocol>) -> Vec<Word> {
    let each = |word: Word| {
        let operands = operand::each_protocol(&word.text, default);
        operands.into_iter().map(move |text| Word { text, at: word.at.clone() })
    };
    words.into_iter().flat_map(each).collect()
}

fn routes(member: &Member) -> Vec<RoutePart> {
    let routes = items(&member.item).iter().filter_map(|item| match item {
        Item::Table(table) => Some(RoutePart {
            at: table.members.first().map_or(&member.at, |first| &first.at).clone(),
            sni: texts(table.get("sni")),
            alpn: texts(table.get("alpn")),
            is_for_all: !table.has("sni") && !table.has("alpn"),
            pool: table.text("pool").map(Text::word),
        }),
        _ => None,
    });
    routes.collect()
}

fn pool(named: &Named, reports: &mut Reports<'_>) -> Option<PoolPart> {
    let Some(Item::Table(table)) = &named.item else { return None };
    let place = format!("pools.{}", named.name);
    let tiers = match (table.member("backends"), table.member("tiers")) {
        (Some(_), Some(tiers)) => {
            let message = "a pool has either `backends` or `tiers`";
            let fault = Fault::new(Code::Conflict, &tiers.at, message).place(place);
            reports.add(fault.help("remove one of the two; `backends` is a single tier"));
            Vec::new()
        }
        (Some(backends), None) => vec![tier(&backends.item)],
        (None, Some(tiers)) => items(&tiers.item).iter().map(tier).collect(),
        (None, None) => {
            if !table.has("backends") && !table.has("tiers") {
                let fault = Fault::new(Code::NoBackends, &named.at, "this pool has no backends");
                reports
                    .add(fault.place(place).help("add `backends = [\"app1:8080\"]`, or `tiers`"));
            }
            Vec::new()
        }
    };
    Some(PoolPart {
        name: named.name.clone(),
        at: named.at.clone(),
        fixed_places: table.flag("fixed-places"),
        settings: settings(table),
        reject: reject(table),
        is_policy_known: table.get("policy").is_some() || !table.has("policy"),
        tiers,
    })
}

/// A reject backend that is written as a table. As a string, it is a setting like others.
fn reject(table: &Table) -> Option<BackendPart> {
    table.get("reject").filter(|item| matches!(item, Item::Table(_))).and_then(backend)
}

fn tier(item: &Item) -> TierPart {
    let (policy, backends) = match item {
        Item::Table(table) => (table.text("policy"), table.get("backends").map(items)),
        list => (None, Some(items(list))),
    };
    let policy = policy.map(|text| text.value().to_owned());
    let backends = backends.unwrap_or_default().iter().filter_map(backend).collect();
    TierPart { policy, backends }
}

fn backend(item: &Item) -> Option<BackendPart> {
    let table = match item {
        Item::Text(text) => return Some(BackendPart::Operand(text.word())),
        Item::Table(table) => table,
        _ => return None,
    };
    let word = |name: &str| table.text(name).map(Text::word);
    Some(BackendPart::Table(Box::new(BackendTable {
        to: word("to")?,
        name: word("name"),
        max_sessions: word("max-sessions"),
        max_affine: word("max-affine"),
        weight: word("weight"),
        priority: word("priority"),
        access: settings(table),
        send_proxy: word("send-proxy"),
        tls: word("backend-tls"),
        tls_name: word("backend-tls-name"),
        admin: word("admin"),
    })))
}

/// The options of a table. Of a backend, only the access list is one.
fn settings(table: &Table) -> Vec<Setting> {
    let mut settings = Vec::new();
    for Member { key, at, item } in &table.members {
        if !key.is_option() && key.name != "access" {
            continue;
        }
        let mut add = |text: Option<String>, is_set: bool, at: At| {
            settings.push(Setting { key, text, is_set, at, quote: "\"" });
        };
        match item {
            Item::Flag(flag) => add(None, *flag, at.clone()),
            Item::Text(text) => add(Some(text.value().to_owned()), true, text.at()),
            Item::List(_) => {
                texts(Some(item)).into_iter().for_each(|it| add(Some(it.text), true, it.at))
            }
            Item::Table(_) | Item::Named(_) => {}
        }
    }
    settings
}

fn items(item: &Item) -> &[Item] {
    match item {
        Item::List(items) => items,
        _ => &[],
    }
}

fn texts(item: Option<&Item>) -> Vec<Word> {
    let texts = item.map(items).unwrap_or_default().iter().filter_map(|item| match item {
        Item::Text(text) => Some(text.word()),
        _ => None,
    });
    texts.collect()
}

/// Whether an option stands by itself on a command line.
fn is_flag(key: &Key) -> bool {
    key.shape == Shape::Flag
}
