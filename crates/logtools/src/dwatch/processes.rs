//! The processes of the machine, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::config::Watch;

/// A running process; zombies are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    parent: u32,
    uid: u32,
    /// Its name as the kernel has it, at most 15 bytes.
    name: String,
    /// Its command line, words parted by blanks.
    command_line: String,
    /// The last part of the first word of its command line.
    program: String,
}

/// All processes but ourselves and our ancestors, who may have the watched name in their
/// command line.
pub fn all() -> Vec<Process> {
    let mut found: HashMap<u32, Process> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(process) = read(pid) {
            found.insert(pid, process);
        }
    }
    let mut own = std::process::id();
    while let Some(process) = found.remove(&own) {
        own = process.parent;
    }
    found.into_values().collect()
}

/// Whether processes can be seen at all; if not, everything would seem down and be started again
/// and again. The error says why not.
pub fn are_visible() -> Result<(), String> {
    match fs::read("/proc/1/stat") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "other processes cannot be seen (/proc/1/stat: {error}), so process, command-line and \
             pid-file cannot be checked; where /proc is mounted with hidepid, run as root"
        )),
    }
}

/// A process by its number.
pub fn read(pid: u32) -> Option<Process> {
    let directory = format!("/proc/{pid}");
    let uid = fs::metadata(&directory).ok()?.uid();
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    let words = fs::read(format!("{directory}/cmdline")).ok()?;
    parse(pid, uid, &stat, &words)
}

fn parse(pid: u32, uid: u32, stat: &str, words: &[u8]) -> Option<Process> {
    // The name is in parentheses and may hold anything, also parentheses.
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let text = String::from_utf8_lossy(words);
    let first = text.split('\0').next().unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default().trim_end_matches(':').to_owned();
    let command_line = text.trim_end_matches('\0').replace('\0', " ");
    Some(Process { pid, parent, uid, name: name.to_owned(), command_line, program })
}

impl Process {
    /// Whether it is one of the watched program's.
    pub fn belongs_to(&self, watch: &Watch, uid: Option<u32>) -> bool {
        let named = |name: &String| {
            let short: String = name.chars().take(15).collect();
            self.name == short || self.program == *name
        };
        watch.process.as_ref().is_none_or(named)
            && watch.command_line.as_ref().is_none_or(|p| p.is_match(&self.command_line))
            && uid.is_none_or(|uid| self.uid == uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwatch::config::Config;

    #[test]
    fn a_process_is_known_by_name_program_or_command_line() {
        let stat = "7 (odd) name) S 3 7 7 0 -1";
        let process = parse(7, 0, stat, b"/usr/sbin/nginx\0-g\0daemon on;\0").unwrap();
        assert_eq!((process.parent, &*process.name), (3, "odd) name"));
        #[track_caller]
        fn check(process: &Process, key: &str, value: &str, expected: bool) {
            let text = format!("[watch.a]\n{key} = '{value}'\n");
            let watch = &Config::parse(&text).unwrap().watch["a"];
            assert_eq!(process.belongs_to(watch, None), expected, "{text}");
        }
        check(&process, "process", "nginx", true);
        check(&process, "process", "odd) name", true);
        check(&process, "process", "ngin", false);
        check(&process, "command-line", "-g daemon", true);
        check(&process, "command-line", "^daemon", false);
        let watch = &Config::parse("[watch.a]\nprocess = 'nginx'\n").unwrap().watch["a"];
        assert!(process.belongs_to(watch, Some(0)) && !process.belongs_to(watch, Some(1)));
    }

    #[test]
    fn zombies_and_ourselves_do_not_count() {
        assert_eq!(parse(7, 0, "7 (x) Z 3", b""), None);
        assert_eq!(parse(7, 0, "damaged", b""), None);
        assert!(read(std::process::id()).is_some());
        let own = std::process::id();
        assert!(all().iter().all(|process| process.pid != own && process.pid != 1));
    }
}
