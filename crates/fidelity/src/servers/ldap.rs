//! OpenLDAP: searches, also after one of two servers has died.

use super::place::{Place, Servers, check, command};
use crate::Check;

/// One slapd per port, all with the same entries.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let entries: String = (0..USERS).map(entry).collect();
    let ldif = place.write("entries.ldif", ROOT.to_owned() + &entries)?;
    let mut servers: Servers = Vec::new();
    for &port in ports {
        let dir = place.make_dir(&format!("ldap-{port}"))?;
        let config = place.write(&format!("slapd-{port}.conf"), CONFIG.replace("{dir}", &dir))?;
        place.client(&mut command("slapadd", ["-f", &config, "-l", &ldif]))?;
        let url = format!("ldap://127.0.0.1:{port}");
        let mut slapd = command("slapd", ["-f", &config, "-h", &url, "-d", "0"]);
        servers.push(Box::new(place.server(&[port], &mut slapd)?));
    }
    Ok(servers)
}

/// Each search is a connection. The server killed is the first, if there are two.
pub fn exercise(place: &Place, port: u16, servers: &mut Servers) -> Check {
    search_all(place, port)?;
    if servers.len() == 2 {
        drop(servers.remove(0));
        search_all(place, port)?;
    }
    Ok(())
}

fn search_all(place: &Place, port: u16) -> Check {
    let url = format!("ldap://127.0.0.1:{port}");
    for user in 0..USERS {
        let filter = format!("(cn=user{user})");
        let args = ["-x", "-LLL", "-H", &url, "-b", "dc=example,dc=org", &filter, "sn"];
        let output = place.client(&mut command("ldapsearch", args))?;
        let expected = format!("sn: name {user}");
        check(output.lines().any(|line| line == expected), &expected, output.trim())?;
    }
    Ok(())
}

fn entry(user: usize) -> String {
    format!(
        "\ndn: cn=user{user},dc=example,dc=org\nobjectClass: person\ncn: user{user}\n\
         sn: name {user}\n"
    )
}

const USERS: usize = 20;

const ROOT: &str = "dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example
dc: example
";

const CONFIG: &str = "
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {dir}/pid
argsfile {dir}/args
database mdb
suffix dc=example,dc=org
directory {dir}
";
