//! Where addresses are registered, from a MaxMind DB file.

use balancing::Country;
use config::environment::EVENKEEL_COUNTRIES;
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

/// The database, read when the first access list has a rule about countries.
#[derive(Default)]
pub(crate) struct CountryBook {
    file: Option<Arc<CountryFile>>,
    /// Why there is none, until it has been reported.
    error: Option<String>,
    is_missing: bool,
}

impl CountryBook {
    /// The database, if this pool needs one and it is available. Without it, country rules match
    /// nobody.
    pub fn find(&mut self, pool: &config::Pool) -> Option<Arc<dyn Countries>> {
        if !pool.needs_countries() {
            return None;
        }
        if self.file.is_none() {
            match CountryFile::find() {
                Ok(file) => (self.file, self.is_missing) = (Some(Arc::new(file)), false),
                // Tried again whenever something changes, and reported once.
                Err(error) if !self.is_missing => {
                    (self.error, self.is_missing) = (Some(error.to_string()), true);
                }
                Err(_) => {}
            }
        }
        self.file.clone().map(|file| file as Arc<dyn Countries>)
    }

    /// Why there is no database; returned once.
    pub fn take_error(&mut self) -> Option<String> {
        self.error.take()
    }
}

/// The files where distributions and updaters put country databases.
const KNOWN_PLACES: [&str; 6] = [
    "/var/lib/GeoIP/GeoLite2-Country.mmdb",
    "/usr/share/GeoIP/GeoLite2-Country.mmdb",
    "/var/lib/GeoIP/GeoIP2-Country.mmdb",
    "/usr/share/GeoIP/GeoIP2-Country.mmdb",
    "/usr/share/GeoIP/dbip-country-lite.mmdb",
    "/usr/share/GeoIP/GeoIP.mmdb",
];

impl CountryFile {
    /// Reads the database that `EVENKEEL_COUNTRIES` names, or else the first existing one of
    /// [`KNOWN_PLACES`].
    pub fn find() -> io::Result<Self> {
        if let Some(path) = std::env::var_os(EVENKEEL_COUNTRIES.name) {
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
    use testing::Mmdb;

    #[test]
    fn an_address_has_the_country_of_its_network() {
        let file = Mmdb::file(&[("10.0.0.0", 8, "SE"), ("192.168.4.0", 22, "DE")]);
        let countries = CountryFile(Reader::from_source(file).unwrap());
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
}
