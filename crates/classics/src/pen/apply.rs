//! What commands do to the settings, what they reply, and what is left to the caller.

use super::address::{host_address, is_kept, port_number, server_address};
use super::settings::{FastClose, optional_line};
use super::{MAX_ENTRIES, MAX_SERVERS, Names, PenCommand, PenListen, PenSettings};
use super::{PenServer, ServerAddress, ServerChange, Value};
use balancing::AccessEntry;

/// The result of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The reply with its line end, to penctl(1) or to standard output.
    pub reply: String,
    /// Lines for standard error or the log.
    pub diagnostics: Vec<String>,
    /// What is left to do, in order.
    pub effects: Vec<Effect>,
}

/// Something that takes more than the settings. [`PenSettings::run`] carries it out.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make [`PenSettings::to_config`] what runs. Several in a row are as good as one.
    Reconfigure,
    /// Skip a server for a number of seconds from now; zero ends this.
    Quarantine {
        /// Its number.
        server: usize,
        /// Seconds.
        seconds: u32,
    },
    /// End the connection with this number, if there is one.
    CloseConnection(usize),
    /// End the program with status 0.
    Exit,
    /// Write [`PenSettings::write`] to this file.
    Write(String),
    /// Run the commands of this file, with replies to standard output.
    Include(String),
    /// Listen there, and reply with what [`PenSettings::set_listen`] returns.
    Listen(PenListen),
    /// Log there from now on, or nowhere, and reply with what [`PenSettings::set_log`] returns.
    Log(Option<String>),
    /// Reply with something that is only known at run time.
    Show(Show),
}

/// What to show; the texts are in [`super::replies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The servers and their counters.
    Servers,
    /// One connection, by place.
    Connection(usize),
    /// Which connection a descriptor belongs to.
    Socket(i32),
    /// The clients seen within the last given number of seconds.
    Recent(u32),
    /// The process id.
    Pid,
    /// The HTML page, also written to the file of `web_stats`.
    Status,
}

impl PenSettings {
    /// Carries out a command. Names in it must have been looked up, or can be now.
    pub fn apply(&mut self, command: &PenCommand, names: Names<'_>) -> Applied {
        match command {
            PenCommand::Nothing => Applied::default(),
            PenCommand::Unknown(word) => {
                reply(format!("do_cmd: ignoring command starting with '{word}'\n"))
            }
            PenCommand::Switch(switch, on) => {
                *switch.of(self) = *on;
                effect(Effect::Reconfigure)
            }
            PenCommand::Value(value, number) => self.apply_value(*value, *number),
            PenCommand::Acl { list, entry } => self.append(*list, entry),
            PenCommand::ClearAcl(list) => match self.lists.get_mut(index(*list)) {
                Some(entries) => {
                    entries.clear();
                    effect(Effect::Reconfigure)
                }
                None => complaint(format!("no acl: list {list} is not from 0 to 9")),
            },
            PenCommand::Server { number, changes } => self.change_server(*number, changes, names),
            PenCommand::Close(number) => match self.connection(*number) {
                Ok(place) => Applied {
                    reply: format!("Forcibly closing connection {place}\n"),
                    ..effect(Effect::CloseConnection(place))
                },
                Err(refusal) => refusal,
            },
            PenCommand::Connection(number) => match self.connection(*number) {
                Ok(place) => effect(Effect::Show(Show::Connection(place))),
                Err(refusal) => refusal,
            },
            PenCommand::Control => reply(optional_line(self.control.as_deref())),
            PenCommand::DsrIf(interface) => {
                self.dsr_if.get_or_insert_with(|| interface.clone());
                Applied::default()
            }
            PenCommand::Tls(command) => match self.tls.apply(command) {
                Some(text) => complaint(text.to_owned()),
                None => Applied::default(),
            },
            PenCommand::Exit if self.exit_enabled => effect(Effect::Exit),
            PenCommand::Exit => reply("Exit is not enabled; restart with -X flag\n".to_owned()),
            PenCommand::Include(path) => effect(Effect::Include(path.clone())),
            PenCommand::Listen(None) => reply(self.listen_reply()),
            PenCommand::Listen(Some(text)) => match PenListen::parse(text, names) {
                Ok(listen) if self.cannot_listen(&listen) => {
                    let text = format!("listen {text}: there are no datagrams through a path");
                    Applied { reply: self.listen_reply(), ..complaint(text) }
                }
                Ok(listen) => effect(Effect::Listen(listen)),
                Err(error) => {
                    Applied { reply: self.listen_reply(), ..complaint(error.to_string()) }
                }
            },
            PenCommand::Log(None) => reply(optional_line(self.log.as_deref())),
            PenCommand::Log(Some(text)) => effect(Effect::Log(Some(text.clone()))),
            PenCommand::NoLog => effect(Effect::Log(None)),
            PenCommand::Mode => reply(self.mode()),
            PenCommand::Pid => effect(Effect::Show(Show::Pid)),
            PenCommand::Recent(seconds) => {
                effect(Effect::Show(Show::Recent(recent_seconds(*seconds))))
            }
            PenCommand::Servers => effect(Effect::Show(Show::Servers)),
            PenCommand::Socket(number) => effect(Effect::Show(Show::Socket(*number))),
            PenCommand::Source(text) => {
                self.source = host_address(text, names);
                let complaint = format!("unable to set source address to '{text}'");
                let reply = if self.source.is_none() { complaint } else { String::new() };
                let kept = self.source.is_none() && is_kept(text, names);
                let diagnostics = kept.then(|| format!("source {text}: only an address will do"));
                let diagnostics = diagnostics.into_iter().collect();
                Applied { reply, diagnostics, ..effect(Effect::Reconfigure) }
            }
            PenCommand::Status if self.web_stats.is_some() => effect(Effect::Show(Show::Status)),
            PenCommand::Status => reply("Unable to create webstats\n".to_owned()),
            PenCommand::TcpFastclose(Some(word)) => {
                self.tcp_fastclose = FastClose::from_word(word);
                effect(Effect::Reconfigure)
            }
            PenCommand::TcpFastclose(None) => {
                reply("do_cmd: ignoring tcp_fastclose without argument\n".to_owned())
            }
            PenCommand::WebStats(text) => {
                if text.is_some() {
                    self.web_stats.clone_from(text);
                }
                reply(optional_line(self.web_stats.as_deref()))
            }
            PenCommand::NoWebStats => {
                self.web_stats = None;
                Applied::default()
            }
            PenCommand::Write(path) => match path.as_ref().or(self.config_file.as_ref()) {
                Some(path) => effect(Effect::Write(path.clone())),
                None => complaint("write: no file".to_owned()),
            },
        }
    }

    fn apply_value(&mut self, value: Value, number: Option<i32>) -> Applied {
        let plain = |place: &mut i32| {
            *place = number.unwrap_or(*place);
            format!("{place}\n")
        };
        let growing = |place: &mut i32| {
            *place = number.unwrap_or(*place).max(*place);
            format!("{place}\n")
        };
        let list = |place: &mut usize| {
            *place = number.map_or(*place, |number| {
                Some(index(number)).filter(|list| *list < super::ACCESS_LISTS).unwrap_or(0)
            });
            format!("{place}\n")
        };
        let mut applied = reply(match value {
            Value::Blacklist => plain(&mut self.blacklist),
            Value::ClientAcl => list(&mut self.client_acl),
            Value::ClientsMax => growing(&mut self.clients_max),
            Value::ConnMax => growing(&mut self.conn_max),
            Value::ControlAcl => list(&mut self.control_acl),
            Value::Debug => plain(&mut self.debug),
            Value::IdleTimeout => {
                self.idle_timeout = number.unwrap_or(self.idle_timeout).max(0);
                format!("Idle timeout: {} seconds\n", self.idle_timeout)
            }
            Value::Idlers => return reply("Idlers: 0/0\n".to_owned()),
            Value::PendingMax => {
                self.pending_max = number.unwrap_or(self.pending_max).max(1);
                String::new()
            }
            Value::TarpitAcl => {
                if let Some(number) = number {
                    let lists = -1..super::ACCESS_LISTS as i32;
                    self.tarpit_acl = if lists.contains(&number) { number } else { 0 };
                }
                let reply = format!("tarpit_acl = {}", self.tarpit_acl);
                if number.is_none() {
                    return Applied { reply, ..Applied::default() };
                }
                let effects = vec![Effect::Reconfigure];
                return Applied { reply, effects, ..Applied::default() };
            }
            Value::Timeout => plain(&mut self.timeout),
            Value::Tracking => plain(&mut self.tracking),
        });
        if number.is_some() {
            applied.effects.push(Effect::Reconfigure);
        }
        applied
    }

    fn append(&mut self, list: i32, entry: &Result<AccessEntry, Option<String>>) -> Applied {
        let Some(entries) = self.lists.get_mut(index(list)) else {
            return complaint(format!("acl: list {list} is not from 0 to 9"));
        };
        match entry {
            Ok(_) if entries.entries().len() >= MAX_ENTRIES => {
                complaint(format!("acl: list {list} is full"))
            }
            Ok(entry) => {
                entries.push(*entry);
                effect(Effect::Reconfigure)
            }
            Err(Some(text)) => complaint(text.clone()),
            Err(None) => Applied::default(),
        }
    }

    /// The order of the pairs does not matter, except that the last of a kind wins.
    fn change_server(
        &mut self,
        number: i32,
        changes: &[ServerChange],
        names: Names<'_>,
    ) -> Applied {
        if number < 0 {
            return Applied::default();
        }
        let number = index(number);
        if number >= MAX_SERVERS {
            return complaint(format!("server {number}: there can be {MAX_SERVERS} servers"));
        }
        if self.servers.len() <= number {
            self.servers.resize(number + 1, PenServer::default());
        }
        let mut applied = effect(Effect::Reconfigure);
        let udp = self.udp;
        let is_usable = |address: &ServerAddress| !(udp && address.is_path());
        let server = &mut self.servers[number];
        if server.address.is_path() {
            // The 1 that stands for no port.
            server.port = 0;
        }
        for change in changes {
            match change {
                ServerChange::Acl(list) => server.acl = *list,
                ServerChange::Address(text) => {
                    match server_address(text, names).filter(is_usable) {
                        Some(address) => server.address = address,
                        None => {
                            applied
                                .diagnostics
                                .push(format!("unknown or invalid address [{text}]"));
                        }
                    }
                }
                ServerChange::Port(port) => server.port = port_number(Some(*port)),
                ServerChange::Max(max) => server.max = *max,
                ServerChange::Hard(hard) => server.hard = *hard,
                ServerChange::Blacklist(seconds) => {
                    let seconds = u32::try_from(*seconds).unwrap_or(0);
                    applied.effects.push(Effect::Quarantine { server: number, seconds });
                }
                ServerChange::Weight(weight) => server.weight = *weight,
                ServerChange::Prio(prio) => server.prio = *prio,
            }
        }
        server.settle_port();
        applied
    }

    /// The place of a connection, or the answer that there is none.
    fn connection(&self, number: i32) -> Result<usize, Applied> {
        let place = Some(number).filter(|number| (0..self.conn_max).contains(number));
        place.map(index).ok_or_else(|| reply(format!("Connection {number} out of range\n")))
    }

    fn mode(&self) -> String {
        let words = [
            ("hash", self.hash),
            ("roundrobin", self.roundrobin),
            ("stubborn", self.stubborn),
            ("weight", self.weight),
            ("prio", self.prio),
        ];
        let words = words.map(|(word, on)| format!("{}{word}", if on { "" } else { "no " }));
        words.join(" ") + "\n"
    }
}

/// How many seconds `recent` looks back.
pub(super) fn recent_seconds(seconds: Option<i32>) -> u32 {
    seconds.map_or(300, |seconds| u32::try_from(seconds).unwrap_or(0))
}

/// A number as a place in a table; one that no table has for a negative one.
fn index(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn reply(reply: String) -> Applied {
    Applied { reply, ..Applied::default() }
}

fn effect(effect: Effect) -> Applied {
    Applied { effects: vec![effect], ..Applied::default() }
}

fn complaint(text: String) -> Applied {
    Applied { diagnostics: vec![text], ..Applied::default() }
}
