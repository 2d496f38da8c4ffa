//! Finds the selected instance: the one at a socket, the one with a listening address, or the only
//! one.

use super::Failure;
use config::ExitStatus;
use config::native::WhichInstance;
use control::{Client, ClientError, ROOT_RUNTIME_DIR, admin_sockets, runtime_dir};
use std::io;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use telemetry::InstanceRow;

/// How long others have to answer if one has.
const OTHERS_WITHIN: Duration = Duration::from_secs(1);

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
    let (said, heard) = channel();
    for path in paths {
        let (client, said) = (connect(&path)?, said.clone());
        std::thread::spawn(move || {
            let answer = client.instance();
            let _ = said.send((client, answer)); // this one has stopped listening
        });
    }
    drop(said);
    let begun = Instant::now();
    let mut running = Vec::new();
    let mut draining = Vec::new();
    let (mut foreign, mut mute) = (None, None);
    loop {
        // One that hangs holds nobody up for long, if there is another.
        let patience = match running.is_empty() {
            true => Duration::MAX,
            false => OTHERS_WITHIN.saturating_sub(begun.elapsed()),
        };
        let Ok((client, answer)) = heard.recv_timeout(patience) else { break };
        match answer {
            // On its way out: only meant if it is named.
            Ok(it) if it.shutting_down => draining.push((client, it)),
            Ok(it) => running.push((client, it)),
            Err(error @ ClientError::Forbidden { .. }) => foreign = Some(error.into()),
            Err(error @ ClientError::Protocol { .. }) => {
                mute = Some(unavailable(error.to_string()));
            }
            Err(_) => {}
        }
    }
    if let Some(name) = &which.listen {
        let fits = |it: &InstanceRow| it.binds.iter().any(|bind| name.fits(bind));
        running.retain(|(_, it)| fits(it));
        draining.retain(|(_, it)| fits(it));
    }
    let names = listeners(&running);
    match (running.pop(), running.is_empty(), foreign.or(mute)) {
        (Some((client, _)), true, _) => Ok(client),
        (Some(_), false, _) => Err(unavailable(format!(
            "several instances are running ({names}); choose one with --listen or --admin PATH"
        ))),
        (None, _, Some(failure)) => Err(failure),
        (None, _, None) => Err(match draining.first() {
            Some((client, it)) => unavailable(format!(
                "the only instance found is draining (pid {}); choose it with --admin {}",
                it.pid,
                client.path().display()
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
