//! Everything pen remembers and its commands change.

use super::access::Entries;
use super::address::{Names, PenListen, parse_server};
use super::tls::PenTls;
use super::{ACCESS_LISTS, PenArgs, PenError, PenOption};
use crate::classic::leading_number;
use balancing::AccessList;
use config::{Bind, Segment};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The state of a pen: what its options say, and what commands made of it since.
///
/// Numbers are as they were given, also where they make no sense; [`Self::to_config`] gives them
/// one. An upgrade hands all of it to the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PenSettings {
    /// What is listened on.
    pub listen: Option<PenListen>,
    /// `-C` as it was given.
    pub control: Option<String>,
    /// `-F`
    pub config_file: Option<String>,
    /// `-f`
    pub foreground: bool,
    /// `-j`
    pub chroot: Option<String>,
    /// `-p`
    pub pid_file: Option<String>,
    /// `-u`
    pub user: Option<String>,
    /// `-X`
    pub exit_enabled: bool,
    /// `-U`
    pub udp: bool,
    /// `-l` and `log`: a path or `host:port`.
    pub log: Option<String>,
    /// `-w` and `web_stats`
    pub web_stats: Option<String>,
    /// `-d` and `debug`
    pub debug: i32,
    /// `-a` and `ascii`
    pub ascii: bool,
    /// `-b` and `blacklist`, in seconds.
    pub blacklist: i32,
    /// `-t` and `timeout`, in seconds.
    pub timeout: i32,
    /// `-T` and `tracking`, in seconds.
    pub tracking: i32,
    /// `idle_timeout`, in seconds; 0 for never.
    pub idle_timeout: i32,
    /// `-c` and `clients_max`
    pub clients_max: i32,
    /// `-x` and `conn_max`
    pub conn_max: i32,
    /// `pending_max`
    pub pending_max: i32,
    /// `client_acl`, from 0 to 9.
    pub client_acl: usize,
    /// `control_acl`, from 0 to 9.
    pub control_acl: usize,
    /// `-h` and `hash`
    pub hash: bool,
    /// `-r` and `roundrobin`
    pub roundrobin: bool,
    /// `-s` and `stubborn`
    pub stubborn: bool,
    /// `-W` and `weight`
    pub weight: bool,
    /// `prio`
    pub prio: bool,
    /// `-H` and `http`
    pub http: bool,
    /// `dummy`
    pub dummy: bool,
    /// `keepalive`
    pub keepalive: bool,
    /// `tcp_nodelay`
    pub tcp_nodelay: bool,
    /// `transparent`
    pub transparent: bool,
    /// `abort_on_error`
    pub abort_on_error: bool,
    /// `tcp_fastclose`
    pub tcp_fastclose: FastClose,
    /// `source`
    pub source: Option<IpAddr>,
    /// `dsr_if`, which counts at the start.
    pub dsr_if: Option<String>,
    /// What has become of it.
    pub segment: Option<Segment>,
    /// `tarpit_acl`, the number of a list; none if it is negative.
    pub tarpit_acl: i32,
    /// `-E` and what goes with it.
    pub tls: PenTls,
    /// `-e` as it was given.
    pub emergency_text: Option<String>,
    /// `-B` as it was given.
    pub abuse_text: Option<String>,
    pub(super) emergency: Option<PenServer>,
    pub(super) abuse: Option<PenServer>,
    pub(super) servers: Vec<PenServer>,
    pub(super) lists: [Entries; ACCESS_LISTS],
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PenServer {
    /// Where it is; 0.0.0.0 for one that is out of use and for an empty place in the table.
    pub address: ServerAddress,
    /// Its port: 0 for one that is never used, 1 of a Unix socket.
    pub port: u16,
    /// The soft limit.
    pub max: i32,
    /// The hard limit.
    pub hard: i32,
    /// Its weight.
    pub weight: i32,
    /// Its rank.
    pub prio: i32,
    /// The number of its access list; one that does not exist lets nobody in.
    pub acl: i32,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerAddress {
    /// At an address.
    Ip(IpAddr),
    /// At a host whose name is kept, because the settings are only printed.
    Name(String),
    /// At the path of a Unix socket.
    Unix(String),
}

/// Whose end of data ends a connection at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FastClose {
    /// Nobody's: the other side may go on.
    #[default]
    Off,
    /// The server's.
    Up,
    /// The client's.
    Down,
    /// Either's.
    Both,
}

impl Default for PenSettings {
    fn default() -> Self {
        Self {
            listen: None,
            control: None,
            config_file: None,
            foreground: false,
            chroot: None,
            pid_file: None,
            user: None,
            exit_enabled: false,
            udp: false,
            log: None,
            web_stats: None,
            debug: 0,
            ascii: false,
            blacklist: 30,
            timeout: 3,
            tracking: 0,
            idle_timeout: 0,
            clients_max: DEFAULT_CLIENTS,
            conn_max: DEFAULT_CONNECTIONS,
            pending_max: 100,
            client_acl: 0,
            control_acl: 0,
            hash: false,
            roundrobin: false,
            stubborn: false,
            weight: false,
            prio: false,
            http: false,
            dummy: false,
            keepalive: false,
            tcp_nodelay: false,
            transparent: false,
            abort_on_error: false,
            tcp_fastclose: FastClose::Off,
            source: None,
            dsr_if: None,
            segment: None,
            tarpit_acl: -1,
            tls: PenTls::default(),
            emergency_text: None,
            abuse_text: None,
            emergency: None,
            abuse: None,
            servers: Vec::new(),
            lists: Default::default(),
        }
    }
}

impl PenSettings {
    /// What the options say. `run` is given the line of every `-O` and `-o` in its place, with
    /// the settings of that moment, to parse and apply it.
    pub fn new(args: &PenArgs, mut run: impl FnMut(&mut Self, &str)) -> Self {
        let mut settings = Self::default();
        for PenOption { letter, value } in &args.options {
            match letter {
                'O' | 'o' => run(&mut settings, value),
                _ => settings.set_option(*letter, value),
            }
        }
        settings
    }

    fn set_option(&mut self, letter: char, value: &str) {
        let text = || Some(value.to_owned());
        let number = leading_number(value).unwrap_or(0);
        match letter {
            'B' => self.abuse_text = text(),
            'C' => self.control = text(),
            'A' => self.tls.authority_directory = text(),
            'E' => self.tls.certificate = text(),
            'G' => self.tls.authority_file = text(),
            'K' => self.tls.key = text(),
            'R' => self.tls.requires_certificates = true,
            'F' => self.config_file = text(),
            'H' => self.http = true,
            'N' => (self.hash, self.roundrobin) = (true, true),
            'T' => self.tracking = number,
            'U' => self.udp = true,
            'W' => self.weight = true,
            'X' => self.exit_enabled = true,
            'a' => self.ascii = true,
            'b' => self.blacklist = number,
            'c' if number > 0 => self.clients_max = number,
            'd' => self.debug = self.debug.saturating_add(1),
            'e' => self.emergency_text = text(),
            'f' => self.foreground = true,
            'h' => self.hash = true,
            'j' => self.chroot = text(),
            'l' => self.log = text(),
            'p' => self.pid_file = text(),
            'r' => self.roundrobin = true,
            's' => self.stubborn = true,
            't' => self.timeout = number,
            'u' => self.user = text(),
            'w' => self.web_stats = text(),
            'x' if number > 0 => self.conn_max = number,
            'x' => self.conn_max = DEFAULT_CONNECTIONS,
            // -c below 1, -m, -q, what is obsolete, -L and -Z, which only allow what nobody speaks.
            _ => {}
        }
    }

    /// Takes what to listen on from the operands, unless the configuration has said it: then the
    /// first one is left out. Gives back the operands that are servers.
    ///
    /// # Errors
    /// [`PenError::Usage`] when there is nothing to listen on, [`PenError::NotYet`],
    /// [`PenError::ServiceAddress`] with `dsr_if`, and what [`PenListen::parse`] complains of.
    pub fn take_listener<'a>(
        &mut self,
        operands: &'a [String],
        names: Names<'_>,
    ) -> Result<&'a [String], PenError> {
        let servers = match (operands.split_first(), &self.listen) {
            (None, None) => return Err(PenError::Usage),
            (None, Some(_)) => operands,
            (Some((_, rest)), Some(_)) => rest,
            (Some((first, rest)), None) => {
                self.check_supported()?;
                self.listen = Some(match self.dsr_if {
                    Some(_) => PenListen::parse_whole(first, names),
                    None => PenListen::parse(first, names)?,
                });
                rest
            }
        };
        self.check_supported()?;
        if let (Some(interface), Some(listen)) = (&self.dsr_if, &self.listen) {
            self.segment = Some(listen.segment(interface, self.udp)?);
        }
        Ok(servers)
    }

    /// Puts the servers of the operands into the table, over those of the configuration with the
    /// same numbers, and the emergency and abuse servers into their places.
    ///
    /// # Errors
    /// [`PenError::UnknownAddress`], and [`PenError::NotYet`] for a Unix socket with `-U`.
    pub fn take_servers(&mut self, operands: &[String], names: Names<'_>) -> Result<(), PenError> {
        let port = self.listen.as_ref().and_then(PenListen::port).unwrap_or(0);
        let parse = |text: &String| parse_server(text, port, names);
        self.emergency = self.emergency_text.as_ref().map(parse).transpose()?;
        self.abuse = self.abuse_text.as_ref().map(parse).transpose()?;
        for (number, operand) in operands.iter().take(super::MAX_SERVERS).enumerate() {
            let server = parse(operand)?;
            match self.servers.get_mut(number) {
                Some(place) => *place = server,
                None => self.servers.push(server),
            }
        }
        let mut all = self.servers.iter().chain(&self.emergency).chain(&self.abuse);
        match self.udp && all.any(|server| server.address.is_path()) {
            true => Err(unix_datagrams("-U with the path of a server asks for Unix datagrams")),
            false => Ok(()),
        }
    }

    /// Whether clients cannot send datagrams there.
    pub(super) fn cannot_listen(&self, listen: &PenListen) -> bool {
        self.udp && matches!(listen.bind, Bind::Unix(_))
    }

    fn check_supported(&self) -> Result<(), PenError> {
        if self.listen.as_ref().is_some_and(|listen| self.cannot_listen(listen)) {
            return Err(unix_datagrams("-U with a path to listen on asks for Unix datagrams"));
        }
        if self.tls.certificate.is_some() {
            self.tls.allowed_ciphers().map_err(PenError::Ciphers)?;
        }
        Ok(())
    }

    /// The servers by number, empty places included.
    pub fn servers(&self) -> &[PenServer] {
        &self.servers
    }

    /// One of the access lists; one that lets nobody in for a number that has none.
    pub fn access_list(&self, number: i32) -> Arc<AccessList> {
        let list = usize::try_from(number).ok().and_then(|number| self.lists.get(number));
        list.map_or_else(|| Arc::new(AccessList::nobody()), Entries::list)
    }

    /// Who may use the control port. Clients of a Unix socket always may.
    pub fn control_access(&self) -> Arc<AccessList> {
        self.lists[self.control_acl].list()
    }

    /// Takes what is listened on from now on; the answer to `listen`.
    pub fn set_listen(&mut self, listen: PenListen) -> String {
        self.listen = Some(listen);
        self.listen_reply()
    }

    /// Takes where the log goes from now on, as it was opened; the answer to `log`.
    pub fn set_log(&mut self, log: Option<String>) -> String {
        self.log = log;
        optional_line(self.log.as_deref())
    }

    pub(super) fn listen_reply(&self) -> String {
        optional_line(self.listen.as_ref().map(|listen| listen.text.as_str()))
    }
}

fn unix_datagrams(what: &'static str) -> PenError {
    PenError::NotYet { what, advice: "give an address and a port, or leave out -U" }
}

/// A text and a line end, or nothing at all.
pub(super) fn optional_line(text: Option<&str>) -> String {
    text.map(|text| format!("{text}\n")).unwrap_or_default()
}

impl Default for PenServer {
    fn default() -> Self {
        let address = ServerAddress::Ip(Ipv4Addr::UNSPECIFIED.into());
        Self { address, port: 0, max: 0, hard: 0, weight: 0, prio: 0, acl: 0 }
    }
}

impl PenServer {
    /// A Unix socket has no port, and is shown with port 1.
    pub(super) fn settle_port(&mut self) {
        if self.address.is_path() {
            self.port = 1;
        }
    }

    /// Whether it never gets a client: the way to take a server out is to give it no address.
    pub(super) fn is_out_of_use(&self) -> bool {
        match &self.address {
            ServerAddress::Ip(address) => address.is_unspecified() || self.port == 0,
            ServerAddress::Name(_) => self.port == 0,
            ServerAddress::Unix(_) => false,
        }
    }
}

impl ServerAddress {
    /// Whether it is a Unix socket.
    pub(super) fn is_path(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name(text) | Self::Unix(text) => f.write_str(text),
        }
    }
}

impl FastClose {
    /// What a word means; any other than the three is off.
    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "up" => Self::Up,
            "down" => Self::Down,
            "both" => Self::Both,
            _ => Self::Off,
        }
    }
}

impl fmt::Display for FastClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Up => "up",
            Self::Down => "down",
            Self::Both => "both",
        })
    }
}

pub(super) const DEFAULT_CLIENTS: i32 = 2048;
pub(super) const DEFAULT_CONNECTIONS: i32 = 500;
