//! What a probe asks, as it is configured.

use crate::command::Command;
use crate::text::{Value, Word, words};
use std::fmt;
use std::str::FromStr;

/// What is asked of a backend.
///
/// Written as words: the kind, with an argument after a colon, and then `key=value`. A value may be
/// in double quotes and then have spaces, and `\r`, `\n`, `\t`, `\"`, `\\` and `\xHH`.
///
/// ```
/// use probing::Probe;
/// let probe: Probe = "http:/healthz status=200-299,404".parse().unwrap();
/// assert_eq!(probe.to_string(), "http:/healthz status=200-299,404");
/// assert!("htpt:/healthz".parse::<Probe>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// `tcp`: the connection is made.
    Tcp,
    /// `http:/PATH`: the status of an answer to GET.
    Http {
        /// The path, with the query if there is one.
        path: String,
        /// The header `Host`; the address of the backend if absent.
        host: Option<String>,
        /// The statuses that pass.
        status: Statuses,
    },
    /// `send=BYTES expect=BYTES`: the bytes are somewhere in the answer.
    Expect {
        /// What is sent; may be empty.
        send: Vec<u8>,
        /// What is expected; never empty.
        expect: Vec<u8>,
    },
    /// `pgsql`: PostgreSQL accepts clients.
    Pgsql {
        /// The user who is announced. Default `postgres`.
        user: String,
        /// The database. Default: the name of the user.
        database: Option<String>,
        /// What the server must be, which needs a user who needs no password.
        role: Option<Role>,
    },
    /// `mysql user=NAME`: a login with an empty password, and a ping.
    Mysql {
        /// The user.
        user: String,
        /// What the server must be, according to `@@read_only`.
        role: Option<Role>,
    },
    /// `redis`: an answer to PING, or what INFO says about the role.
    Redis {
        /// What the server must be.
        role: Option<Role>,
    },
    /// `smtp`: greeting, EHLO, QUIT.
    Smtp,
    /// `imap`: greeting, LOGOUT.
    Imap,
    /// `pop3`: greeting, QUIT.
    Pop3,
    /// `ftp`: greeting, QUIT.
    Ftp,
    /// `ssh`: the version line.
    Ssh,
    /// `ldap`: an anonymous bind.
    Ldap,
    /// `mqtt`: CONNECT, DISCONNECT.
    Mqtt,
    /// `memcached`: the version.
    Memcached,
    /// `dns:NAME`: an answer without an error.
    Dns {
        /// The name whose address is asked for. Default: the root, and its name servers.
        name: String,
        /// Whether it is asked over UDP. Default: over TCP.
        is_udp: bool,
    },
    /// `ntp`: a time server that is synchronized, over UDP.
    Ntp,
    /// `command:/PROGRAM`: a program on this machine ends with status 0.
    Command(Command),
}

/// What a server is to its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another server.
    Replica,
}

/// Which statuses of HTTP pass: ranges, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statuses(Vec<(u16, u16)>);

/// Why a text is not a probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No such kind.
    #[error("{0:?} is not a probe; the probes are {KINDS}")]
    Kind(String),
    /// The kind has no such key.
    #[error("the probe {kind} has no {key:?}{hint}")]
    Key {
        /// The kind.
        kind: String,
        /// The key.
        key: String,
        /// The keys that it has.
        hint: String,
    },
    /// A key is missing.
    #[error("the probe {kind} needs {needs}")]
    Needs {
        /// The kind.
        kind: &'static str,
        /// What it needs, with an example.
        needs: &'static str,
    },
    /// Anything else.
    #[error("{0}")]
    Text(String),
}

const KINDS: &str = "tcp, http:/PATH, pgsql, mysql user=NAME, redis, smtp, imap, pop3, ftp, ssh, \
                     ldap, mqtt, memcached, dns:NAME, ntp, command:/PROGRAM, and send=BYTES \
                     expect=BYTES";

/// The longest texts that are sent or expected.
const BYTES_MAX: usize = 4096;

impl FromStr for Probe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        if text.len() > 4 * BYTES_MAX {
            return Err(ProbeError::Text("a probe has at most 16 kB".to_owned()));
        }
        let mut words = words(text).map_err(ProbeError::Text)?.into_iter().peekable();
        let is_exchange = |it: &Word| matches!(&*it.key, "send" | "expect");
        let first = match words.peek() {
            Some(first) if is_exchange(first) => {
                Word { key: "send/expect".to_owned(), value: None }
            }
            _ => words.next().ok_or_else(|| ProbeError::Kind(String::new()))?,
        };
        let mut given = Given { kind: first.key, argument: first.value, keys: words.collect() };
        let probe = given.probe()?;
        given.nothing_left()?;
        Ok(probe)
    }
}

/// What a text gives, less what has been taken out of it.
struct Given {
    kind: String,
    argument: Option<Vec<u8>>,
    keys: Vec<Word>,
}

impl Given {
    fn probe(&mut self) -> Result<Probe, ProbeError> {
        Ok(match &*self.kind {
            "tcp" => Probe::Tcp,
            "http" => {
                let needs =
                    ProbeError::Needs { kind: "http", needs: "a path, as in http:/healthz" };
                let path = self.argument.take().filter(|it| it.starts_with(b"/")).ok_or(needs)?;
                let path = visible("the path", path)?;
                let host = self.visible("host")?;
                let status = self.text("status")?.map(|it| it.parse()).transpose()?;
                Probe::Http { path, host, status: status.unwrap_or_default() }
            }
            "send/expect" => {
                let send = self.take("send").unwrap_or_default();
                let expect = self.take("expect").unwrap_or_default();
                if expect.is_empty() {
                    let needs = "something to expect, as in expect=\"220 \"";
                    return Err(ProbeError::Needs { kind: "send/expect", needs });
                }
                if send.len().max(expect.len()) > BYTES_MAX {
                    let text = format!("a probe sends and expects at most {BYTES_MAX} bytes");
                    return Err(ProbeError::Text(text));
                }
                Probe::Expect { send, expect }
            }
            "pgsql" => Probe::Pgsql {
                user: self.text("user")?.unwrap_or_else(|| PGSQL_USER.to_owned()),
                database: self.text("database")?,
                role: self.role()?,
            },
            "mysql" => {
                let needs = ProbeError::Needs {
                    kind: "mysql",
                    needs: "a user who may log in without a password, as in mysql user=probe",
                };
                Probe::Mysql { user: self.text("user")?.ok_or(needs)?, role: self.role()? }
            }
            "redis" => Probe::Redis { role: self.role()? },
            "smtp" => Probe::Smtp,
            "imap" => Probe::Imap,
            "pop3" => Probe::Pop3,
            "ftp" => Probe::Ftp,
            "ssh" => Probe::Ssh,
            "ldap" => Probe::Ldap,
            "mqtt" => Probe::Mqtt,
            "memcached" => Probe::Memcached,
            "dns" => {
                let name = self.argument.take().unwrap_or_else(|| b".".to_vec());
                let name = visible("the name", name)?;
                let labels = name.strip_suffix('.').unwrap_or(&name).split('.');
                let mut lengths = labels.map(str::len);
                if name.len() > 253 || name != "." && lengths.any(|it| it == 0 || it > 63) {
                    return Err(ProbeError::Text(format!("{name:?} is not a domain name")));
                }
                let is_udp = match self.text("over")?.as_deref() {
                    None | Some("tcp") => false,
                    Some("udp") => true,
                    Some(_) => {
                        return Err(ProbeError::Text("over must be tcp or udp".to_owned()));
                    }
                };
                Probe::Dns { name, is_udp }
            }
            "ntp" => Probe::Ntp,
            "command" => {
                let needs = "a program's full path, as in command:/usr/local/bin/check";
                let needs = ProbeError::Needs { kind: "command", needs };
                let is_path = |it: &Vec<u8>| it.starts_with(b"/") && it.len() > 1;
                let program = self.argument.take().filter(is_path).ok_or(needs)?;
                let arguments: Vec<_> = std::iter::from_fn(|| self.take("arg")).collect();
                Probe::Command(Command::new(program, arguments).map_err(ProbeError::Text)?)
            }
            other => return Err(ProbeError::Kind(other.to_owned())),
        })
    }

    fn take(&mut self, key: &str) -> Option<Vec<u8>> {
        let at = self.keys.iter().position(|it| it.key == key && it.value.is_some())?;
        self.keys.remove(at).value
    }

    /// A text without zero bytes, which would end it in some protocols.
    fn text(&mut self, key: &str) -> Result<Option<String>, ProbeError> {
        let read = |bytes: Vec<u8>| {
            let is_fine = !bytes.is_empty() && bytes.len() <= 255 && !bytes.contains(&0);
            let text = String::from_utf8(bytes).ok().filter(|_| is_fine);
            text.ok_or_else(|| ProbeError::Text(format!("{key} must be a text, not empty")))
        };
        self.take(key).map(read).transpose()
    }

    fn visible(&mut self, key: &str) -> Result<Option<String>, ProbeError> {
        self.take(key).map(|bytes| visible(key, bytes)).transpose()
    }

    fn role(&mut self) -> Result<Option<Role>, ProbeError> {
        let role = |word: String| match &*word {
            "primary" => Ok(Role::Primary),
            "replica" => Ok(Role::Replica),
            _ => Err(ProbeError::Text("role must be primary or replica".to_owned())),
        };
        self.text("role")?.map(role).transpose()
    }

    fn nothing_left(self) -> Result<(), ProbeError> {
        let key = match (self.argument, self.keys.into_iter().next()) {
            (None, None) => return Ok(()),
            (Some(argument), _) => format!(":{}", Value(&argument)),
            (None, Some(word)) => word.key,
        };
        let keys = match &*self.kind {
            "http" => "host and status",
            "pgsql" => "user, database and role",
            "mysql" => "user and role",
            "redis" => "role",
            "dns" => "over",
            "send/expect" => "send and expect",
            _ => "",
        };
        let hint = match keys {
            "" if self.kind == "command" => {
                "; it has arg, as often as needed, written arg=TEXT".to_owned()
            }
            "" => String::new(),
            keys => format!("; it has {keys}, each once, written key=value"),
        };
        Err(ProbeError::Key { kind: self.kind, key, hint })
    }
}

/// A text of visible ASCII, which can be part of a line.
fn visible(what: &str, bytes: Vec<u8>) -> Result<String, ProbeError> {
    let is_fine = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    let text = String::from_utf8(bytes).ok().filter(|_| is_fine);
    text.ok_or_else(|| ProbeError::Text(format!("{what} must be visible ASCII, not empty")))
}

const PGSQL_USER: &str = "postgres";

impl Probe {
    /// Whether it is a datagram, and so is the answer.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Dns { is_udp: true, .. } | Self::Ntp)
    }

    /// The command, if it is one: there is nothing to connect to then.
    #[must_use]
    pub fn command(&self) -> Option<&Command> {
        match self {
            Self::Command(command) => Some(command),
            _ => None,
        }
    }
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

impl Statuses {
    /// Whether this status passes.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&status))
    }
}

/// From 200 to 299.
impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl FromStr for Statuses {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|it| (100..=599).contains(it) && text.len() == 3);
            number.ok_or_else(|| {
                let what = "status must be like 200, 2xx or 200-299, several with commas";
                ProbeError::Text(what.to_owned())
            })
        };
        let range = |text: &str| match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(hundreds), _) => {
                let first: u16 = number(&format!("{hundreds}00"))?;
                Ok((first, first + 99))
            }
            (None, Some((first, last))) => Ok((number(first)?, number(last)?)),
            (None, None) => number(text).map(|it| (it, it)),
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// As it is read.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |f: &mut fmt::Formatter<'_>, key: &str, value: Option<&str>| match value {
            Some(value) => write!(f, " {key}={}", Value(value.as_bytes())),
            None => Ok(()),
        };
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http { path, host, status } => {
                write!(f, "http:{}", Value(path.as_bytes()))?;
                pair(f, "host", host.as_deref())?;
                let status = (*status != Statuses::default()).then(|| status.to_string());
                pair(f, "status", status.as_deref())
            }
            Self::Expect { send, expect } => {
                if !send.is_empty() {
                    write!(f, "send={} ", Value(send))?;
                }
                write!(f, "expect={}", Value(expect))
            }
            Self::Pgsql { user, database, role } => {
                f.write_str("pgsql")?;
                pair(f, "user", Some(&**user).filter(|it| *it != PGSQL_USER))?;
                pair(f, "database", database.as_deref())?;
                pair(f, "role", role.map(Role::word))
            }
            Self::Mysql { user, role } => {
                f.write_str("mysql")?;
                pair(f, "user", Some(user))?;
                pair(f, "role", role.map(Role::word))
            }
            Self::Redis { role } => {
                f.write_str("redis")?;
                pair(f, "role", role.map(Role::word))
            }
            Self::Smtp => f.write_str("smtp"),
            Self::Imap => f.write_str("imap"),
            Self::Pop3 => f.write_str("pop3"),
            Self::Ftp => f.write_str("ftp"),
            Self::Ssh => f.write_str("ssh"),
            Self::Ldap => f.write_str("ldap"),
            Self::Mqtt => f.write_str("mqtt"),
            Self::Memcached => f.write_str("memcached"),
            Self::Dns { name, is_udp } => {
                f.write_str("dns")?;
                if name != "." {
                    write!(f, ":{}", Value(name.as_bytes()))?;
                }
                pair(f, "over", is_udp.then_some("udp"))
            }
            Self::Ntp => f.write_str("ntp"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        match text.parse::<Probe>() {
            Ok(probe) => assert_eq!(probe.to_string(), expected),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    #[test]
    fn probes_are_read_and_written() {
        for text in [
            "tcp",
            "http:/a?b=c:d host=www.example.org status=200-299,404",
            "send=\"PING\\r\\n\" expect=+PONG",
            "expect=\"220 \\\"\\xff\"",
            "pgsql",
            "pgsql user=probe database=\"my db\" role=primary",
            "mysql user=probe role=replica",
            "redis role=primary",
            "smtp",
            "dns",
            "dns:example.org",
            "dns over=udp",
            "dns:example.org over=udp",
            "ntp",
            "command:/usr/lib/check",
            "command:\"/opt/my checks/a\" arg=-v arg=\"\" arg=\"b c\" arg=-v",
        ] {
            check(text, text);
        }
        check("  http:\"/a\"   status=2xx ", "http:/a");
        check("pgsql user=postgres", "pgsql");
        check("dns over=tcp", "dns");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("http", "the probe http needs a path, as in http:/healthz");
        check("http:healthz", "the probe http needs a path, as in http:/healthz");
        check(
            "mysql",
            "the probe mysql needs a user who may log in without a password, as in mysql user=probe",
        );
        check("redis role=master", "role must be primary or replica");
        check(
            "redis user=a",
            "the probe redis has no \"user\"; it has role, each once, written key=value",
        );
        check("tcp:80", "the probe tcp has no \":80\"");
        check("http:/a status=20", "status must be like 200, 2xx or 200-299, several with commas");
        check("send=a", "the probe send/expect needs something to expect, as in expect=\"220 \"");
        check("expect=\"a", "a quoted value does not end");
        check("expect=\"\\q\"", "a backslash is followed by r, n, t, x, \" or \\");
        let path = "the probe command needs a program's full path, as in \
                    command:/usr/local/bin/check";
        check("command", path);
        check("command:check", path);
        check(
            "command:/a -v",
            "the probe command has no \"-v\"; it has arg, as often as needed, written arg=TEXT",
        );
        let words = "the words of a command must be UTF-8, without zero bytes";
        check("command:/a arg=\"\\x00\"", words);
        check("dns over=tls", "over must be tcp or udp");
        check("dns:a..b", "\"a..b\" is not a domain name");
        assert!(
            "gopher".parse::<Probe>().unwrap_err().to_string().contains("the probes are tcp, ")
        );
        assert!("".parse::<Probe>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_can_be_read_is_written_as_it_is_read(
            text in "(http:|pgsql|mysql|redis|dns:|send=|expect=|command:/|)[ -~é]{0,40}"
        ) {
            if let Ok(probe) = text.parse::<Probe>() {
                let written = probe.to_string();
                prop_assert_eq!(written.parse::<Probe>(), Ok(probe), "{}", written);
            }
        }

        #[test]
        fn bytes_are_written_as_they_are_read(send: Vec<u8>, mut expect: Vec<u8>) {
            expect.push(0);
            let probe = Probe::Expect { send, expect };
            prop_assert_eq!(probe.to_string().parse::<Probe>(), Ok(probe));
        }
    }
}
