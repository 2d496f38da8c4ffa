//! What processes take up: memory, file descriptors, connections.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io, thread,
    time::{Duration, Instant},
};

use crate::{Check, Failure, procnet, wait_for};

/// What a proxy takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Its processes.
    pub processes: usize,
    /// Their memory, each shared page counted in parts (PSS), in kB.
    pub pss: u64,
    /// Their open file descriptors.
    pub descriptors: usize,
    /// Connections held by processes that a reload has replaced; each session has two.
    pub old_connections: usize,
}

impl Measure {
    /// What these processes take up now, of which `old` ones have been replaced.
    pub fn of(all: &BTreeSet<u32>, old: &BTreeSet<u32>) -> Self {
        let inodes = procnet::established();
        Self {
            processes: all.len(),
            pss: all.iter().map(|pid| pss(*pid)).sum(),
            descriptors: all.iter().map(|pid| descriptors(*pid).count()).sum(),
            old_connections: old.iter().map(|pid| connections(*pid, &inodes)).sum(),
        }
    }
}

/// The children of a process.
pub fn children(pid: u32) -> BTreeSet<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn pss(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn descriptors(pid: u32) -> impl Iterator<Item = io::Result<fs::DirEntry>> {
    fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten()
}

/// The TCP connections that a process has.
fn connections(pid: u32, inodes: &HashSet<u64>) -> usize {
    let inode = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    };
    descriptors(pid).filter_map(inode).filter(|inode| inodes.contains(inode)).count()
}

/// Waits until two measurements in a row agree in what they count.
///
/// # Errors
/// When they never do.
pub fn settled(measure: impl Fn() -> Measure) -> Check<Measure> {
    let mut last = measure();
    let found = wait_for(Instant::now() + PATIENCE, || {
        thread::sleep(SETTLING);
        let before = std::mem::replace(&mut last, measure());
        (before.descriptors == last.descriptors && before.processes == last.processes)
            .then_some(last)
    });
    found.ok_or_else(|| Failure::new("the proxy to settle", format!("{last:?}")))
}

/// Long enough for what is released only after a while, such as memory.
const SETTLING: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(15);
