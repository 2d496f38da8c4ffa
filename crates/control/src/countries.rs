//! Where addresses are registered, from a MaxMind DB file.

use balancing::Country;
use dataplane::Countries;
use maxminddb::{PathElement, Reader};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A country database in memory: GeoLite2 Country, DB-IP lite and others of that format.
/// Source: the MaxMind DB File Format Specification, version 2.
pub(crate) struct CountryFile(Reader<Vec<u8>>);

/// The database, read when the first access list asks for a country.
#[derive(Default)]
pub(crate) struct CountryBook {
    file: Option<Arc<CountryFile>>,
    /// Why there is none, until somebody was told.
    error: Option<String>,
    is_missing: bool,
}

impl CountryBook {
    /// The database, if this pool needs one and it is to be had. Without it, entries with
    /// countries match nobody.
    pub fn find(&mut self, pool: &config::Pool) -> Option<Arc<dyn Countries>> {
        if !pool.needs_countries() {
            return None;
        }
        if self.file.is_none() {
            match CountryFile::find() {
                Ok(file) => (self.file, self.is_missing) = (Some(Arc::new(file)), false),
                // Tried again whenever something changes, and told of once.
                Err(error) if !self.is_missing => {
                    (self.error, self.is_missing) = (Some(error.to_string()), true);
                }
                Err(_) => {}
            }
        }
        self.file.clone().map(|file| file as Arc<dyn Countries>)
    }

    /// Why there is no database, the first time.
    pub fn take_error(&mut self) -> Option<String> {
        self.error.take()
    }
}

/// Where distributions and updaters put country databases.
const KNOWN_PLACES: [&str; 6] = [
    "/var/lib/GeoIP/GeoLite2-Country.mmdb",
    "/usr/share/GeoIP/GeoLite2-Country.mmdb",
    "/var/lib/GeoIP/GeoIP2-Country.mmdb",
    "/usr/share/GeoIP/GeoIP2-Country.mmdb",
    "/usr/share/GeoIP/dbip-country-lite.mmdb",
    "/usr/share/GeoIP/GeoIP.mmdb",
];

impl CountryFile {
    /// Reads the database that `EVENKEEL_COUNTRIES` names, or else the first there is in
    /// [`KNOWN_PLACES`].
    pub fn find() -> io::Result<Self> {
        if let Some(path) = std::env::var_os("EVENKEEL_COUNTRIES") {
            return Self::open(Path::new(&path));
        }
        match KNOWN_PLACES.iter().map(Path::new).find(|path| path.exists()) {
            Some(path) => Self::open(path),
            None => Err(io::Error::other(format!(
                "EVENKEEL_COUNTRIES is not set, and there is none of {}",
                KNOWN_PLACES.join(", ")
            ))),
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let reader = Reader::open_readfile(path);
        reader.map(Self).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }
}

impl Countries for CountryFile {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.0.lookup(address).ok()?;
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let code: Option<&str> = found.decode_path(&path).ok()?;
        Some(Country(code?.as_bytes().try_into().ok()?))
    }
}

impl fmt::Debug for CountryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.metadata().database_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_has_the_country_of_its_network() {
        let mut file = Mmdb::default();
        file.add("10.0.0.0", 8, "SE");
        file.add("192.168.4.0", 22, "DE");
        let countries = CountryFile(Reader::from_source(file.bytes()).unwrap());
        let country = |text: &str| {
            countries.country(text.parse().unwrap()).map(|country| country.to_string())
        };
        assert_eq!(country("10.200.1.1").as_deref(), Some("SE"));
        assert_eq!(country("192.168.7.255").as_deref(), Some("DE"));
        assert_eq!(country("192.168.8.0"), None);
        assert_eq!(country("2001:db8::1"), None);
    }

    #[test]
    fn what_is_no_database_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.mmdb");
        std::fs::write(&path, "not a database").unwrap();
        let error = CountryFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("c.mmdb"), "{error}");
    }

    /// Writes a MaxMind DB file of IPv4 networks, as its specification describes it.
    #[derive(Default)]
    struct Mmdb {
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
        fn add(&mut self, network: &str, prefix: u32, code: &str) {
            let bits = network.parse::<Ipv4Addr>().unwrap().to_bits();
            let offset = self.data.len();
            map(&mut self.data, 1);
            string(&mut self.data, "country");
            map(&mut self.data, 1);
            string(&mut self.data, "iso_code");
            string(&mut self.data, code);
            if self.nodes.is_empty() {
                self.nodes.push([Record::Nothing; 2]);
            }
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
                out.extend(&(value as u32).to_be_bytes()[1..]);
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
                out.extend([5 << 5 | 2]);
                out.extend(value.to_be_bytes());
            }
            string(&mut out, "node_count");
            out.extend([6 << 5 | 4]);
            out.extend((count as u32).to_be_bytes());
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
        match text.len() {
            short @ 0..29 => out.push(2 << 5 | short as u8),
            long => out.extend([2 << 5 | 29, (long - 29) as u8]),
        }
        out.extend(text.as_bytes());
    }
}
