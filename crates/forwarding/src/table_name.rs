//! What the tables of an instance are called.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::fmt;

/// The name of an instance's table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName(String);

/// What all names of tables begin with.
pub const TABLE_PREFIX: &str = "evenkeel_";

impl TableName {
    /// The table of the instance of this name. Characters that the name of a table cannot have are
    /// written as numbers.
    #[must_use]
    pub fn of(instance: &str) -> Self {
        let mut name = TABLE_PREFIX.to_owned();
        for byte in instance.bytes().take(INSTANCE_MAX) {
            match byte.is_ascii_alphanumeric() {
                true => name.push(byte.into()),
                false => name.push_str(&format!("_{byte:02x}")),
            }
        }
        Self(name)
    }

    /// The table of this name, if it is that of an instance.
    #[must_use]
    pub fn listed(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(TABLE_PREFIX)?;
        let is_ours = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_ours.then(|| Self(name.to_owned()))
    }

    /// The name of the table that is there as long as the helper is, and has nothing to do with rules.
    #[must_use]
    pub fn anchor(&self) -> String {
        format!("anchor_{self}")
    }

    /// A hash of its name, where that is too long. It is the same in every process.
    #[must_use]
    pub fn digest(&self) -> u64 {
        SipHasher13::new().hash(self.0.as_bytes())
    }
}

/// A table's name has at most 255 bytes.
const INSTANCE_MAX: usize = 80;

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
