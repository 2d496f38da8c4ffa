//! How errors are put into words.

use std::error::Error;
use std::iter::successors;

/// An error's text without Rust's `(os error N)`.
#[must_use]
pub fn reason(error: &dyn Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// An error and its causes in one line: `cannot read lb.toml: No such file or directory`.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let all = successors(Some(error), |&error| error.source());
    let all: Vec<_> = all.map(reason).collect();
    all.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;
    use std::io;

    #[derive(Debug)]
    struct Failed(io::Error);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read lb.toml")
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(reason(&missing), "No such file or directory");
        let expected = "cannot read lb.toml: No such file or directory";
        assert_eq!(with_causes(&Failed(missing)), expected);
    }
}
