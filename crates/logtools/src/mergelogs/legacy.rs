//! `mergelogs --legacy`: what the classic program 0.34.1 prints, with the faults it is known for.
//!
//! For comparing, and for those who need the same bytes. Known from running it:
//! - lines are taken in pieces of 1023 bytes, the rest of a long one as a line of its own;
//! - the stamp read right after the first line was printed comes out an hour early;
//! - requests are compared as they stand, with escapes and without the cut at 100 bytes;
//! - candidates are not held against the window: the list of entries is, and only at its ends.
//!
//! Not reproduced: further stamps that are hit in zones with daylight saving time, which depend
//! on what happened to be in memory, and the wording of the classic's help.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

use super::origins::Correction;
use super::settings::TOOL;
use crate::lines::{Millis, stamp};
use crate::options::Args;
use crate::output::{Output, complain, print};

/// Runs as the classic program did.
pub fn main(args: &Args) -> ExitCode {
    if args.operands.is_empty() {
        return print(TOOL.name, &TOOL.help());
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    use std::os::unix::ffi::OsStrExt;
    let name = args.value("pen-log").ok_or("pfile null")?;
    let entries = Pieces::open(name).map_err(|_| "pfp null".to_owned())?;
    let mut logs = Vec::new();
    for operand in &args.operands {
        let bytes = operand.as_bytes();
        let shown = operand.to_string_lossy();
        let at = memchr::memchr(b':', bytes).ok_or(format!("Bogus server '{shown}'\n"))?;
        let file = std::ffi::OsStr::from_bytes(&bytes[at + 1..]);
        let pieces = Pieces::open(file)
            .map_err(|_| format!("Can't open logfile '{}'\n", file.to_string_lossy()))?;
        logs.push(Log { server: bytes[..at].to_vec(), pieces, current: None });
    }
    let number = |long| args.value(long).map(|v| leading_number(v.as_bytes()));
    let window = number("window").unwrap_or(600);
    let classic = number("offset").unwrap_or(0) * 1000;
    let correction = Correction::new(0, Some(classic));
    let mut cache = Cache {
        entries,
        correction,
        list: VecDeque::new(),
        window: (!args.has("no-cache")).then_some(window),
    };
    let mut output = Output::open(None, None).map_err(|e| e.to_string())?;
    // The classic does not notice when its output goes nowhere.
    let _ = merge(&mut logs, &mut cache, &mut output);
    let _ = output.finish();
    Ok(())
}

fn merge(logs: &mut [Log], cache: &mut Cache, out: &mut dyn Write) -> io::Result<()> {
    let mut printed = 0;
    for log in logs.iter_mut() {
        log.advance(0);
    }
    loop {
        let instants =
            logs.iter().enumerate().filter_map(|(i, l)| Some((l.current.as_ref()?.instant, i)));
        let Some((_, index)) = instants.min() else { return Ok(()) };
        let log = &mut logs[index];
        if let Some(line) = log.current.take() {
            let client = cache.find(&log.server, &line).unwrap_or_else(|| log.server.clone());
            let mut text = client;
            text.push(b' ');
            text.extend_from_slice(&line.middle);
            text.push(b'[');
            stamp::write_access(&mut text, line.instant * 1000);
            text.push(b']');
            text.extend_from_slice(&line.rest);
            text.push(b'\n');
            out.write_all(&text)?;
            printed += 1;
        }
        // The one stamp that is converted right after the first line was printed.
        log.advance(if printed == 1 { -3600 } else { 0 });
    }
}

struct Log {
    server: Vec<u8>,
    pieces: Pieces,
    current: Option<Line>,
}

struct Line {
    instant: i64,
    middle: Vec<u8>,
    request: Vec<u8>,
    /// From the gap before the request to the end.
    rest: Vec<u8>,
}

impl Log {
    fn advance(&mut self, shift: i64) {
        let mut shift = shift;
        self.current = None;
        while let Some(piece) = self.pieces.next() {
            let Some(mut line) = Line::parse(&piece) else { continue };
            line.instant += std::mem::take(&mut shift);
            self.current = Some(line);
            return;
        }
    }
}

impl Line {
    fn parse(piece: &[u8]) -> Option<Self> {
        let until = |text: &[u8], byte| memchr::memchr(byte, text).filter(|at| *at > 0);
        let client = until(piece, b' ')?;
        let rest = skip_blanks(&piece[client..]);
        let middle = until(rest, b'[')?;
        let stamp_start = &rest[middle + 1..];
        let stamp_end = until(stamp_start, b']')?;
        let rest_start = &stamp_start[stamp_end + 1..];
        let gap = until(rest_start, b'"')?;
        let request_start = &rest_start[gap + 1..];
        let request = until(request_start, b'"')?;
        if request_start.len() == request + 1 {
            return None;
        }
        Some(Self {
            instant: stamp::parse_access(&stamp_start[..stamp_end])? / 1000,
            middle: rest[..middle].to_vec(),
            request: request_start[..request].to_vec(),
            rest: rest_start.to_vec(),
        })
    }
}

struct Entry {
    client: Vec<u8>,
    instant: i64,
    server: Vec<u8>,
    data: Vec<u8>,
}

impl Entry {
    fn parse(piece: &[u8]) -> Option<Self> {
        let mut rest = skip_blanks(piece);
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = skip_blanks(after);
            (!word.is_empty()).then(|| word.to_vec())
        };
        let (client, seconds, server) = (word()?, word()?, word()?);
        let data = rest.to_vec();
        let seconds = leading_number(&seconds);
        (!data.is_empty()).then_some(Self { client, instant: seconds, server, data })
    }
}

struct Cache {
    entries: Pieces,
    correction: Correction,
    list: VecDeque<Entry>,
    /// `None`: no cache, the whole log for every line.
    window: Option<i64>,
}

impl Cache {
    fn find(&mut self, server: &[u8], line: &Line) -> Option<Vec<u8>> {
        if let Some(window) = self.window {
            while self.list.front().is_some_and(|e| e.instant < line.instant - window) {
                self.list.pop_front();
            }
        }
        let enough = |list: &VecDeque<Entry>| match (self.window, list.back()) {
            (Some(window), Some(last)) => last.instant > line.instant + window,
            _ => false,
        };
        while !enough(&self.list) {
            let Some(piece) = self.entries.next() else { break };
            if let Some(mut entry) = Entry::parse(&piece) {
                let millis: Millis = entry.instant.saturating_mul(1000);
                entry.instant = self.correction.apply(millis).div_euclid(1000);
                self.list.push_back(entry);
            }
        }
        let same = self.list.iter().filter(|e| e.server == server && e.data == line.request);
        same.min_by_key(|e| (e.instant - line.instant).abs()).map(|e| e.client.clone())
    }
}

/// A file in lines of at most 1023 bytes, which end at a NUL.
struct Pieces(Box<dyn BufRead>);

impl Pieces {
    fn open(name: &std::ffi::OsStr) -> io::Result<Self> {
        Ok(Self(Box::new(BufReader::new(std::fs::File::open(name)?))))
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        let mut limited = io::Read::take(&mut self.0, 1023);
        if limited.read_until(b'\n', &mut piece).ok()? == 0 {
            return None;
        }
        if piece.last() == Some(&b'\n') {
            piece.pop();
        }
        piece.truncate(memchr::memchr(0, &piece).unwrap_or(piece.len()));
        Some(piece)
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// What C's `atoi` makes of a text.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit()).take(18);
    sign * digits.fold(0, |n, b| n * 10 + i64::from(b - b'0'))
}

/// Reads a piece both as a line of an access log and of a balancer's log, for the fuzzer.
pub fn parse_piece(piece: &[u8]) -> (bool, bool) {
    (Line::parse(piece).is_some(), Entry::parse(piece).is_some())
}
