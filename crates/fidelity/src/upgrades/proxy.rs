//! The proxy under test: how it is started, upgraded and measured.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    Check, Failure, Ports, Process, expand, procnet,
    reloads::{Kind, stream_module},
    usage::{Measure, children},
    wait_for, wait_until,
};

/// A listener and its only backend.
pub struct Route {
    /// Its name.
    pub name: &'static str,
    /// The port of the listener.
    pub port: u16,
    /// The port of the backend.
    pub backend: u16,
    /// Whether it is for UDP.
    pub is_udp: bool,
}

/// A running proxy in a directory of its own, with all processes that came from it.
pub struct Proxy {
    // First, so that it has ended before its files go.
    process: Process,
    kind: Kind,
    program: Vec<String>,
    /// The process group of the first process.
    group: u32,
    dir: TempDir,
}

impl Proxy {
    /// Starts `program`.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub fn start(kind: Kind, program: &str, routes: &[Route]) -> Check<Self> {
        let dir = tempfile::tempdir().map_err(|error| Failure::new("a directory", error))?;
        let none = Ports { listener: 0, backends: [0, 0] };
        let program = expand(program, none).map_err(|error| Failure::new("a command", error))?;
        let file = dir.path().join("proxy.conf");
        let mut command = Command::new(in_path(&program[0]));
        command.args(&program[1..]);
        match kind {
            Kind::Evenkeel => command.arg("run").arg(&file),
            Kind::Haproxy => command.args(["-W", "-db", "-f"]).arg(&file),
            // In the foreground, it ignores USR2.
            Kind::Nginx => command.arg("-p").arg(dir.path()).arg("-c").arg(&file),
        };
        let broken = |error: std::io::Error| Failure::new("a file to be written", error);
        // As root, nginx's workers become somebody else.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open).map_err(broken)?;
        fs::write(&file, text_of(kind, dir.path(), routes)).map_err(broken)?;
        let log = fs::File::create(dir.path().join("log")).map_err(broken)?;
        command.env(RUNTIME, dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Process::spawn("the proxy", &mut command)?;
        let group = process.pid().as_raw_nonzero().get().unsigned_abs();
        let mut proxy = Self { process, kind, program, group, dir };
        proxy.wait_ready(routes).map_err(|failure| {
            Failure::new(failure.expected, format!("{}\n{}", failure.seen, proxy.log()))
        })?;
        Ok(proxy)
    }

    fn wait_ready(&mut self, routes: &[Route]) -> Check {
        let file = match self.kind {
            Kind::Evenkeel => "admin.hand-over",
            Kind::Haproxy => "stats",
            Kind::Nginx => "pid",
        };
        let file = self.dir.path().join(file);
        expect("its socket or pid file", || fs::metadata(&file).is_ok_and(|it| !it.is_dir()))?;
        // The process that was started as nginx has ended.
        self.group = self.master();
        let listens =
            || routes.iter().all(|route| route.is_udp || procnet::is_listening(route.port));
        expect("the proxy to listen", listens)
    }

    /// Has another process of the same program take its place, in the proxy's own way.
    ///
    /// # Errors
    /// When that fails, or takes too long.
    pub fn upgrade(&self) -> Check {
        match self.kind {
            Kind::Evenkeel => self.run_upgrade(),
            Kind::Haproxy => {
                let before = children(self.master());
                self.signal(self.master(), Signal::USR2)?;
                let is_new = || children(self.master()).difference(&before).next().is_some();
                expect("another worker", is_new)
            }
            Kind::Nginx => {
                let old = self.master();
                self.signal(old, Signal::USR2)?;
                let is_new = || self.master() != old && !children(self.master()).is_empty();
                expect("another master with workers", is_new)?;
                self.signal(old, Signal::QUIT)
            }
        }
    }

    fn run_upgrade(&self) -> Check {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg("upgrade").arg("--admin").arg(self.admin());
        let output = command.env(RUNTIME, self.dir.path()).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::new("an upgrade", error))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(Failure::new("an upgrade", format!("{}: {said}", output.status)))
            }
        }
    }

    fn admin(&self) -> PathBuf {
        self.dir.path().join("admin")
    }

    fn signal(&self, pid: u32, signal: Signal) -> Check {
        let failed = |error| Failure::new("a signal to be sent", error);
        let pid = Pid::from_raw(pid.cast_signed());
        let pid = pid.ok_or_else(|| Failure::new("a process", "none"))?;
        kill_process(pid, signal).map_err(failed)
    }

    /// The process to which signals go.
    fn master(&self) -> u32 {
        let first = self.process.pid().as_raw_nonzero().get().unsigned_abs();
        let named = match self.kind {
            Kind::Haproxy => None,
            Kind::Evenkeel => fs::read_to_string(self.dir.path().join("admin.pid")).ok(),
            Kind::Nginx => fs::read_to_string(self.dir.path().join("pid")).ok(),
        };
        named.and_then(|text| text.trim().parse().ok()).unwrap_or(first)
    }

    /// All processes that have come from it and live.
    fn processes(&self) -> BTreeSet<u32> {
        let group = self.group.to_string();
        let entry = format!("{RUNTIME}={}", self.dir.path().display());
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            let (state, _, in_group) = (fields.next(), fields.next(), fields.next());
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut entries = environment.split(|byte| *byte == 0);
            let mut is_named = || entries.any(|it| it == entry.as_bytes());
            // One that has ended waits for whoever started it.
            !matches!(state, None | Some("Z")) && (in_group == Some(&*group) || is_named())
        };
        pids.filter(is_ours).collect()
    }

    /// What it takes up now.
    pub fn measure(&self) -> Measure {
        let (all, master) = (self.processes(), self.master());
        let mut current = BTreeSet::from([master]);
        match self.kind {
            Kind::Evenkeel => {}
            Kind::Nginx => current.extend(children(master)),
            // Its current worker is the one that was started last.
            Kind::Haproxy => current.extend(children(master).last()),
        }
        Measure::of(&all, &all.difference(&current).copied().collect())
    }

    /// Waits until every process that has been replaced is gone, and returns how many are not.
    pub fn wait_alone(&self, limit: Duration) -> usize {
        let own = match self.kind {
            Kind::Evenkeel => 1,
            Kind::Haproxy => 2,
            Kind::Nginx => 1 + children(self.master()).len(),
        };
        let others = || self.processes().len().saturating_sub(own);
        wait_for(Instant::now() + limit, || (others() == 0).then_some(0)).unwrap_or_else(others)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Those that follow the first one are not in its group.
        for pid in self.processes() {
            let _ = self.signal(pid, Signal::KILL);
        }
    }
}

/// The path of a program. nginx does not look for its own.
fn in_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|it| it.join(program));
    let found = places.filter(|_| !program.contains('/')).find(|it| it.is_file());
    found.unwrap_or_else(|| program.into())
}

fn expect(what: &str, is_so: impl FnMut() -> bool) -> Check {
    match wait_until(soon(), is_so) {
        true => Ok(()),
        false => Err(Failure::new(what, "none in time")),
    }
}

fn text_of(kind: Kind, dir: &Path, routes: &[Route]) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut text = match kind {
        Kind::Evenkeel => {
            format!("[process]\nworkers = 2\nadmin = \"{}\"\nlog-format = \"json\"\n", at("admin"))
        }
        Kind::Haproxy => format!(
            "global\n  nbthread 2\n  maxconn 9000\n  stats socket {} level admin expose-fd listeners\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n",
            at("stats")
        ),
        Kind::Nginx => format!(
            "{}worker_processes 2;\npid {};\nerror_log {} error;\nworker_rlimit_nofile 20000;\n\
             events {{ worker_connections 20000; }}\nstream {{\n  proxy_timeout 1h;\n",
            stream_module(),
            at("pid"),
            at("error")
        ),
    };
    for Route { name, port, backend, is_udp } in routes {
        let _ = match kind {
            Kind::Evenkeel => write!(
                text,
                "\n[listeners.{name}]\nbind = \"127.0.0.1:{port}{}\"\npool = \"{name}\"\n\
                 forwarded-headers = {}\n[pools.{name}]\nbackends = [\"127.0.0.1:{backend}\"]\n",
                if *is_udp { "/udp" } else { "" },
                *name == "requests"
            ),
            Kind::Haproxy => write!(
                text,
                "listen {name}\n  bind 127.0.0.1:{port}\n  server s 127.0.0.1:{backend}\n"
            ),
            Kind::Nginx => writeln!(
                text,
                "  server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{backend}; }}"
            ),
        };
    }
    if kind == Kind::Nginx {
        text.push_str("}\n");
    }
    text
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

const RUNTIME: &str = "EVENKEEL_RUNTIME_DIR";
