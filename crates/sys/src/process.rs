//! The process itself: its limits, its user and its terminal.

use crate::channel::{Channel, Life, wait_for};
use crate::{alarm, clock};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;
use terms::Instant;

/// Raises the soft limit of open file descriptors to the hard one, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    descriptor_limit()
}

/// The maximum number of file descriptors that this process may have open now.
#[must_use]
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Makes room for descriptors with numbers below `count`, as far as the limit allows. `fd` may be
/// any descriptor.
///
/// Otherwise room is made when a descriptor needs it, twice as much as before each time. If the
/// process has several threads, the one that needs it then waits until every CPU has passed a
/// quiescent state (`synchronize_rcu`): for 10 to 30 ms.
pub fn reserve_descriptors(fd: impl AsFd, count: usize) {
    let last = count.min(descriptor_limit()).saturating_sub(1);
    if let Ok(last) = RawFd::try_from(last) {
        // The table that this needs is kept when the copy is closed.
        drop(rustix::io::fcntl_dupfd_cloexec(fd, last));
    }
}

/// The port of a TCP service, from the system's list.
#[must_use]
pub fn service_port(name: &str) -> Option<u16> {
    let name = CString::new(name).ok()?;
    // SAFETY: both strings end in NUL and live through the call. The result, if any, points at
    // storage of the C library that stays valid until the next call; the one field is copied out
    // at once, and only the main thread looks services up, before others are started or in
    // answer to a command.
    let port = unsafe { libc::getservbyname(name.as_ptr(), c"tcp".as_ptr()).as_ref()?.s_port };
    Some(u16::from_be(port as u16))
}

/// A process that has gone into the background, and whose caller still waits for the result of the
/// start.
#[derive(Debug)]
pub struct Background {
    caller: OwnedFd,
    null: File,
}

/// The working directory of a process in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// `/`, so that the process keeps no file system in use.
    Root,
    /// The directory in which it was started.
    Kept,
}

/// Whether this process has no thread but the calling one.
pub(crate) fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1
}

/// Does `work` in a copy of this process, which exits with status 0 if that returns true, and with 1
/// otherwise. The copy has all files of this process.
///
/// # Errors
/// If the system has no room for another process.
///
/// # Panics
/// If this process has more than one thread: the copy would be without the others.
pub(crate) fn copy(work: impl FnOnce() -> bool) -> io::Result<Pid> {
    assert!(has_one_thread(), "a process is copied before any thread is started");
    // SAFETY: there is one thread (checked above), so the child is a whole copy of this process.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(child) = Pid::from_raw(child) {
        return Ok(child);
    }
    let is_done = matches!(catch_unwind(AssertUnwindSafe(work)), Ok(true));
    // SAFETY: ends the copy without running exit handlers, whose work belongs to the parent; it
    // takes no pointers.
    unsafe { libc::_exit(i32::from(!is_done)) }
}

/// Has this process killed at the end of `parent`.
///
/// # Errors
/// If that has ended already, or the system does not have this.
pub(crate) fn end_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid() == Some(parent) {
        true => Ok(()),
        false => Err(rustix::io::Errno::SRCH.into()),
    }
}

/// Another process, which a process on its way into the background needs at first.
#[derive(Clone, Copy, Debug)]
pub struct Needed<'a> {
    /// Where it says what the child needs to know. If it ends this, it has given the child up.
    pub channel: &'a Channel,
    /// Its life.
    pub life: &'a Life,
}

/// What became of a child, when the process that has started it is about to exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It is ready, and this is its process id.
    Ready(i32),
    /// It did not notice that it had been given up, and has been killed.
    Hung,
}

/// How long a child may take to notice that it has been given up.
const NOTICE_WITHIN: Duration = Duration::from_secs(5);

/// Goes into the background. A child of the process returns from this call, in a session of its
/// own. The process itself waits for [`Background::ready`], calls `farewell`, and exits with status
/// 0; or with 1 after [`Background::fail`]; or, if the child ends before that, with the child's
/// status. If the process that the child needs until [`Background::stand_alone`] gives it up, it must
/// end soon.
///
/// # Errors
/// If the system has no room for another process. Then nothing has changed.
///
/// # Panics
/// If this process has more than one thread: the child would be without the others.
pub fn detach(
    directory: Directory,
    needed: Option<Needed<'_>>,
    farewell: impl FnOnce(Parting),
) -> io::Result<Background> {
    assert!(has_one_thread(), "detach comes before any thread is started");
    let (news, caller) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: there is one thread (checked above), so the child is a whole copy of this process.
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child > 0 {
        drop(caller);
        alarm::lift(); // the child's steps are watched by others
        let status = match await_ready(&news, child, needed) {
            Ok(()) => {
                farewell(Parting::Ready(child));
                0
            }
            Err(Some(status)) => status,
            Err(None) => {
                farewell(Parting::Hung);
                1
            }
        };
        // SAFETY: ends this process without running exit handlers, whose work belongs to the
        // child now; it takes no pointers.
        unsafe { libc::_exit(status) }
    }
    // Fails only if we lead a session already, which is what we want.
    let _ = rustix::process::setsid();
    if directory == Directory::Root {
        std::env::set_current_dir("/")?;
    }
    // Opened now: there may be none under another root directory.
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    Ok(Background { caller, null })
}

/// Waits until the child is ready, and writes what it says to standard output; or returns its exit
/// status, or `None` if it had to be killed.
fn await_ready(
    news: &OwnedFd,
    child: i32,
    mut needed: Option<Needed<'_>>,
) -> Result<(), Option<i32>> {
    let child = Pid::from_raw(child);
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        if needed.is_some_and(|needed| hangs(news, needed)) {
            let kill = |it| rustix::process::kill_process(it, Signal::KILL);
            let _ = child.map(kill);
            return Err(None);
        }
        match (rustix::io::retry_on_intr(|| rustix::io::read(news, &mut byte)), byte) {
            (Ok(1), [READY]) => {
                let _ = io::Write::write_all(&mut Stream::Out, &text);
                return Ok(());
            }
            (Ok(1), [FAILED]) => {
                let _ = io::Write::write_all(&mut Stream::Err, &text);
                return Err(Some(1));
            }
            (Ok(1), [STANDS_ALONE]) => needed = None,
            (Ok(1), [byte]) => text.push(byte),
            _ => break,
        }
    }
    let wait = || rustix::process::waitpid(child, rustix::process::WaitOptions::empty());
    Err(Some(match rustix::io::retry_on_intr(wait) {
        Ok(Some((_, status))) => {
            status.exit_status().or(status.terminating_signal().map(|it| 128 + it)).unwrap_or(1)
        }
        _ => 1,
    }))
}

/// What a child says besides text.
const READY: u8 = 0;
const STANDS_ALONE: u8 = 1;
const FAILED: u8 = 2;

/// Waits for news of the child. Returns true if there are none although the process that it needs
/// has given it up, and lives.
fn hangs(news: &OwnedFd, Needed { channel, life }: Needed<'_>) -> bool {
    let mut both = [PollFd::new(news, PollFlags::IN), PollFd::new(channel, PollFlags::RDHUP)];
    let waited = rustix::io::retry_on_intr(|| poll(&mut both, None));
    if waited.is_err() || !both[0].revents().is_empty() {
        return false;
    }
    let deadline = Some(clock::now() + NOTICE_WITHIN);
    let is_silent = matches!(wait_for(news.as_fd(), PollFlags::IN, deadline), Ok(false));
    is_silent && !life.has_ended(Some(Instant::ZERO))
}

impl Background {
    /// Redirects the three standard descriptors to `/dev/null`, and releases the caller.
    ///
    /// # Errors
    /// If the system has no room for that.
    pub fn ready(self) -> io::Result<()> {
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stdout(&self.null)?;
        rustix::stdio::dup2_stderr(&self.null)?;
        self.release("");
        Ok(())
    }

    /// Tells the caller that this process goes on whatever becomes of the one that it needed.
    pub fn stand_alone(&self) {
        let _ = rustix::io::write(&self.caller, &[STANDS_ALONE]);
    }

    /// Releases the caller, which writes `text` to its standard output.
    pub fn release(self, text: &str) {
        self.say(text, READY);
    }

    /// Tells the caller that this process is not what it was started for, though it goes on. The
    /// caller writes `text` to its standard error.
    pub fn fail(self, text: &str) {
        self.say(text, FAILED);
    }

    fn say(self, text: &str, end: u8) {
        let text = text.bytes().filter(|byte| ![READY, STANDS_ALONE, FAILED].contains(byte));
        let text: Vec<u8> = text.chain([end]).collect();
        // The caller may have been killed in the meantime.
        let _ = rustix::io::write(&self.caller, &text);
    }
}

/// Uses these streams as the standard ones, in their order. What is missing stays.
///
/// # Errors
/// If the system has no room for that.
pub fn use_streams(streams: &[OwnedFd]) -> io::Result<()> {
    let mut streams = streams.iter();
    if let Some(input) = streams.next() {
        rustix::stdio::dup2_stdin(input)?;
    }
    if let Some(output) = streams.next() {
        rustix::stdio::dup2_stdout(output)?;
    }
    if let Some(errors) = streams.next() {
        rustix::stdio::dup2_stderr(errors)?;
    }
    Ok(())
}

/// A user of this machine, looked up before [`change_root`] puts the list of users out of reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: libc::uid_t,
    gid: libc::gid_t,
    /// All groups of the user.
    groups: Vec<libc::gid_t>,
}

/// The privileges of root that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Connecting from foreign addresses (`IP_TRANSPARENT`, ip(7)): `CAP_NET_RAW`, or
    /// `CAP_NET_ADMIN` if the process has only that.
    ForeignSources,
    /// Changing what the kernel does with packets: `CAP_NET_ADMIN`.
    Network,
}

impl User {
    /// Looks a user up.
    ///
    /// # Errors
    /// `NotFound` if there is no user of this name.
    pub fn find(user: &str) -> io::Result<Self> {
        let name = CString::new(user)?;
        let (uid, gid) = look_up(&name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no user {user}")))?;
        let groups = groups_of(&name, gid);
        Ok(Self { uid, gid, groups })
    }

    /// The user's number.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of its first group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Whether the mode of a file lets this user execute it. Root may if anybody may.
    #[must_use]
    pub fn may_execute(&self, file: &std::fs::Metadata) -> bool {
        use std::os::unix::fs::MetadataExt;
        let bits = match () {
            () if self.uid == 0 => 0o111,
            () if self.uid == file.uid() => 0o100,
            () if self.gid == file.gid() || self.groups.contains(&file.gid()) => 0o010,
            () => 0o001,
        };
        file.mode() & bits != 0
    }

    /// Changes to this user for good, and gives up the groups and capabilities of this process.
    ///
    /// # Errors
    /// `PermissionDenied` if this process may not.
    ///
    /// # Panics
    /// If this process has more than one thread: the call may change one thread only.
    pub fn assume(&self, keep: Keep) -> io::Result<()> {
        assert!(has_one_thread(), "privileges are dropped before any thread is started");
        if keep != Keep::Nothing {
            thread::set_keep_capabilities(true)?;
        }
        // SAFETY: the pointer is to as many groups as are told; the rest are plain numbers.
        let failed = unsafe {
            libc::setgroups(self.groups.len(), self.groups.as_ptr()) != 0
                || libc::setgid(self.gid) != 0
                || libc::setuid(self.uid) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
        let wanted: &[_] = match keep {
            Keep::Nothing => return Ok(()),
            Keep::ForeignSources => &[CapabilitySet::NET_RAW, CapabilitySet::NET_ADMIN],
            Keep::Network => &[CapabilitySet::NET_ADMIN],
        };
        let permitted = thread::capabilities(None)?.permitted;
        let kept = wanted.iter().copied().find(|&it| permitted.contains(it));
        keep_only(kept.unwrap_or(CapabilitySet::empty()), CapabilitySet::empty())?;
        Ok(thread::set_keep_capabilities(false)?)
    }
}

/// Whether this thread may connect from foreign addresses: see [`Keep::ForeignSources`].
#[must_use]
pub fn may_use_foreign_sources() -> bool {
    let wanted = CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN;
    thread::capabilities(None).is_ok_and(|it| it.effective.intersects(wanted))
}

/// Gives up all capabilities except these. `inheritable` are those that programs started from here
/// may have.
pub(crate) fn keep_only(kept: CapabilitySet, inheritable: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    Ok(thread::set_capabilities(None, sets)?)
}

/// The number of a group of this machine.
///
/// # Errors
/// `NotFound` if there is no group of this name.
///
/// # Panics
/// If this process has more than one thread: the C library has one place for the result.
pub fn find_group(group: &str) -> io::Result<u32> {
    assert!(has_one_thread(), "groups are looked up before any thread is started");
    let name = CString::new(group)?;
    // SAFETY: the name ends in NUL and lives through the call. The result, if any, points at
    // storage of the C library that stays valid until the next call; a number is copied out at
    // once, by the only thread there is.
    let found = unsafe { libc::getgrnam(name.as_ptr()).as_ref() }.map(|entry| entry.gr_gid);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no group {group}")))
}

/// All groups of a user: `gid` and those that name it as a member.
fn groups_of(name: &CStr, gid: libc::gid_t) -> Vec<libc::gid_t> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the name ends in NUL and lives through the call; `groups` has room for `count`
        // entries, and the call writes no more than that.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        if let Ok(found) = usize::try_from(found) {
            groups.truncate(found);
            return groups;
        }
        // There are more: `count` says how many, except in some C libraries.
        let wanted = usize::try_from(count).unwrap_or(0).max(groups.len() * 2);
        if wanted > GROUPS_MAX {
            return groups;
        }
        groups.resize(wanted, 0);
    }
}

/// The kernel allows a process 65,536 groups (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 1 << 17;

/// Changes the root directory and the working directory to `directory` (chroot(2)).
///
/// # Errors
/// `NotFound` if there is no such directory; `PermissionDenied` if this process may not.
pub fn change_root(directory: &Path) -> io::Result<()> {
    std::os::unix::fs::chroot(directory)?;
    std::env::set_current_dir("/")
}

fn look_up(name: &CStr) -> Option<(libc::uid_t, libc::gid_t)> {
    // SAFETY: the name ends in NUL and lives through the call. The result, if any, points at
    // storage of the C library that stays valid until the next call; two numbers are copied out
    // at once, by the only thread there is.
    let entry = unsafe { libc::getpwnam(name.as_ptr()).as_ref()? };
    Some((entry.pw_uid, entry.pw_gid))
}

/// Closes every file descriptor that whoever started this process has left open, except the three
/// standard ones and the `kept` ones that follow. To be called by a daemon before it opens anything
/// itself.
pub fn close_inherited(kept: u32) {
    let first = kept.saturating_add(3);
    // SAFETY: plain numbers. Nothing in this process owns a descriptor from `first` on yet, which
    // the caller sees to. Before Linux 5.9 the call fails and nothing is closed.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Gives up for good the privileges that `setuid` programs could give: no program started from here
/// gains any.
pub fn renounce_privileges() {
    let _ = thread::set_no_new_privs(true);
}

/// Has the allocator return each large block to the system as soon as it is freed. Otherwise, after
/// the first such block, the others come from the heap, and what is allocated meanwhile keeps it
/// from shrinking again. Smaller blocks stay in the heap of their thread for the next use, up to a
/// megabyte: to return and get them again would be a quarter of the work of a scrape of 1000
/// backends.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers, which change only how later allocations are made.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 512 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
    }
}

/// Returns memory to the system that only rare work, such as the start, has needed: freed memory
/// that the allocator has kept, what lies below the end of the first thread's stack, if that is the
/// calling one, and the pages of code and constants, also of libraries. Those that are still used
/// are mapped again from the page cache.
pub fn release_idle_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain number. The call touches only memory that has been freed, and takes the
    // allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(idle).for_each(release);
}

/// What can be returned of a mapping, as `/proc/self/maps` lists it.
fn idle(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (range, access, offset) = (words.next()?, words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (parse(start)?, parse(end)?);
    // After the device and the inode.
    match words.nth(2)? {
        "[stack]" => {
            let here = std::ptr::from_ref(&start).addr();
            let unused = here.checked_sub(STACK_KEPT)? & !(rustix::param::page_size() - 1);
            (start..end).contains(&here).then_some(start..unused.max(start))
        }
        // Constants lie at the file's beginning. What follows the code is read-only, too, but was
        // written when the program was loaded.
        path if path.starts_with('/') => {
            let is_first = offset.bytes().all(|it| it == b'0');
            (access == "r-xp" || access == "r--p" && is_first).then_some(start..end)
        }
        _ => None,
    }
}

/// How much of a stack is kept below what is in use, for what this thread does next.
const STACK_KEPT: usize = 16 << 10;

fn release(range: Range<usize>) {
    let pages = std::ptr::without_provenance_mut(range.start);
    // SAFETY: the range comes from `idle`. Either it is code or constants of this program or of a
    // library as the kernel has just listed them: a private mapping of a file that is never written,
    // since position independent programs have no relocations in either. Dropped pages are read from
    // the file again, with the same content, as soon as they are used. Or it is a part of this
    // thread's own stack, `STACK_KEPT` below the frame that `idle` had: deeper than this function and
    // the system call go.
    let _ = unsafe { rustix::mm::madvise(pages, range.len(), rustix::mm::Advice::LinuxDontNeed) };
}

/// What this process uses. What the system does not say, as under another root directory, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its processor time.
    pub processor: Duration,
    /// Its memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Its open file descriptors.
    pub descriptors: Option<u64>,
    /// The processor time of each of the threads asked for.
    pub threads: Vec<Duration>,
}

/// What this process uses, and what each of its threads uses whose name begins with `threads`.
#[must_use]
pub fn usage(threads: &str) -> Usage {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
    let read = |path: &Path, field: usize| -> Option<u64> {
        read_short(path)?.split_whitespace().nth(field)?.parse().ok()
    };
    let pages = read(Path::new("/proc/self/statm"), 1);
    let page = rustix::param::page_size() as u64;
    let descriptors = Path::new("/proc/self/fd");
    // Their number is the size, from Linux 6.2 on. To list them takes long where they are many.
    let size = rustix::fs::stat(descriptors).map(|it| it.st_size).unwrap_or_default();
    let descriptors = match u64::try_from(size) {
        Ok(0) | Err(_) => descriptors.read_dir().ok().map(|it| it.count() as u64),
        Ok(count) => Some(count),
    };
    let all = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let meant = all.filter_map(|thread| {
        let folder = thread.path();
        let is_meant = read_short(&folder.join("comm"))?.starts_with(threads);
        is_meant.then(|| read(&folder.join("schedstat"), 0)).flatten()
    });
    Usage {
        processor: Duration::from_nanos(nanos.cast_unsigned()),
        resident_bytes: pages.map(|pages| pages * page),
        descriptors,
        threads: meant.map(Duration::from_nanos).collect(),
    }
}

/// What a file of the system says in one short line.
fn read_short(path: &Path) -> Option<String> {
    let mut bytes = [0; 128];
    let count = File::open(path).ok()?.read(&mut bytes).ok()?;
    String::from_utf8(bytes[..count].to_vec()).ok()
}

/// Whether standard error is what a service manager calls the journal: `stream` is the device and
/// the inode, with a colon between them (systemd.exec(5), `JOURNAL_STREAM`).
#[must_use]
pub fn is_journal(stream: &str) -> bool {
    let Ok(stat) = rustix::fs::fstat(rustix::stdio::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The effective user id of this process.
#[must_use]
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Connects to the system log, in which this process is called `ident`. Call it before
/// [`change_root`], which puts the system log out of reach.
pub fn open_syslog(ident: &'static CStr, facility: Facility) {
    let facility = match facility {
        Facility::Daemon => libc::LOG_DAEMON,
        Facility::User => libc::LOG_USER,
    };
    let options = libc::LOG_PID | libc::LOG_CONS | libc::LOG_NDELAY;
    // SAFETY: the identity is static and ends in NUL, as openlog(3) requires of a pointer it keeps.
    unsafe { libc::openlog(ident.as_ptr(), options, facility) }
}

/// Writes a line to the system log; see [`open_syslog`]. Blocks while the log accepts nothing.
pub fn syslog(priority: Priority, text: &[u8]) {
    let text: Vec<u8> = text.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    let Ok(text) = CString::new(text) else { return };
    let level = match priority {
        Priority::Error => libc::LOG_ERR,
        Priority::Warning => libc::LOG_WARNING,
        Priority::Notice => libc::LOG_NOTICE,
        Priority::Info => libc::LOG_INFO,
        Priority::Debug => libc::LOG_DEBUG,
    };
    // SAFETY: format and text end in NUL and live through the call, and the one conversion in the
    // format matches the one argument.
    unsafe { libc::syslog(level, c"%s".as_ptr(), text.as_ptr()) }
}

/// A standard stream, written without the locks and buffers of [`std::io`]: a thread that is stuck
/// in a write does not keep others from writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl io::Write for Stream {
    /// Waits even if another process has made the stream non-blocking.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fd = match self {
            Self::Out => rustix::stdio::stdout(),
            Self::Err => rustix::stdio::stderr(),
        };
        loop {
            match rustix::io::write(fd, bytes) {
                Err(rustix::io::Errno::AGAIN) => {
                    let mut waited = [PollFd::new(&fd, PollFlags::OUT)];
                    rustix::io::retry_on_intr(|| poll(&mut waited, None))?;
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How urgent a line of the system log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// An operator must act.
    Error,
    /// Something went wrong, and the process coped.
    Warning,
    /// Normal but significant.
    Notice,
    /// The life cycle of the process.
    Info,
    /// Details.
    Debug,
}

impl Priority {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Notice, Self::Info, Self::Debug];
}

/// The kind of program that writes a line of the system log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// A daemon.
    Daemon,
    /// A user's program; pen(1) logs as one.
    User,
}
