//! Where results go: standard output or a file, compressed or not.
//!
//! Writing to a pipe whose reader has gone is an error like any other here; [`is_closed_pipe`]
//! lets a program end quietly then, as `head` expects.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use crate::input::Compression;

/// A buffered output that must be [`finish`](Self::finish)ed, or its end is missing.
pub struct Output(Sink);

enum Sink {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Output {
    /// Opens `name`, or standard output for `None` and `-`. Without a `compression` the name's
    /// ending decides (`.gz`, `.zst`).
    pub fn open(name: Option<&OsStr>, compression: Option<Compression>) -> io::Result<Self> {
        let name = name.filter(|n| *n != "-");
        let file = match name {
            Some(name) => File::create(name)?,
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        let plain = BufWriter::with_capacity(BUFFER, file);
        Ok(Self(match compression.or_else(|| Compression::of_name(name?)) {
            None => Sink::Plain(plain),
            Some(Compression::Gzip) => {
                Sink::Gzip(flate2::write::GzEncoder::new(plain, flate2::Compression::default()))
            }
            Some(Compression::Zstd) => Sink::Zstd(zstd::Encoder::new(plain, 3)?),
        }))
    }

    /// Writes the end of the compressed data and everything still buffered.
    pub fn finish(self) -> io::Result<()> {
        let mut plain = match self.0 {
            Sink::Plain(plain) => plain,
            Sink::Gzip(encoder) => encoder.finish()?,
            Sink::Zstd(encoder) => encoder.finish()?,
        };
        plain.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Sink::Plain(plain) => plain.write(bytes),
            Sink::Gzip(encoder) => encoder.write(bytes),
            Sink::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Sink::Plain(plain) => plain.flush(),
            Sink::Gzip(encoder) => encoder.flush(),
            Sink::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Prints `text` as the whole output of the program `name`. The exit code says whether that worked.
pub fn print(name: &str, text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !is_closed_pipe(&error) {
                complain(&format!("{name}: cannot write to standard output: {error}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error, with a line end if it has none. If that fails, there is nowhere
/// left to say so.
pub fn complain(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = io::stderr().lock().write_all(format!("{text}{end}").as_bytes());
}

/// Whether the reader of our output has gone.
pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

const BUFFER: usize = 256 * 1024;
