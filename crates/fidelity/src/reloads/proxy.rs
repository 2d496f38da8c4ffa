//! The proxy under test: how it is started, reloaded and measured.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{admin, plan::Plan};
use crate::{
    Check, Failure, Ports, Process, expand, procnet,
    usage::{Measure, children},
    wait_until,
};

/// The kinds of proxies that can be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `evenkeel run FILE`, reloaded through its admin socket.
    Evenkeel,
    /// `haproxy -W -f FILE`, reloaded by USR2; its listening sockets are handed over.
    Haproxy,
    /// nginx with its `stream` module, reloaded by HUP.
    Nginx,
}

impl Kind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "evenkeel" => Some(Self::Evenkeel),
            "haproxy" => Some(Self::Haproxy),
            "nginx" => Some(Self::Nginx),
            _ => None,
        }
    }
}

/// A running proxy in a directory of its own.
#[derive(Debug)]
pub struct Proxy {
    // First, so that it has ended before its files go.
    process: Process,
    kind: Kind,
    dir: TempDir,
}

impl Proxy {
    /// Starts `program` with this plan.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub fn start(kind: Kind, program: &str, plan: &Plan) -> Check<Self> {
        let dir = tempfile::tempdir().map_err(|error| Failure::new("a directory", error))?;
        let none = Ports { listener: 0, backends: [0, 0] };
        let words = expand(program, none).map_err(|error| Failure::new("a command", error))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let file = dir.path().join(FILE);
        match kind {
            Kind::Evenkeel => command.arg("run").arg(&file),
            Kind::Haproxy => command.args(["-W", "-db", "-f"]).arg(&file),
            Kind::Nginx => {
                command.args(["-g", "daemon off;", "-p"]).arg(dir.path()).arg("-c").arg(&file)
            }
        };
        // As root, nginx's workers become somebody else.
        let _ =
            fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755));
        let log = fs::File::create(dir.path().join("log"));
        let log = log.map_err(|error| Failure::new("a log file", error))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        write_plan(kind, dir.path(), plan)?;
        let mut process = Process::spawn("the proxy", &mut command)?;
        for listener in &plan.listeners {
            if let Err(failure) = process.wait_listening(listener.port, soon()) {
                let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                return Err(Failure::new(failure.expected, format!("{}\n{log}", failure.seen)));
            }
        }
        Ok(Self { process, kind, dir })
    }

    /// Writes the plan to its file, and has it reloaded; returns when it is in force.
    ///
    /// # Errors
    /// When the proxy refuses it, or takes too long.
    pub fn reload(&mut self, plan: &Plan) -> Check {
        self.process.check_alive()?;
        write_plan(self.kind, self.dir.path(), plan)?;
        match self.kind {
            Kind::Evenkeel => admin::reload(&self.admin()),
            Kind::Haproxy => self.signal(Signal::USR2, plan),
            Kind::Nginx => self.signal(Signal::HUP, plan),
        }
    }

    /// Writes the plan to a file that nobody reads.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write_aside(&self, plan: &Plan) -> Check {
        write(self.dir.path().join("aside"), &self.text_of(plan))
    }

    /// Signals the master process, and waits for another worker and for every listener.
    fn signal(&self, signal: Signal, plan: &Plan) -> Check {
        let before = self.workers();
        let master = self.process.pid();
        rustix::process::kill_process(master, signal)
            .map_err(|error| Failure::new("the signal to be sent", error))?;
        let is_new = || self.workers().difference(&before).next().is_some();
        let listens = |port| procnet::is_listening(port);
        let is_done = || is_new() && plan.listeners.iter().all(|it| listens(it.port));
        match wait_until(soon(), is_done) {
            true => Ok(()),
            false => Err(Failure::new("another worker after the signal", "none")),
        }
    }

    /// Puts `text` where the plan is, and has it reloaded; it must be refused.
    ///
    /// # Errors
    /// When it is accepted.
    pub fn reload_invalid(&self, text: &str) -> Check<String> {
        write(self.dir.path().join(FILE), text)?;
        admin::reload_invalid(&self.admin())
    }

    /// The file for a plan.
    pub fn text_of(&self, plan: &Plan) -> String {
        text_of(self.kind, self.dir.path(), plan)
    }

    /// The status of Evenkeel without its age.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Check<String> {
        admin::status(&self.admin())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn admin(&self) -> PathBuf {
        self.dir.path().join(ADMIN)
    }

    /// The processes that relay.
    fn workers(&self) -> BTreeSet<u32> {
        let master = self.process.pid().as_raw_nonzero().get();
        match self.kind {
            Kind::Evenkeel => BTreeSet::from([master.unsigned_abs()]),
            Kind::Haproxy | Kind::Nginx => children(master.unsigned_abs()),
        }
    }

    /// What it takes up now.
    pub fn measure(&self) -> Measure {
        let master = self.process.pid().as_raw_nonzero().get().unsigned_abs();
        let workers = self.workers();
        let current = |pid: &u32| !self.is_replaced(*pid);
        let mut all = workers.clone();
        all.insert(master);
        Measure::of(&all, &workers.into_iter().filter(|pid| !current(pid)).collect())
    }

    /// Whether a later reload has replaced a worker. nginx writes it into the process's title;
    /// HAProxy's current worker is the one that was started last.
    fn is_replaced(&self, pid: u32) -> bool {
        match self.kind {
            Kind::Evenkeel => false,
            Kind::Haproxy => self.workers().last() != Some(&pid),
            Kind::Nginx => {
                let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                title.contains("shutting down")
            }
        }
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.process.stop();
    }
}

fn write_plan(kind: Kind, dir: &Path, plan: &Plan) -> Check {
    write(dir.join(FILE), &text_of(kind, dir, plan))
}

fn text_of(kind: Kind, dir: &Path, plan: &Plan) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    match kind {
        Kind::Evenkeel => {
            plan.to_evenkeel(&format!("[process]\nworkers = 2\nadmin = \"{}\"\n", at(ADMIN)))
        }
        Kind::Haproxy => plan.to_haproxy(&format!(
            "global\n  nbthread 2\n  maxconn 8000\n  stats socket {} level admin expose-fd listeners",
            at("stats")
        )),
        Kind::Nginx => plan.to_nginx(&format!(
            "{}worker_processes 2;\npid {};\nerror_log {} error;\n\
             worker_rlimit_nofile 20000;\nevents {{ worker_connections 8000; }}",
            stream_module(),
            at("pid"),
            at("error")
        )),
    }
}

/// The line that loads nginx's module for TCP, where it is not built in.
pub fn stream_module() -> String {
    let path = "/usr/lib/nginx/modules/ngx_stream_module.so";
    match fs::exists(path) {
        Ok(true) => format!("load_module {path};\n"),
        _ => String::new(),
    }
}

/// Replaces a file at once, as careful editors do.
fn write(path: PathBuf, text: &str) -> Check {
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    written.map_err(|error| Failure::new("the file to be written", error))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

const FILE: &str = "proxy.toml";
const ADMIN: &str = "admin";
