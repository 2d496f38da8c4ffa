//! The words a relay is described with.

use serde::{Deserialize, Serialize};

/// Whether bulk data passes through kernel pipes (`splice(2)`) instead of through memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpliceMode {
    /// Once a direction is bulk and profits.
    #[default]
    Auto,
    /// From the first byte.
    Always,
    /// Never.
    Never,
}
