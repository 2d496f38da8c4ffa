//! `pen` and `penctl`: parse, convert, run, and map errors to the original's words and statuses.
//!
//! This file has the start. [`operation`] carries out commands while pen runs: control lines,
//! signals and reports all end there.

mod companion;
mod desk;
mod door;
mod facts;
mod load;
mod messages;
mod names;
mod numbers;
mod operation;
mod penctl;
mod reporter;
mod threads;
mod traffic;

pub use penctl::main as penctl_main;
use sys::errors::{reason, with_causes};

use crate::output::{OutputError, complain, finish, print};
use classics::pen::replies::server_table;
use classics::pen::{
    Names, PenArgs, PenError, PenSettings, PenTls, host_and_port, take_print_config,
};
use companion::PenCompanion;
use config::{Bind, Config, Family, Host, PrintForm, Segment};
use control::{
    Exit, Prepared, ServiceManager, Setup, Signals, StartError, admin_socket_path, can_forward,
};
use door::Door;
use load::{Loaded, Stage};
use messages::Messages;
use names::first_address;
use numbers::ConnectionNumbers;
use operation::{PenRecord, ReporterSettings, observed, run_early};
use reporter::PenReporter;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use sys::process::{Directory, service_port, user_id};
use tokio::signal::unix::SignalKind;
use tokio::sync::watch;
use traffic::LogPlace;

/// Runs pen(1). After `evenkeel`, the word `--print-config` is understood too.
pub fn main(argv0: &str, mut words: &[String], after_evenkeel: bool) -> ExitCode {
    let print = if after_evenkeel { take_print_config(&mut words) } else { None };
    match run(argv0, words, print) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Pen(error)) => {
            let text = error.to_string();
            if !text.is_empty() {
                complain(&text);
            }
            finish("pen", &error.stdout().unwrap_or_default(), error.exit_status())
        }
        Err(Failure::Start(text)) => {
            complain(&text);
            ExitCode::FAILURE
        }
        Err(Failure::Output(error)) => ExitCode::from(error.report("pen").code()),
    }
}

/// Why pen did not start.
enum Failure {
    Pen(PenError),
    /// In words.
    Start(String),
    Output(OutputError),
}

impl From<PenError> for Failure {
    fn from(error: PenError) -> Self {
        Self::Pen(error)
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

fn run(argv0: &str, words: &[String], form: Option<PrintForm>) -> Result<u8, Failure> {
    let args = PenArgs::parse(argv0, words)?;
    for remark in &args.remarks {
        complain(remark);
    }
    if form.is_none() && ServiceManager::is_to_take_over() {
        return succeed(&args);
    }
    // Messages before the fork go to standard error. A printed configuration can be run as it is.
    let messages = Messages::direct(form.is_none());
    let stage = if form.is_some() { Stage::Print } else { Stage::Start };
    let mut settings = PenSettings::new(&args, |settings, line| {
        run_early(settings, &Loaded::line(line.as_bytes(), &stage), &messages);
    });
    if let Some(file) = settings.config_file.clone() {
        match Loaded::file(&file, &stage) {
            Ok(loaded) => run_early(&mut settings, &loaded, &messages),
            Err(reason) => messages.say(&reason),
        }
    }
    let hosts = |name: &str| match form.is_some() {
        true => Some(Host::Name(name.to_owned())),
        false => first_address(name).map(Host::Address),
    };
    let names = Names { hosts: &hosts, services: &service_port };
    let servers = settings.take_listener(&args.operands, names)?;
    settings.take_servers(servers, names)?;
    if let Some(form) = form {
        let comments = only_pen_has(&settings)
            .into_iter()
            .map(|what| format!("# not expressible: {}\n", what.replace(char::is_control, "?")));
        let config = nearest(&settings)?.printed(form);
        print(&format!("{}{config}", comments.collect::<String>()))?;
        return Ok(0);
    }
    serve(settings)
}

/// The configuration that comes nearest to what these settings mean.
fn nearest(settings: &PenSettings) -> Result<Config, Failure> {
    let mut config = settings.to_config();
    for listener in &mut config.listeners {
        let Some(segment) = listener.segment.take() else { continue };
        let Segment { address, port, is_udp, .. } = segment;
        let Some(port) = port else {
            let what = "direct server return of all ports of an address, which a configuration \
                        cannot say; give it one port";
            return Err(Failure::Start(format!("dsr_if asks for {what}")));
        };
        let (host, family) = (Some(Host::Address(address.into())), Family::V4);
        listener.binds.push(match is_udp {
            true => Bind::Udp { host, port, family },
            false => Bind::Tcp { host, port, family },
        });
    }
    Ok(config)
}

/// Takes a running pen over, with the settings that it has by now.
fn succeed(args: &PenArgs) -> Result<u8, Failure> {
    let is_daemon = !args.options.iter().any(|it| it.letter == 'f');
    let mut manager = ServiceManager::from_environment(is_daemon).map_err(in_old_words)?;
    let belongings = manager.take_belongings().unwrap_or_default();
    let record: PenRecord = serde_json::from_value(belongings.record).map_err(|error| {
        Failure::Start(format!("the running instance does not say what a pen needs: {error}"))
    })?;
    let is_unix = record.settings.control.as_ref().is_some_and(|text| text.contains('/'));
    run_with(manager, record, Door::inherited(is_unix, belongings.sockets))
}

/// What these settings ask for besides a configuration, and the native equivalent.
fn only_pen_has(settings: &PenSettings) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(text) = &settings.control {
        all.push(format!("the control port {text}; see evenkeel ctl"));
    }
    if let Some(text) = &settings.log {
        all.push(format!("the log of requests {text}; every session is logged"));
    }
    if let Some(path) = &settings.web_stats {
        all.push(format!("the status page {path}; see evenkeel status --html"));
    }
    if let Some(Segment { interface, address, .. }) = &settings.segment {
        all.push(format!(
            "dsr_if {interface}: this machine must have {address} itself, and the policy decides"
        ));
        if settings.tarpit_acl >= 0 {
            all.push(format!("tarpit_acl {}", settings.tarpit_acl));
        }
    }
    if settings.dumps_data() {
        all.push("traffic is dumped to standard error".to_owned());
    }
    all
}

/// Leaves out what pen does without if it cannot be used. Says so.
fn settle_tls(tls: &mut PenTls, messages: &Messages) {
    if tls.certificate.is_some() {
        if tls.authority_file.is_none() && tls.authority_directory.is_none() {
            messages.say("SSL: No verify locations, trying default");
        }
        if tls.sni_path.as_ref().is_some_and(|path| !Path::new(path).is_dir()) {
            messages
                .say("ssl_sni_path: there is no such directory; the default certificate is used");
            tls.sni_path = None;
        }
        if tls.ocsp_response.as_ref().is_some_and(|path| !Path::new(path).is_file()) {
            messages.say("ssl_ocsp_response: there is no such file; nothing is stapled");
            tls.ocsp_response = None;
        }
    }
    tls.is_fixed = true;
}

fn serve(mut settings: PenSettings) -> Result<u8, Failure> {
    let manager = ServiceManager::from_environment(!settings.foreground).map_err(in_old_words)?;
    if settings.segment.is_some() {
        can_forward().map_err(PenError::DirectReturn)?;
    }
    let direct = Messages::direct(true);
    settle_tls(&mut settings.tls, &direct);
    if let Some(why) = settings.no_tarpit() {
        direct.say(&why);
    }
    if settings.debug > 0 {
        direct.say(concat!("pen ", env!("CARGO_PKG_VERSION"), " starting"));
        for line in server_table(&settings) {
            direct.say(&line);
        }
    }
    let door = open_door(&settings, &direct)?;
    run_with(manager, PenRecord { settings, numbers: ConnectionNumbers::default() }, door)
}

fn run_with(
    manager: ServiceManager,
    PenRecord { settings, numbers }: PenRecord,
    door: Option<Door>,
) -> Result<u8, Failure> {
    let find = |text: &String| LogPlace::find(text).map_err(|_| PenError::LogHost(text.clone()));
    let log = settings.log.as_ref().map(find).transpose()?;
    let mut config = settings.to_config();
    // The companion writes it, as pen's user and under its root directory.
    config.process.pid_file = None;
    for bind in config.listeners.iter().flat_map(|listener| &listener.binds) {
        if let Bind::Unix(path) = bind
            && !manager.passes(path)
            && !manager.takes_over()
        {
            // Whatever is there, as the original does: who binds next has it.
            let _ = std::fs::remove_file(path);
        }
    }
    let messages = Messages::running(settings.foreground);
    let (for_reporter, of_reporter) = watch::channel(ReporterSettings::default());
    let setup = Setup {
        config,
        admin: admin_path(&settings),
        reporter: Box::new(PenReporter::new(messages.clone(), of_reporter)),
        observe: observed(&settings),
        signals: signals(),
        directory: Directory::Kept, // relative paths go on meaning the same
        refuse_loops: false,
        refuse_unresolved: true,
        state: None,
        origin: None,
        companion: Some(Box::new(PenCompanion {
            pid_path: settings.pid_file.as_ref().map(PathBuf::from),
            settings,
            numbers,
            messages,
            for_reporter,
            door,
            log,
            takes_over: manager.takes_over(),
            pid_file: None,
        })),
        manager,
    };
    Prepared::new(setup).and_then(Prepared::run).map_err(in_old_words)
}

/// TERM, INT and QUIT end at once. HUP, USR1 and USR2 are the companion's, who is not there from the
/// very first; all others have their default action. Source: pen(1).
fn signals() -> Signals {
    let companions =
        [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()];
    Signals {
        reload: Vec::new(),
        reopen: Vec::new(),
        shut_down: vec![SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()],
        ignored: companions.map(|kind| (kind, None)).to_vec(),
        exit: Exit::Status,
    }
}

/// Where the admin socket goes: named by what is listened on, and for a second process that shares
/// the port by its number too.
fn admin_path(settings: &PenSettings) -> PathBuf {
    let listen = settings.listen.as_ref().map(|listen| listen.text.replace('/', "-"));
    let name = format!("pen.{}", listen.unwrap_or_default());
    let user = settings.user.as_deref();
    let path = admin_socket_path(&name, user);
    match UnixStream::connect(&path) {
        Ok(_) => admin_socket_path(&format!("{name}.{}", std::process::id()), user),
        Err(_) => path,
    }
}

/// Opens the control port. A bad address is only reported; root must insist with `-u`.
fn open_door(settings: &PenSettings, messages: &Messages) -> Result<Option<Door>, Failure> {
    let Some(text) = &settings.control else { return Ok(None) };
    if user_id() == 0 && settings.user.is_none() {
        messages.say("Won't open control port running as root; use -u to run as different user");
        return Ok(None);
    }
    let failed = |error| unbound(&format!("the control port {text}"), &error);
    if text.contains('/') {
        let _ = std::fs::remove_file(text); // as the original does
        let listener = std::os::unix::net::UnixListener::bind(text);
        return listener.map(|it| Some(Door::unix(it))).map_err(failed);
    }
    let (host, port) = match host_and_port(text) {
        Some((host, port)) => (Some(host), port),
        None => (None, text.as_str()),
    };
    let port = service_port(port).or_else(|| port.parse().ok()).filter(|port| *port != 0);
    let address = match host {
        None => Some(std::net::Ipv4Addr::UNSPECIFIED.into()),
        Some(host) => first_address(host),
    };
    let (Some(address), Some(port)) = (address, port) else {
        messages.say(&format!("Can't open control port: no address in '{text}'"));
        return Ok(None);
    };
    let listener = std::net::TcpListener::bind(SocketAddr::new(address, port));
    listener.map(|it| Some(Door::tcp(it))).map_err(failed)
}

/// Where we could not listen, and why, after the original's words.
fn unbound(what: &str, error: &std::io::Error) -> Failure {
    Failure::Start(format!("{}: {what}: {}", PenError::Bind, reason(error)))
}

/// What went wrong, as the original says it.
fn in_old_words(error: StartError) -> Failure {
    let said = match error {
        StartError::ResolveListener { host, .. } => PenError::BadListenAddress(host),
        StartError::ResolveBackend { host, .. } => PenError::UnknownAddress(host),
        StartError::Listen { bind, source } => return unbound(&bind, &source),
        StartError::User { user, .. } => PenError::UnknownUser(user),
        StartError::Root { path, .. } => PenError::Chroot(path.display().to_string()),
        StartError::PidFile { path, .. } => PenError::PidFile(path.display().to_string()),
        StartError::Companion { what, source } => {
            return Failure::Start(format!("{what}: {}", reason(&source)));
        }
        StartError::Certificate(error) => {
            let cause = with_causes(&*error);
            return Failure::Start(format!("Unable to create default context: {cause}"));
        }
        error => return Failure::Start(with_causes(&error)),
    };
    Failure::Pen(said)
}
