//! What is wrong with a file: reports, their codes and how many are kept.

use super::excerpt::Excerpt;
use super::lines::{Lines, Position};
use super::{Code, Severity, Source};
use std::cell::OnceCell;
use std::ops::Range;

/// Something that is wrong with a file, or may be. [`std::fmt::Display`] draws it with the line
/// that it is about, [`Report::to_json`] gives one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which rule the file breaks.
    pub code: Code,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// The file, by the name of its [`Source`].
    pub file: String,
    /// The piece of text.
    pub span: Span,
    /// The table to which the text belongs, as in `pools.web`; absent for the file itself.
    pub place: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// What to write instead of the piece of text, where that is certain to be what was meant or
    /// a good guess.
    pub replace: Option<String>,
    /// Absent if the report is about the file itself.
    pub(super) excerpt: Option<Excerpt>,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its bytes.
    pub bytes: Range<usize>,
    /// Where it begins.
    pub start: Position,
    /// Where it ends: the position after its last character.
    pub end: Position,
}

impl Report {
    /// A report about a file that cannot be read.
    #[must_use]
    pub fn about(code: Code, file: &str, message: &str) -> Self {
        let start = Position { line: 1, column: 1 };
        Self {
            code,
            message: message.to_owned(),
            file: file.to_owned(),
            span: Span { bytes: 0..0, start, end: start },
            place: None,
            help: None,
            replace: None,
            excerpt: None,
        }
    }

    /// Whether this keeps the file from being used.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// A piece of one of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) source: usize,
    pub(super) bytes: Range<usize>,
}

impl At {
    pub(super) fn new(source: usize, bytes: Range<usize>) -> Self {
        Self { source, bytes }
    }
}

/// A report that is being put together.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) at: At,
    message: String,
    place: Option<String>,
    help: Option<String>,
    replace: Option<String>,
}

impl Fault {
    pub(super) fn new(code: Code, at: &At, message: impl Into<String>) -> Self {
        let (at, message) = (at.clone(), message.into());
        Self { code, at, message, place: None, help: None, replace: None }
    }

    pub(super) fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into()).filter(|place| !place.is_empty());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into()).filter(|help| !help.is_empty());
        self
    }

    pub(super) fn replace(mut self, replace: impl Into<String>) -> Self {
        self.replace = Some(replace.into());
        self
    }
}

/// All reports about some sources, up to a number of each severity.
pub(super) struct Reports<'s> {
    sources: Vec<(&'s Source, OnceCell<Lines<'s>>)>,
    /// For each source, the pieces with syntax errors, in rising order.
    broken: Vec<Vec<Range<usize>>>,
    reports: Vec<(usize, Report)>,
    errors: usize,
    warnings: usize,
}

impl<'s> Reports<'s> {
    /// The beginning of the first source, for what is missing.
    pub(super) const BEGINNING: At = At { source: 0, bytes: 0..0 };

    pub(super) fn new(sources: &'s [Source]) -> Self {
        let broken = vec![Vec::new(); sources.len()];
        let sources = sources.iter().map(|source| (source, OnceCell::new())).collect();
        Self { sources, broken, reports: Vec::new(), errors: 0, warnings: 0 }
    }

    /// Pieces of a source that the parser could not read. The tree is a guess there, so nothing is
    /// reported about it; nor is anything reported as missing from now on.
    pub(super) fn set_broken(&mut self, source: usize, mut pieces: Vec<Range<usize>>) {
        pieces.sort_by_key(|piece| piece.start);
        if let Some(broken) = self.broken.get_mut(source) {
            *broken = pieces;
        }
    }

    fn is_guess(&self, fault: &Fault) -> bool {
        if fault.code == Code::Syntax {
            return false;
        }
        let is_missing = matches!(
            fault.code,
            Code::MissingKey | Code::NoBackends | Code::NoListeners | Code::UnusedPool
        ) || fault.code == Code::UnknownPool && fault.replace.is_none();
        if is_missing && self.broken.iter().any(|pieces| !pieces.is_empty()) {
            return true;
        }
        let Some(broken) = self.broken.get(fault.at.source) else { return false };
        let start = fault.at.bytes.start;
        let after = broken.partition_point(|piece| piece.start <= start);
        after.checked_sub(1).and_then(|at| broken.get(at)).is_some_and(|it| start <= it.end)
    }

    /// Whether another error would be shown. Work for its text can be saved otherwise.
    pub(super) fn has_room(&self) -> bool {
        self.errors < REPORTS_MAX
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The contents of a source.
    pub(super) fn source(&self, number: usize) -> &'s str {
        self.sources.get(number).map_or("", |(source, _)| &source.text)
    }

    pub(super) fn text(&self, at: &At) -> &'s str {
        self.source(at.source).get(at.bytes.clone()).unwrap_or_default()
    }

    /// The position of a piece of text, as `FILE:LINE`.
    pub(super) fn line_of(&self, at: &At) -> String {
        let (name, line) = match self.lines(at.source) {
            Some((source, lines)) => (&*source.name, lines.position(at.bytes.start).line),
            None => ("", 0),
        };
        format!("{name}:{line}")
    }

    pub(super) fn add(&mut self, fault: Fault) {
        if self.is_guess(&fault) {
            return;
        }
        let count = match fault.code.severity() {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count > REPORTS_MAX {
            return;
        }
        if let Some(report) = self.report(&fault) {
            self.reports.push((fault.at.source, report));
        }
    }

    fn lines(&self, source: usize) -> Option<(&'s Source, &Lines<'s>)> {
        let (source, lines) = self.sources.get(source)?;
        Some((source, lines.get_or_init(|| Lines::new(&source.text))))
    }

    fn report(&self, fault: &Fault) -> Option<Report> {
        let (source, lines) = self.lines(fault.at.source)?;
        let wanted = &fault.at.bytes;
        let start = source.text.floor_char_boundary(wanted.start);
        let bytes = start..source.text.ceil_char_boundary(wanted.end.max(start));
        let (start, end) = (lines.position(bytes.start), lines.position(bytes.end));
        let excerpt = Excerpt::new(&source.text, lines.line(bytes.start), bytes.clone());
        Some(Report {
            code: fault.code,
            message: fault.message.clone(),
            file: source.name.clone(),
            span: Span { bytes, start, end },
            place: fault.place.clone(),
            help: fault.help.clone(),
            replace: fault.replace.clone(),
            excerpt: Some(excerpt),
        })
    }

    /// The reports in the order of the files, and how many were left out.
    pub(super) fn finish(mut self) -> (Vec<Report>, usize) {
        self.reports.sort_by_key(|(source, report)| {
            (*source, report.span.bytes.start, report.severity(), report.code)
        });
        let left_out = self.errors + self.warnings - self.reports.len();
        (self.reports.into_iter().map(|(_, report)| report).collect(), left_out)
    }
}

/// The number of errors that are shown, and of warnings.
const REPORTS_MAX: usize = 100;
