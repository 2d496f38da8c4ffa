//! The table for direct return.
//!
//! Flows have a map for each protocol, because their keys would be too long with it: nft 1.0.6
//! aborts on an update with a key of more than 16 bytes.

use super::{Four, Ip, TableName, Writer};
use crate::direct::Path;
use crate::door::Family;
use crate::service::{Name, Service};
use crate::target::Mark;
use crate::transaction::Kind;
use std::fmt::{self, Write};

/// What there is before any target, service, door or interface. What there is already stays.
pub(super) fn base(table: &TableName) -> String {
    let mut text = format!("table netdev {table} {{\n");
    for family in Family::ALL {
        let (four, ip, key) = (Four(family), Ip(family), Key(family));
        for (map, time) in [("tcp", TCP), ("udp", "5m"), ("ended", "1m")] {
            let types = KeyTypes(family);
            let _ = write!(
                text,
                "  map {map}{four} {{ typeof {types} : meta mark
    flags dynamic,timeout
    timeout {time}
    size {FLOWS_MAX}
  }}
"
            );
        }
        let _ = write!(
            text,
            "  map at{four} {{ typeof {ip} daddr . meta l4proto . th dport : verdict
  }}
  chain tcp{four} {{
    tcp flags & (fin|rst) != 0 update @ended{four} {{ {key} : meta mark }} \
             delete @tcp{four} {{ {key} : meta mark }} goto send
    update @tcp{four} {{ {key} : meta mark }}
    goto send
  }}
  chain ended{four} {{
    update @ended{four} {{ {key} : meta mark }}
    goto send
  }}
"
        );
    }
    text.push_str(COMMON);
    text.push_str("}\n");
    text
}

/// How long a silent connection is known: longer than the two hours after which TCP's keep-alive
/// asks by default (tcp(7)).
const TCP: &str = "3h";
/// How long a connection is known until the client answers. Systems repeat their SYN a second after the
/// first one, when the answer may be on the way, and three seconds after it (RFC 6298, section 2), when
/// it may as well go elsewhere.
const BEGINNING: &str = "2900ms";
/// How many flows are known of each kind; others are left to the socket that listens.
const FLOWS_MAX: usize = 1 << 20;

/// Sessions begun, and packets and bytes that have passed, by target; and the last step. A packet
/// of a target that cannot be reached now is lost, so that it is sent again.
const COMMON: &str = "  map whole4 { typeof ip daddr . meta l4proto : verdict
  }
  set hosted4 { type ipv4_addr
  }
  map own { type mark : ether_addr
  }
  map its { type mark : ether_addr
  }
  map by { type mark : iface_index
  }
  set begun { typeof meta mark
    counter
  }
  set passed { typeof meta mark
    counter
  }
  chain send {
    meta mark != @passed meta mark set 0 accept
    meta mark @passed ether saddr set meta mark map @own ether daddr set meta mark map @its fwd to meta mark map @by
    drop
  }
";

impl Writer<'_> {
    pub(super) fn path(&mut self, verb: &str, mark: Mark, path: Option<&Path>) {
        if let Some(Path { interface, own, its }) = path {
            self.element(verb, "own", format_args!("{mark} : {own}"));
            self.element(verb, "its", format_args!("{mark} : {its}"));
            self.element(verb, "by", format_args!("{mark} : {interface}"));
        }
        self.counters(verb, Kind::Direct, mark);
    }

    pub(super) fn returning(&mut self, name: Name, service: &Service) {
        let (table, four, key) = (self.table, Four(service.family), Key(service.family));
        self.line(format_args!("table netdev {table} {{"));
        self.tables::<Option<Path>>(name, service, "meta mark");
        self.line(format_args!("  chain n_{name} {{"));
        // Anybody can send one in the name of a client, so it does not end a connection.
        self.line(format_args!(
            "    meta mark set {key} map @tcp{four} meta mark @v_{name} goto send"
        ));
        self.line(format_args!(
            "    delete @tcp{four} {{ {key} : meta mark }} delete @ended{four} {{ {key} : meta mark }}"
        ));
        self.choose(service, name);
        if !service.slots.is_empty() {
            self.line(format_args!(
                "    update @tcp{four} {{ {key} timeout {BEGINNING} : meta mark }} meta mark @begun goto send"
            ));
            if service.adopts {
                // Without room for the flow, its other packets are adopted.
                self.line(format_args!("    meta mark @begun goto send"));
            }
        }
        self.line(format_args!("    meta mark set 0"));
        self.line(format_args!("  }}"));
        self.line(format_args!("  chain s_{name} {{"));
        self.line(format_args!("    tcp flags & (fin|syn|rst|ack) == syn goto n_{name}"));
        for map in ["tcp", "ended"] {
            self.line(format_args!("    meta mark set {key} map @{map}{four} goto {map}{four}"));
        }
        if service.adopts {
            self.choose(service, name);
            // For a shorter time, until another packet comes: anybody can send one.
            self.line(format_args!(
                "    tcp flags & (fin|rst) == 0 update @tcp{four} {{ {key} timeout 1m : meta mark }} goto send"
            ));
            self.line(format_args!("    goto tcp{four}"));
        }
        self.line(format_args!("  }}"));
        self.line(format_args!("  chain d_{name} {{"));
        let time = service.flow_seconds.map(|it| format!(" timeout {it}s")).unwrap_or_default();
        let update = format!("update @udp{four} {{ {key}{time} : meta mark }}");
        self.line(format_args!("    meta mark set {key} map @udp{four} {update} goto send"));
        self.choose(service, name);
        if !service.slots.is_empty() {
            self.line(format_args!("    {update} meta mark @begun goto send"));
            self.line(format_args!("    meta mark set 0"));
        }
        self.line(format_args!("  }}"));
        self.line(format_args!("}}"));
    }

    /// Marks a packet with its target, if it is one that begins a session.
    fn choose(&mut self, service: &Service, name: Name) {
        if service.slots.is_empty() {
            return;
        }
        let ip = Ip(service.family);
        if service.permitted.is_some() {
            self.line(format_args!("    {ip} saddr != @p_{name} accept"));
        }
        if service.memory.is_some() {
            self.line(format_args!("    meta mark set 0"));
        }
        self.deal(name, service, "meta mark");
    }

    pub(super) fn watch(&mut self, number: u32, name: &str) {
        let table = self.table;
        self.line(format_args!("table netdev {table} {{"));
        self.line(format_args!(
            "  chain in_{number} {{ type filter hook ingress device \"{name}\" priority 0;"
        ));
        // Those of other VLANs are looked at where their tag is gone.
        self.text(
            "    meta pkttype != host accept
    ether type vlan accept
    ip frag-off & 0x3fff != 0 ip daddr @hosted4 drop
    ip frag-off & 0x3fff != 0 accept
    ip daddr . meta l4proto . th dport vmap @at4
    ip daddr . meta l4proto vmap @whole4
    ip daddr @hosted4 drop
    exthdr frag exists accept
    ip6 daddr . meta l4proto . th dport vmap @at6
",
        );
        self.line(format_args!("  }}"));
        self.line(format_args!("}}"));
    }
}

/// What identifies a flow among those of the same protocol: addresses and ports. For IPv6, the first
/// half of the client's address is hashed with the address of the service, as the whole would be too
/// long.
struct Key(Family);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Family::V4 => "ip saddr . ip daddr . @th,0,32",
            Family::V6 => {
                "@nh,128,64 . jhash @nh,64,64 . ip6 daddr mod 4294967295 seed 0x5eed . @th,0,32"
            }
        })
    }
}

/// The types of its parts.
struct KeyTypes(Family);

impl fmt::Display for KeyTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Family::V4 => "ip saddr . ip daddr . @th,0,32",
            Family::V6 => "@nh,128,64 . numgen inc mod 2 . @th,0,32",
        })
    }
}
