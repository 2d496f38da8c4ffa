//! The languages of `balance` and `pen`: command lines, commands, replies and pages.
//!
//! Pure. Each classic is translated to a [`config::Config`] and to [`config::Command`]s, and what
//! the balancer reports is translated back to the classic's texts. [`balance`] and [`pen`] know
//! nothing of each other; what their command lines have in common is in `classic`. Start reading
//! at [`balance`] or [`pen`].

#![forbid(unsafe_code)]

pub mod balance;
mod classic;
pub mod pen;
