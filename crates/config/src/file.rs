//! The configuration file: from text to a [`Config`], or to all that is wrong with it at once.
//!
//! [`read`] works in three steps. `syntax` reads TOML as far as it can; `walk` compares the
//! tree with the table of [`keys`](crate::keys); `meaning` checks what the parts mean together.
//! Each problem becomes a [`Report`] with its place in the text. The caller reads the files, and
//! supplies the environment and the services.

mod codes;
mod excerpt;
mod lines;
mod meaning;
mod merge;
mod parts;
mod places;
mod print;
mod render;
mod report;
mod shell;
mod spelling;
mod suggest;
mod syntax;
mod tree;
mod variables;
mod walk;

pub use codes::{CODES, Code, CodeRow, Severity};
pub use lines::Position;
pub use places::{Part, Places};
pub use report::{Report, Span};

use crate::Config;
use crate::operand::Services;
use report::Reports;

/// A file of the configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The path as the user gave it, for messages.
    pub name: String,
    /// The contents.
    pub text: String,
}

/// Finds the value of an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The result of reading a configuration.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The configuration, unless there are errors.
    pub config: Option<Config>,
    /// Errors and warnings in the order of the files, at most a hundred of each.
    pub reports: Vec<Report>,
    /// How many more there are.
    pub left_out: usize,
}

/// Reads a configuration again and again. It remembers what sets of values mean, so that they need not
/// be parsed once more.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    known: meaning::Known,
}

/// Reads a configuration from its files: the first, and those beside it in the order in which they
/// are merged.
pub fn read(sources: &[Source], environment: Environment<'_>, services: Services<'_>) -> Reading {
    Reader::default().read(sources, environment, services)
}

impl Reader {
    /// Does the same as [`read`].
    pub fn read(
        &mut self,
        sources: &[Source],
        environment: Environment<'_>,
        services: Services<'_>,
    ) -> Reading {
        let mut reports = Reports::new(sources);
        let files = (0..sources.len()).map(|number| syntax::parse(number, &mut reports)).collect();
        let entries = merge::merge(files, &mut reports);
        let file = walk::walk(entries, environment, &mut reports);
        let parts = parts::parts(&file, &mut reports);
        let config = meaning::meaning(&parts, services, &mut self.known, &mut reports);
        let config = Some(config).filter(|_| !reports.has_errors());
        let (reports, left_out) = reports.finish();
        Reading { config, reports, left_out }
    }
}
