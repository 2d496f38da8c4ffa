//! Lines in, lookups in flight, lines out in the same order.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cache::Cache;
use super::lookup::{Outcome, Rate, Resolving};
use super::names::{Field, address_field};
use super::{ResolveError, Settings};
use crate::input::{Complaints, InputError, Lines, Progress};
use crate::output::{Output, complain};

/// Copies everything; `false` when not all of the input could be read.
pub fn run(settings: &Settings) -> Result<bool, ResolveError> {
    let now = unix_seconds();
    let cache_error = |source| ResolveError::Cache {
        name: settings.cache.as_ref().map_or_else(String::new, |p| p.display().to_string()),
        source,
    };
    let cache = match &settings.cache {
        Some(path) => Cache::read(path, now).map_err(cache_error)?,
        None => Cache::default(),
    };
    let output = Output::open(settings.output.as_deref(), settings.compress)
        .map_err(ResolveError::Output)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ResolveError::Resolver(error.to_string()))?;
    let (line_sender, lines) = mpsc::channel(4);
    let (text_sender, texts) = mpsc::channel(4);
    let (name, logs) = (settings.name, settings.logs.clone());
    let reader = thread::spawn(move || read(name, &logs, &line_sender));
    let writer = thread::spawn(move || write(output, texts));
    let (cache, counts) = runtime.block_on(async {
        let resolving = Resolving::new(&settings.asking)
            .map_err(|error| ResolveError::Resolver(error.to_string()))?;
        let mut flow = Flow::new(settings, Arc::new(resolving), cache, text_sender);
        flow.run(lines).await;
        Ok::<_, ResolveError>((flow.cache, flow.counts))
    })?;
    let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")));
    written.map_err(ResolveError::Output)?;
    let complete = reader.join().unwrap_or(false);
    if let Some(path) = &settings.cache {
        cache.write(path, unix_seconds()).map_err(cache_error)?;
    }
    counts.report(settings);
    Ok(complete)
}

/// What became of everything.
#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    addresses: u64,
    cached: u64,
    named: u64,
    nameless: u64,
    timed_out: u64,
    failed: u64,
    given_up: u64,
}

impl Counts {
    fn report(&self, settings: &Settings) {
        let Self { lines, addresses, cached, named, nameless, timed_out, failed, given_up } = self;
        if timed_out + given_up > 0 {
            let servers: Vec<String> = match &settings.asking.servers[..] {
                [] => Resolving::servers(&settings.asking).iter().map(IpAddr::to_string).collect(),
                servers => servers.iter().map(ToString::to_string).collect(),
            };
            complain(&format!(
                "{}: no answer from {} for {} of {addresses} addresses; they stay as they are",
                settings.name,
                servers.join(", "),
                timed_out + given_up
            ));
        }
        if settings.stats {
            complain(&format!(
                "{}: {lines} lines, {addresses} addresses: {named} with a name, {nameless} \
                 without, {cached} known from the cache, {timed_out} timed out, {given_up} not \
                 looked up after that, {failed} with a broken answer",
                settings.name
            ));
        }
    }
}

/// What is known about an address.
enum Known {
    Waiting,
    Name(Arc<str>),
    Nothing,
}

struct Waiting {
    line: Vec<u8>,
    field: Option<Field>,
}

struct Flow<'a> {
    settings: &'a Settings,
    resolving: Arc<Resolving>,
    cache: Cache,
    known: HashMap<IpAddr, Known>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    queue: VecDeque<IpAddr>,
    flying: JoinSet<(IpAddr, Outcome)>,
    rate: Rate,
    started: Instant,
    /// Lookups in a row without an answer.
    silent: u32,
    text: Vec<u8>,
    texts: mpsc::Sender<Vec<u8>>,
    counts: Counts,
}

impl<'a> Flow<'a> {
    fn new(
        settings: &'a Settings,
        resolving: Arc<Resolving>,
        cache: Cache,
        texts: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self {
            settings,
            resolving,
            cache,
            known: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            queue: VecDeque::new(),
            flying: JoinSet::new(),
            rate: Rate::new(settings.rate),
            started: Instant::now(),
            silent: 0,
            text: Vec::new(),
            texts,
            counts: Counts::default(),
        }
    }

    async fn run(&mut self, mut lines: mpsc::Receiver<Vec<Vec<u8>>>) {
        let mut more = true;
        while more || !self.waiting.is_empty() {
            let pause = self.start();
            if self.release().await.is_err() {
                return;
            }
            let room = self.waiting.len() < WAITING_LINES && self.waiting_bytes < WAITING_BYTES;
            tokio::select! {
                batch = lines.recv(), if more && room => match batch {
                    Some(batch) => batch.into_iter().for_each(|line| self.add(line)),
                    None => more = false,
                },
                Some(landed) = self.flying.join_next() => {
                    if let Ok((ip, outcome)) = landed {
                        self.land(ip, outcome);
                    }
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                else => {}
            }
        }
        let _ = self.release().await;
        self.flush().await.ok();
    }

    fn add(&mut self, line: Vec<u8>) {
        self.counts.lines += 1;
        let field = address_field(&line, self.settings.field)
            .filter(|field| !self.settings.skip.holds(field.ip));
        if let Some(Field { ip, .. }) = field
            && !self.known.contains_key(&ip)
        {
            self.counts.addresses += 1;
            let known = match self.cache.find(ip) {
                Some(Some(name)) => Known::Name(name.into()),
                Some(None) => Known::Nothing,
                None => Known::Waiting,
            };
            match known {
                Known::Waiting => self.queue.push_back(ip),
                _ => self.counts.cached += 1,
            }
            self.known.insert(ip, known);
        }
        self.waiting_bytes += line.len();
        self.waiting.push_back(Waiting { line, field });
    }

    /// Starts as many lookups as may be in flight; returns how long the rate delays the next one.
    fn start(&mut self) -> Option<Duration> {
        while self.silent >= SILENT_MAX && !self.flying.is_empty() {
            // Nobody answers: all but the one in flight stay as they are.
            let ip = self.queue.pop_front()?;
            self.counts.given_up += 1;
            self.known.insert(ip, Known::Nothing);
        }
        while self.flying.len() < self.settings.asking.parallel {
            let ip = *self.queue.front()?;
            if self.silent >= SILENT_MAX && !self.flying.is_empty() {
                return None;
            }
            if let Err(pause) = self.rate.take(self.started.elapsed()) {
                return Some(pause);
            }
            self.queue.pop_front();
            let resolving = Arc::clone(&self.resolving);
            self.flying.spawn(async move { (ip, resolving.name_of(ip).await) });
        }
        None
    }

    fn land(&mut self, ip: IpAddr, outcome: Outcome) {
        self.silent = if outcome == Outcome::TimedOut { self.silent + 1 } else { 0 };
        let now = unix_seconds();
        let known = match outcome {
            Outcome::Name(name, seconds) => {
                self.counts.named += 1;
                let known = Known::Name(name.as_str().into());
                self.cache.add(ip, Some(name), seconds, now);
                known
            }
            Outcome::NoName(seconds) => {
                self.counts.nameless += 1;
                self.cache.add(ip, None, seconds, now);
                Known::Nothing
            }
            // Not remembered: the next run may have more luck.
            Outcome::TimedOut => {
                self.counts.timed_out += 1;
                Known::Nothing
            }
            Outcome::Failed => {
                self.counts.failed += 1;
                Known::Nothing
            }
        };
        self.known.insert(ip, known);
    }

    /// Hands over all lines at the front that are decided. An error means that the writer ended.
    async fn release(&mut self) -> Result<(), Gone> {
        while let Some(front) = self.waiting.front() {
            let name = match &front.field {
                None => None,
                Some(field) => match self.known.get(&field.ip) {
                    Some(Known::Waiting) => break,
                    Some(Known::Name(name)) => Some((field.range.clone(), Arc::clone(name))),
                    _ => None,
                },
            };
            let Some(Waiting { line, .. }) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= line.len();
            match name {
                Some((range, name)) => {
                    self.text.extend_from_slice(&line[..range.start]);
                    self.text.extend_from_slice(name.as_bytes());
                    self.text.extend_from_slice(&line[range.end..]);
                }
                None => self.text.extend_from_slice(&line),
            }
            self.text.push(b'\n');
            if self.text.len() > TEXT_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.texts.send(std::mem::take(&mut self.text)).await.map_err(|_| Gone)
    }
}

/// The writer has ended; why, it says itself.
struct Gone;

/// Reads all files in turn; `false` when one could not be read to its end.
fn read(name: &str, logs: &[std::ffi::OsString], lines: &mpsc::Sender<Vec<Vec<u8>>>) -> bool {
    let mut complete = true;
    let mut complaints = Complaints::default();
    let mut complain = |error: &InputError| {
        complete = false;
        complaints.print(name, error);
    };
    for log in logs {
        let mut input = match Lines::open(log, &Progress::default()) {
            Ok(input) => input,
            Err(error) => {
                complain(&error);
                continue;
            }
        };
        let mut batch = Vec::new();
        loop {
            match input.advance() {
                Ok(true) => batch.push(input.line().to_vec()),
                Ok(false) => break,
                Err(error) => complain(&error),
            }
            // A pipe may pause for long: what is there goes on at once.
            let full = batch.len() >= BATCH_LINES || !input.has_next();
            if full && lines.blocking_send(std::mem::take(&mut batch)).is_err() {
                return complete;
            }
        }
        if lines.blocking_send(batch).is_err() {
            return complete;
        }
    }
    complete
}

fn write(mut output: Output, mut texts: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(text) = texts.blocking_recv() {
        output.write_all(&text)?;
        if texts.is_empty() {
            output.flush()?;
        }
    }
    output.finish()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const WAITING_LINES: usize = 100_000;
const WAITING_BYTES: usize = 64 << 20;
const BATCH_LINES: usize = 512;
const TEXT_BYTES: usize = 256 * 1024;
const SILENT_MAX: u32 = 50;
