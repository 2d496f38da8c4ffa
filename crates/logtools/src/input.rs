//! Log files line by line: plain, gzip or zstd, told by their first bytes.
//!
//! A file that turns out damaged half-way gives its good lines first, then one error. Lines are
//! bounded ([`LINE_MAX`]); a longer one is skipped and reported, and reading goes on after it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Cursor, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::output::complain;

/// The longest line that is taken, without its newline: 1 MiB.
pub const LINE_MAX: usize = 1 << 20;

/// Why an input could not be used, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file could not be opened.
    #[error("cannot open '{name}': {source}")]
    Open {
        /// The file as the user named it.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading failed; what was read before is good.
    #[error("'{name}' cannot be read beyond line {line}: {reason}")]
    Read {
        /// The file as the user named it.
        name: String,
        /// How many lines were read.
        line: u64,
        /// What is wrong, and with compressed files what may have caused it.
        reason: String,
    },
    /// One line was longer than [`LINE_MAX`] and was skipped.
    #[error("'{name}', line {line}: longer than {LINE_MAX} bytes, skipped")]
    TooLong {
        /// The file as the user named it.
        name: String,
        /// The number of the line.
        line: u64,
    },
}

/// Passes on messages about inputs, but not thousands of the same kind: a file that is no log
/// has many over-long lines.
#[derive(Debug, Default)]
pub struct Complaints(u32);

impl Complaints {
    /// Prints a message to standard error, `program` in front of it.
    pub fn print(&mut self, program: &str, error: &InputError) {
        if let InputError::TooLong { .. } = error {
            self.0 += 1;
            if self.0 > COMPLAINTS_MAX {
                return;
            }
        }
        // A progress line may stand there.
        let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        complain(&format!("{clear}{program}: {error}"));
        if self.0 == COMPLAINTS_MAX {
            complain(&format!(
                "{program}: further lines of this kind are skipped without a message"
            ));
        }
    }
}

const COMPLAINTS_MAX: u32 = 5;

/// The lines of one input.
pub struct Lines {
    reader: Box<dyn Read + Send>,
    name: String,
    buffer: Vec<u8>,
    /// The current line in the buffer.
    line: (usize, usize),
    /// Where the next line begins, and how far the buffer is filled.
    next: usize,
    filled: usize,
    number: u64,
    ended: bool,
}

/// How much of the inputs was read, for the progress line. Shared by all of a program's inputs.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<[AtomicU64; 2]>);

impl Progress {
    /// Bytes read so far, as they lie on disk.
    pub fn done(&self) -> u64 {
        self.0[0].load(Ordering::Relaxed)
    }

    /// Bytes there are, as far as known; pipes count nothing.
    pub fn total(&self) -> u64 {
        self.0[1].load(Ordering::Relaxed)
    }
}

impl Lines {
    /// Opens a file; `-` is standard input.
    pub fn open(name: &OsStr, progress: &Progress) -> Result<Self, InputError> {
        let shown = name.to_string_lossy().into_owned();
        let failed = |source| InputError::Open { name: shown.clone(), source };
        let raw: Box<dyn Read + Send> = if name == "-" {
            Box::new(io::stdin())
        } else {
            let file = File::open(name).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            if meta.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            if meta.is_file() {
                progress.0[1].fetch_add(meta.len(), Ordering::Relaxed);
            }
            Box::new(file)
        };
        Ok(Self::new(Counted { raw, progress: progress.clone() }, shown))
    }

    /// Reads from anything, `name` standing for it in messages.
    pub fn new(raw: impl Read + Send + 'static, name: String) -> Self {
        let reader = Box::new(Decoder::Undecided(Some(raw)));
        Self {
            reader,
            name,
            buffer: Vec::new(),
            line: (0, 0),
            next: 0,
            filled: 0,
            number: 0,
            ended: false,
        }
    }

    /// Moves to the next line; `false` at the end. After [`InputError::TooLong`] the next call
    /// continues after that line, and after [`InputError::Read`] nothing follows.
    pub fn advance(&mut self) -> Result<bool, InputError> {
        let mut searched = self.next;
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[searched..self.filled]);
            if let Some(at) = newline {
                return self.take(searched + at, searched + at + 1);
            }
            if self.filled - self.next > LINE_MAX {
                return self.skip_line();
            }
            searched = self.filled;
            if self.ended {
                return if self.next == self.filled {
                    Ok(false)
                } else {
                    self.take(self.filled, self.filled)
                };
            }
            searched -= self.make_room();
            self.fill()?;
        }
    }

    /// The line that [`advance`](Self::advance) moved to, without its newline.
    pub fn line(&self) -> &[u8] {
        &self.buffer[self.line.0..self.line.1]
    }

    /// Whether the next line is here already, so that [`advance`](Self::advance) will not wait.
    pub fn has_next(&self) -> bool {
        memchr::memchr(b'\n', &self.buffer[self.next..self.filled]).is_some()
    }

    /// Its number, the first being 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The file as the user named it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn take(&mut self, end: usize, next: usize) -> Result<bool, InputError> {
        self.line = (self.next, end);
        self.next = next;
        self.number += 1;
        if end - self.line.0 > LINE_MAX {
            return Err(InputError::TooLong { name: self.name.clone(), line: self.number });
        }
        Ok(true)
    }

    /// Drops a line that is too long, also what of it is not yet read.
    fn skip_line(&mut self) -> Result<bool, InputError> {
        self.number += 1;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.next..self.filled]) {
                self.next += at + 1;
                break;
            }
            (self.next, self.filled) = (0, 0);
            if self.ended {
                break;
            }
            self.fill()?;
        }
        Err(InputError::TooLong { name: self.name.clone(), line: self.number })
    }

    /// Moves the rest to the front, and gives by how much.
    fn make_room(&mut self) -> usize {
        let moved = self.next;
        self.buffer.copy_within(self.next..self.filled, 0);
        self.filled -= moved;
        self.next = 0;
        if self.filled + CHUNK > self.buffer.len() {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        moved
    }

    fn fill(&mut self) -> Result<(), InputError> {
        if self.filled == self.buffer.len() {
            self.make_room();
        }
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.filled += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    // The beginning of a line that goes on in the damaged part is worth nothing.
                    self.next = self.filled;
                    return Err(InputError::Read {
                        name: self.name.clone(),
                        line: self.number,
                        reason: explain(&error),
                    });
                }
            }
        }
    }
}

const CHUNK: usize = 128 * 1024;

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the compressed data ends too early; the file is truncated or still being written"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Looks at its first bytes when first read, and then decompresses or does not.
enum Decoder<R> {
    Undecided(Option<R>),
    Decided(Box<dyn Read + Send>),
}

impl<R: Read + Send + 'static> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Undecided(raw) = self {
            let Some(mut raw) = raw.take() else { return Ok(0) };
            let mut start = Vec::with_capacity(4);
            raw.by_ref().take(4).read_to_end(&mut start)?;
            let kind = Compression::of(&start);
            let whole = BufReader::with_capacity(CHUNK, Cursor::new(start).chain(raw));
            *self = Self::Decided(match kind {
                Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
                Some(Compression::Zstd) => Box::new(zstd::Decoder::with_buffer(whole)?),
                None => Box::new(whole),
            });
        }
        let Self::Decided(reader) = self else { return Ok(0) };
        reader.read(buffer)
    }
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952), any number of members.
    Gzip,
    /// Zstandard (RFC 8878), any number of frames.
    Zstd,
}

impl Compression {
    /// Tells by the first four bytes.
    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Tells by a file's name, for output.
    pub fn of_name(name: &OsStr) -> Option<Self> {
        match Path::new(name).extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

struct Counted {
    raw: Box<dyn Read + Send>,
    progress: Progress,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(buffer)?;
        self.progress.0[0].fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// All lines, and the messages about what could not be read.
    fn read(bytes: Vec<u8>) -> (Vec<String>, Vec<String>) {
        let mut lines = Lines::new(Cursor::new(bytes), "log".to_owned());
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        loop {
            match lines.advance() {
                Ok(true) => good.push(String::from_utf8_lossy(lines.line()).into_owned()),
                Ok(false) => return (good, bad),
                Err(error) => bad.push(error.to_string()),
            }
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_plain_and_compressed() {
        let text = b"one\n\ntwo\r\nlast".to_vec();
        let expected = ["one", "", "two\r", "last"].map(str::to_owned).to_vec();
        let members = [gzip(&text[..6]), gzip(&text[6..])].concat();
        let frames =
            [zstd::encode_all(&text[..6], 1).unwrap(), zstd::encode_all(&text[6..], 1).unwrap()];
        for bytes in [text, members, frames.concat()] {
            assert_eq!(read(bytes), (expected.clone(), vec![]));
        }
        assert_eq!(read(vec![]), (vec![], vec![]));
        assert_eq!(read(vec![0x1f]), (vec!["\u{1f}".to_owned()], vec![]));
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_is_read() {
        let longest = vec![b'x'; LINE_MAX];
        let too_long = vec![b'y'; LINE_MAX + 1];
        let endless = vec![b'z'; 3 * LINE_MAX];
        let text = [&longest[..], &too_long, b"after", &endless, b"end", &endless].join(&b'\n');
        let (good, bad) = read(text);
        assert_eq!(good.iter().map(String::len).collect::<Vec<_>>(), [LINE_MAX, 5, 3]);
        assert_eq!(bad.len(), 3, "{bad:?}");
        assert!(bad[0].contains("'log', line 2: longer than 1048576 bytes"), "{bad:?}");
        assert!(bad[2].contains("line 6"), "{bad:?}");
    }

    #[test]
    fn truncated_files_give_their_good_lines_and_say_what_is_wrong() {
        let text: String =
            (0..50_000).map(|i| format!("line {i} {}\n", i * 7919 % 10_007)).collect();
        for whole in [gzip(text.as_bytes()), zstd::encode_all(text.as_bytes(), 3).unwrap()] {
            let (good, bad) = read(whole[..whole.len() * 3 / 4].to_vec());
            assert!(good.len() > 1000, "{}", good.len());
            assert!(good.iter().zip(text.lines()).all(|(a, b)| a == b));
            assert_eq!(bad.len(), 1);
            assert!(bad[0].contains("truncated"), "{bad:?}");
        }
    }

    #[test]
    fn junk_that_looks_compressed_is_an_error_not_a_panic() {
        for start in [&[0x1f, 0x8b, 8, 0][..], &[0x28, 0xb5, 0x2f, 0xfd]] {
            let (good, bad) = read([start, &[0xa5; 500]].concat());
            assert_eq!((good.len(), bad.len()), (0, 1), "{bad:?}");
        }
    }
}
