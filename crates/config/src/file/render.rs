//! Draws reports: as text with the line that they are about, and as lines of JSON.

use super::Report;
use super::excerpt::clean;
use serde::Serialize;
use std::fmt;

/// As text, in the manner of compilers. No line is longer than a few hundred characters, but for
/// what the message says.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.span.start;
        let number = position.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}[{}]: {}", self.severity().word(), self.code, clean(&self.message))?;
        let Some(excerpt) = &self.excerpt else {
            return writeln!(f, "{margin}--> {}", clean(&self.file));
        };
        let place = format!("{}:{}:{}", clean(&self.file), position.line, position.column);
        writeln!(f, "{margin}--> {place}")?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", excerpt.line)?;
        let indent = " ".repeat(excerpt.marked.start);
        let carets = "^".repeat(excerpt.marked.len());
        match &self.help {
            Some(help) => writeln!(f, "{margin} | {indent}{carets} {}", clean(help)),
            None => writeln!(f, "{margin} | {indent}{carets}"),
        }
    }
}

/// A report as JSON.
#[derive(Serialize)]
struct Line<'r> {
    code: &'r str,
    severity: &'r str,
    message: &'r str,
    file: &'r str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replace: Option<Replace<'r>>,
}

#[derive(Serialize)]
struct Replace<'r> {
    text: &'r str,
}

impl Report {
    /// The report as an object of JSON in one line, without a line end.
    pub fn to_json(&self) -> String {
        let line = Line {
            code: self.code.word(),
            severity: self.severity().word(),
            message: &self.message,
            file: &self.file,
            line: self.span.start.line,
            column: self.span.start.column,
            end_line: self.span.end.line,
            end_column: self.span.end.column,
            place: self.place.as_deref(),
            help: self.help.as_deref(),
            replace: self.replace.as_deref().map(|text| Replace { text }),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}
