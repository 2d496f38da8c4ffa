//! Safe wrappers over the operating system: events, sockets, files, pipes, clocks, processes.
//!
//! The only crate with `unsafe` code. All functions take and return safe types, and none makes
//! decisions. Most calls go through `rustix`; calls that it lacks are in functions a few lines
//! long.

#![expect(unsafe_code, reason = "this crate exists to hold all of it")]

pub mod alarm;
pub mod aside;
pub mod bounded_files;
pub mod channel;
pub mod clock;
pub mod datagram;
pub mod epoll;
pub mod errors;
pub mod files;
pub mod helper;
pub mod interfaces;
pub mod kept_file;
pub mod neighbours;
pub mod net;
mod netlink;
pub mod nftables;
pub mod pipe;
pub mod process;
pub mod programs;
pub mod ready_interface;
pub mod routes;
pub mod signals;
pub mod supervisor;
pub mod tracking;

pub use rustix::io::Errno;
