//! Finds the selected instance: the one at a socket, the one with a listening address, or the only
//! one.

use super::Failure;
use config::ExitStatus;
use config::native::WhichInstance;
use control::{Client, ClientError, ROOT_RUNTIME_DIR, admin_sockets, runtime_dir};
use std::io;
use std::path::Path;
use telemetry::InstanceRow;

/// The selected instance.
///
/// # Errors
/// If there is none, or if several match.
pub fn choose(which: &WhichInstance) -> Result<Client, Failure> {
    if let Some(path) = &which.admin {
        return connect(path);
    }
    let dir = runtime_dir();
    let paths = admin_sockets().map_err(|error| Failure {
        status: ExitStatus::Failure,
        message: match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("instances in {} run as another user: {error}", dir.display())
            }
            _ => format!("cannot look for instances in {}: {error}", dir.display()),
        },
    })?;
    let mut running = Vec::new();
    let mut draining = Vec::new();
    let mut foreign = None;
    for path in paths {
        let client = connect(&path)?;
        match client.instance() {
            // On its way out: only meant if it is named.
            Ok(it) if it.shutting_down => draining.push((path, it)),
            Ok(it) => running.push((client, it)),
            Err(error @ ClientError::Forbidden { .. }) => foreign = Some(error),
            Err(_) => {}
        }
    }
    if let Some(name) = &which.listen {
        let fits = |it: &InstanceRow| it.binds.iter().any(|bind| name.fits(bind));
        running.retain(|(_, it)| fits(it));
        draining.retain(|(_, it)| fits(it));
    }
    let names = listeners(&running);
    match (running.pop(), running.is_empty(), foreign) {
        (Some((client, _)), true, _) => Ok(client),
        (Some(_), false, _) => Err(unavailable(format!(
            "several instances are running ({names}); choose one with --listen or --admin PATH"
        ))),
        (None, _, Some(error)) => Err(error.into()),
        (None, _, None) => Err(match draining.first() {
            Some((path, it)) => unavailable(format!(
                "the only instance found is draining (pid {}); choose it with --admin {}",
                it.pid,
                path.display()
            )),
            None => nothing_found(which, &dir),
        }),
    }
}

fn connect(path: &Path) -> Result<Client, Failure> {
    Client::new(path)
        .map_err(|error| Failure { status: ExitStatus::Failure, message: error.to_string() })
}

fn listeners(running: &[(Client, InstanceRow)]) -> String {
    let all = running.iter().flat_map(|(_, it)| &it.binds).map(String::as_str);
    all.collect::<Vec<_>>().join(", ")
}

fn nothing_found(which: &WhichInstance, dir: &Path) -> Failure {
    let hint = match is_closed(Path::new(ROOT_RUNTIME_DIR)) && dir != Path::new(ROOT_RUNTIME_DIR) {
        true => format!(
            "; if that instance runs as another user, its socket may be in {ROOT_RUNTIME_DIR}: run this command as that user"
        ),
        false => "; choose another admin socket with --admin PATH".to_owned(),
    };
    unavailable(match &which.listen {
        Some(name) => {
            format!("no running instance found in {} listens on {name}{hint}", dir.display())
        }
        None => format!("no running instance found in {}{hint}", dir.display()),
    })
}

/// Whether the directory exists but this user may not read it.
fn is_closed(dir: &Path) -> bool {
    dir.read_dir().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn unavailable(message: String) -> Failure {
    Failure { status: ExitStatus::Unavailable, message }
}
