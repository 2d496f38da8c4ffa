//! Rule sets as text for `nft -f` (nft(8)).
//!
//! Only forms that nft 1.0.6 reads and lists: keys of slot maps are declared by `typeof numgen`,
//! because it fails to list those declared by `typeof jhash`.

mod adoption;
mod direct;

pub use adoption::Part;
pub(crate) use adoption::counting_sets;

use crate::direct::Path;
use crate::door::{Door, Family, Protocol};
use crate::pit::Pit;
use crate::service::{Choice, Memory, Name, Service};
use crate::table_name::TableName;
use crate::target::{Mark, Sender, Target};
use crate::transaction::{Edit, Kind, Step};
use balancing::KERNEL_SEED;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::Ipv4Addr;

impl Kind {
    /// The family of its table (nft(8)).
    #[must_use]
    pub fn family(self) -> &'static str {
        match self {
            Self::Translated => "inet",
            Self::Direct => "netdev",
            Self::Pit => "ip",
        }
    }
}

/// The tables after these steps, which begin with none, in the place of those that there may be.
/// `present` lists what an earlier process has left, by kind of table. Known flows and clients and the
/// counters of targets are kept. `connections_max` as for [`change`].
#[must_use]
pub fn install(
    table: &TableName,
    edits: &[Edit],
    present: &BTreeMap<Kind, Vec<Part>>,
    connections_max: u64,
) -> String {
    let mut text = clear(table, &[Kind::Pit]);
    for (kind, begin) in
        [(Kind::Translated, Edit::BeginTranslated), (Kind::Direct, Edit::BeginDirect)]
    {
        match present.get(&kind) {
            Some(parts) if edits.contains(&begin) => {
                text.push_str(&adoption::empty(table, kind, edits, parts));
            }
            Some(_) => text.push_str(&clear(table, &[kind])),
            None => {}
        }
    }
    text.push_str(&change(table, edits, connections_max));
    text
}

/// No tables of these kinds.
#[must_use]
pub fn clear(table: &TableName, kinds: &[Kind]) -> String {
    let families = kinds.iter().map(|kind| kind.family());
    families
        .map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n"))
        .collect()
}

/// These edits. `connections_max` is how many connections the kernel can track
/// (`net.netfilter.nf_conntrack_max`), 0 if that is not known.
#[must_use]
pub fn change(table: &TableName, edits: &[Edit], connections_max: u64) -> String {
    let mut writer = Writer::new(table);
    for edit in edits {
        let family = edit.kind().family();
        writer.turn_to(family);
        match edit {
            Edit::BeginTranslated => {
                writer.line(format_args!("table inet {table} {{\n{}}}", base(connections_max)));
            }
            Edit::BeginDirect => writer.text(&direct::base(table)),
            Edit::EndTranslated | Edit::EndDirect => {
                writer.line(format_args!("delete table {family} {table}"));
            }
            Edit::Translated(step) => writer.step(step),
            Edit::Direct(step) => writer.step(step),
            Edit::Watch(number, name) => writer.watch(*number, name),
            Edit::Unwatch(number) => {
                writer.line(format_args!("delete chain netdev {table} in_{number}"));
            }
            Edit::Host(address) => writer.element("add", "hosted4", address),
            Edit::Unhost(address) => writer.element("delete", "hosted4", address),
            Edit::Dig(pit) => writer.dig(pit),
            Edit::FillIn => writer.text(&clear(table, &[Kind::Pit])),
        }
    }
    writer.finish()
}

/// What is said of the target of a session, and of a service that chooses one.
trait Written {
    /// Adds or removes a target.
    fn write(&self, writer: &mut Writer<'_>, verb: &str, mark: Mark);
    /// Adds a service.
    fn serve(writer: &mut Writer<'_>, name: Name, service: &Service);
    /// Whether a service has a set of its targets, for those of sessions or clients that it remembers.
    fn recalls(service: &Service) -> bool;
    /// The chain that clients of this protocol meet first.
    fn first_chain(protocol: Protocol) -> &'static str;
    /// All chains of a service, those first that lead to others.
    const CHAINS: &'static [&'static str];
}

impl Written for Target {
    fn write(&self, writer: &mut Writer<'_>, verb: &str, mark: Mark) {
        writer.target(verb, mark, self);
    }

    fn serve(writer: &mut Writer<'_>, name: Name, service: &Service) {
        writer.service(name, service);
    }

    fn recalls(service: &Service) -> bool {
        service.memory.is_some()
    }

    fn first_chain(_: Protocol) -> &'static str {
        "s"
    }

    const CHAINS: &'static [&'static str] = &["s"];
}

impl Written for Option<Path> {
    fn write(&self, writer: &mut Writer<'_>, verb: &str, mark: Mark) {
        writer.path(verb, mark, self.as_ref());
    }

    fn serve(writer: &mut Writer<'_>, name: Name, service: &Service) {
        writer.returning(name, service);
    }

    fn recalls(_: &Service) -> bool {
        true
    }

    fn first_chain(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Tcp => "s",
            Protocol::Udp => "d",
        }
    }

    const CHAINS: &'static [&'static str] = &["s", "n", "d"];
}

struct Writer<'a> {
    table: &'a TableName,
    /// Of the table (nft(8)).
    family: &'static str,
    text: String,
    /// What is to be done with elements, by set or map: one command for many of them takes nft(8) half
    /// as long.
    verb: String,
    elements: BTreeMap<String, Vec<String>>,
}

impl<'a> Writer<'a> {
    fn new(table: &'a TableName) -> Self {
        let (text, verb, elements) = Default::default();
        Self { table, family: "", text, verb, elements }
    }

    /// Goes on with the table of this family.
    fn turn_to(&mut self, family: &'static str) {
        if self.family != family {
            self.end_elements();
            self.family = family;
        }
    }

    fn finish(mut self) -> String {
        self.end_elements();
        self.text
    }

    fn text(&mut self, text: &str) {
        self.end_elements();
        self.text.push_str(text);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        self.end_elements();
        let _ = writeln!(self.text, "{line}"); // a string takes everything
    }

    fn element(&mut self, verb: &str, set: &str, element: impl fmt::Display) {
        if self.verb != verb {
            self.end_elements();
            verb.clone_into(&mut self.verb);
        }
        self.elements.entry(set.to_owned()).or_default().push(element.to_string());
    }

    fn end_elements(&mut self) {
        let (family, table, verb) = (self.family, self.table, &self.verb);
        for (set, elements) in std::mem::take(&mut self.elements) {
            let elements = elements.join(", ");
            let _ = writeln!(self.text, "{verb} element {family} {table} {set} {{ {elements} }}");
        }
    }

    fn step<T: Written>(&mut self, step: &Step<T>) {
        let (at, table) = (self.family, self.table);
        match step {
            Step::AddTarget(mark, target) => target.write(self, "add", *mark),
            Step::RemoveTarget(mark, target) => target.write(self, "delete", *mark),
            Step::AddService(name, service) => T::serve(self, *name, service),
            Step::RemoveService(name, service) => {
                for chain in T::CHAINS {
                    self.line(format_args!("delete chain {at} {table} {chain}_{name}"));
                }
                if !service.slots.is_empty() {
                    self.line(format_args!("delete map {at} {table} m_{name}"));
                }
                if service.permitted.is_some() {
                    self.line(format_args!("delete set {at} {table} p_{name}"));
                }
                if T::recalls(service) {
                    self.line(format_args!("delete set {at} {table} v_{name}"));
                }
            }
            Step::AddMemory(name, memory) => self.memory(*name, memory),
            Step::RemoveMemory(name) => {
                self.line(format_args!("delete map {at} {table} k_{name}"));
            }
            Step::OpenDoor(door, name) => {
                let (key, chain) = (door_key(door), T::first_chain(door.protocol));
                self.element("add", door_map(door), format_args!("{key} : goto {chain}_{name}"));
            }
            Step::CloseDoor(door) => {
                self.element("delete", door_map(door), door_key(door));
            }
        }
    }

    /// A connection is not tracked, and the answer to its first packet is the kernel's own
    /// (nft(8), `synproxy`), which says that there is no room for data.
    fn dig(&mut self, pit: &Pit) {
        let table = self.table;
        self.text(&clear(table, &[Kind::Pit]));
        self.line(format_args!("table ip {table} {{"));
        let ranges = pit.ranges().iter().map(|(first, last)| range(first, last));
        self.filled(format_args!("set pit {{ type ipv4_addr; flags interval;"), ranges);
        self.text(
            "  chain raw { type filter hook prerouting priority raw;
    ip daddr @pit tcp flags & (fin|syn|rst|ack) == syn notrack accept
    ip daddr @pit drop
  }
  chain in { type filter hook input priority filter;
    ip daddr @pit tcp flags & (fin|syn|rst|ack) == syn synproxy mss 1460
    ip daddr @pit drop
  }
",
        );
        self.line(format_args!("}}"));
    }

    fn target(&mut self, verb: &str, mark: Mark, target: &Target) {
        let Target { address, sender } = target;
        let (four, ip, port) = (Four(target.family()), address.ip(), address.port());
        self.element(verb, &format!("to{four}"), format_args!("{mark} : {ip} . {port}"));
        match sender {
            Sender::Machine => self.element(verb, "masked", mark),
            Sender::Address(source) => {
                self.element(verb, &format!("from{four}"), format_args!("{mark} : {source}"));
            }
            Sender::Client => {}
        }
        self.counters(verb, Kind::Translated, mark);
    }

    fn counters(&mut self, verb: &str, kind: Kind, mark: Mark) {
        for (set, element) in adoption::counters(kind, mark) {
            self.element(verb, set, element);
        }
    }

    fn memory(&mut self, name: Name, Memory { family, clients_max, seconds }: &Memory) {
        let (at, table, ip) = (self.family, self.table, Ip(*family));
        self.line(format_args!("table {at} {table} {{"));
        self.line(format_args!("  map k_{name} {{ typeof {ip} saddr : meta mark"));
        match seconds {
            Some(seconds) => {
                self.line(format_args!("    flags dynamic,timeout"));
                self.line(format_args!("    timeout {seconds}s"));
            }
            None => self.line(format_args!("    flags dynamic")),
        }
        self.line(format_args!("    size {clients_max}"));
        self.line(format_args!("  }}"));
        self.line(format_args!("}}"));
    }

    /// A set or map with these elements.
    fn filled(&mut self, head: fmt::Arguments<'_>, elements: impl Iterator<Item = String>) {
        self.line(format_args!("  {head}"));
        let elements: Vec<_> = elements.collect();
        if !elements.is_empty() {
            self.line(format_args!("    elements = {{ {} }}", elements.join(", ")));
        }
        self.line(format_args!("  }}"));
    }

    fn service(&mut self, name: Name, service: &Service) {
        let (table, four, ip) = (self.table, Four(service.family), Ip(service.family));
        self.line(format_args!("table inet {table} {{"));
        if let Some(seconds) = service.flow_seconds {
            let object = FlowTimeout(service.family, seconds);
            self.line(format_args!(
                "  ct timeout {object} {{ protocol udp; l3proto {ip}; \
                 policy = {{ unreplied : {seconds}, replied : {seconds} }}; }}"
            ));
        }
        self.tables::<Target>(name, service, "ct mark");
        self.line(format_args!("  chain s_{name} {{"));
        if service.permitted.is_some() {
            self.line(format_args!("    {ip} saddr != @p_{name} return"));
        }
        self.deal(name, service, "ct mark");
        if let Some(seconds) = service.flow_seconds {
            let object = FlowTimeout(service.family, seconds);
            self.line(format_args!("    meta l4proto udp ct timeout set \"{object}\""));
        }
        self.line(format_args!("    goto begin{four}"));
        self.line(format_args!("  }}"));
        self.line(format_args!("}}"));
    }

    /// Puts the target that a client is remembered with, or else one of the slots, into `mark`.
    fn deal(&mut self, name: Name, service: &Service, mark: &str) {
        if let Choice::Bytes { with_port } = service.choice {
            return self.deal_by_bytes(name, with_port);
        }
        let (ip, choice) = (Ip(service.family), choice(service));
        let Some(memory) = service.memory else {
            return self.line(format_args!("    {mark} set {choice} map @m_{name}"));
        };
        self.line(format_args!("    {mark} set {ip} saddr map @k_{memory}"));
        // An update would leave the old target in place.
        self.line(format_args!(
            "    {mark} != @v_{name} delete @k_{memory} {{ {ip} saddr : {mark} }} {mark} set 0"
        ));
        self.line(format_args!("    {mark} 0 {mark} set {choice} map @m_{name}"));
        self.line(format_args!("    update @k_{memory} {{ {ip} saddr : {mark} }}"));
    }

    /// Puts one of the 256 slots into the mark of a packet. Each bit of the slot's number is set if that
    /// bit is set in an odd number of bytes.
    fn deal_by_bytes(&mut self, name: Name, with_port: bool) {
        self.line(format_args!("    meta mark set 0"));
        let fields = [("ip saddr", 4), ("th sport", 2)];
        for (field, bytes) in fields.into_iter().take(1 + usize::from(with_port)) {
            for bit in 0..8 {
                let spread = |pattern: u32| {
                    let places = (0..bytes).filter(|place| pattern >> place & 1 == 1);
                    places.map(|place| 1_u32 << (8 * place + bit)).sum::<u32>()
                };
                let odd = (0..1_u32 << bytes).filter(|pattern| pattern.count_ones() % 2 == 1);
                let odd: Vec<_> = odd.map(|it| number(field, spread(it))).collect();
                let (all, odd) = (number(field, spread(u32::MAX)), odd.join(", "));
                self.line(format_args!(
                    "    {field} & {all} {{ {odd} }} meta mark set meta mark ^ {:#x}",
                    1 << bit
                ));
            }
        }
        self.line(format_args!("    meta mark set meta mark map @m_{name}"));
    }

    /// What the chain of a service looks things up in. `mark` is where the mark of a packet is.
    fn tables<T: Written>(&mut self, name: Name, service: &Service, mark: &str) {
        let Service { family, choice, slots, permitted, .. } = service;
        let (four, len) = (Four(*family), slots.len());
        if len > 0 {
            let numbered =
                slots.iter().enumerate().map(|(number, mark)| format!("{number} : {mark}"));
            let key = match choice {
                Choice::Bytes { .. } => "meta mark".to_owned(),
                Choice::Turn | Choice::Random | Choice::Network => format!("numgen inc mod {len}"),
            };
            // With a size, the kernel makes it as large at once, and does not let it grow.
            let head = format_args!("map m_{name} {{ typeof {key} : meta mark; size {len};");
            self.filled(head, numbered);
        }
        if let Some(ranges) = permitted {
            let ranges = ranges.iter().map(|(first, last)| range(first, last));
            let head = format_args!("set p_{name} {{ type ipv{four}_addr; flags interval;");
            self.filled(head, ranges);
        }
        if T::recalls(service) {
            let usable: BTreeSet<_> = slots.iter().map(ToString::to_string).collect();
            self.filled(format_args!("set v_{name} {{ typeof {mark}"), usable.into_iter());
        }
    }
}

/// A range of addresses.
fn range<T: PartialEq + fmt::Display>(first: &T, last: &T) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

/// A number that nft(8) compares with this field.
fn number(field: &str, number: u32) -> String {
    match field {
        "ip saddr" => Ipv4Addr::from_bits(number).to_string(),
        _ => number.to_string(),
    }
}

/// The number of a slot.
fn choice(Service { family, choice, slots, .. }: &Service) -> String {
    let len = slots.len();
    match (choice, family) {
        (Choice::Bytes { .. }, _) => "meta mark".to_owned(), // where it is by then
        (Choice::Turn, _) => format!("numgen inc mod {len}"),
        (Choice::Random, _) => format!("numgen random mod {len}"),
        (Choice::Network, Family::V4) => {
            format!("jhash ip saddr mod {len} seed {KERNEL_SEED:#x}")
        }
        // The first 64 bits of the source address.
        (Choice::Network, Family::V6) => {
            format!("jhash @nh,64,64 mod {len} seed {KERNEL_SEED:#x}")
        }
    }
}

/// The map of a door.
pub(crate) fn door_map(door: &Door) -> &'static str {
    match (door.port, door.family, door.address) {
        (None, ..) => "whole4",
        (_, Family::V4, None) => "any4",
        (_, Family::V6, None) => "any6",
        (_, Family::V4, Some(_)) => "at4",
        (_, Family::V6, Some(_)) => "at6",
    }
}

/// The key of a door in its map.
fn door_key(door: &Door) -> String {
    let protocol = match door.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let address = door.address.map(|it| it.to_string());
    let port = door.port.map(|it| it.to_string());
    let parts = [address, Some(protocol.to_owned()), port];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" . ")
}

/// What there is before any target, service or door.
fn base(connections_max: u64) -> String {
    let connections_max = if connections_max == 0 { CONNECTIONS_USUAL } else { connections_max };
    let waits = (connections_max / WAITS_SHARE / TIME_WAIT).clamp(1, u32::MAX.into());
    let mut text = format!("  limit waits {{ rate {waits}/second burst {waits} packets\n  }}\n");
    for family in Family::ALL {
        let (four, ip) = (Four(family), Ip(family));
        // A backend that does not answer is given up after a second, so that the client's next SYN is
        // dealt anew; and finished connections do not fill the table. As long as there is room, their
        // ports are not given to others before the backend would take these (RFC 9293, section
        // 3.10.7.4, and RFC 7323, section 5).
        let _ = write!(
            text,
            "  ct timeout tcp{four} {{ protocol tcp; l3proto {ip}; \
             policy = {{ syn_sent : 1, time_wait : 1, close : 1 }}; }}
  ct timeout waits{four} {{ protocol tcp; l3proto {ip}; \
             policy = {{ syn_sent : 1, time_wait : {TIME_WAIT}, close : 1 }}; }}
  map to{four} {{ type mark : ipv{four}_addr . inet_service
  }}
  map from{four} {{ type mark : ipv{four}_addr
  }}
  map at{four} {{ typeof {ip} daddr . meta l4proto . th dport : verdict
  }}
  map any{four} {{ typeof meta l4proto . th dport : verdict
  }}
"
        );
    }
    text.push_str(SETS);
    for family in Family::ALL {
        let (four, ip) = (Four(family), Ip(family));
        // Sessions come here once their target is chosen.
        let _ = write!(
            text,
            "  chain begin{four} {{
    ct mark @begun
    ct event set destroy
    meta l4proto tcp ct timeout set \"tcp{four}\"
    meta l4proto tcp limit name \"waits\" ct timeout set \"waits{four}\"
    meta l4proto {{ tcp, udp }} dnat {ip} to ct mark map @to{four}
  }}
"
        );
    }
    let hooks = [("pre", "prerouting priority dstnat", ""), ("out", "output priority -100", OWN)];
    for (chain, hook, own) in hooks {
        let _ = writeln!(text, "  chain {chain} {{ type nat hook {hook};");
        text.push_str(LINK_LOCAL);
        text.push_str(own);
        for first in ["tcp flags & (fin|syn|rst|ack) == syn", "meta l4proto udp"] {
            text.push_str(&format!(
                "    {first} ip daddr . meta l4proto . th dport vmap @at4
    {first} ip6 daddr . meta l4proto . th dport vmap @at6
    {first} fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @any4
    {first} fib daddr type local ip6 daddr != ::1 meta l4proto . th dport vmap @any6
"
            ));
        }
        text.push_str("  }\n");
    }
    text.push_str(CHAINS);
    text
}

/// Linux forwards nothing from or to an address of one link (RFC 4291, section 2.5.6).
const LINK_LOCAL: &str = "    ip6 saddr fe80::/10 accept
    ip6 daddr fe80::/10 accept
";
/// Nor from a loopback address to another machine, if a program here has that and asks for one of the
/// machine's other addresses.
const OWN: &str = "    ip saddr 127.0.0.0/8 ip daddr != 127.0.0.0/8 accept
    ip6 saddr ::1 ip6 daddr != ::1 accept
";

/// How long Linux does not let others use a port that it has closed, and a bit, in seconds.
const TIME_WAIT: u64 = 62;
/// One of this many places in the kernel's table of connections, at most, is for those that wait.
const WAITS_SHARE: u64 = 8;
/// How many places there are on a small machine.
const CONNECTIONS_USUAL: u64 = 65_536;

/// Connections begun, refusals, and packets and bytes that have passed, by target.
const SETS: &str = "  set masked { typeof ct mark
  }
  set begun { typeof ct mark
    counter
  }
  set refused { typeof ct mark
    counter
  }
  set passed { typeof ct mark . ct direction
    counter
  }
";

/// Each packet passes one of the two that count, and is forwarded by none that asks for it.
const CHAINS: &str = "  chain post { type nat hook postrouting priority srcnat;
    ct mark @masked masquerade
    meta nfproto ipv4 snat ip to ct mark map @from4
    meta nfproto ipv6 snat ip6 to ct mark map @from6
  }
  chain sent { type filter hook postrouting priority 0;
    ct mark . ct direction @passed
    ct direction reply tcp flags & (fin|syn|rst|ack) == (rst|ack) ct status ! assured ct mark @refused
  }
  chain taken { type filter hook input priority 0;
    iif != lo ct mark . ct direction @passed
    iif != lo ct direction reply tcp flags & (fin|syn|rst|ack) == (rst|ack) ct status ! assured ct mark @refused
  }
";

/// `4` or `6`.
pub(crate) struct Four(pub Family);

impl fmt::Display for Four {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == Family::V4 { "4" } else { "6" })
    }
}

/// The name of how long a flow may be silent. It stays when services change, because flows without it
/// would fall back to what is usual.
pub(crate) struct FlowTimeout(pub Family, pub u32);

impl fmt::Display for FlowTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flows{}_{}", Four(self.0), self.1)
    }
}

/// As nft(8) calls it.
struct Ip(Family);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 == Family::V4 { "ip" } else { "ip6" })
    }
}
