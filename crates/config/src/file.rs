//! The configuration file.

/// A file of the configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The path as the user gave it, for messages.
    pub name: String,
    /// The contents.
    pub text: String,
}
