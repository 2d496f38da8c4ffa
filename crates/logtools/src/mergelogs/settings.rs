//! The command line of mergelogs: its options, and their meaning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use super::MergeError;
use super::merge::Format;
use super::origins::{Correction, Windows};
use crate::input::Compression;
use crate::lines::Millis;
use crate::lines::access::Layout;
use crate::lines::pattern::Pattern;
use crate::options::{Args, Tool, UsageError, opt};

/// Everything about the program's command line.
pub static TOOL: Tool = Tool {
    name: "mergelogs",
    about: "merge the access logs of all servers behind a balancer and restore the clients",
    synopsis: &["-p FILE [OPTION]... SERVER:LOG..."],
    description: "\
Reads the balancer's log and the access logs of all servers, merges the access logs by time, and
replaces the balancer's address in each line by that of the client. The result goes to standard
output, with all time stamps in UTC; a summary goes to standard error. Inputs may be compressed
with gzip or zstd and may have any size: only what lies within the window is held in memory.

The balancer's log may be pen's log, Evenkeel's session log as text or JSON, or a log of PROXY
protocol headers. pen's log is matched by server and request: of all equal requests to the server
within the window, the one nearest in time is used. The other logs are matched by the balancer's
port if the access log has it (CLIENT:PORT as the first field, or a port field in JSON). Otherwise
they are matched by time, but only if all connections in question are of the same client.

SERVER is the server's address as the balancer logs it; write an IPv6 address, or an address with a
port, in brackets. LOG is a file, - for standard input, or a pattern such as access_log*. The same
server may be named several times, for rotated logs. A line whose client is not found carries the
server's address.

If the servers can log the true client themselves, let them: docs/logtools.md shows how. This
program is for servers that cannot, and for existing logs.",
    options: &[
        opt(
            'p',
            "pen-log",
            "FILE",
            "The balancer's log, or - for standard input. May be given several times, for rotated logs and for several balancers.",
        ),
        opt(
            'j',
            "window",
            "SECONDS",
            "The largest distance in time between a line and its entry in the balancer's log. Default 600 for requests and 2 for connections.",
        ),
        opt(
            't',
            "offset",
            "SECONDS",
            "Subtracted from the balancer's time stamps, after taking off the local zone's offset from UTC. This is what users of the classic program give, because it reads access logs in the local zone. With TZ=UTC it is a plain correction.",
        ),
        opt(
            ' ',
            "pen-offset",
            "SECONDS",
            "Subtracted from the balancer's time stamps, whatever the local zone.",
        ),
        opt(
            ' ',
            "skew",
            "SERVER=SECONDS",
            "How far a server's clock is ahead; subtracted from its time stamps. May be given for several servers.",
        ),
        opt(
            ' ',
            "lookahead",
            "SECONDS",
            "The duration of the longest session: how far a session log, which is ordered by the ends of sessions, is read ahead. Default 600.",
        ),
        opt(
            'c',
            "no-cache",
            "",
            "Search the balancer's whole log for each line, without a window.",
        ),
        opt(
            ' ',
            "one-to-one",
            "",
            "Use each entry of the balancer's log for one line only, best pairs first. This tells apart clients that fetch the same page in the same second, but finds no client for all but the first of pipelined requests.",
        ),
        opt(
            ' ',
            "format",
            "FORMAT",
            "The access logs' format: auto (the default: JSON, common or combined, recognised line by line), common, combined, vhost_combined, json, or a pattern as in nginx's log_format or Apache's LogFormat.",
        ),
        opt(' ', "sort", "SECONDS", "Sort lines that are up to this much too late in their file."),
        opt(' ', "keep-stamps", "", "Keep time stamps as the servers wrote them."),
        opt(
            ' ',
            "json",
            "",
            "Write a JSON object per line: time, server, client, matched, logged_client, request, status, bytes, referer, agent.",
        ),
        opt(
            'o',
            "output",
            "FILE",
            "Write to this file; .gz or .zst at the end of its name compresses it.",
        ),
        opt(' ', "compress", "KIND", "Compress the result: gzip or zstd."),
        opt(
            ' ',
            "rejects",
            "FILE",
            "Write lines that do not fit the format to this file. They are not in the result.",
        ),
        opt(
            ' ',
            "stats",
            "",
            "Report on standard error, for each server, how many lines matched, and how far its clock is from the balancer's (the median of all matches).",
        ),
        opt('q', "quiet", "", "Print no summary and no progress line."),
        opt('d', "debug", "", "Accepted for compatibility; --stats reports more."),
        opt(' ', "output-json", "", "The same as --json."),
        opt(
            ' ',
            "legacy",
            "",
            "Behave as the classic program 0.34.1, byte for byte, with its bugs: the second line is an hour early, escaped requests and those of more than 100 bytes are not matched, lines are cut at 1023 bytes, and entries outside the window are used.",
        ),
    ],
    sections: &[
        (
            "exit status",
            "\
0: everything was read and written. 1: a file could not be opened, read to its end, or written; what
could be read was processed. 2: wrong usage.",
        ),
        (
            "examples",
            "\
Three servers behind pen, the second with a rotated and compressed log:

    mergelogs -p pen.log 10.0.0.1:www1.log 10.0.0.2:www2.log.1.gz \\
        10.0.0.2:www2.log 10.0.0.3:www3.log > access.log

The same from Evenkeel's session log, as JSON, with names:

    mergelogs -p sessions.log --json -o access.json.zst '[10.0.0.1:80]:www1.log*'
    mergelogs -p sessions.log 10.0.0.1:www1.log | webresolve",
        ),
        ("see also", "webresolve(1), penlog(1), penlogd(1), evenkeel(1)"),
    ],
};

/// What the command line means.
#[derive(Debug)]
pub struct Settings {
    pub origins: Vec<OsString>,
    pub logs: Vec<OsString>,
    pub windows: Windows,
    pub correction: Correction,
    pub skews: Vec<(String, Millis)>,
    pub format: Format,
    pub one_to_one: bool,
    pub sort: Option<Millis>,
    pub keep_stamps: bool,
    pub json: bool,
    pub output: Option<OsString>,
    pub compress: Option<Compression>,
    pub rejects: Option<OsString>,
    pub stats: bool,
    pub quiet: bool,
}

impl Settings {
    pub fn new(args: &Args) -> Result<Self, UsageError> {
        if args.operands.is_empty() {
            return Err(UsageError("no access log: SERVER:LOG expected".to_owned()));
        }
        let window = seconds(args, "window")?;
        let whole = args.has("no-cache");
        Ok(Self {
            origins: args.values("pen-log").map(OsStr::to_owned).collect(),
            logs: args.operands.clone(),
            windows: Windows {
                requests: if whole { FOREVER } else { window.unwrap_or(600_000) },
                connections: window.unwrap_or(2_000),
                lookahead: if whole {
                    FOREVER
                } else {
                    seconds(args, "lookahead")?.unwrap_or(600_000)
                },
            },
            correction: Correction::new(
                signed_seconds(args, "pen-offset")?.unwrap_or(0),
                args.signed_duration("offset")?.map(|(is_negative, duration)| {
                    let offset = millis(duration);
                    if is_negative { -offset } else { offset }
                }),
            ),
            skews: args.values("skew").map(skew).collect::<Result<_, _>>()?,
            format: format(args.value("format"))?,
            one_to_one: args.has("one-to-one"),
            sort: seconds(args, "sort")?,
            keep_stamps: args.has("keep-stamps"),
            json: args.has("json") || args.has("output-json"),
            output: args.value("output").map(OsStr::to_owned),
            compress: compression(args.value("compress"))?,
            rejects: args.value("rejects").map(OsStr::to_owned),
            stats: args.has("stats"),
            quiet: args.has("quiet"),
        })
    }
}

/// With `--legacy` nothing can be asked for that the classic program did not have.
pub fn only_classic(args: &Args) -> Result<(), UsageError> {
    let classic = ["pen-log", "window", "offset", "no-cache", "debug", "legacy"];
    match args.names().find(|name| !classic.contains(name)) {
        None => Ok(()),
        Some(name) => {
            Err(UsageError(format!("--legacy does as the classic program, which had no --{name}")))
        }
    }
}

/// Further than any two stamps are apart, and far from overflow when multiplied.
const FOREVER: Millis = 1 << 55;

/// Splits `SERVER:LOG` at the first colon outside of brackets, and a pattern into its files.
pub fn operand(operand: &OsStr) -> Result<(Vec<u8>, Vec<OsString>), MergeError> {
    let bytes = operand.as_bytes();
    let bogus = || MergeError::Operand(operand.to_string_lossy().into_owned());
    let (server, file) = match bytes.strip_prefix(b"[") {
        Some(rest) => {
            let at = memchr::memmem::find(rest, b"]:").map(|at| (at, at + 2));
            // `[[v6]:port]:FILE` ends at the second bracket.
            let at = match rest.strip_prefix(b"[") {
                Some(_) => rest
                    .windows(2)
                    .enumerate()
                    .skip(at.map_or(0, |(_, after)| after))
                    .find(|(_, pair)| *pair == b"]:")
                    .map(|(at, _)| (at, at + 2)),
                None => at,
            };
            let (end, file) = at.ok_or_else(bogus)?;
            (&rest[..end], &rest[file..])
        }
        None => {
            let at = memchr::memchr(b':', bytes).ok_or_else(bogus)?;
            (&bytes[..at], &bytes[at + 1..])
        }
    };
    Ok((server.to_vec(), expand(OsStr::from_bytes(file))))
}

/// The files that a pattern in the last part of a path names, in order of their names; the path
/// itself when it exists, holds no pattern, or names nothing.
fn expand(path: &OsStr) -> Vec<OsString> {
    let itself = || vec![path.to_owned()];
    let full = Path::new(path);
    let Some(pattern) = full.file_name().map(OsStr::as_bytes) else { return itself() };
    if memchr::memchr2(b'*', b'?', pattern).is_none() || full.exists() {
        return itself();
    }
    let directory = full.parent().filter(|d| !d.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(directory.unwrap_or(Path::new("."))) else {
        return itself();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut files: Vec<OsString> = names
        .filter(|name| matches(pattern, name.as_bytes()))
        .map(|name| match directory {
            Some(directory) => directory.join(name).into_os_string(),
            None => OsString::from_vec(name.into_vec()),
        })
        .collect();
    files.sort();
    if files.is_empty() { itself() } else { files }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
        (Some((letter, rest)), Some((first, name))) => letter == first && matches(rest, name),
        _ => false,
    }
}

fn seconds(args: &Args, long: &str) -> Result<Option<Millis>, UsageError> {
    Ok(args.duration(long)?.map(millis))
}

fn millis(duration: Duration) -> Millis {
    duration.as_millis().min(FOREVER as u128) as Millis
}

fn signed_seconds(args: &Args, long: &str) -> Result<Option<Millis>, UsageError> {
    let number: Option<f64> = args.parse(long, "a number of seconds")?;
    Ok(number.map(|seconds| (seconds * 1000.0) as Millis))
}

fn skew(value: &OsStr) -> Result<(String, Millis), UsageError> {
    let text = value.to_string_lossy();
    let parsed = text.rsplit_once('=').and_then(|(server, seconds)| {
        let seconds: f64 = seconds.parse().ok()?;
        let server = server.trim_start_matches('[').trim_end_matches(']');
        Some((server.to_owned(), (seconds * 1000.0) as Millis))
    });
    parsed.ok_or_else(|| UsageError(format!("'{text}' is no value for --skew: SERVER=SECONDS")))
}

fn format(value: Option<&OsStr>) -> Result<Format, UsageError> {
    let Some(value) = value else { return Ok(Format::Auto) };
    let text = value.to_string_lossy();
    match &*text {
        "auto" => Ok(Format::Auto),
        "common" | "combined" => Ok(Format::Layout(Layout::ClientFirst)),
        "vhost_combined" => Ok(Format::Layout(Layout::VhostFirst)),
        "json" => Ok(Format::Json),
        pattern => Pattern::compile(pattern).map(Format::Pattern).map_err(|reason| {
            UsageError(format!(
                "'{pattern}' is no format: {reason}. Known: auto, common, combined, \
                 vhost_combined, json, or a pattern"
            ))
        }),
    }
}

fn compression(value: Option<&OsStr>) -> Result<Option<Compression>, UsageError> {
    match value.map(|v| v.to_string_lossy()).as_deref() {
        None => Ok(None),
        Some("gzip" | "gz") => Ok(Some(Compression::Gzip)),
        Some("zstd" | "zst") => Ok(Some(Compression::Zstd)),
        Some(other) => Err(UsageError(format!("cannot compress as '{other}': gzip or zstd"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operand_is_split_at_its_first_colon_outside_of_brackets() {
        #[track_caller]
        fn check(text: &str, server: &str, file: &str) {
            let (found, files) = operand(OsStr::new(text)).unwrap();
            assert_eq!(String::from_utf8_lossy(&found), server);
            assert_eq!(files, [file]);
        }
        check("10.0.0.1:a", "10.0.0.1", "a");
        check("10.0.0.1:a:b", "10.0.0.1", "a:b");
        check(":a", "", "a");
        check("[2001:db8::a]:x:y", "2001:db8::a", "x:y");
        check("[10.0.0.1:80]:x", "10.0.0.1:80", "x");
        check("[[2001:db8::a]:80]:x", "[2001:db8::a]:80", "x");
        for bogus in ["a", "", "[::1", "[::1]", "[[::1]:80:x"] {
            assert!(operand(OsStr::new(bogus)).is_err(), "{bogus}");
        }
    }

    #[test]
    fn patterns_name_files() {
        #[track_caller]
        fn check(pattern: &str, name: &str, expected: bool) {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        check("access_log*", "access_log", true);
        check("access_log*", "access_log.2.gz", true);
        check("*.?", "log.1", true);
        check("*.?", "log.10", false);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxbyy", false);
        let directory = tempfile::tempdir().unwrap();
        for name in ["log.2", "log.1", "other"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let files = expand(directory.path().join("log.*").as_os_str());
        let names: Vec<_> = files.iter().map(|f| Path::new(f).file_name().unwrap()).collect();
        assert_eq!(names, ["log.1", "log.2"]);
        assert_eq!(expand(OsStr::new("none*")), ["none*"]);
    }

    fn settings(line: &str) -> Result<Settings, UsageError> {
        let args = TOOL.parse(line.split_whitespace().map(OsString::from)).unwrap();
        Settings::new(&args)
    }

    #[test]
    fn legacy_excludes_what_is_new() {
        let check = |line: &str| {
            let args = TOOL.parse(line.split_whitespace().map(OsString::from)).unwrap();
            only_classic(&args)
        };
        assert_eq!(check("--legacy -p x -j 5 -c -d a:b"), Ok(()));
        let error = check("--legacy --json -p x a:b").unwrap_err();
        assert!(error.0.contains("no --json"), "{error}");
    }

    #[test]
    fn numbers_that_are_none_are_usage_errors() {
        for line in [
            "-j -1 a:b",
            "-j x a:b",
            "-t -soon a:b",
            "-t --5 a:b",
            "-t soon a:b",
            "--sort -1 a:b",
            "--skew a:b",
            "--skew a=x a:b",
            "--format %h a:b",
            "--compress lzma a:b",
            "",
        ] {
            assert!(settings(line).is_err(), "{line}");
        }
        for (offset, millis) in [("-5400", -5_400_000), ("-90m", -5_400_000), ("7200", 7_200_000)] {
            let good = settings(&format!("-p x -t {offset} a:b")).unwrap();
            assert_eq!(good.correction.classic, Some(millis), "{offset}");
        }
        let good = settings("-p x -j 2 --pen-offset=-1.5 --skew ::1=3 a:b").unwrap();
        assert_eq!(good.windows.requests, 2_000);
        assert_eq!(good.correction.plain, -1_500);
        assert_eq!(good.skews, [("::1".to_owned(), 3_000)]);
    }
}
