//! `evenkeel top`: a running instance on a terminal.
//!
//! Nothing here reads a clock or a socket, except [`run`], which owns the terminal. `Model` is what is
//! known about the instance, made of [`News`]; [`App`] is what the user looks at, and turns keys into
//! [`Ask`]s; `view` draws both. Start at [`App`].

#![forbid(unsafe_code)]

mod app;
mod consequences;
mod model;
mod run;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub use app::App;
pub use model::{Ask, News};
pub use run::run;
