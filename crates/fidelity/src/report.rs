//! What came out: one line per case, and the sum.

use std::{fmt, time::Duration};

use serde::Serialize;

/// Why a case did not pass, in the two halves that a reader needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What a right proxy does.
    pub expected: String,
    /// What happened instead.
    pub seen: String,
}

impl Failure {
    /// `expected` did not happen; `seen` did.
    pub fn new(expected: impl Into<String>, seen: impl fmt::Display) -> Self {
        Self { expected: expected.into(), seen: seen.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, saw {}", self.expected, self.seen)
    }
}

/// What a case, or a step of one, says about the proxy.
pub type Check<T = ()> = Result<T, Failure>;

/// How one case ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verdict {
    /// The proxy did what the case asks.
    Ok,
    /// It did not.
    Fail(Failure),
    /// The case could not run here.
    Skip {
        /// What is missing, and how to get it.
        needs: String,
    },
}

/// One case that ran, or was skipped.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The case's name; with several rounds, `name#2` and so on.
    pub name: String,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, all set-up included.
    #[serde(serialize_with = "as_seconds", rename = "seconds")]
    pub time: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.verdict {
            Verdict::Ok => write!(f, "ok {name} ({:.2} s)", self.time.as_secs_f64()),
            Verdict::Fail(failure) => write!(f, "FAIL {name}: {failure}"),
            Verdict::Skip { needs } => write!(f, "SKIP {name}: needs {needs}"),
        }
    }
}

/// Everything that ran, in order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// One entry per case and round.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Ok))
    }

    /// How many cases failed.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Fail(_)))
    }

    /// How many cases could not run here.
    pub fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skip { .. }))
    }

    /// The names of the cases that failed, in order.
    pub fn failures(&self) -> Vec<&str> {
        let failed = |outcome: &&Outcome| matches!(outcome.verdict, Verdict::Fail(_));
        self.outcomes.iter().filter(failed).map(|outcome| outcome.name.as_str()).collect()
    }

    /// The whole report as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "passed": self.passed(),
            "failed": self.failed(),
            "skipped": self.skipped(),
            "cases": self.outcomes,
        })
    }

    fn count(&self, is_counted: impl Fn(&Verdict) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| is_counted(&outcome.verdict)).count()
    }
}

/// The sum, `N passed, M failed`, followed by the skipped ones where there are any.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed(), self.failed())?;
        match self.skipped() {
            0 => Ok(()),
            skipped => write!(f, ", {skipped} skipped"),
        }
    }
}

fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, verdict: Verdict) -> Outcome {
        Outcome { name: name.to_owned(), verdict, time: Duration::from_millis(250) }
    }

    #[test]
    fn lines_sum_and_json_say_the_same() {
        let report = Report {
            outcomes: vec![
                outcome("a", Verdict::Ok),
                outcome("b", Verdict::Fail(Failure::new("x", "y"))),
                outcome("c", Verdict::Skip { needs: "z".to_owned() }),
            ],
        };
        let lines: Vec<String> = report.outcomes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["ok a (0.25 s)", "FAIL b: expected x, saw y", "SKIP c: needs z"]);
        assert_eq!(report.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(report.failures(), ["b"]);
        let json = report.to_json();
        assert_eq!(json["failed"], 1);
        assert_eq!(json["cases"][1]["result"], "fail");
        assert_eq!(json["cases"][1]["expected"], "x");
        assert_eq!(json["cases"][0]["seconds"], 0.25);
    }
}
