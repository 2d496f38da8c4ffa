//! Commands that take effect in one step: a line, or a file with everything it includes.
//!
//! What can take time comes first: the caller reads files for [`Script::line`] and
//! [`Script::file`], then resolves and opens what [`Script::needs`] lists. After that,
//! [`PenSettings::run`] runs the commands on a copy of the settings without waiting for anything.
//! The caller then applies the result as a whole, or not at all.

use super::apply::recent_seconds;
use super::settings::optional_line;
use super::{Applied, Effect, Names, PenCommand, PenSettings, Show, lines};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Bytes of a file and of everything it includes, all together.
pub const SCRIPT_BYTES_MAX: usize = 16 << 20;
/// Files that one file includes, directly or not.
pub const SCRIPT_FILES_MAX: usize = 1000;
/// Levels of files that include files. More than this are a circle.
const DEPTH_MAX: usize = 16;
/// Bytes of replies and messages from one script. Further ones are dropped.
const SAID_BYTES_MAX: usize = 1 << 20;
/// Files that one script writes.
const WRITES_MAX: usize = 100;

/// Reads a file of at most a number of bytes. The error is a reason in words.
pub type ReadFile<'a> = &'a mut dyn FnMut(&str, usize) -> Result<Vec<u8>, String>;

/// Commands, with the files that they include.
#[derive(Clone, Debug)]
pub struct Script {
    text: Vec<u8>,
    /// Whether this is a file: its replies are printed.
    is_file: bool,
    /// The file of every `include` in the text, in order, or why there is none, in words.
    included: Vec<Result<Script, String>>,
}

/// What must be looked up and opened before a script runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Hosts whose addresses are asked for.
    pub hosts: BTreeSet<String>,
    /// Logs that are opened: paths, or `host:port`.
    pub logs: BTreeSet<String>,
    /// What must be known of the running instance.
    pub facts: FactsNeeded,
}

/// What must be known of a running instance; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactsNeeded {
    /// Nothing.
    #[default]
    Nothing,
    /// Servers and connections.
    Connections,
    /// Also the clients seen within the last given number of seconds.
    RecentClients(u32),
    /// And all clients: there may be a million.
    AllClients,
}

/// What a script needs when it runs.
pub struct Surroundings<'a> {
    /// What was looked up for [`Needs::hosts`].
    pub names: Names<'a>,
    /// The time, as [`super::Clock`] has it.
    pub clock: &'a str,
    /// Returns a reply that depends on the running instance.
    pub show: &'a dyn Fn(&PenSettings, Show) -> String,
    /// Why a log of [`Needs::logs`] cannot be written; `None` if it can.
    pub log_fault: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `listen` is obeyed. Where the new address could not be listened on, the script runs
    /// again without it.
    pub may_listen: bool,
}

/// The result of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ran {
    /// The answer to whoever sent the line.
    pub reply: String,
    /// Replies to the commands of files, for standard output.
    pub printed: String,
    /// Messages, for standard error or the log.
    pub said: Vec<String>,
    /// Files to be written, with their contents, in order.
    pub writes: Vec<(String, String)>,
    /// Where traffic is logged from now on, if that changes: an opened log, or none.
    pub log: Option<Option<String>>,
    /// The configuration may have changed.
    pub has_changed: bool,
    /// What to do after the settings have been applied, in order.
    pub orders: Vec<Order>,
    said_bytes: usize,
}

/// A change of the running instance that is not a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Skip a server for a number of seconds from now; zero ends this.
    Quarantine {
        /// Its number.
        server: usize,
        /// Seconds.
        seconds: u32,
    },
    /// End the connection with this number, if there is one.
    CloseConnection(usize),
    /// End the program with status 0. Always the last order.
    Exit,
}

impl Script {
    /// The command in the first line of what was received, with the files that it includes.
    pub fn line(text: &[u8], read: ReadFile<'_>) -> Self {
        let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let text = text[..end.unwrap_or(text.len())].to_vec();
        let mut loader =
            Loader { read, bytes_left: SCRIPT_BYTES_MAX, files_left: SCRIPT_FILES_MAX };
        let included = loader.included(std::iter::once(PenCommand::parse(&text)), 0);
        Self { text, is_file: false, included }
    }

    /// The commands of a file, with the files that it includes.
    ///
    /// # Errors
    /// When the file cannot be read: a message for the log.
    pub fn file(path: &str, read: ReadFile<'_>) -> Result<Self, String> {
        let mut loader =
            Loader { read, bytes_left: SCRIPT_BYTES_MAX, files_left: SCRIPT_FILES_MAX };
        loader.file(path, 0)
    }

    /// Whether a received line needs a file to be read, a name to be looked up or a log to be
    /// opened, all of which may take time.
    pub fn takes_time(text: &[u8]) -> bool {
        let command = PenCommand::parse(text);
        let opens = matches!(command, PenCommand::Include(_) | PenCommand::Log(Some(_)));
        opens || !command.hosts_to_resolve().is_empty()
    }

    /// What must be available before this runs.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        self.add_needs(&mut needs);
        needs
    }

    fn add_needs(&self, needs: &mut Needs) {
        for command in self.commands() {
            needs.hosts.extend(command.hosts_to_resolve().into_iter().map(str::to_owned));
            let facts = match command {
                PenCommand::Servers
                | PenCommand::Connection(_)
                | PenCommand::Socket(_)
                | PenCommand::Close(_) => FactsNeeded::Connections,
                PenCommand::Recent(seconds) => FactsNeeded::RecentClients(recent_seconds(seconds)),
                PenCommand::Status => FactsNeeded::AllClients,
                PenCommand::Log(Some(text)) => {
                    needs.logs.insert(text);
                    continue;
                }
                _ => continue,
            };
            needs.facts = needs.facts.max(facts);
        }
        self.included.iter().flatten().for_each(|script| script.add_needs(needs));
    }

    fn commands(&self) -> impl Iterator<Item = PenCommand> {
        let (file, line): (&[u8], _) = match self.is_file {
            true => (&self.text, None),
            false => (&[], Some(PenCommand::parse(&self.text))),
        };
        commands(file).chain(line)
    }
}

fn commands(text: &[u8]) -> impl Iterator<Item = PenCommand> {
    lines(text).map(PenCommand::parse)
}

/// Reads files until too much has been read.
struct Loader<'a> {
    read: ReadFile<'a>,
    bytes_left: usize,
    files_left: usize,
}

impl Loader<'_> {
    fn file(&mut self, path: &str, depth: usize) -> Result<Script, String> {
        let failed = |reason: String| format!("Can't read config file '{path}': {reason}");
        if depth > DEPTH_MAX {
            return Err(format!("include: '{path}' is included too deeply"));
        }
        if self.files_left == 0 {
            return Err(failed(format!("more than {SCRIPT_FILES_MAX} files are included")));
        }
        self.files_left -= 1;
        let text = (self.read)(path, self.bytes_left).map_err(failed)?;
        self.bytes_left = self.bytes_left.saturating_sub(text.len());
        let included = self.included(commands(&text), depth);
        Ok(Script { text, is_file: true, included })
    }

    fn included(
        &mut self,
        commands: impl Iterator<Item = PenCommand>,
        depth: usize,
    ) -> Vec<Result<Script, String>> {
        let paths = commands.filter_map(|command| match command {
            PenCommand::Include(path) => Some(path),
            _ => None,
        });
        paths.map(|path| self.file(&path, depth + 1)).collect()
    }
}

impl PenSettings {
    /// Runs a script on these settings, which should be a copy of the running ones.
    pub fn run(&mut self, script: &Script, with: &Surroundings<'_>) -> Ran {
        let mut ran = Ran::default();
        let _ = self.run_script(script, with, &mut ran);
        ran
    }

    /// Breaks at an `exit`.
    fn run_script(
        &mut self,
        script: &Script,
        with: &Surroundings<'_>,
        ran: &mut Ran,
    ) -> ControlFlow<()> {
        let mut included = script.included.iter();
        for command in script.commands() {
            let Applied { reply, diagnostics, effects } = self.apply(&command, with.names);
            diagnostics.into_iter().for_each(|text| ran.say(text));
            ran.answer(script, &reply);
            for effect in effects {
                let reply = match effect {
                    Effect::Include(_) => {
                        match included.next() {
                            Some(Ok(file)) => self.run_script(file, with, ran)?,
                            Some(Err(reason)) => ran.say(reason.clone()),
                            None => {}
                        }
                        continue;
                    }
                    Effect::Exit => {
                        ran.orders.push(Order::Exit);
                        return ControlFlow::Break(());
                    }
                    effect => self.perform(effect, with, ran),
                };
                ran.answer(script, &reply);
            }
        }
        ControlFlow::Continue(())
    }

    fn perform(&mut self, effect: Effect, with: &Surroundings<'_>, ran: &mut Ran) -> String {
        match effect {
            Effect::Reconfigure => ran.has_changed = true,
            Effect::Quarantine { server, seconds } => {
                ran.orders.push(Order::Quarantine { server, seconds });
            }
            Effect::CloseConnection(number) => ran.orders.push(Order::CloseConnection(number)),
            Effect::Write(path) => {
                let text = self.write(&path, with.clock);
                ran.write(path, text);
            }
            Effect::Listen(listen) if with.may_listen => {
                ran.has_changed = true;
                return self.set_listen(listen);
            }
            Effect::Listen(_) => return self.listen_reply(),
            Effect::Log(text) => return self.change_log(text, with, ran),
            Effect::Show(show) if ran.said_bytes < SAID_BYTES_MAX => {
                let text = (with.show)(self, show);
                if let (Show::Status, Some(path)) = (show, &self.web_stats) {
                    ran.write(path.clone(), text.clone());
                }
                return text;
            }
            // Those two are where the order of commands is kept.
            Effect::Show(_) | Effect::Include(_) | Effect::Exit => {}
        }
        String::new()
    }

    /// Logs elsewhere, or not at all; the old log stays if that cannot be.
    fn change_log(
        &mut self,
        text: Option<String>,
        with: &Surroundings<'_>,
        ran: &mut Ran,
    ) -> String {
        if let Some(text) = &text
            && let Some(fault) = (with.log_fault)(text)
        {
            ran.say(format!("Can't open logfile {text}: {fault}"));
            return optional_line(self.log.as_deref());
        }
        ran.has_changed = true;
        ran.log = Some(text.clone());
        self.set_log(text)
    }
}

impl Ran {
    fn answer(&mut self, script: &Script, text: &str) {
        if !script.is_file {
            self.reply.push_str(text);
        } else if self.has_room(text) {
            self.printed.push_str(text);
        }
    }

    fn say(&mut self, text: String) {
        if self.has_room(&text) {
            self.said.push(text);
        }
    }

    fn has_room(&mut self, text: &str) -> bool {
        let had_room = self.said_bytes < SAID_BYTES_MAX;
        self.said_bytes += text.len();
        if had_room && self.said_bytes >= SAID_BYTES_MAX {
            self.said.push("there is too much to say; further replies are dropped".to_owned());
        }
        had_room
    }

    /// Of a file that is written more than once, the last contents count.
    fn write(&mut self, path: String, text: String) {
        self.writes.retain(|(other, _)| *other != path);
        if self.writes.len() < WRITES_MAX {
            self.writes.push((path, text));
        } else {
            self.say(format!("Can't write '{path}': more than {WRITES_MAX} files are written"));
        }
    }
}
