//! One listener on loopback, through the data plane's own interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot have its sockets has failed")]

mod announcing;
mod connecting;
mod counting;
mod moving;
mod rig;
mod routing;
mod sessions;
mod settings;
