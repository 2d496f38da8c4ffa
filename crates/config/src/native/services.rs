//! Several services on one command line, separated by `--`.

use super::{NativeArgs, NativeCli, NativeError, Verb};
use crate::operand::Services;
use crate::protocols::{first_misfit, unannounced, unreachable};
use crate::words::PrintForm;
use crate::{Bind, Config, Listener, Pool, Process};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;

/// What was typed after `evenkeel`.
#[derive(Clone, Debug)]
pub enum Typed {
    /// A verb.
    Verb(Verb),
    /// A balancer is to be started.
    Start(Start),
}

/// One or more services that one process is to serve.
#[derive(Clone, Debug)]
pub struct Start {
    services: Vec<Typing>,
}

/// A service as it was typed.
#[derive(Clone, Debug)]
struct Typing {
    args: NativeArgs,
    /// Those of its options that belong to the process, with their values.
    given: Vec<(usize, String)>,
}

/// A service after the first `--`, where no verb can be.
#[derive(Parser)]
#[command(name = "evenkeel", override_usage = super::USAGE, max_term_width = 100)]
struct Further {
    #[command(flatten)]
    start: NativeArgs,
}

/// Reads the words after `evenkeel`. Each `--` ends a service, and another one follows.
///
/// # Errors
/// What is wrong with the words, or the help or version that they ask for.
pub fn parse(words: &[OsString]) -> Result<Typed, clap::Error> {
    let is_verb = |word: &OsString| {
        let word = word.to_str();
        word.is_some_and(|word| NativeCli::command().find_subcommand(word).is_some())
    };
    let services: Vec<_> = match words.iter().any(|word| word == SEPARATOR) {
        true if !words.first().is_some_and(is_verb) => {
            words.split(|word| word == SEPARATOR).collect()
        }
        _ => vec![words],
    };
    if services.len() > 1 && services.iter().any(|service| service.is_empty()) {
        let message = "'--' stands between two services, as in `evenkeel 80 app1 -- 5432 db1`";
        return Err(NativeCli::command().error(ErrorKind::MissingRequiredArgument, message));
    }
    let (first, further) =
        services.split_first().map_or((words, &[][..]), |(it, rest)| (*it, rest));
    let matches = NativeCli::command().try_get_matches_from(named(first))?;
    let cli = NativeCli::from_arg_matches(&matches)?;
    if let Some(verb) = cli.verb {
        return Ok(Typed::Verb(verb));
    }
    let mut start = Start { services: vec![Typing::new(cli.start, &matches)] };
    for words in further {
        let matches = Further::command().try_get_matches_from(named(words))?;
        let args = Further::from_arg_matches(&matches)?.start;
        start.services.push(Typing::new(args, &matches));
    }
    Ok(Typed::Start(start))
}

/// Ends a service.
pub(super) const SEPARATOR: &str = "--";

fn named(words: &[OsString]) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from("evenkeel")).chain(words.iter().cloned())
}

impl Typing {
    fn new(args: NativeArgs, matches: &ArgMatches) -> Self {
        let given = PROCESS_OPTIONS.iter().enumerate().filter_map(|(number, (id, _))| {
            let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
            let mut typed = matches.get_raw(id).filter(|_| is_given)?;
            Some((number, typed.next()?.to_string_lossy().into_owned()))
        });
        Self { given: given.collect(), args }
    }
}

impl Start {
    /// How the configuration is to be printed, if it is not to be used.
    pub fn print_config(&self) -> Option<PrintForm> {
        self.services.iter().find_map(|it| it.args.print_config)
    }

    /// The configuration of all services. Names of hosts stay unresolved.
    ///
    /// The only service has the name `main`; of several, each has the name of its listening
    /// address.
    ///
    /// # Errors
    /// If an operand is not understood, a tier is empty, two services have the same address, or an
    /// option of the process has two values.
    pub fn to_config(&self, services: Services<'_>) -> Result<Config, NativeError> {
        if let [only] = &self.services[..] {
            let config = only.args.to_config(services)?;
            for (listener, pool) in config.listeners.iter().zip(&config.pools) {
                check_protocol(listener, pool)?;
            }
            return Ok(config);
        }
        let (listeners, pools) =
            (Vec::with_capacity(self.services.len()), Vec::with_capacity(self.services.len()));
        let mut config = Config { listeners, pools, process: self.process()? };
        for Typing { args, .. } in &self.services {
            let (mut listener, mut pool) = args.to_service(services)?;
            check_protocol(&listener, &pool)?;
            let name = listen_words(&listener.binds).into_iter().next().unwrap_or_default();
            if config.listeners.iter().any(|it| it.binds == listener.binds) {
                return Err(NativeError::SameAddress { listen: listener.bound_to() });
            }
            (listener.name, listener.pool, pool.name) = (name.clone(), name.clone(), name);
            config.listeners.push(listener);
            config.pools.push(pool);
        }
        Ok(config)
    }

    /// The process as all services together describe it.
    fn process(&self) -> Result<Process, NativeError> {
        let mut process = Process::default();
        let mut seen: Vec<(usize, &str, &Typing)> = Vec::new();
        for typing in &self.services {
            let own = typing.args.process();
            for (number, value) in &typing.given {
                let Some((id, copy)) = PROCESS_OPTIONS.get(*number) else { continue };
                let before = process.clone();
                copy(&mut process, &own);
                let other = seen.iter().find(|(other, ..)| other == number);
                if let Some((_, first, other)) = other.filter(|_| process != before) {
                    let listen = |it: &Typing| it.args.listen.clone().unwrap_or_default();
                    return Err(NativeError::TwoValues {
                        option: id.replace('_', "-"),
                        values: [(*first).to_owned(), value.clone()],
                        listens: [listen(other), listen(typing)],
                    });
                }
                seen.push((*number, value, typing));
            }
        }
        Ok(process)
    }
}

/// Refuses what has no effect on what the clients of a service speak.
fn check_protocol(listener: &Listener, pool: &Pool) -> Result<(), NativeError> {
    let listen = || listen_words(&listener.binds).join(" ");
    if let Some((option, why)) = first_misfit(listener, pool) {
        return Err(NativeError::Misfit { listen: listen(), option: option.to_owned(), why });
    }
    if unannounced(listener, pool).is_some() {
        let option = "send-proxy v1".to_owned();
        let why = "cannot announce clients that speak UDP; v2 can".to_owned();
        return Err(NativeError::Misfit { listen: listen(), option, why });
    }
    match unreachable(listener, pool) {
        Some(backend) => {
            Err(NativeError::UnixBackend { listen: listen(), backend: backend.to_string() })
        }
        None => Ok(()),
    }
}

type Copy = fn(&mut Process, &Process);

/// The options of the process by their ids, and how to copy what they set.
const PROCESS_OPTIONS: [(&str, Copy); 19] = [
    ("workers", |to, from| to.workers = from.workers),
    ("spin", |to, from| to.spin = from.spin),
    ("daemon", |to, from| to.daemon = from.daemon),
    ("pid_file", |to, from| to.pid_file.clone_from(&from.pid_file)),
    ("user", |to, from| to.user.clone_from(&from.user)),
    ("root", |to, from| to.root.clone_from(&from.root)),
    ("state", |to, from| to.state.clone_from(&from.state)),
    ("admin", |to, from| to.admin.clone_from(&from.admin)),
    ("log_format", |to, from| to.log_format = from.log_format),
    ("log_sessions", |to, from| to.log_sessions = from.log_sessions),
    ("log_sample", |to, from| to.log_sample = from.log_sample),
    ("log_start", |to, from| to.log_start = from.log_start),
    ("log_every", |to, from| to.log_every = from.log_every),
    ("log_slow_connect", |to, from| to.log_slow_connect = from.log_slow_connect),
    ("log_file", |to, from| to.log_file.clone_from(&from.log_file)),
    ("metrics", |to, from| to.metrics = from.metrics),
    ("metrics_detail", |to, from| to.metrics_detail = from.metrics_detail),
    ("ready_interface", |to, from| to.ready_interface.clone_from(&from.ready_interface)),
    ("pre_stop", |to, from| to.pre_stop = from.pre_stop),
];

/// Listening addresses as operands, of which each may stand for both protocols.
pub(crate) fn listen_words(binds: &[Bind]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = binds;
    while let Some((bind, others)) = rest.split_first() {
        let is_both = matches!((bind, others.first()),
            (
                Bind::Tcp { host, port, family },
                Some(Bind::Udp { host: other, port: same, family: own }),
            ) if (host, port, family) == (other, same, own));
        words.push(format!("{}{}", listen_word(bind), if is_both { "/tcp+udp" } else { "" }));
        rest = if is_both { &others[1..] } else { others };
    }
    words
}

/// A listening address as an operand. A star would have to be quoted.
fn listen_word(bind: &Bind) -> String {
    let word = bind.to_string();
    word.strip_prefix("*:").map(str::to_owned).unwrap_or(word)
}
