//! Carries out pen's commands, whether they come in a file, at the control port or by a signal.
//!
//! `classics::pen` says what a command changes and answers; here that is made what runs. Nothing
//! blocks but reads and writes of small files, and no lock is held while names are looked up.

use super::facts::{Clients, Facts, gather};
use super::messages::Messages;
use super::numbers::ConnectionNumbers;
use super::traffic::{TrafficLog, network_target};
use crate::bare_reason;
use balancing::Client;
use classics::pen::{Applied, Effect, Names, PenCommand, PenListen, PenSettings, Show};
use classics::pen::{lines, replies};
use config::{BackendSelector, Command};
use control::Operator;
use dataplane::Observe;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use sys::process::service_port;

/// A running pen: its settings and what they act on. Used on the control thread alone; the locks
/// are held for moments.
pub struct Operation {
    settings: Mutex<PenSettings>,
    numbers: Mutex<ConnectionNumbers>,
    traffic: Mutex<TrafficLog>,
    messages: Messages,
    operator: OnceLock<Operator>,
}

/// Files that include files: more levels than this are a circle.
const INCLUDES_MAX: usize = 16;

/// What is left to be done after some commands.
#[derive(Default)]
struct Pending {
    /// The settings have changed, and what runs has not.
    reconfigure: bool,
    includes: usize,
}

impl Operation {
    /// Before the start: [`Self::begin`] follows.
    pub fn new(settings: PenSettings, messages: Messages) -> Self {
        Self {
            settings: Mutex::new(settings),
            numbers: Mutex::default(),
            traffic: Mutex::default(),
            messages,
            operator: OnceLock::new(),
        }
    }

    /// The instance runs.
    pub fn begin(&self, operator: Operator) {
        let _ = self.operator.set(operator); // there is one start
    }

    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    pub fn traffic(&self) -> MutexGuard<'_, TrafficLog> {
        lock(&self.traffic)
    }

    pub fn settings(&self) -> MutexGuard<'_, PenSettings> {
        lock(&self.settings)
    }

    /// Whether this client may use the control port.
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let client = Client { address: client, ..Client::default() };
        let admitted = self.settings().control_access().permits(&client);
        if !admitted {
            self.messages.say("do_ctrl: not from there");
        }
        admitted
    }

    /// Carries out the first line of what a control client sent; gives the answer.
    pub async fn carry_out(&self, chunk: &[u8]) -> Vec<u8> {
        let mut pending = Pending::default();
        let answer = self.run(&PenCommand::parse(chunk), &mut pending).await;
        self.settle(&mut pending);
        answer.into_bytes()
    }

    /// HUP: opens the log anew, and reads the configuration file again.
    pub async fn reload(&self) {
        let reopened = self.traffic().reopen();
        if let Err(error) = reopened {
            let text = self.settings().log.clone().unwrap_or_default();
            self.messages.say(&format!(
                "Can't open logfile {text}, going on in the old: {}",
                bare_reason(&error)
            ));
        }
        let file = self.settings().config_file.clone();
        if let Some(file) = file {
            let mut pending = Pending::default();
            self.run_file(&file, &mut pending).await;
            self.settle(&mut pending);
        }
    }

    /// USR1: the status page, or a report in words.
    pub fn report(&self) {
        let Some(facts) = self.facts(Clients::Everybody) else { return };
        let clock = self.messages.clock();
        let settings = self.settings();
        if settings.web_stats.is_some() {
            let page = replies::html_status(&settings, &facts.status(&clock));
            self.write_page(&settings, &page);
        } else {
            for message in replies::usr1_report(&settings, &facts.status(&clock)) {
                self.messages.say(&message);
            }
        }
    }

    /// A box, since files include files, and a future cannot contain itself.
    fn run_file<'a>(
        &'a self,
        path: &'a str,
        pending: &'a mut Pending,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let Ok(text) = std::fs::read(path) else {
                self.messages.say(&format!("Can't read config file '{path}'"));
                return;
            };
            for line in lines(&text) {
                let answer = self.run(&PenCommand::parse(line), pending).await;
                self.messages.answer(&answer);
            }
        })
    }

    async fn run(&self, command: &PenCommand, pending: &mut Pending) -> String {
        let found = look_up(command.hosts_to_resolve()).await;
        let Applied { mut reply, diagnostics, effects } = {
            let hosts = |name: &str| found.get(name).copied();
            let names = Names { hosts: &hosts, services: &service_port };
            self.settings().apply(command, names)
        };
        for text in diagnostics {
            self.messages.say(&text);
        }
        for effect in effects {
            reply.push_str(&self.perform(effect, pending).await);
        }
        reply
    }

    async fn perform(&self, effect: Effect, pending: &mut Pending) -> String {
        if effect == Effect::Reconfigure {
            pending.reconfigure = true;
            return String::new();
        }
        if !matches!(effect, Effect::Include(_)) {
            self.settle(pending); // what follows may be about what was just changed
        }
        match effect {
            Effect::Reconfigure => {}
            Effect::Quarantine { server, seconds } => {
                let backend = BackendSelector::Place { tier: 0, index: server };
                self.order(Command::Quarantine { backend, seconds }).await;
            }
            Effect::CloseConnection(number) => {
                self.facts(Clients::Nobody); // numbers the sessions of this moment
                let session = lock(&self.numbers).session(number);
                if let Some(session) = session {
                    self.order(Command::KillSession { session }).await;
                }
            }
            Effect::Exit => self.order(Command::Shutdown {}).await,
            Effect::Write(path) => {
                let text = self.settings().write(&path, &self.messages.clock());
                write_file(&path, &text, &self.messages);
            }
            Effect::Include(path) if pending.includes < INCLUDES_MAX => {
                pending.includes += 1;
                self.run_file(&path, pending).await;
                pending.includes -= 1;
            }
            Effect::Include(path) => {
                self.messages.say(&format!("include: '{path}' is included too deeply"));
            }
            Effect::Listen(listen) => return self.listen(listen),
            Effect::Log(text) => return self.log(text).await,
            Effect::Show(show) => return self.show(show),
        }
        String::new()
    }

    /// Makes the settings what runs, if they have changed.
    fn settle(&self, pending: &mut Pending) {
        if std::mem::take(&mut pending.reconfigure) {
            self.reconfigure();
        }
    }

    fn reconfigure(&self) -> bool {
        let Some(operator) = self.operator.get() else { return false };
        let (config, observe) = {
            let settings = self.settings();
            (settings.to_config(), observed(&settings))
        };
        operator.observe(observe);
        match operator.reconfigure(&config) {
            Ok(()) => true,
            Err(error) => {
                self.messages.say(&error.to_string());
                false
            }
        }
    }

    async fn order(&self, command: Command) {
        let Some(operator) = self.operator.get() else { return };
        if let Err(error) = operator.command(command).await {
            self.messages.say(&error.to_string());
        }
    }

    /// Listens elsewhere; the old socket stays if that fails.
    fn listen(&self, listen: PenListen) -> String {
        let before = self.settings().listen.clone();
        let reply = self.settings().set_listen(listen);
        if self.reconfigure() {
            return reply;
        }
        match before {
            Some(before) => self.settings().set_listen(before),
            None => String::new(),
        }
    }

    /// Logs elsewhere, or not at all; the old log stays if that fails.
    async fn log(&self, text: Option<String>) -> String {
        let opened = match &text {
            None => {
                self.traffic().close();
                Ok(())
            }
            Some(text) => match network_target(text) {
                None => self.traffic().open(text, None).map_err(|error| bare_reason(&error)),
                Some((host, port)) => match look_up(vec![host]).await.get(host) {
                    Some(_) if port == 0 => Err("no such port".to_owned()),
                    Some(address) => {
                        let address = SocketAddr::new(*address, port);
                        let opened = self.traffic().open(text, Some(address));
                        opened.map_err(|error| bare_reason(&error))
                    }
                    None => Err("no such host".to_owned()),
                },
            },
        };
        let reply = match opened {
            Ok(()) => self.settings().set_log(text),
            Err(error) => {
                let text = text.unwrap_or_default();
                self.messages.say(&format!("Can't open logfile {text}: {error}"));
                let before = self.settings().log.clone();
                self.settings().set_log(before)
            }
        };
        self.reconfigure();
        reply
    }

    fn show(&self, show: Show) -> String {
        if show == Show::Pid {
            return replies::pid(std::process::id());
        }
        let clients = match show {
            Show::Recent(seconds) => Clients::Recent(seconds),
            Show::Status => Clients::Everybody,
            _ => Clients::Nobody,
        };
        let Some(facts) = self.facts(clients) else { return String::new() };
        let settings = self.settings();
        match show {
            Show::Servers => replies::servers(&settings, &facts.servers),
            Show::Connection(number) => replies::connection(&facts.connection(number)),
            Show::Socket(number) => replies::socket(number, facts.socket(number)),
            Show::Recent(seconds) => replies::recent(&facts.clients, seconds),
            Show::Pid => String::new(),
            Show::Status => {
                let page = replies::html_status(&settings, &facts.status(&self.messages.clock()));
                self.write_page(&settings, &page);
                page
            }
        }
    }

    fn facts(&self, clients: Clients) -> Option<Facts> {
        let operator = self.operator.get()?;
        Some(gather(operator, &self.settings(), &mut lock(&self.numbers), clients))
    }

    fn write_page(&self, settings: &PenSettings, page: &str) {
        if let Some(path) = &settings.web_stats {
            write_file(path, page, &self.messages);
        }
    }
}

/// What the log and the dumps of these settings need to be told.
pub fn observed(settings: &PenSettings) -> Observe {
    let requests = settings.log.is_some();
    Observe { requests, blocks: settings.dumps_data(), ..Observe::default() }
}

fn write_file(path: &str, text: &str, messages: &Messages) {
    if let Err(error) = std::fs::write(path, text) {
        messages.say(&format!("Can't write '{path}': {}", bare_reason(&error)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks names up without blocking; those that are not found are left out.
async fn look_up(names: Vec<&str>) -> HashMap<String, IpAddr> {
    let mut found = HashMap::new();
    for name in names {
        if let Ok(mut addresses) = tokio::net::lookup_host((name, 0)).await
            && let Some(address) = addresses.next()
        {
            found.insert(name.to_owned(), address.ip());
        }
    }
    found
}

/// Carries out a line before the start, when nothing runs that it could act on.
pub fn run_line(settings: &mut PenSettings, line: &[u8], names: Names<'_>, messages: &Messages) {
    run_early(settings, &PenCommand::parse(line), names, messages, 0);
}

/// Carries out a file before the start.
pub fn run_file(settings: &mut PenSettings, path: &Path, names: Names<'_>, messages: &Messages) {
    run_file_early(settings, path, names, messages, 0);
}

fn run_file_early(
    settings: &mut PenSettings,
    path: &Path,
    names: Names<'_>,
    messages: &Messages,
    depth: usize,
) {
    let Ok(text) = std::fs::read(path) else {
        messages.say(&format!("Can't read config file '{}'", path.display()));
        return;
    };
    for line in lines(&text) {
        run_early(settings, &PenCommand::parse(line), names, messages, depth);
    }
}

fn run_early(
    settings: &mut PenSettings,
    command: &PenCommand,
    names: Names<'_>,
    messages: &Messages,
    depth: usize,
) {
    let Applied { mut reply, diagnostics, effects } = settings.apply(command, names);
    for text in diagnostics {
        messages.say(&text);
    }
    for effect in effects {
        match effect {
            Effect::Listen(listen) => reply.push_str(&settings.set_listen(listen)),
            Effect::Log(text) => reply.push_str(&settings.set_log(text)),
            Effect::Write(path) => {
                let text = settings.write(&path, &messages.clock());
                write_file(&path, &text, messages);
            }
            Effect::Include(path) if depth < INCLUDES_MAX => {
                run_file_early(settings, Path::new(&path), names, messages, depth + 1);
            }
            Effect::Include(path) => {
                messages.say(&format!("include: '{path}' is included too deeply"));
            }
            Effect::Show(Show::Servers) => reply.push_str(&replies::servers(settings, &[])),
            Effect::Show(Show::Pid) => reply.push_str(&replies::pid(std::process::id())),
            Effect::Show(Show::Connection(number)) => {
                let none = Facts::default();
                reply.push_str(&replies::connection(&none.connection(number)));
            }
            Effect::Show(Show::Socket(number)) => reply.push_str(&replies::socket(number, None)),
            Effect::Exit => {
                messages.answer(&reply);
                std::process::exit(0);
            }
            // There are no clients or connections yet, and blacklists begin with the start.
            Effect::Show(Show::Recent(_) | Show::Status)
            | Effect::Reconfigure
            | Effect::Quarantine { .. }
            | Effect::CloseConnection(_) => {}
        }
    }
    messages.answer(&reply);
}
