//! Whether this machine has what a configuration needs: users, files, certificates and free
//! addresses.

use super::bounded::each;
use config::engine::{approximations, needs_user};
use config::file::{Code, Part, Places};
use config::{Bind, Config, Endpoint, Engine, Host, Pool, Process};
use control::{
    Client, StartError, admin_sockets, can_forward, can_listen, can_originate, can_run,
    can_terminate, concerns, is_on_a_network,
};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::errors::{reason, with_causes};
use sys::process::User;

/// Adds a report for each thing that is missing.
pub fn check(config: &Config, places: &mut Places<'_>) {
    process(&config.process, places);
    let mut binds = Vec::new();
    for listener in &config.listeners {
        for (index, bind) in listener.binds.iter().enumerate() {
            binds.push((listener.name.clone(), index, bind.clone()));
        }
        if let Some(tls) = &listener.tls {
            let part = || Part::Listener(&listener.name, "tls-cert");
            if let Err(error) = can_terminate(tls) {
                places.report(Code::File, part(), &with_causes(&*error), "");
            }
            for concern in concerns(tls) {
                places.report(Code::Certificate, part(), &concern.to_string(), "");
            }
        }
    }
    for pool in &config.pools {
        for error in pool.tls_ways().filter_map(|tls| can_originate(&tls).err()) {
            let part = Part::Pool(&pool.name, "backend-tls");
            places.report(Code::File, part, &with_causes(&*error), "");
        }
    }
    programs(config, places);
    engines(config, places);
    let mut ours = None;
    for ((listener, index, bind), result) in each(binds, LIMIT, |(_, _, bind)| can_listen(bind)) {
        let part = Part::Bind(&listener, index);
        match result {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let ours =
                    || ours.get_or_insert_with(|| running(config)).contains(&bind.to_string());
                refused(&error, &bind, part, ours, places);
            }
            None => {
                let message = format!("whether {bind} is free could not be checked in time");
                places.report(Code::Unchecked, part, &message, "");
            }
        }
    }
}

/// Reports programs of probes that cannot be run.
fn programs(config: &Config, places: &mut Places<'_>) {
    let user = config.process.user.as_deref().and_then(|user| User::find(user).ok());
    for (pool, program) in config.programs() {
        if let Err(error) = can_run(program, user.as_ref()) {
            let program = program.display();
            let message = format!("the program {program} cannot be run: {}", reason(&error));
            let help = "correct the path, or make the file executable for the user";
            places.report(Code::File, Part::Pool(pool, "probe"), &message, help);
        }
    }
}

/// Reports what keeps the kernel from forwarding where it is asked to.
fn engines(config: &Config, places: &mut Places<'_>) {
    let is_asked = |pool: &&Pool| pool.engine != Engine::User;
    for pool in config.pools.iter().filter(is_asked) {
        let part = Part::Pool(&pool.name, "engine");
        if let Err(why) = can_forward() {
            let message = format!("the kernel cannot forward, so the process will: {why}");
            places.report(Code::NoEffect, part, &message, "");
        }
        for address in pool.tiers.iter().flat_map(|tier| &tier.backends).filter_map(literal) {
            if pool.engine == Engine::Direct && !is_on_a_network(address) {
                let message = format!(
                    "{address} is not on a network of this machine, so that nothing can be sent on to \
                     it directly: the process serves instead"
                );
                let help = "give the backend an address there, or write `engine = \"kernel\"`";
                places.report(Code::NoEffect, part, &message, help);
            }
        }
        let approximations = approximations(pool).join(", ");
        if !approximations.is_empty() {
            let message = format!("the kernel follows this only approximately: {approximations}");
            let help = "nothing, if that is enough, or write `engine = \"user\"`";
            places.report(Code::Approximate, part, &message, help);
        }
        for listener in config.listeners.iter().filter(|it| it.pool == pool.name) {
            let needs = needs_user(listener, pool);
            if !needs.is_empty() {
                let (name, needs) = (&listener.name, needs.join(", "));
                let message = format!(
                    "the kernel cannot do this, so the process serves the listener {name}: {needs}"
                );
                let help = "remove these, or write `engine = \"user\"`";
                places.report(Code::NoEffect, part, &message, help);
            }
        }
    }
}

/// The address of a backend that is written as one.
fn literal(backend: &config::Backend) -> Option<IpAddr> {
    match backend.endpoint {
        Endpoint::Tcp { host: Host::Address(address), .. } => Some(address),
        _ => None,
    }
}

fn process(process: &Process, places: &mut Places<'_>) {
    let Process { user, root, pid_file, admin, .. } = process;
    if let Some(Err(error)) = user.as_deref().map(User::find) {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "there is no such user".to_owned(),
            _ => format!("the user cannot be looked up: {}", reason(&error)),
        };
        places.report(
            Code::User,
            Part::Process("user"),
            &message,
            "create the user, or name another",
        );
    }
    if let Some(root) = root {
        folder(root, "root", places);
    }
    for (file, key) in [(pid_file, "pid-file"), (admin, "admin")] {
        let parent = file.as_deref().and_then(Path::parent);
        if let Some(parent) = parent.filter(|parent| !parent.as_os_str().is_empty()) {
            folder(parent, key, places);
        }
    }
}

/// Reports a directory that a key needs and that is not there.
fn folder(path: &Path, key: &str, places: &mut Places<'_>) {
    let problem = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return,
        Ok(_) => "it is not a directory".to_owned(),
        Err(error) => reason(&error),
    };
    let message = format!("the directory {} cannot be used: {problem}", path.display());
    places.report(Code::File, Part::Process(key), &message, "create it, or correct the path");
}

/// Reports an address that cannot be listened on, unless an instance of ours does.
fn refused(
    error: &StartError,
    bind: &Bind,
    part: Part<'_>,
    is_ours: impl FnOnce() -> bool,
    places: &mut Places<'_>,
) {
    let (name, source) = match error {
        StartError::Listen { source, .. } => (false, source),
        StartError::ResolveListener { source, .. } => (true, source),
        _ => return,
    };
    let reason = reason(source);
    match source.kind() {
        _ if name => {
            let message = format!("{bind} cannot be resolved: {reason}");
            places.report(Code::Listen, part, &message, "write an address of this machine");
        }
        io::ErrorKind::AddrInUse if is_ours() => {}
        io::ErrorKind::AddrInUse => {
            let message = format!("another program uses {bind}");
            places.report(Code::InUse, part, &message, "`ss -lntxp` shows which");
        }
        io::ErrorKind::PermissionDenied => {
            let message = format!("this user cannot listen on {bind}");
            let help = "ports below 1024 require root or CAP_NET_BIND_SERVICE";
            places.report(Code::Unchecked, part, &message, help);
        }
        _ => {
            let message = format!("cannot listen on {bind}: {reason}");
            places.report(Code::Listen, part, &message, "");
        }
    }
}

/// The addresses on which running instances listen.
fn running(config: &Config) -> Vec<String> {
    let mut sockets: Vec<PathBuf> = admin_sockets().unwrap_or_default();
    sockets.extend(config.process.admin.clone());
    let clients = sockets.iter().filter_map(|path| Client::new(path).ok());
    let statuses = clients.filter_map(|client| client.status().ok());
    statuses.flat_map(|status| status.listeners).flat_map(|listener| listener.binds).collect()
}

/// For all addresses together: a name of a listening address has to be looked up.
const LIMIT: Duration = Duration::from_secs(10);
