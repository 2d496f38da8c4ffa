//! Direct return: frames are sent on to a backend on one of this machine's networks as they are,
//! and its answers do not come back through this machine.
//!
//! ~~~text
//!             packet of a client
//!                     |                   SYN
//!              door of the address -------------------> chosen; remembered as a flow
//!                     | other                                     |
//!                     v            known                          v
//!              flow, or one that ----------> remembered  ---> sent to the link-layer
//!              has just ended                 longer          address of its target
//!                     | unknown        adopted
//!                     |--------------------------> chosen; remembered, and sent likewise
//!                     v
//!              socket that listens
//! ~~~
//!
//! Flows outlive rules: a door that takes nobody new leads to a service without slots, which sends
//! on what it knows.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Path {
    /// The number of the interface.
    pub interface: u32,
    /// The link-layer address of the interface.
    pub own: Mac,
    /// That of the target.
    pub its: Mac,
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
