//! The process that may change what the kernel does: it carries out what another process asks, which
//! is to make, change or remove the rules of one instance, and starts no program but nft(8).

use super::around::Around;
use super::claim::Claim;
use super::hosting::Hosting;
use super::nft_calls::run;
use super::sessions::{MARKED, Open, Wanted};
use forwarding::{Edit, Kind, Mark, Message, Part, TableName, batches, change, clear, install};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use sys::nftables::{Counter, Socket, read_counters};
use sys::tracking::{Connection, count_and_time, forget, forget_marked, list, setting};

/// What the helper is asked.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Replace the tables by what these steps make of nothing.
    Install(Vec<Edit>),
    /// Change the tables.
    Change(Vec<Edit>),
    /// Say what has been counted in the tables.
    Count,
    /// Say how many sessions are open.
    CountOpen,
    /// List open sessions.
    List(Wanted),
    /// End the sessions with these marks.
    Forget(Vec<u32>),
    /// End the one of the connection of this number, if it has one of these marks.
    ForgetOne(u32, Vec<u32>),
    /// Say whether the tables are there.
    Check,
    /// Say what is on the networks of this machine, and where these are.
    Look(Vec<IpAddr>),
    /// Remove the tables.
    Clear,
}

/// A request, or the answer to that of the same number.
#[derive(Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub number: u64,
    pub content: T,
}

/// What has been counted for a mark since the tables were made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub sessions: u64,
    /// Those that the target has refused, as far as it is known.
    pub refusals: u64,
    /// Bytes of packets, from clients and to them.
    pub bytes: [u64; 2],
}

/// The counters that have changed since they were last read, and how full the kernel's table of connections is.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub marks: Vec<(u32, Counted)>,
    pub connections: u64,
    pub connections_max: u64,
}

/// What it answers.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// It has begun in place of one that was killed, which may have left a request without an answer.
    Begun,
    /// It is done.
    Done {
        /// Whether the kernel forwards packets of IPv4 and IPv6 to other machines.
        forwards: [bool; 2],
    },
    /// It was counted.
    Counted(Counters),
    /// It was counted.
    Open {
        /// The open sessions, by mark.
        by_mark: Vec<(u32, u64)>,
        /// Those that have ended since then.
        over: Vec<Connection>,
    },
    /// They are open.
    Listed(Vec<Open>),
    /// It was seen.
    Seen(Around),
    /// All tables are there.
    There,
    /// They have ended.
    Forgotten {
        /// Whether there were any, as far as it is known.
        is_there: bool,
    },
    /// Nothing has changed; why.
    Failed(String),
}

/// Carries out requests until there are no more. If it is killed, another one goes on
/// ([`sys::programs::oversee`]), which knows nothing until it has made the tables anew.
pub(super) fn serve(mut stream: &UnixStream, nft: &Path, table: &TableName, is_again: bool) {
    let begun = Numbered { number: 0, content: Answer::Begun };
    if is_again && send(&mut stream, &begun).is_err() {
        return;
    }
    // Without it, it works as well.
    let _claim = Claim::new(table);
    let mut kinds = BTreeSet::new();
    let mut hosting = Hosting::default();
    let (mut anchor, mut socket) = (None, None);
    let mut counted = BTreeMap::new();
    let mut over = BTreeSet::new();
    let mut is_new = true;
    while let Ok(Numbered { number, content: request }) = receive(&mut stream) {
        let answer = match request {
            Request::Change(_) | Request::Count | Request::Check if is_new => {
                Err(io::Error::other("the helper has begun anew"))
            }
            Request::Install(edits) => {
                is_new = false;
                kinds.clear();
                note_kinds(&mut kinds, &edits);
                hosting.begin(nft, table);
                hosting.want(&edits);
                let installed = present(table).and_then(|found| match found.is_empty() {
                    true => begin(nft, table, &edits, &mut socket),
                    false => take_over(nft, table, &edits, &found),
                });
                // Without it, listed and reported sessions have no bytes and times.
                let _ = count_and_time();
                installed.and_then(|()| hosting.carry_out()).map(|()| Answer::done())
            }
            Request::Change(edits) => {
                note_kinds(&mut kinds, &edits);
                hosting.want(&edits);
                let (batches, others) = batches(table, &edits);
                let changed = match others.is_empty() {
                    true => carry_out(&mut socket, &batches),
                    false => run(nft, &change(table, &edits, setting("max"))),
                };
                changed.and_then(|()| hosting.carry_out()).map(|()| Answer::done())
            }
            Request::Clear => {
                let mut doomed = vec![Kind::Translated, Kind::Pit];
                let is_there = present(table).is_ok_and(|it| it.contains_key(&Kind::Direct));
                if kinds.contains(&Kind::Direct) || is_there {
                    doomed.push(Kind::Direct);
                }
                kinds.clear();
                hosting.begin(nft, table);
                let alone = hosting.carry_out();
                run(nft, &clear(table, &doomed)).and(alone).map(|()| Answer::done())
            }
            Request::Check => check(table, &kinds).map(|()| Answer::There),
            Request::Count => count(table, &kinds, &mut counted).map(Answer::Counted),
            Request::CountOpen => count_open(&mut over),
            Request::List(wanted) => wanted.find().map(Answer::Listed),
            Request::Forget(marks) => {
                forget_marked(marks).map(|()| Answer::Forgotten { is_there: true })
            }
            Request::ForgetOne(connection, marks) => {
                forget(connection, |it| marks.contains(&it), MARKED)
                    .map(|is_there| Answer::Forgotten { is_there })
            }
            Request::Look(addresses) => Around::look(&addresses).map(Answer::Seen),
        };
        // Without it, as before Linux 5.12, connections end if somebody else removes the table.
        match kinds.contains(&Kind::Translated) {
            true if anchor.is_none() => {
                let _ = carry_out(&mut anchor, &[forwarding::anchor(table)]);
            }
            true => {}
            false => anchor = None,
        }
        let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
        if send(&mut stream, &Numbered { number, content: answer }).is_err() {
            return;
        }
    }
}

impl Answer {
    fn done() -> Self {
        Self::Done { forwards: FORWARDING.map(is_on) }
    }
}

/// Makes the tables where there are none: what can be said to the kernel itself does not go by nft(8),
/// which takes its time for each element.
fn begin(
    nft: &Path,
    table: &TableName,
    edits: &[Edit],
    socket: &mut Option<Socket>,
) -> io::Result<()> {
    let (batches, others) = batches(table, edits);
    run(nft, &install(table, &others, &BTreeMap::new(), setting("max")))?;
    carry_out(socket, &batches)
}

/// Makes the tables of those that were found, in one go.
fn take_over(
    nft: &Path,
    table: &TableName,
    edits: &[Edit],
    found: &BTreeMap<Kind, Vec<Part>>,
) -> io::Result<()> {
    let text = |found: &_| install(table, edits, found, setting("max"));
    // What cannot be taken over, such as that of another version, is replaced.
    run(nft, &text(found)).or_else(|_| {
        let doomed: Vec<_> = found.keys().copied().collect();
        run(nft, &(clear(table, &doomed) + &text(&BTreeMap::new())))
    })
}

/// Carries out batches through this socket, and opens one if there is none. It stays open unless a batch
/// fails: closing it takes the kernel some milliseconds.
fn carry_out(socket: &mut Option<Socket>, batches: &[Vec<Message>]) -> io::Result<()> {
    let open = match socket.take() {
        Some(open) => open,
        None => Socket::new()?,
    };
    for batch in batches {
        open.carry_out(batch.iter().map(|it| (it.kind, it.flags, &*it.body)))?;
    }
    *socket = Some(open);
    Ok(())
}

/// Which tables there are after these edits, or may be.
fn note_kinds(kinds: &mut BTreeSet<Kind>, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::BeginTranslated | Edit::BeginDirect => drop(kinds.insert(edit.kind())),
            Edit::EndTranslated | Edit::EndDirect => drop(kinds.remove(&edit.kind())),
            _ => {}
        }
    }
}

/// What there is to be taken over, by kind.
fn present(table: &TableName) -> io::Result<BTreeMap<Kind, Vec<Part>>> {
    let mut present = BTreeMap::new();
    let name = table.to_string();
    for kind in [Kind::Translated, Kind::Direct] {
        let at = (kind.family(), &*name);
        let parts = sys::nftables::parts(at)?;
        let mut all = Vec::new();
        if parts.sets.iter().any(|it| it == COUNTED) {
            all.extend(marks(kind, table)?.into_iter().map(Part::Target));
        }
        all.extend(parts.chains.into_iter().map(Part::Chain));
        all.extend(parts.maps.into_iter().map(Part::Map));
        all.extend(parts.sets.into_iter().map(Part::Set));
        if !all.is_empty() {
            present.insert(kind, all);
        }
    }
    Ok(present)
}

/// The marks of a table's targets.
///
/// # Errors
/// If the table has no such set, or the kernel does not say.
pub(super) fn marks(kind: Kind, table: &TableName) -> io::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    read_counters((kind.family(), &table.to_string()), COUNTED, |key, _| {
        let bits = key.first_chunk().map(|it| u32::from_ne_bytes(*it));
        marks.extend(bits.and_then(Mark::from_bits));
    })?;
    Ok(marks)
}

/// The set with an element for each target whose sessions are counted.
const COUNTED: &str = "begun";

const FORWARDING: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];

fn is_on(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

/// Checks that the tables of these kinds are there.
///
/// # Errors
/// If one is missing, or the kernel does not say.
fn check(table: &TableName, kinds: &BTreeSet<Kind>) -> io::Result<()> {
    let name = table.to_string();
    let tables: Vec<_> = kinds.iter().map(|kind| (kind.family(), &*name)).collect();
    match sys::nftables::has_tables(&tables)? {
        true => Ok(()),
        false => Err(io::Error::other("somebody else has removed a table")),
    }
}

/// Reads the counters of the tables. `before` has what they were, and is brought up to date.
fn count(
    table: &TableName,
    kinds: &BTreeSet<Kind>,
    before: &mut BTreeMap<u32, Counted>,
) -> io::Result<Counters> {
    let mut marks: BTreeMap<u32, Counted> = BTreeMap::new();
    let table = table.to_string();
    for kind in kinds {
        let mut read = |set: &str, add: fn(&mut Counted, bool, Counter)| {
            read_counters((kind.family(), &table), set, |key, counter| {
                let mut words = key.chunks_exact(4);
                let Some(mark) = words.next().and_then(|it| it.first_chunk()) else { return };
                // What comes back does not pass here if there is no direction.
                let is_reply = words.next().is_some_and(|it| it[0] != 0);
                add(marks.entry(u32::from_ne_bytes(*mark)).or_default(), is_reply, counter);
            })
        };
        match kind {
            Kind::Translated | Kind::Direct => {
                read(COUNTED, |counted, _, counter| counted.sessions += counter.packets)?;
                read("passed", |counted, is_reply, counter| {
                    counted.bytes[usize::from(is_reply)] += counter.bytes;
                })?;
            }
            Kind::Pit => {}
        }
        if *kind == Kind::Translated {
            read("refused", |counted, _, counter| counted.refusals += counter.packets)?;
        }
    }
    let (connections, connections_max) = (setting("count"), setting("max"));
    let is_news = |(mark, now): &(&u32, &Counted)| before.get(mark) != Some(now);
    let news = marks.iter().filter(is_news).map(|(mark, now)| (*mark, *now)).collect();
    *before = marks;
    Ok(Counters { marks: news, connections, connections_max })
}

/// How many ends of sessions to tell of at once; they must fit into one message.
const OVER_MAX: usize = 50_000;

/// Counts open sessions, and tells which have ended. `told` has the connections of those of which it
/// has told before, and is brought up to date.
fn count_open(told: &mut BTreeSet<u32>) -> io::Result<Answer> {
    let (mut open, mut over, mut all_over) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    list(MARKED, |connection| match connection.is_over() {
        true => {
            if told.contains(&connection.id) {
                all_over.insert(connection.id);
            } else if over.len() < OVER_MAX {
                all_over.insert(connection.id);
                over.push(connection);
            }
        }
        false => *open.entry(connection.mark).or_default() += 1,
    })?;
    *told = all_over;
    Ok(Answer::Open { by_mark: open.into_iter().collect(), over })
}

/// Sends one message.
pub(super) fn send(stream: &mut &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&text)
}

/// Waits for one message.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(stream: &mut &UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// More than the table of the largest pool needs.
const MESSAGE_MAX: u32 = 64 << 20;
