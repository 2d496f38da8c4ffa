//! What is left of root's privileges. Without a harness: they are given up for good, which needs
//! a process with one thread, and another one to clean up behind it.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use sys::net::{Acknowledge, Source};
use sys::process::{Keep, User};

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(root) = std::env::var_os(ROOT) {
        return give_up(Path::new(&root));
    }
    if sys::process::user_id() != 0 {
        println!("skipped: only root can give up privileges");
        return Ok(());
    }
    let root = std::env::temp_dir().join(format!("sys-privileges-{}", std::process::id()));
    std::fs::create_dir(&root)?;
    std::fs::write(root.join("inside"), "")?;
    let status = Command::new(std::env::current_exe()?).env(ROOT, &root).status()?;
    std::fs::remove_dir_all(&root)?;
    assert!(status.success());
    Ok(())
}

/// Set for the process that gives up its privileges.
const ROOT: &str = "EVENKEEL_TEST_ROOT";

fn give_up(root: &Path) -> Result<(), Box<dyn Error>> {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let status = std::fs::File::open("/proc/self/status")?;
    let nobody = User::find("nobody")?;
    let missing = User::find("no such user").map_err(|error| error.kind());
    assert_eq!(missing, Err(std::io::ErrorKind::NotFound));

    sys::process::change_root(root)?;
    assert_eq!(std::env::current_dir()?, Path::new("/"));
    assert!(Path::new("inside").exists(), "not in the new root");
    nobody.assume(Keep::ForeignSources)?;

    let status = std::io::read_to_string(status)?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65534 65534 65534 65534");
    assert_eq!(field("Gid:"), "65534 65534 65534 65534");
    assert_eq!(field("Groups:"), "65534");
    let kept = u64::from_str_radix(&field("CapEff:"), 16)?;
    assert_eq!(kept.count_ones(), 1, "{kept:x}");
    assert_eq!(u64::from_str_radix(&field("CapPrm:"), 16)?, kept);

    let nobodys = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)); // reserved for documents
    let address = terms::Address::Ip(backend.local_addr()?);
    let (socket, refused) =
        sys::net::start_connect(&address, Source::Foreign(nobodys), Acknowledge::AtOnce)?;
    assert_eq!(refused, None);
    let local = sys::net::local_address(socket.as_fd()).map(|local| local.ip());
    assert_eq!(local, Some(nobodys));
    Ok(())
}
