//! Changes of rules as messages to the kernel (netlink(7), nf_tables).
//!
//! nft(8) takes some milliseconds to start, and some microseconds for each element. Services, doors and
//! targets of address translation are many and change often, so they bypass it, except where a table is
//! taken over, which has to be done in one step; everything else is text for nft(8). Both ways make the
//! same rules. The numbers are those of <linux/netfilter/nf_tables.h>.

mod attributes;
mod expression;

use crate::door::{Door, Family, Protocol};
use crate::render::{FlowTimeout, Four, counting_sets, door_map};
use crate::service::{Choice, Name, Service};
use crate::table_name::TableName;
use crate::target::{Mark, Sender, Target};
use crate::transaction::{Edit, Kind, Step};
use attributes::{Attributes, Verdict};
use balancing::KERNEL_SEED;
use expression::Register::{First, Second};
use expression::{Expression, Register};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A request to nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is to be done.
    pub kind: u16,
    /// How (`NLM_F_...`).
    pub flags: u16,
    /// With what.
    pub body: Vec<u8>,
}

/// These edits, in batches that are carried out one after the other, each of them wholly or not at
/// all, and those that only text can say.
///
/// A packet sees chains as they were when it came in, but elements as they are now. So doors come last:
/// the chains that they lead to have their rules by then.
#[must_use]
pub fn batches(table: &TableName, edits: &[Edit]) -> (Vec<Vec<Message>>, Vec<Edit>) {
    let table = table.to_string();
    let [mut inner, mut doors] = [0, 1].map(|_| Writer::new(&table));
    let mut others = Vec::new();
    for edit in edits {
        let Edit::Translated(step) = edit else {
            others.push(edit.clone());
            continue;
        };
        match step {
            Step::AddTarget(mark, target) => inner.target(NEW, *mark, target),
            Step::RemoveTarget(mark, target) => inner.target(DELETE, *mark, target),
            Step::AddService(_, Service { choice: Choice::Bytes { .. }, .. }) => {
                others.push(edit.clone())
            }
            Step::AddService(name, service) => inner.add_service(*name, service),
            Step::RemoveService(name, service) => inner.remove_service(*name, service),
            Step::AddMemory(..) => others.push(edit.clone()),
            Step::RemoveMemory(name) => inner.delete_set(&format!("k_{name}")),
            Step::OpenDoor(door, name) => doors.door(NEW, door, Some(*name)),
            Step::CloseDoor(door) => doors.door(DELETE, door, None),
        }
    }
    let all = [inner, doors].map(Writer::finish);
    (all.into_iter().filter(|it| !it.is_empty()).collect(), others)
}

/// The table that has an owner (`flags owner`, nft(8)): nobody can remove it as long as the socket
/// lives that has made it. It has no rules that do anything, but as long as it is there, the kernel goes
/// on translating the addresses of connections that rules of other tables have begun, when these are
/// gone.
#[must_use]
pub fn anchor(table: &TableName) -> Vec<Message> {
    let name = table.anchor();
    let mut writer = Writer::new(&name);
    writer.add(NEW_TABLE, CREATE, Attributes::default().text(1, &name).number(2, OWNED));
    // Beside those that translate, at each of the places where the kernel does.
    for (chain, place, priority) in
        [("pre", 0, -101_i32), ("in", 1, 99), ("out", 3, -101), ("post", 4, 99)]
    {
        let hook = Attributes::default().number(1, place).number(2, priority as u32);
        let chain = writer.named(3, chain).nest(4, &hook).text(7, "nat");
        writer.add(NEW_CHAIN, CREATE, chain);
    }
    // Connections are tracked only where a rule asks about them.
    writer.rule("pre", &[Expression::State]);
    writer.finish()
}

struct Writer<'a> {
    table: &'a str,
    messages: Vec<Message>,
    /// What is to be done with elements, by set or map: many of them go into one message.
    change: Change,
    elements: BTreeMap<String, Vec<Attributes>>,
}

impl<'a> Writer<'a> {
    fn new(table: &'a str) -> Self {
        let (messages, elements) = Default::default();
        Self { table, messages, change: NEW, elements }
    }

    fn finish(mut self) -> Vec<Message> {
        self.end_elements();
        self.messages
    }

    fn add(&mut self, kind: u16, flags: u16, attributes: Attributes) {
        self.end_elements();
        self.push(kind, flags, attributes);
    }

    fn push(&mut self, kind: u16, flags: u16, attributes: Attributes) {
        let family = [INET, 0, 0, 0]; // a `struct nfgenmsg`
        let body = [&family[..], &attributes.into_bytes()].concat();
        self.messages.push(Message { kind, flags, body });
    }

    /// The table, and the name of a part of it.
    fn named(&self, kind: u16, name: &str) -> Attributes {
        Attributes::default().text(1, self.table).text(kind, name)
    }

    fn target(&mut self, change: Change, mark: Mark, target: &Target) {
        let Target { address, sender } = target;
        let four = Four(target.family());
        let bits = mark.bits().to_ne_bytes();
        let port = [address.port().to_be_bytes(), [0; 2]].concat();
        let to = [octets(address.ip()), port].concat();
        self.element(change, &format!("to{four}"), element(&bits).value(2, &to));
        match sender {
            Sender::Machine => self.element(change, "masked", element(&bits)),
            Sender::Address(source) => {
                let from = element(&bits).value(2, &octets(*source));
                self.element(change, &format!("from{four}"), from);
            }
            Sender::Client => {}
        }
        for (set, has_direction) in counting_sets(Kind::Translated) {
            match has_direction {
                false => self.element(change, set, element(&bits)),
                true => [0, 1].into_iter().for_each(|direction| {
                    let key = [bits, [direction, 0, 0, 0]].concat();
                    self.element(change, set, element(&key));
                }),
            }
        }
    }

    fn door(&mut self, change: Change, door: &Door, service: Option<Name>) {
        let protocol = match door.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => UDP,
        };
        let [high, low] = door.port.unwrap_or_default().to_be_bytes();
        let rest = [protocol, 0, 0, 0, high, low, 0, 0];
        let key = [&door.address.map(octets).unwrap_or_default()[..], &rest].concat();
        let chain = service.map(|name| format!("s_{name}"));
        let element = match &chain {
            Some(chain) => element(&key).verdict(2, Verdict::Goto(chain)),
            None => element(&key),
        };
        self.element(change, door_map(door), element);
    }

    fn add_service(&mut self, name: Name, service: &Service) {
        let Service { family, slots, permitted, memory, .. } = service;
        let len = slots.len() as u32;
        let [map, usable, permitting] = ["m", "v", "p"].map(|it| format!("{it}_{name}"));
        let size = Attributes::default().number(1, len);
        let more = |set: Attributes| set.number(6, MARK).number(7, 4).nest(9, &size);
        self.add_set(&map, MAP, [NUMBER, 4], more, &turn_words(len));
        let slot = |(number, mark): (usize, &Mark)| {
            element(&(number as u32).to_ne_bytes()).value(2, &mark.bits().to_ne_bytes())
        };
        self.elements(NEW, &map, slots.iter().enumerate().map(slot));
        if let Some(ranges) = permitted {
            let key = match *family {
                Family::V4 => [ADDRESS4, 4],
                Family::V6 => [ADDRESS6, 16],
            };
            self.add_set(&permitting, INTERVALS, key, |it| it, &ADDRESS_WORDS);
            self.elements(NEW, &permitting, bounds(ranges).into_iter());
        }
        if memory.is_some() {
            self.add_set(&usable, 0, [MARK, 4], |it| it, &MARK_WORDS);
            let marks: BTreeSet<_> = slots.iter().collect();
            let marks = marks.into_iter().map(|it| element(&it.bits().to_ne_bytes()));
            self.elements(NEW, &usable, marks);
        }
        if let Some(seconds) = service.flow_seconds {
            self.add_flow_timeout(*family, seconds);
        }
        let chain = format!("s_{name}");
        self.add(NEW_CHAIN, CREATE, self.named(3, &chain));
        self.rules(&chain, name, service);
    }

    fn add_flow_timeout(&mut self, family: Family, seconds: u32) {
        let times = Attributes::default().number(1, seconds).number(2, seconds);
        let protocols = Attributes::default().bytes(1, &[0, number(family)[0]]).bytes(2, &[UDP]);
        let data = protocols.nest(3, &times);
        let object = self.named(2, &FlowTimeout(family, seconds).to_string());
        self.add(NEW_OBJECT, CREATE, object.number(3, FLOW_TIMEOUT).nest(4, &data));
    }

    /// The rules of a service's chain.
    fn rules(&mut self, chain: &str, name: Name, service: &Service) {
        use Expression as Do;
        let Service { family, choice, slots, permitted, memory, flow_seconds, adopts: _ } = service;
        let (family, modulus, seed) = (*family, slots.len() as u32, KERNEL_SEED);
        let [map, usable, permitting] = ["m", "v", "p"].map(|it| format!("{it}_{name}"));
        if permitted.is_some() {
            self.rule(
                chain,
                &with_source(family, [Do::Misses(&permitting), Do::Leave(Verdict::Return)]),
            );
        }
        let known = memory.map(|memory| format!("k_{memory}"));
        let mut deal = Vec::new();
        if let Some(known) = &known {
            self.rule(chain, &with_source(family, [Do::Find(known), Do::SetMark]));
            // An update would leave the old target in place.
            let mut forget = vec![Do::Mark(First), Do::Misses(&usable)];
            forget.extend(with_source(family, [Do::Mark(Second), Do::Delete(known)]));
            forget.extend([Do::Value([0; 4]), Do::SetMark]);
            self.rule(chain, &forget);
            deal.extend([Do::Mark(First), Do::Equals(&[0; 4])]);
        }
        match (choice, family) {
            (Choice::Bytes { .. }, _) => {} // only with direct return, and by text
            (Choice::Turn, _) => deal.push(Do::Turn(modulus)),
            (Choice::Random, _) => deal.push(Do::Random(modulus)),
            (Choice::Network, Family::V4) => {
                deal.extend(source(family, Second));
                deal.push(Do::Hash { bytes: 4, modulus, seed });
            }
            (Choice::Network, Family::V6) => {
                deal.extend([Do::SourceNetwork, Do::Hash { bytes: 8, modulus, seed }]);
            }
        }
        deal.extend([Do::Find(&map), Do::SetMark]);
        self.rule(chain, &deal);
        if let Some(known) = &known {
            self.rule(chain, &with_source(family, [Do::Mark(Second), Do::Update(known)]));
        }
        if let Some(seconds) = flow_seconds {
            let timeout = FlowTimeout(family, *seconds).to_string();
            self.rule(
                chain,
                &[Do::Transport, Do::Equals(&[UDP]), Do::Object(FLOW_TIMEOUT, &timeout)],
            );
        }
        let begin = format!("begin{}", Four(family));
        self.rule(chain, &[Do::Leave(Verdict::Goto(&begin))]);
    }

    fn remove_service(&mut self, name: Name, service: &Service) {
        self.add(DELETE_CHAIN, 0, self.named(3, &format!("s_{name}")));
        self.delete_set(&format!("m_{name}"));
        if service.permitted.is_some() {
            self.delete_set(&format!("p_{name}"));
        }
        if service.memory.is_some() {
            self.delete_set(&format!("v_{name}"));
        }
    }

    fn rule(&mut self, chain: &str, expressions: &[Expression<'_>]) {
        let rule = self.named(2, chain).nest(4, &Expression::all(expressions));
        self.add(NEW_RULE, CREATE | APPEND, rule);
    }

    /// A set of keys of this type and length, with `more` about it. nft(8) lists it by what `words` say.
    fn add_set(
        &mut self,
        name: &str,
        flags: u32,
        [key, length]: [u32; 2],
        more: impl Fn(Attributes) -> Attributes,
        words: &[u8],
    ) {
        let set = self.named(2, name).number(3, flags).number(4, key).number(5, length);
        let number = self.messages.len() as u32; // it has to be unique within a batch
        self.add(NEW_SET, CREATE, more(set).number(10, number).bytes(13, words));
    }

    fn delete_set(&mut self, name: &str) {
        self.add(DELETE_SET, 0, self.named(2, name));
    }

    fn element(&mut self, change: Change, set: &str, element: Attributes) {
        self.elements(change, set, [element].into_iter());
    }

    fn elements(&mut self, change: Change, set: &str, elements: impl Iterator<Item = Attributes>) {
        if self.change != change {
            self.end_elements();
            self.change = change;
        }
        match self.elements.get_mut(set) {
            Some(all) => all.extend(elements),
            None => drop(self.elements.insert(set.to_owned(), elements.collect())),
        }
    }

    fn end_elements(&mut self) {
        let Change { kind, flags } = self.change;
        for (set, elements) in std::mem::take(&mut self.elements) {
            for some in elements.chunks(ELEMENTS_MAX) {
                let list = some.iter().fold(Attributes::default(), |all, it| all.nest(1, it));
                self.push(kind, flags, self.named(2, &set).nest(3, &list));
            }
        }
    }
}

/// The number of an internet protocol.
fn number(family: Family) -> &'static [u8; 1] {
    match family {
        Family::V4 => &[2],
        Family::V6 => &[10],
    }
}

/// The client's address, if the packet is of this internet protocol.
fn source<'a>(family: Family, register: Register) -> [Expression<'a>; 3] {
    let address = Expression::Source(family, register);
    [Expression::Protocol, Expression::Equals(number(family)), address]
}

/// The same, and then these.
fn with_source<'a>(family: Family, last: [Expression<'a>; 2]) -> Vec<Expression<'a>> {
    source(family, First).into_iter().chain(last).collect()
}

/// What is done with elements.
#[derive(Clone, Copy, PartialEq)]
struct Change {
    kind: u16,
    flags: u16,
}

const NEW: Change = Change { kind: 12, flags: CREATE };
const DELETE: Change = Change { kind: 14, flags: 0 };
/// A list of elements has less than 64 kB, and each of them less than 128 bytes.
const ELEMENTS_MAX: usize = 500;

/// An element with this key.
fn element(key: &[u8]) -> Attributes {
    Attributes::default().value(1, key)
}

/// The bytes of an address.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(it) => it.octets().into(),
        IpAddr::V6(it) => it.octets().into(),
    }
}

/// The elements of a set of intervals: where each begins, and the first after each.
fn bounds(ranges: &[(IpAddr, IpAddr)]) -> Vec<Attributes> {
    let mut bounds: Vec<(IpAddr, bool)> = Vec::new();
    for (first, last) in ranges {
        match bounds.last() {
            Some((end, _)) if end == first => drop(bounds.pop()),
            _ => bounds.push((*first, false)),
        }
        let after = match last {
            IpAddr::V4(it) => it.to_bits().checked_add(1).map(|it| Ipv4Addr::from_bits(it).into()),
            IpAddr::V6(it) => it.to_bits().checked_add(1).map(|it| Ipv6Addr::from_bits(it).into()),
        };
        bounds.extend(after.map(|it| (it, true)));
    }
    let bound = |(at, is_end): (IpAddr, bool)| match is_end {
        true => element(&octets(at)).number(3, INTERVAL_END),
        false => element(&octets(at)),
    };
    bounds.into_iter().map(bound).collect()
}

const INET: u8 = 1;
/// The number of this protocol.
const UDP: u8 = 17;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_OBJECT: u16 = 18;
/// The type of objects that say how long connections may be silent.
const FLOW_TIMEOUT: u32 = 7;
/// The flag of a table with an owner.
const OWNED: u32 = 2;
/// The flags of sets.
const INTERVALS: u32 = 4;
const MAP: u32 = 8;
/// The flag of an element.
const INTERVAL_END: u32 = 1;
/// Types of keys and values (nft(8), `DATA TYPES`).
const NUMBER: u32 = 4;
const ADDRESS4: u32 = 7;
const ADDRESS6: u32 = 8;
const MARK: u32 = 19;

/// What nft(8) 1.0.6 writes beside a set to know again `typeof numgen inc mod N : meta mark`.
fn turn_words(modulus: u32) -> Vec<u8> {
    let [a, b, c, d] = modulus.to_ne_bytes();
    let key = [0, 4, 23, 0, 0, 0, 1, 18, 0, 4, 0, 0, 0, 0, 1, 4, a, b, c, d, 2, 4, 0, 0, 0, 0];
    let value = [0, 4, 9, 0, 0, 0, 1, 6, 0, 4, 3, 0, 0, 0];
    let order = [0, 4, 1, 0, 0, 0, 1, 4, 1, 0, 0, 0];
    [&order[..], &[3, 26], &key, &[4, 14], &value, &[6, 4, 0, 0, 0, 0]].concat()
}

/// Likewise, `typeof ct mark`.
const MARK_WORDS: [u8; 28] =
    [0, 4, 1, 0, 0, 0, 3, 20, 0, 4, 12, 0, 0, 0, 1, 12, 0, 4, 3, 0, 0, 0, 1, 4, 255, 255, 255, 255];

/// Likewise, `type ipv4_addr` and `type ipv6_addr`.
const ADDRESS_WORDS: [u8; 6] = [0, 4, 2, 0, 0, 0];
