//! The rules by which the kernel forwards sessions: rule sets for nftables, and the changes from one
//! to another.
//!
//! Pure: a [`Ruleset`] is plain data, [`Ruleset::diff`] compares two, `render` writes both as text for
//! `nft -f` (nft(8)), and `netlink` writes what changes often as messages to the kernel. Other
//! crates decide what the kernel should do, and tell it.
//!
//! The rules divert only the first packet of a connection, and only to a [`Door`] that is open. What
//! they do not divert reaches the socket that listens there, as if there were no rules.
//!
//! Rules are chosen by the generation in which a packet began its way, the elements of maps and sets
//! by the present one. So nothing that a rule looks up is ever changed under it: another choice is
//! another chain with another map, and the door's one element then leads there.

#![forbid(unsafe_code)]

mod direct;
mod door;
mod netlink;
mod pit;
mod render;
mod ruleset;
mod service;
mod table_name;
mod target;
mod transaction;

pub use direct::{Mac, Path};
pub use door::{Door, Family, Protocol};
pub use netlink::{Message, anchor, batches};
pub use pit::{Pit, networks};
pub use render::{Part, change, clear, install};
pub use ruleset::{Direct, Rules, Ruleset};
pub use service::{Choice, Memory, Name, Service};
pub use table_name::{TABLE_PREFIX, TableName};
pub use target::{Mark, Sender, Target};
pub use transaction::{Edit, Kind, Step, Transaction};
