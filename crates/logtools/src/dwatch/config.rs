//! dwatch's configuration: TOML text in, checked watches out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer};

use crate::options::Span;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Whom to tell about changes.
    #[serde(default)]
    pub notify: Notify,
    /// What to watch, by name.
    #[serde(default)]
    pub watch: BTreeMap<String, Watch>,
}

/// Whom to tell about changes. Everything that is given is used.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Notify {
    /// An address, for which `sendmail -t` is run.
    pub mail: Option<String>,
    /// A command for the shell.
    pub command: Option<String>,
    /// An `http://` address, to which an object is posted as JSON.
    pub webhook: Option<String>,
}

/// One watched program. It is well when all the checks that are given are passed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Watch {
    /// Check: processes of this name are running.
    pub process: Option<String>,
    /// Check: processes are running whose command line holds this pattern.
    #[serde(default, deserialize_with = "pattern")]
    pub command_line: Option<Regex>,
    /// Only processes of this user count.
    pub user: Option<String>,
    /// Check: the process whose number is in this file is running.
    pub pid_file: Option<PathBuf>,
    /// Check: a TCP connection can be opened.
    pub tcp: Option<String>,
    /// Check: there is an answer to a UDP datagram.
    pub udp: Option<Udp>,
    /// Check: a connection to this Unix socket can be opened.
    pub unix: Option<PathBuf>,
    /// Check: this `http://` address answers with a status of 200 to 399.
    pub http: Option<String>,
    /// Check: this command ends with status 0.
    pub exec: Option<String>,
    /// How long a probe or `exec` may take. Default 5 s.
    #[serde(default = "seconds::<5>", deserialize_with = "duration")]
    pub timeout: Duration,
    /// How many processes there should be at least. Default 1.
    #[serde(default = "one")]
    pub min: usize,
    /// How many there should be at most; more are stopped.
    pub max: Option<usize>,
    /// The command that starts the program.
    pub start: Option<String>,
    /// The command that stops what is left of it, run before `start`, and when there are too many.
    pub stop: Option<String>,
    /// A command that is run on changes of this program, besides `notify`.
    pub alert: Option<String>,
    /// How long `start` and `stop` may take. Default 60 s.
    #[serde(default = "seconds::<60>", deserialize_with = "duration")]
    pub command_timeout: Duration,
    /// How long the program may take to be well after a start. Default 30 s.
    #[serde(default = "seconds::<30>", deserialize_with = "duration")]
    pub grace: Duration,
    /// How long to wait after the first start that failed; doubled with each further one, up to
    /// 5 minutes. Default 10 s.
    #[serde(default = "seconds::<10>", deserialize_with = "duration")]
    pub backoff: Duration,
    /// How many starts within `within` before giving up. Default 5.
    #[serde(default = "five")]
    pub retries: usize,
    /// Default 10 minutes.
    #[serde(default = "seconds::<600>", deserialize_with = "duration")]
    pub within: Duration,
}

/// A UDP probe.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Udp {
    /// `HOST:PORT`.
    pub address: String,
    /// What is sent; any answer will do.
    pub send: String,
}

impl Config {
    /// Reads and checks the text of a configuration file. Errors name the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (name, watch) in &config.watch {
            watch.check().map_err(|reason| format!("[watch.{name}]: {reason}"))?;
        }
        if let Some(url) = &config.notify.webhook {
            Url::parse(url).map_err(|reason| format!("[notify]: webhook: {reason}"))?;
        }
        if config.watch.is_empty() {
            return Err("nothing to watch: add a [watch.NAME] section".to_owned());
        }
        Ok(config)
    }
}

impl Watch {
    /// Whether processes are counted.
    pub fn counts_processes(&self) -> bool {
        self.process.is_some() || self.command_line.is_some()
    }

    fn check(&self) -> Result<(), String> {
        let checked = self.counts_processes()
            || self.pid_file.is_some()
            || self.tcp.is_some()
            || self.udp.is_some()
            || self.unix.is_some()
            || self.http.is_some()
            || self.exec.is_some();
        if !checked {
            return Err("no check: give process, command-line, pid-file, tcp, udp, unix, http or \
                        exec"
                .to_owned());
        }
        if (self.user.is_some() || self.max.is_some()) && !self.counts_processes() {
            return Err("user and max need process or command-line".to_owned());
        }
        if self.max.is_some_and(|max| max < self.min) {
            return Err("max is less than min".to_owned());
        }
        if self.max.is_some() && self.stop.is_none() {
            return Err("max needs stop, which is run when there are more".to_owned());
        }
        if let Some(url) = &self.http {
            Url::parse(url).map_err(|reason| format!("http: {reason}"))?;
        }
        for address in self.tcp.iter().chain(self.udp.iter().map(|udp| &udp.address)) {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            port.ok_or_else(|| format!("'{address}' is no HOST:PORT"))?;
        }
        Ok(())
    }
}

/// A plain HTTP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `HOST:PORT`, to connect to.
    pub address: String,
    /// What the `Host` header says.
    pub host: String,
    /// Path and query.
    pub path: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PATH]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("'{text}' is no http:// address (use a command with curl for https)")
        })?;
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || text.contains(bad) {
            return Err(format!("'{text}' is no http:// address"));
        }
        let port = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        let address = if port.is_some() { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { address, host: host.to_owned(), path: path.to_owned() })
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map(Some).map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(f64),
        Text(String),
    }
    let text = match Given::deserialize(deserializer)? {
        Given::Number(seconds) => seconds.to_string(),
        Given::Text(text) => text,
    };
    text.parse::<Span>().map(|span| span.0).map_err(serde::de::Error::custom)
}

fn seconds<const N: u64>() -> Duration {
    Duration::from_secs(N)
}

fn one() -> usize {
    1
}

fn five() -> usize {
    5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_has_defaults_for_all_but_its_checks() {
        let config = Config::parse(
            "[watch.web]\nprocess = 'nginx'\nstart = 'x'\ngrace = '2m'\nbackoff = 1.5\n",
        )
        .unwrap();
        let watch = &config.watch["web"];
        assert_eq!((watch.min, watch.retries), (1, 5));
        assert_eq!(watch.grace, Duration::from_secs(120));
        assert_eq!(watch.backoff, Duration::from_millis(1500));
        assert_eq!(watch.within, Duration::from_secs(600));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        #[track_caller]
        fn check(text: &str, complaint: &str) {
            let error = Config::parse(text).expect_err(text);
            assert!(error.contains(complaint), "{text}: {error}");
        }
        check("", "nothing to watch");
        check("[watch.a]\nproces = 'x'", "line 2");
        check("[watch.a]\nproces = 'x'", "unknown field `proces`");
        check("[watch.a]\nstart = 'x'", "[watch.a]: no check");
        check("[watch.a]\nprocess = 'x'\ngrace = 'soon'", "line 3");
        check("[watch.a]\ncommand-line = '('", "line 2");
        check("[watch.a]\nprocess = 'x'\nmax = 0", "max is less than min");
        check("[watch.a]\nprocess = 'x'\nmax = 2", "max needs stop");
        check("[watch.a]\ntcp = 'x'", "'x' is no HOST:PORT");
        check("[watch.a]\nhttp = 'https://x'", "no http:// address");
        check("[watch.a]\nuser = 'x'\ntcp = 'a:1'", "user and max need");
        check("[notify]\nwebhook = 'ftp:'\n[watch.a]\nprocess = 'x'", "[notify]: webhook");
    }

    #[test]
    fn addresses_of_http() {
        #[track_caller]
        fn check(text: &str, address: &str, path: &str) {
            let url = Url::parse(text).unwrap();
            assert_eq!((&*url.address, &*url.path), (address, path));
        }
        check("http://a", "a:80", "/");
        check("http://a:81/b?c", "a:81", "/b?c");
        check("http://[::1]/", "[::1]:80", "/");
        check("http://[::1]:8/", "[::1]:8", "/");
        assert!(Url::parse("http:///x").is_err() && Url::parse("http://a\r\nb").is_err());
    }
}
