//! `evenkeel install` and `evenkeel links` install the program, links with its other names, man pages
//! and completions. Files that are not ours are never replaced.

use crate::PERSONALITIES;
use crate::output::{complain, print};
use anyhow::{Context, bail};
use flate2::read::ZlibDecoder;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The last line of every rendered man page and completion; the program contains it, too. Only files
/// with it are ever replaced.
pub const MARK: &str = "This file belongs to Evenkeel and is replaced by `evenkeel install`.";

/// The rendered man pages and completions: the name and length of each file, and all texts one after the
/// other, compressed.
const DOCUMENTS: &[(&str, u64)] = include!(concat!(env!("OUT_DIR"), "/documents.rs"));
const TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/documents.zlib"));

/// The unit for systemd. It names the program as `/usr/bin/evenkeel`.
const UNIT: &str = include_str!("../../../contrib/systemd/evenkeel.service");

/// The result for one file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Created,
    Replaced,
    Unchanged,
    /// A file that is not ours is there.
    Foreign,
}

/// Installs everything under `prefix`, and prints a line for each file.
pub fn install(prefix: &Path) -> anyhow::Result<()> {
    let current = std::env::current_exe().context("cannot find the path of this program")?;
    let program =
        fs::read(&current).with_context(|| format!("cannot read {}", current.display()))?;
    let bin = prefix.join("bin");
    let mut report = Report::default();
    let target = bin.join("evenkeel");
    report.add(&target, put(&target, &program, 0o755)?)?;
    for personality in &PERSONALITIES {
        let link = bin.join(personality.name);
        report.add(&link, put_link(&link, Path::new("evenkeel"))?)?;
    }
    for (name, text) in documents()? {
        let path = prefix.join(place(name));
        report.add(&path, put(&path, text.as_bytes(), 0o644)?)?;
    }
    let unit = prefix.join("lib/systemd/system/evenkeel.service");
    report.add(&unit, put(&unit, unit_for(&target).as_bytes(), 0o644)?)?;
    report.finish()
}

/// The names and texts of the man pages and completions.
fn documents() -> io::Result<Vec<(&'static str, String)>> {
    let mut texts = ZlibDecoder::new(TEXTS);
    let read = |(name, length): &(&'static str, u64)| {
        let mut text = String::new();
        texts.by_ref().take(*length).read_to_string(&mut text)?;
        Ok((*name, text))
    };
    DOCUMENTS.iter().map(read).collect()
}

/// Creates links to this program in `dir`, under the names of its personalities.
pub fn links(dir: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    if !dir.is_dir() {
        bail!("{} is no directory", dir.display());
    }
    let mut report = Report::default();
    for personality in &PERSONALITIES {
        let link = dir.join(personality.name);
        report.add(&link, put_link(&link, &program)?)?;
    }
    report.finish()
}

/// The unit that runs the program at this path.
fn unit_for(program: &Path) -> String {
    let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    UNIT.replace("/usr/bin/evenkeel", &unit_word(&program.to_string_lossy()))
}

/// A word of a command line in a unit. Source: systemd.service(5), "Command lines".
fn unit_word(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let escaped = text.chars().map(|it| match it {
        '\\' | '"' => format!("\\{it}"),
        '%' | '$' => format!("{it}{it}"),
        '\n' => "\\n".to_owned(),
        it => it.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[derive(Default)]
struct Report {
    foreign: usize,
}

impl Report {
    fn add(&mut self, path: &Path, done: Done) -> anyhow::Result<()> {
        let path = path.display();
        match done {
            Done::Created => print(&format!("created {path}\n"))?,
            Done::Replaced => print(&format!("replaced {path}\n"))?,
            Done::Unchanged => print(&format!("{path} is up to date\n"))?,
            Done::Foreign => {
                self.foreign += 1;
                complain(&format!("evenkeel: {path} is not from Evenkeel and was left alone"));
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self.foreign {
            0 => Ok(()),
            1 => bail!("one file was left alone; remove it, or choose another directory"),
            count => {
                bail!("{count} files were left alone; remove them, or choose another directory")
            }
        }
    }
}

/// Where a rendered document goes, below the prefix.
fn place(name: &str) -> PathBuf {
    let share = Path::new("share");
    match Path::new(name).extension().and_then(OsStr::to_str) {
        Some("1") => share.join("man/man1").join(name),
        Some("bash") => {
            share.join("bash-completion/completions").join(name.trim_end_matches(".bash"))
        }
        Some("fish") => share.join("fish/vendor_completions.d").join(name),
        _ => share.join("zsh/site-functions").join(name),
    }
}

/// Writes a file, beside its place and then at once there, so that one in use can be replaced.
fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<Done> {
    let done = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Done::Created,
        Err(error) => return Err(error).context(format!("cannot look at {}", path.display())),
        Ok(found) if !found.is_file() => return Ok(Done::Foreign),
        Ok(_) => {
            let found =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            if found == content {
                return Ok(Done::Unchanged);
            }
            if memchr::memmem::find(&found, MARK.as_bytes()).is_none() {
                return Ok(Done::Foreign);
            }
            Done::Replaced
        }
    };
    let write = || -> io::Result<()> {
        make_parent(path)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".new-{}", std::process::id()));
        let made = fs::File::create_new(&beside)
            .and_then(|mut file| io::Write::write_all(&mut file, content))
            .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(mode)))
            .and_then(|()| fs::rename(&beside, path));
        if made.is_err() {
            let _ = fs::remove_file(&beside);
        }
        made
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(done)
}

/// Creates a link, unless something else is there.
fn put_link(link: &Path, target: &Path) -> anyhow::Result<Done> {
    match fs::read_link(link) {
        Ok(found) if found == target => return Ok(Done::Unchanged),
        _ if link.symlink_metadata().is_ok() => return Ok(Done::Foreign),
        _ => {}
    }
    make_parent(link)
        .and_then(|()| symlink(target, link))
        .with_context(|| format!("cannot create {}", link.display()))?;
    Ok(Done::Created)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_runs_the_program_that_was_installed() {
        let unit = unit_for(Path::new("/opt/my \"50%\"/bin/evenkeel"));
        assert!(unit.contains("\nExecStart=\"/opt/my \\\"50%%\\\"/bin/evenkeel\" run\n"), "{unit}");
        assert_eq!(unit_for(Path::new("/usr/bin/evenkeel")), UNIT);
        assert!(UNIT.contains(MARK));
    }

    #[test]
    fn every_document_has_the_mark_and_a_place() {
        assert!(DOCUMENTS.len() > 2 * PERSONALITIES.len());
        for (name, text) in documents().unwrap() {
            assert!(text.contains(MARK), "{name} lacks the mark; run `cargo xtask docs`");
        }
        for (name, expected) in [
            ("pen.1", "share/man/man1/pen.1"),
            ("pen.bash", "share/bash-completion/completions/pen"),
            ("_pen", "share/zsh/site-functions/_pen"),
            ("pen.fish", "share/fish/vendor_completions.d/pen.fish"),
        ] {
            assert_eq!(place(name), Path::new(expected));
        }
    }
}
