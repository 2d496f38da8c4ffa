//! A Unix socket that only its user can connect to.

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use std::error::Error;
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;

/// A file that is made first, and gets its mode afterwards, is anybody's for a moment.
#[test]
fn a_private_socket_has_its_mode_from_the_beginning() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("sys-private-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("its.sock");
    let changes = init(CreateFlags::NONBLOCK)?;
    add_watch(&changes, &directory, WatchFlags::CREATE | WatchFlags::ATTRIB)?;
    let _socket = sys::net::listen_unix_private(&path)?;
    let mode = path.metadata()?.permissions().mode();
    std::fs::remove_file(&path)?;
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(&changes, &mut space);
    let mut seen = Vec::new();
    while let Ok(event) = reader.next() {
        seen.push(event.events());
    }
    std::fs::remove_dir(&directory)?;
    assert_eq!((mode & 0o7777, seen), (0o600, vec![ReadFlags::CREATE]));
    Ok(())
}
