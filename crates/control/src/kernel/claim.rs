//! How other processes see that an instance keeps a table.
//!
//! Its helper has an abstract Unix socket (unix(7)). That is in the same network namespace as the
//! table, and is gone with the process, however that ends.

use forwarding::TableName;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The sign that this process keeps a table, for as long as it lives.
pub(super) struct Claim {
    _socket: UnixDatagram,
}

impl Claim {
    /// Shows that this process keeps the table. Several may, as during an upgrade.
    ///
    /// # Errors
    /// If there is no such socket for it.
    pub fn new(table: &TableName) -> io::Result<Self> {
        let name = format!("{}{}", prefix(table), std::process::id());
        let address = SocketAddr::from_abstract_name(name)?;
        Ok(Self { _socket: UnixDatagram::bind_addr(&address)? })
    }
}

/// The names of the abstract sockets of this network namespace.
pub(super) struct Claims(String);

impl Claims {
    /// Those that there are now.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn read() -> io::Result<Self> {
        let text = fs::read("/proc/thread-self/net/unix")?;
        Ok(Self(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The number of a process that keeps the table, if one does.
    pub fn holder(&self, table: &TableName) -> Option<u32> {
        let prefix = format!("@{}", prefix(table));
        // The name is the last field.
        let names = self.0.lines().filter_map(|line| line.rsplit(' ').next());
        names.filter_map(|name| name.strip_prefix(&prefix)).find_map(|id| id.parse().ok())
    }
}

/// What the names of a table's sockets begin with. A whole name has at most 107 bytes.
fn prefix(table: &TableName) -> String {
    format!("evenkeel-kernel/{:016x}/", table.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_kept_while_a_claim_lives() {
        let own = std::process::id();
        let table = TableName::of(&format!("{}{own}", "long".repeat(50)));
        let other = TableName::of("other");
        let claim = Claim::new(&table).unwrap();
        assert_eq!(Claims::read().unwrap().holder(&table), Some(own));
        assert_eq!(Claims::read().unwrap().holder(&other), None);
        drop(claim);
        assert_eq!(Claims::read().unwrap().holder(&table), None);
    }
}
