//! A country database that the test writes: a MaxMind DB file of IPv4 networks, as its
//! specification (version 2) describes it.

use std::net::Ipv4Addr;

/// The networks and the search tree over them.
#[derive(Default)]
pub struct Mmdb {
    /// Per node: where a zero bit and where a one bit lead.
    nodes: Vec<[Record; 2]>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Record {
    #[default]
    Nothing,
    Node(usize),
    Data(usize),
}

impl Mmdb {
    /// A file in which these networks, as address and prefix length, have these countries.
    ///
    /// # Panics
    /// If an address is not one of IPv4, or if there are more networks than fit.
    #[must_use]
    pub fn file(networks: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut file = Self { nodes: vec![[Record::Nothing; 2]], ..Self::default() };
        for (network, prefix, code) in networks {
            file.add(network, *prefix, code);
        }
        file.bytes()
    }

    fn add(&mut self, network: &str, prefix: u32, code: &str) {
        let bits = network.parse::<Ipv4Addr>().expect("an IPv4 address").to_bits();
        let offset = self.data.len();
        map(&mut self.data, 1);
        string(&mut self.data, "country");
        map(&mut self.data, 1);
        string(&mut self.data, "iso_code");
        string(&mut self.data, code);
        let mut node = 0;
        for depth in 0..prefix {
            let bit = (bits >> (31 - depth) & 1) as usize;
            let next = self.nodes.len();
            match self.nodes[node][bit] {
                _ if depth + 1 == prefix => self.nodes[node][bit] = Record::Data(offset),
                Record::Node(next) => node = next,
                _ => {
                    self.nodes[node][bit] = Record::Node(next);
                    self.nodes.push([Record::Nothing; 2]);
                    node = next;
                }
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut out = Vec::new();
        for record in self.nodes.iter().flatten() {
            let value = match record {
                Record::Nothing => count,
                Record::Node(node) => *node,
                Record::Data(offset) => count + 16 + offset,
            };
            out.extend(&u32::try_from(value).expect("few records").to_be_bytes()[1..]);
        }
        out.extend([0; 16]);
        out.extend(&self.data);
        out.extend(b"\xab\xcd\xefMaxMind.com");
        map(&mut out, 9);
        for (key, value) in [
            ("binary_format_major_version", 2u16),
            ("binary_format_minor_version", 0),
            ("ip_version", 4),
            ("record_size", 24),
        ] {
            string(&mut out, key);
            out.push(5 << 5 | 2);
            out.extend(value.to_be_bytes());
        }
        string(&mut out, "node_count");
        out.push(6 << 5 | 4);
        out.extend(u32::try_from(count).expect("few nodes").to_be_bytes());
        string(&mut out, "build_epoch");
        out.extend([4, 2, 0, 0, 0, 1]); // four bytes of an unsigned 64-bit number
        string(&mut out, "database_type");
        string(&mut out, "Test");
        string(&mut out, "languages");
        out.extend([0, 4]); // an array of none
        string(&mut out, "description");
        map(&mut out, 0);
        out
    }
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

fn string(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()).expect("short texts") {
        short @ 0..29 => out.push(2 << 5 | short),
        long => out.extend([2 << 5 | 29, long - 29]),
    }
    out.extend(text.as_bytes());
}
