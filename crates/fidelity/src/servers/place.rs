//! Where a service runs: its directory, its deadline, and how programs are started there.

use std::{
    any::Any,
    env,
    ffi::OsStr,
    fmt, fs,
    fs::File,
    io,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use crate::{Check, Failure, Process};

/// What serves the backends' ports, first port first; dropping one ends it.
pub type Servers = Vec<Box<dyn Any>>;

/// A temporary directory, an address and a deadline.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
    host: IpAddr,
    deadline: Instant,
}

impl Place {
    /// A new directory, which goes when the value does.
    ///
    /// # Errors
    /// When there is no room for one.
    pub fn new(host: IpAddr, deadline: Instant) -> Check<Self> {
        let failed = |error| Failure::new("a temporary directory", error);
        let dir = TempDir::with_prefix("fidelity-").map_err(failed)?;
        // Servers that drop their privileges must still get in.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), mode).map_err(failed)?;
        Ok(Self { dir, host, deadline })
    }

    /// Where servers and the proxy are.
    pub fn host(&self) -> IpAddr {
        self.host
    }

    /// When everything must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The path of `name` in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of `name`, as text for configuration files and arguments.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes the file `name` and returns its path.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Check<String> {
        tried(&format!("{name} to be written"), fs::write(self.path(name), content))?;
        Ok(self.text(name))
    }

    /// Makes the directory `name` and returns its path.
    ///
    /// # Errors
    /// Those of making it.
    pub fn make_dir(&self, name: &str) -> Check<String> {
        tried(&format!("{name} to be made"), fs::create_dir_all(self.path(name)))?;
        Ok(self.text(name))
    }

    /// Starts a server and waits until it listens on all of `ports`.
    ///
    /// # Errors
    /// When it does not, with the end of what it said.
    pub fn server(&self, ports: &[u16], command: &mut Command) -> Check<Process> {
        let name = program_name(command);
        let log = format!("{name}-{}.log", ports[0]);
        let mut process = self.spawn(&name, &log, &log, command)?;
        for &port in ports {
            process
                .wait_listening(port, self.deadline)
                .map_err(|failure| self.with_log(failure, &log))?;
        }
        Ok(process)
    }

    /// Runs a client to its end; what it says on standard output.
    ///
    /// # Errors
    /// When it fails, with the end of what it said, or does not end.
    pub fn client(&self, command: &mut Command) -> Check<String> {
        let name = program_name(command);
        let [out, err] = [format!("{name}.out"), format!("{name}.err")];
        let mut process = self.spawn(&name, &out, &err, command)?;
        let status = process.wait(self.deadline).map_err(|f| self.with_log(f, &err))?;
        if !status.success() {
            let failure = Failure::new(format!("{name} to succeed"), status);
            return Err(self.with_log(failure, &err));
        }
        tried(&format!("{name} to write text"), fs::read_to_string(self.path(&out)))
    }

    /// Starts a client that runs beside others, with its standard output in the file `out`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn background(&self, out: &str, command: &mut Command) -> Check<Process> {
        let name = program_name(command);
        self.spawn(&name, out, &format!("{out}.err"), command)
    }

    fn spawn(&self, name: &str, out: &str, err: &str, command: &mut Command) -> Check<Process> {
        let create = |log: &str| {
            let file = File::options().append(true).create(true).open(self.path(log));
            tried(&format!("{log} to be written"), file)
        };
        // Of the run before, where a client runs twice.
        let _ = fs::remove_file(self.path(out));
        command.stdout(create(out)?).stderr(create(err)?);
        Process::spawn(name, command)
    }

    fn with_log(&self, mut failure: Failure, log: &str) -> Failure {
        let text = fs::read(self.path(log)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<&str> = text.lines().rev().filter(|l| !l.is_empty()).take(3).collect();
        lines.reverse();
        failure.seen = format!("{} ({})", failure.seen, lines.join(" | "));
        failure
    }
}

/// A command for `program`, which is looked for where servers are, too.
pub fn command<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Command {
    let path = find(program).unwrap_or_else(|| program.into());
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null());
    command
}

/// Where `program` is: in `PATH`, or where Debian keeps what only root or one cluster calls.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let clusters = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut clusters: Vec<PathBuf> =
        clusters.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    clusters.sort();
    env::split_paths(&path)
        .chain(usual)
        .chain(clusters.into_iter().rev())
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Whether this process may do everything, and servers must be told not to.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Puts an I/O error into the report's words.
///
/// # Errors
/// The one in `result`.
pub fn tried<T>(expected: &str, result: io::Result<T>) -> Check<T> {
    result.map_err(|error| Failure::new(expected, error))
}

/// Fails with `seen` unless `is_so`.
///
/// # Errors
/// See above.
pub fn check(is_so: bool, expected: &str, seen: impl fmt::Display) -> Check {
    if is_so { Ok(()) } else { Err(Failure::new(expected, seen)) }
}

fn program_name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
