//! Names found in earlier runs: a text file, one line per address, `ADDRESS NAME EXPIRY`.
//!
//! NAME is `-` for an address without a name, EXPIRY is in seconds since 1970. Damaged lines are
//! left out; they are looked up again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::names::hostname;

/// What is known about addresses.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cache {
    entries: BTreeMap<IpAddr, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: Option<String>,
    expiry: u64,
}

/// The longest that a name is remembered: 7 days.
pub const NAME_SECONDS: u64 = 7 * 86_400;
/// The longest that the lack of a name is remembered: 1 day.
pub const NONE_SECONDS: u64 = 86_400;

impl Cache {
    /// Reads the text of a cache file, without what has expired at `now`.
    pub fn parse(text: &str, now: u64) -> Self {
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let ip: IpAddr = words.next()?.parse().ok()?;
            let name = match words.next()? {
                "-" => None,
                name => Some(hostname(name)?),
            };
            let expiry: u64 = words.next()?.parse().ok().filter(|expiry| *expiry > now)?;
            // A wrong clock must not make an entry live forever.
            let most = now + if name.is_some() { NAME_SECONDS } else { NONE_SECONDS };
            Some((ip, Entry { name, expiry: expiry.min(most) }))
        };
        Self { entries: text.lines().filter_map(entry).collect() }
    }

    /// The text of the cache file, in the order of addresses.
    pub fn to_text(&self, now: u64) -> String {
        let mut text = String::new();
        for (ip, entry) in self.entries.iter().filter(|(_, entry)| entry.expiry > now) {
            let _ =
                writeln!(text, "{ip} {} {}", entry.name.as_deref().unwrap_or("-"), entry.expiry);
        }
        text
    }

    /// Reads a file; one that does not exist is empty.
    pub fn read(path: &Path, now: u64) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes), now)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes a file under another name and renames it, so that it is never seen half written.
    pub fn write(&self, path: &Path, now: u64) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".new{}", std::process::id()));
        fs::write(&name, self.to_text(now))?;
        fs::rename(&name, path).inspect_err(|_| {
            let _ = fs::remove_file(&name);
        })
    }

    /// What is known: nothing, that there is no name, or a name.
    pub fn find(&self, ip: IpAddr) -> Option<Option<&str>> {
        self.entries.get(&ip).map(|entry| entry.name.as_deref())
    }

    /// Remembers a result for as long as the DNS allows, and no longer than we do.
    pub fn add(&mut self, ip: IpAddr, name: Option<String>, seconds: u64, now: u64) {
        let most = if name.is_some() { NAME_SECONDS } else { NONE_SECONDS };
        self.entries.insert(ip, Entry { name, expiry: now + seconds.min(most) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_until_it_expires() {
        let mut cache = Cache::default();
        cache.add(ip("192.0.2.1"), Some("a.example".to_owned()), 100, 1000);
        cache.add(ip("2001:db8::1"), None, 1 << 40, 1000);
        let text = cache.to_text(1000);
        assert_eq!(text, "192.0.2.1 a.example 1100\n2001:db8::1 - 87400\n");
        let read = Cache::parse(&text, 1099);
        assert_eq!(read.find(ip("192.0.2.1")), Some(Some("a.example")));
        assert_eq!(read.find(ip("2001:db8::1")), Some(None));
        assert_eq!(Cache::parse(&text, 1100).find(ip("192.0.2.1")), None);
    }

    #[test]
    fn damaged_lines_are_left_out() {
        let text = "x a 9\n192.0.2.1\n192.0.2.2 a\n192.0.2.3 a b\n192.0.2.4 a\"b 99\n\
            192.0.2.5 ok.example 99\n192.0.2.6 far.example 99999999999\n";
        let cache = Cache::parse(text, 1);
        assert_eq!(cache.to_text(1), "192.0.2.5 ok.example 99\n192.0.2.6 far.example 604801\n");
    }

    #[test]
    fn files_are_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cache");
        assert_eq!(Cache::read(&path, 0).unwrap(), Cache::default());
        let mut cache = Cache::default();
        cache.add(ip("192.0.2.1"), None, 5, 0);
        cache.write(&path, 0).unwrap();
        assert_eq!(Cache::read(&path, 0).unwrap(), cache);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(cache.write(Path::new("/no/such/dir/cache"), 0).is_err());
    }
}
