//! Files over `scp` and FTP.

use std::path::Path;

use super::{
    files::{check_same, write_pattern},
    place::{Place, Servers, command, find, is_root, tried},
};
use crate::Check;

/// One sshd that listens on every port, with keys of its own.
pub fn start_sshd(place: &Place, ports: &[u16]) -> Check<Servers> {
    for key in ["host-key", "user-key"] {
        let path = place.text(key);
        place.client(&mut command("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &path]))?;
    }
    // Debian's init script makes it; it stays empty.
    if is_root() && !Path::new("/run/sshd").exists() {
        tried("/run/sshd to be made", std::fs::create_dir("/run/sshd"))?;
    }
    let port_lines: String = ports.iter().map(|port| format!("Port {port}\n")).collect();
    let config = port_lines + &SSHD.replace("{dir}", &place.text(""));
    let config = place.write("sshd_config", config)?;
    // It starts itself again for each connection, so it wants its whole path.
    let sshd = find("sshd").unwrap_or_default().to_string_lossy().into_owned();
    let server = place.server(ports, &mut command(&sshd, ["-D", "-e", "-f", &config]))?;
    Ok(vec![Box::new(server)])
}

/// There and back.
pub fn exercise_scp(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    write_pattern(place, "sent", 64_000_000)?;
    let (port, key) = (port.to_string(), place.text("user-key"));
    let options = ["-q", "-F", "/dev/null", "-P", &port, "-i", &key];
    let settings = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
    ];
    let settings = settings.into_iter().flat_map(|setting| ["-o", setting]);
    let options: Vec<&str> = options.into_iter().chain(settings).collect();
    let here = |name: &str| place.text(name);
    let there = |name: &str| format!("127.0.0.1:{}", place.text(name));
    let copy = |from: String, to: String| {
        place.client(command("scp", &options).args([from, to])).map(drop)
    };
    copy(here("sent"), there("uploaded"))?;
    check_same(place, "sent", "uploaded")?;
    copy(there("sent"), here("downloaded"))?;
    check_same(place, "sent", "downloaded")
}

/// One vsftpd per port, all with the same file.
pub fn start_vsftpd(place: &Place, ports: &[u16]) -> Check<Servers> {
    let root = place.make_dir("ftp")?;
    let empty = place.make_dir("empty")?;
    write_pattern(place, "ftp/file", 16_000_000)?;
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let mut config = VSFTPD
            .replace("{root}", &root)
            .replace("{empty}", &empty)
            .replace("{port}", &port.to_string());
        if !is_root() {
            config += "run_as_launching_user=YES\n";
        }
        let config = place.write(&format!("vsftpd-{port}.conf"), config)?;
        servers.push(Box::new(place.server(&[port], &mut command("vsftpd", [&config]))?));
    }
    Ok(servers)
}

/// The data connections go past the proxy: to where the server says, then to where the client says.
pub fn exercise_ftp(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let url = format!("ftp://127.0.0.1:{port}/file");
    for (name, mode) in
        [("passive", &["--disable-epsv"][..]), ("active", &["-P", "127.0.0.1", "--disable-eprt"])]
    {
        let out = place.text(name);
        let mut curl = command("curl", ["-sS", "--max-time", "30", "-o", &out]);
        place.client(curl.args(mode).arg(&url))?;
        check_same(place, "ftp/file", name)?;
    }
    Ok(())
}

const SSHD: &str = "
ListenAddress 127.0.0.1
HostKey {dir}/host-key
AuthorizedKeysFile {dir}/user-key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
";

/// `promiscuous`: behind a proxy, control and data connections may come from different addresses.
const VSFTPD: &str = "
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
anon_root={root}
secure_chroot_dir={empty}
nopriv_user=nobody
xferlog_enable=NO
seccomp_sandbox=NO
connect_from_port_20=NO
pasv_enable=YES
pasv_address=127.0.0.1
pasv_promiscuous=YES
port_enable=YES
port_promiscuous=YES
";
