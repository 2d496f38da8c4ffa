//! The environment variables that describe the listening sockets passed by a service manager.
//!
//! Source: sd_listen_fds(3). Whether there are as many descriptors as `LISTEN_FDS` says is not
//! checked here.

/// The variables as they are in the environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassedVariables<'a> {
    /// `LISTEN_PID`: the process that the sockets are for.
    pub pid: Option<&'a str>,
    /// `LISTEN_FDS`: how many there are.
    pub count: Option<&'a str>,
    /// `LISTEN_FDNAMES`: their names, separated by colons.
    pub names: Option<&'a str>,
}

/// The sockets that are announced, in the order of their descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedNames {
    count: u32,
    names: Vec<String>,
}

/// Why the variables cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassedError {
    /// `LISTEN_PID` is not a process id.
    #[error("LISTEN_PID is '{}', which is not a process id", visible(.0))]
    Pid(String),
    /// `LISTEN_FDS` is not a number of descriptors.
    #[error("LISTEN_FDS is '{}', which is not a number of file descriptors", visible(.0))]
    Count(String),
    /// `LISTEN_FDNAMES` has another number of names.
    #[error("LISTEN_FDNAMES has {names} names, but LISTEN_FDS is {count}")]
    Names {
        /// The number of names.
        names: usize,
        /// The number of descriptors.
        count: u32,
    },
    /// A name is too long, or has characters that none may have.
    #[error("LISTEN_FDNAMES has the name '{}', which is not valid", visible(.0))]
    Name(String),
}

impl PassedNames {
    /// The sockets that are passed to the process `pid`; none if the variables are missing, or are
    /// for another process.
    ///
    /// # Errors
    /// If they are for this process and cannot be understood.
    pub fn parse(pid: u32, variables: PassedVariables<'_>) -> Result<Self, PassedError> {
        let (Some(for_pid), Some(count)) = (variables.pid, variables.count) else {
            return Ok(Self::default());
        };
        match for_pid.parse::<u32>() {
            Err(_) => return Err(PassedError::Pid(for_pid.to_owned())),
            Ok(for_pid) if for_pid != pid => return Ok(Self::default()),
            Ok(_) => {}
        }
        let count = match count.parse::<u32>() {
            Ok(count) if count <= COUNT_MAX => count,
            _ => return Err(PassedError::Count(count.to_owned())),
        };
        let names = match variables.names {
            None => Vec::new(),
            Some(_) if count == 0 => Vec::new(),
            Some(text) => parse_names(text, count)?,
        };
        Ok(Self { count, names })
    }

    /// The number of sockets.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The name of the socket at this place, from 0; `None` if it has none.
    #[must_use]
    pub fn name(&self, place: u32) -> Option<&str> {
        let name = self.names.get(usize::try_from(place).ok()?)?;
        (!name.is_empty()).then_some(name)
    }
}

fn parse_names(text: &str, count: u32) -> Result<Vec<String>, PassedError> {
    let names = text.split(':').count();
    if usize::try_from(count) != Ok(names) {
        return Err(PassedError::Names { names, count });
    }
    let is_valid =
        |name: &str| name.len() <= NAME_MAX && name.bytes().all(|it| matches!(it, b' '..=b'~'));
    let check = |name: &str| match is_valid(name) {
        true => Ok(name.to_owned()),
        false => Err(PassedError::Name(name.to_owned())),
    };
    text.split(':').map(check).collect()
}

/// Text for a message: short, on one line, and without control characters.
fn visible(text: &str) -> String {
    let shown = text.chars().take(SHOWN_MAX);
    let shown: String = shown.map(|it| if it.is_control() { '?' } else { it }).collect();
    match text.chars().count() > SHOWN_MAX {
        true => shown + "...",
        false => shown,
    }
}

/// The descriptors from the first one passed to the greatest that can exist.
const COUNT_MAX: u32 = i32::MAX as u32 - 3;
/// Source: systemd.socket(5), `FileDescriptorName=`.
const NAME_MAX: usize = 255;
const SHOWN_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pid: &str, count: &str, names: Option<&str>) -> Result<PassedNames, PassedError> {
        let variables = PassedVariables { pid: Some(pid), count: Some(count), names };
        PassedNames::parse(17, variables)
    }

    #[track_caller]
    fn check(count: &str, names: Option<&str>, expected: &[Option<&str>]) {
        let passed = parse("17", count, names).unwrap();
        assert_eq!(passed.count() as usize, expected.len());
        let found: Vec<_> = (0..passed.count()).map(|place| passed.name(place)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sockets_are_in_the_order_of_their_names() {
        check("2", Some("web:mail"), &[Some("web"), Some("mail")]);
        check("2", Some("web:web"), &[Some("web"), Some("web")]);
        check("2", Some(":evenkeel.socket"), &[None, Some("evenkeel.socket")]);
        check("2", None, &[None, None]);
        check("1", Some(""), &[None]);
        check("0", Some(""), &[]);
    }

    #[test]
    fn sockets_for_another_process_are_none_of_ours() {
        assert_eq!(parse("18", "nonsense", Some("\n")), Ok(PassedNames::default()));
        let variables = PassedVariables { count: Some("1"), ..PassedVariables::default() };
        assert_eq!(PassedNames::parse(17, variables), Ok(PassedNames::default()));
        let variables = PassedVariables { pid: Some("17"), ..PassedVariables::default() };
        assert_eq!(PassedNames::parse(17, variables), Ok(PassedNames::default()));
    }

    #[track_caller]
    fn check_error(pid: &str, count: &str, names: Option<&str>, message: &str) {
        assert_eq!(parse(pid, count, names).unwrap_err().to_string(), message);
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        check_error("me", "1", None, "LISTEN_PID is 'me', which is not a process id");
        let count = |text: &str| {
            format!("LISTEN_FDS is '{text}', which is not a number of file descriptors")
        };
        for text in ["", "-1", "1x", "2147483648", "99999999999999999999"] {
            check_error("17", text, None, &count(text));
        }
        let names = "LISTEN_FDNAMES has 3 names, but LISTEN_FDS is 2";
        check_error("17", "2", Some("a:b:c"), names);
        check_error(
            "17",
            "2147483644",
            Some("a"),
            "LISTEN_FDNAMES has 1 names, but LISTEN_FDS is 2147483644",
        );
        let name = "LISTEN_FDNAMES has the name 'b?', which is not valid";
        check_error("17", "2", Some("a:b\n"), name);
        let long =
            format!("LISTEN_FDNAMES has the name '{}...', which is not valid", "x".repeat(60));
        check_error("17", "1", Some(&"x".repeat(256)), &long);
    }
}
