//! `webresolve` and `splitwr`: put names for addresses into access logs, with many lookups in
//! flight.
//!
//! ~~~text
//!   reader thread --lines--> waiting lines, in order --text--> writer thread
//!                               |          ^
//!                        new addresses   names
//!                               v          |
//!                            lookups in flight (rate limited)
//! ~~~
//!
//! A line leaves when its address is decided and all lines before it have left. Each address is
//! looked up once. What waits is bounded, so memory does not grow with the log.

pub mod cache;
pub mod lookup;
pub mod names;
mod pipeline;

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::input::Compression;
use crate::options::{Args, Opt, Tool, UsageError, called_as, opt};
use crate::output::{complain, is_closed_pipe};
use lookup::Asking;
use names::Skip;

const OPTIONS: &[Opt] = &[
    opt('n', "parallel", "N", "Lookups in flight. Default 64; 20 if called as splitwr."),
    opt(
        't',
        "timeout",
        "SECONDS",
        "The time allowed for one address, including one retry. Default 5.",
    ),
    opt(
        'c',
        "cache",
        "FILE",
        "Remember names in this file between runs: for at most 7 days, and the lack of a name for 1 day, or less if the DNS says so.",
    ),
    opt(
        ' ',
        "server",
        "ADDRESS[:PORT]",
        "Ask this name server; may be given several times. Default: those in /etc/resolv.conf.",
    ),
    opt(' ', "nameserver", "ADDRESS[:PORT]", "Like --server."),
    opt(
        ' ',
        "rate",
        "N",
        "At most N lookups a second, with a small burst. Default 500; 0 means no limit, which is for name servers of your own.",
    ),
    opt(' ', "verify", "", "Use a name only if it resolves to the address."),
    opt(
        ' ',
        "field",
        "N",
        "The field of the line that has the address. Default 1; use 2 after a virtual host.",
    ),
    opt(' ', "skip", "NET", "Leave addresses of this network alone. May be given several times."),
    opt(
        ' ',
        "private",
        "",
        "Look up private, loopback, link-local and documentation addresses too. Default: only if a name server is local.",
    ),
    opt(' ', "no-hosts", "", "Ignore /etc/hosts."),
    opt(
        'o',
        "output",
        "FILE",
        "Write to this file; .gz or .zst at the end of its name compresses it.",
    ),
    opt(' ', "compress", "KIND", "Compress the result: gzip or zstd."),
    opt(
        ' ',
        "stats",
        "",
        "Report on standard error how many lines and addresses there were, and what became of them.",
    ),
];

const DESCRIPTION: &str = "\
Copies access logs to standard output and replaces the address that each line begins with by its host
name. Reads the files in turn, or standard input; gzip and zstd are told by their content. Lines keep
their order and every other byte. An address without a name, or whose name servers do not answer in
time, stays.

Only host names are written: letters, digits, - and _ in labels, in lower case. Anything else that
the owner of an address may have put into the DNS is ignored. Of several names the smallest is taken.

Each address is looked up once. After 50 lookups in a row without an answer, the remaining addresses
stay as they are, except for one lookup at a time that finds out whether answers arrive again.";

const SECTIONS: &[(&str, &str)] = &[
    (
        "exit status",
        "0: all lines were copied, whatever became of the names. 1: a file could not be read to its end, or the result not be written. 2: wrong usage.",
    ),
    (
        "examples",
        "\
A compressed log, with names remembered, and names on the way from mergelogs to a report:

    webresolve -c /var/cache/webresolve access.log.gz > resolved.log
    mergelogs -p pen.log 10.0.0.1:www1.log | webresolve --verify | goaccess -",
    ),
    ("see also", "mergelogs(1)"),
];

/// Everything about the program's command line.
pub static TOOL: Tool = Tool {
    name: "webresolve",
    about: "replace addresses by host names in access logs",
    synopsis: &["[OPTION]... [LOG]..."],
    description: DESCRIPTION,
    options: OPTIONS,
    sections: SECTIONS,
};

/// The same program under its other name.
pub static SPLITWR: Tool = Tool {
    name: "splitwr",
    about: "replace addresses by host names in access logs, with 20 lookups at a time",
    synopsis: &["[OPTION]... [LOG]..."],
    description: DESCRIPTION,
    options: OPTIONS,
    sections: SECTIONS,
};

/// Runs the program, which goes by two names. `args` are those after its name.
pub fn main(argv0: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    let tool = if called_as(argv0) == SPLITWR.name { &SPLITWR } else { &TOOL };
    tool.run(argv0, args, |name, args| {
        Ok(match pipeline::run(&Settings::new(args, tool.name)?) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                if !matches!(&error, ResolveError::Output(e) if is_closed_pipe(e)) {
                    complain(&format!("{name}: {error}"));
                }
                ExitCode::FAILURE
            }
        })
    })
}

/// Why the copying stopped. Status 1.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
    /// The cache cannot be read or written.
    #[error("cannot use the cache '{name}': {source}")]
    Cache {
        /// The file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// No resolver can be set up.
    #[error("no resolver: {0}; name one with --server")]
    Resolver(String),
}

/// What the command line means.
struct Settings {
    name: &'static str,
    logs: Vec<OsString>,
    asking: Asking,
    rate: u32,
    field: usize,
    skip: Skip,
    cache: Option<PathBuf>,
    output: Option<OsString>,
    compress: Option<Compression>,
    stats: bool,
}

impl Settings {
    fn new(args: &Args, name: &'static str) -> Result<Self, UsageError> {
        let servers = args.values("server").chain(args.values("nameserver"));
        let asking = Asking {
            servers: servers.map(server).collect::<Result<_, _>>()?,
            timeout: args.duration("timeout")?.unwrap_or(Duration::from_secs(5)),
            hosts: !args.has("no-hosts"),
            verify: args.has("verify"),
            parallel: args
                .parse("parallel", "a number of lookups")?
                .unwrap_or(if name == SPLITWR.name { 20 } else { 64 }),
        };
        let field = args.parse("field", "the number of a word")?.unwrap_or(1);
        if asking.parallel == 0 || asking.timeout.is_zero() || field == 0 {
            let zero = "--parallel, --timeout and --field must be more than 0";
            return Err(UsageError(zero.to_owned()));
        }
        let nets = args.values("skip").map(|net| {
            let text = net.to_string_lossy();
            let address = || text.parse::<IpAddr>().map(ipnet::IpNet::from);
            text.parse()
                .or_else(|_| address())
                .map_err(|_| UsageError(format!("'{text}' is no network such as 10.0.0.0/8")))
        });
        let local = || lookup::Resolving::servers(&asking).into_iter().any(names::is_private);
        Ok(Self {
            name,
            skip: Skip {
                nets: nets.collect::<Result<_, _>>()?,
                private: !args.has("private") && !local(),
            },
            logs: if args.operands.is_empty() { vec!["-".into()] } else { args.operands.clone() },
            rate: args.parse("rate", "a number of lookups a second")?.unwrap_or(500),
            field,
            cache: args.value("cache").map(PathBuf::from),
            output: args.value("output").map(OsStr::to_owned),
            compress: match args.value("compress").map(|kind| kind.to_string_lossy()).as_deref() {
                None => None,
                Some("gzip" | "gz") => Some(Compression::Gzip),
                Some("zstd" | "zst") => Some(Compression::Zstd),
                Some(other) => {
                    return Err(UsageError(format!("cannot compress as '{other}': gzip or zstd")));
                }
            },
            stats: args.has("stats"),
            asking,
        })
    }
}

fn server(text: &OsStr) -> Result<SocketAddr, UsageError> {
    let shown = text.to_string_lossy();
    let found = crate::lines::Endpoint::parse(shown.as_bytes());
    found.map(|e| SocketAddr::new(e.ip, e.port.unwrap_or(53))).ok_or_else(|| {
        UsageError(format!("'{shown}' is no name server: ADDRESS, ADDRESS:PORT or [V6]:PORT"))
    })
}
