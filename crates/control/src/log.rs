//! Writes a log without ever waiting for its reader.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sys::process::{Priority, Stream, syslog};

/// The maximum number of bytes that wait to be written. Further text is dropped.
pub const LOG_BYTES_MAX: usize = 8 << 20;

/// How long [`LogWriter::finish`] waits for unwritten text.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// A busy log is written in pieces of so much time: waking the thread for each line would cost more
/// than writing it. A line that comes after a pause is written at once.
const PIECE_TIME: Duration = Duration::from_millis(10);

/// This much text is not left to gather.
const PIECE_BYTES: usize = 256 << 10;

/// The maximum number of bytes per system call, so that room appears as the reader reads.
const CHUNK_BYTES: usize = 64 << 10;

/// The target of a log.
#[derive(Debug)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, or whatever else was opened for writing.
    File(File),
    /// The system log, after [`sys::process::open_syslog`].
    Syslog,
}

/// Writes text from a thread of its own, in the order in which it was given.
///
/// Giving it text never blocks: [`LOG_BYTES_MAX`] bytes may wait, further text is dropped, and the
/// number of dropped lines is written once writing works again. Clones write to the same target.
/// After the last one is dropped, the thread writes what is left and ends.
///
/// The first text starts the thread. A process must have no threads when it goes into the
/// background or changes its user, so nothing may be written before that.
#[derive(Clone)]
pub struct LogWriter(Arc<Handle>);

/// The last clone closes the queue.
struct Handle(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    /// There is text, or no more will arrive.
    work: Condvar,
    /// Some text was written.
    progress: Condvar,
    is_syslog: bool,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the thread has taken and not written yet.
    in_hand: usize,
    /// Lines dropped and not yet reported.
    lost: u64,
    /// All lines that were dropped or could not be written.
    lost_total: u64,
    is_idle: bool,
    /// Whether somebody waits for what is written.
    is_urgent: bool,
    is_closed: bool,
    /// Until the thread is started.
    thread: Option<Thread>,
    next_file: Option<NextFile>,
}

/// What [`LogWriter::switch`] requests.
struct NextFile {
    /// How much of the waiting text still goes to the previous file.
    after: usize,
    open: OpenFile,
}

type OpenFile = Box<dyn FnOnce() -> Option<File> + Send>;

/// What the thread is to do.
enum Work {
    /// Write text, after which this many lines were dropped.
    Write(u64),
    Switch(OpenFile),
}

/// What only the thread uses.
struct Thread {
    target: LogTarget,
    tell_lost: Box<dyn Fn(u64) -> String + Send>,
}

impl LogWriter {
    /// A writer to `target`. `tell_lost` makes the text, newline included, that is written after
    /// this many lines were dropped.
    pub fn new(target: LogTarget, tell_lost: impl Fn(u64) -> String + Send + 'static) -> Self {
        let is_syslog = matches!(target, LogTarget::Syslog);
        let thread = Some(Thread { target, tell_lost: Box::new(tell_lost) });
        let state = Mutex::new(State { thread, ..State::default() });
        let (work, progress) = (Condvar::new(), Condvar::new());
        Self(Arc::new(Handle(Arc::new(Queue { state, work, progress, is_syslog }))))
    }

    /// Writes text as it is; lines bring their newline. Meant for targets other than the system
    /// log, where lines get the priority `Info`.
    pub fn write(&self, text: impl AsRef<[u8]>) {
        self.push(&[text.as_ref()]);
    }

    /// Writes one line, given without its newline. Only the system log keeps the priority.
    pub fn line(&self, priority: Priority, text: &str) {
        let text = text.replace('\n', " ");
        let code = [priority as u8];
        let priority: &[u8] = if self.0.0.is_syslog { &code } else { b"" };
        self.push(&[priority, text.as_bytes(), b"\n"]);
    }

    fn push(&self, parts: &[&[u8]]) {
        let queue = &self.0.0;
        let mut state = queue.lock();
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if state.waiting.len() + state.in_hand + size > LOG_BYTES_MAX {
            let lines = parts.iter().map(|part| count_lines(part)).sum::<u64>();
            state.lost += lines;
            state.lost_total += lines;
            return;
        }
        parts.iter().for_each(|part| state.waiting.extend_from_slice(part));
        queue.wake(&mut state);
    }

    /// Writes to this file instead of the target. Only before anything is written.
    pub fn begin_with(&self, file: File) {
        if let Some(thread) = &mut self.0.0.lock().thread {
            thread.target = LogTarget::File(file);
        }
    }

    /// How many lines have been lost so far.
    #[must_use]
    pub fn lost_total(&self) -> u64 {
        self.0.0.lock().lost_total
    }

    /// Writes everything from now on to the file that `open` returns; without one, to the same
    /// target as before. The thread calls `open` when it has written what it was given before.
    pub fn switch(&self, open: impl FnOnce() -> Option<File> + Send + 'static) {
        let queue = &self.0.0;
        let mut state = queue.lock();
        let after = state.waiting.len();
        state.next_file = Some(NextFile { after, open: Box::new(open) });
        queue.wake(&mut state);
    }

    /// Waits until all text is written, but for at most a second, because nobody may be reading it.
    /// Returns whether everything was written.
    pub fn finish(&self) -> bool {
        let queue = &self.0.0;
        let mut state = queue.lock();
        state.is_urgent = true;
        queue.work.notify_one();
        let waited = queue.progress.wait_timeout_while(state, FINISH_WITHIN, |it| it.is_behind());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_urgent = false;
        !state.is_behind()
    }
}

impl State {
    fn is_behind(&self) -> bool {
        !self.waiting.is_empty() || self.in_hand > 0 || self.next_file.is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.work.notify_one();
    }
}

/// Without a thread the text is never written; but then the process has other problems.
fn start(queue: &Arc<Queue>, mut thread: Thread) {
    let queue = Arc::clone(queue);
    let builder = std::thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES);
    let _ = builder.spawn(move || thread.run(&queue));
}

const STACK_BYTES: usize = 128 << 10;

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread.
    fn wake(self: &Arc<Self>, state: &mut State) {
        if let Some(thread) = state.thread.take() {
            start(self, thread);
        } else if state.is_idle || state.waiting.len() >= PIECE_BYTES {
            self.work.notify_one();
        }
    }

    /// Waits for work, and puts the text to be written into `text`, which is empty. Returns `None`
    /// when no more will arrive.
    fn take(&self, text: &mut Vec<u8>) -> Option<Work> {
        let mut state = self.lock();
        while state.waiting.is_empty() && state.lost == 0 && state.next_file.is_none() {
            if state.is_closed {
                return None;
            }
            state.is_idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
        match state.next_file.take() {
            None => std::mem::swap(&mut state.waiting, text),
            Some(NextFile { after: 0, open }) => {
                state.in_hand = 1; // see `Thread::run`
                return Some(Work::Switch(open));
            }
            Some(next) => {
                text.extend(state.waiting.drain(..next.after));
                state.next_file = Some(NextFile { after: 0, ..next });
            }
        }
        state.in_hand = text.len() + 1; // one for the news of lost lines, see `Thread::run`
        Some(Work::Write(std::mem::take(&mut state.lost)))
    }

    fn written(&self, bytes: usize) {
        self.lock().in_hand -= bytes;
        self.progress.notify_all();
    }

    /// Lets text gather until `time`, unless somebody waits for it.
    fn gather_until(&self, time: Instant) {
        let left = time.saturating_duration_since(Instant::now());
        let may_wait = |state: &mut State| {
            state.waiting.len() < PIECE_BYTES && !state.is_urgent && !state.is_closed
        };
        drop(self.work.wait_timeout_while(self.lock(), left, may_wait));
    }
}

impl Thread {
    fn run(&mut self, queue: &Queue) {
        let mut text = Vec::new();
        let mut lost = 0;
        while let Some(work) = queue.take(&mut text) {
            let begun = Instant::now();
            match work {
                Work::Write(dropped) => lost += self.write_all(queue, &text) + dropped,
                Work::Switch(open) => {
                    if let Some(file) = open() {
                        self.target = LogTarget::File(file);
                    }
                }
            }
            if lost > 0 && self.write_chunk((self.tell_lost)(lost).as_bytes()).is_ok() {
                lost = 0;
            }
            queue.written(1);
            queue.gather_until(begun + PIECE_TIME);
            text.clear();
            text.shrink_to(CHUNK_BYTES);
        }
    }

    /// Returns how many lines could not be written.
    fn write_all(&mut self, queue: &Queue, text: &[u8]) -> u64 {
        let mut lost = 0;
        for chunk in text.chunks(CHUNK_BYTES) {
            if self.write_chunk(chunk).is_err() {
                let lines = count_lines(chunk);
                lost += lines;
                queue.lock().lost_total += lines;
            }
            queue.written(chunk.len());
        }
        lost
    }

    fn write_chunk(&mut self, text: &[u8]) -> io::Result<()> {
        match &mut self.target {
            LogTarget::Stdout => Stream::Out.write_all(text),
            LogTarget::Stderr => Stream::Err.write_all(text),
            LogTarget::File(file) => file.write_all(text),
            LogTarget::Syslog => {
                text.split(|&byte| byte == b'\n').for_each(to_syslog);
                Ok(())
            }
        }
    }
}

/// Writes a line that [`LogWriter::line`] may have given a priority.
fn to_syslog(line: &[u8]) {
    let coded = |it: &Priority| line.first() == Some(&(*it as u8));
    match Priority::ALL.into_iter().find(coded) {
        Some(priority) => syslog(priority, &line[1..]),
        None if line.is_empty() => {} // after the last newline
        None => syslog(Priority::Info, line),
    }
}

fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, PipeReader, pipe};

    /// A writer to a pipe.
    fn rig() -> (LogWriter, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let target = LogTarget::File(File::from(std::os::fd::OwnedFd::from(writer)));
        (LogWriter::new(target, |lost| format!("lost {lost}\n")), reader)
    }

    #[test]
    fn text_arrives_in_order_and_whole() {
        let (writer, reader) = rig();
        (0..10_000).for_each(|number| writer.write(format!("{number}\n")));
        drop(writer);
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        let expected: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
        assert!(lines == expected);
    }

    #[test]
    fn what_a_stalled_reader_loses_is_bounded_and_counted() {
        let (writer, reader) = rig();
        let line = "x".repeat(1023) + "\n";
        let written = 2 * (LOG_BYTES_MAX >> 10);
        (0..written).for_each(|_| writer.write(&line));
        assert!(!writer.finish(), "nobody has read anything");
        drop(writer);
        let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        let (told, kept): (Vec<_>, Vec<_>) = lines.iter().partition(|it| it.starts_with("lost"));
        assert!(kept.iter().all(|it| it.len() == 1023));
        let lost = told.iter().map(|it| it["lost ".len()..].parse::<usize>().unwrap());
        assert_eq!(lost.sum::<usize>() + kept.len(), written);
        // Twice if the pipe took the first lines only after others had been dropped.
        assert!((1..=2).contains(&told.len()), "{told:?}");
        let least = LOG_BYTES_MAX >> 10;
        let pipe = 64; // lines that the pipe itself holds
        assert!((least..=least + pipe).contains(&kept.len()), "{}", kept.len());
    }

    #[test]
    fn a_switch_comes_between_what_is_written_before_and_after() {
        let (writer, old) = rig();
        let (new, file) = pipe().unwrap();
        writer.switch(|| None);
        (0..1000).for_each(|_| writer.write("before\n"));
        writer.switch(|| Some(File::from(std::os::fd::OwnedFd::from(file))));
        (0..1000).for_each(|_| writer.write("after\n"));
        assert!(writer.finish());
        drop(writer);
        let check = |reader, expected| {
            let lines: Vec<_> = BufReader::new(reader).lines().map(Result::unwrap).collect();
            assert!(lines.len() == 1000 && lines.iter().all(|line| line == expected));
        };
        check(old, "before");
        check(new, "after");
    }

    #[test]
    fn a_reader_that_went_away_blocks_nobody() {
        let (writer, reader) = rig();
        drop(reader);
        (0..100).for_each(|_| writer.write("x\n"));
        assert!(writer.finish());
    }
}
