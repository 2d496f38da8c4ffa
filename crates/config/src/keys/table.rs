//! The rows. `fmt` writes keys in this order.

use super::{Key, Place, Shape, Zero};
use crate::native::STREAK_MAX;
use crate::words::Choice;
use crate::{
    Engine, Family, LogFormat, LogSessions, MetricsDetail, OnDown, OnUp, Protocol, TapAccess,
    TlsVersion,
};
use Place::{Backend, File, Listener, Pool, Process, Route, Tier};
use balancing::{AdminState, FailoverScope, Policy};
use terms::{BackendTls, ClientCertificates, Cut, SendProxy, SpliceMode, Starttls};

pub(super) const KEYS: &[Key] = &[
    own("process", File, Shape::Table(Process), "{ user = \"evenkeel\" }", "How the process runs"),
    own(
        "defaults",
        File,
        Shape::Table(Place::Defaults),
        "{ connect-timeout = \"3s\" }",
        "Keys of listeners and pools, for those that do not have them",
    ),
    own(
        "listeners",
        File,
        Shape::Named(Listener),
        "{ web = { bind = 80, pool = \"web\" } }",
        "The listeners by name. A string is a whole command line: a listener with a pool of the same \
         name",
    ),
    own(
        "pools",
        File,
        Shape::Named(Pool),
        "{ web = { backends = [\"app1:8080\", \"app2:8080\"] } }",
        "The pools by name. Listeners that name the same pool share its backends, limits, turns and \
         affinity table",
    ),
    // [process]
    option("user", Process, Shape::Text, "\"evenkeel\""),
    option("root", Process, Shape::Text, "\"/var/empty\""),
    option("daemon", Process, Shape::Flag, "true"),
    option("pid-file", Process, Shape::Text, "\"/run/evenkeel.pid\""),
    option("state", Process, Shape::Text, "\"/var/lib/evenkeel\""),
    option("admin", Process, Shape::Text, "\"/run/evenkeel/admin.sock\""),
    option("log-format", Process, Shape::Choice(LOG_FORMATS), "\"json\""),
    option("log-sessions", Process, Shape::Choice(LOG_SESSIONS), "\"problems\""),
    option("log-sample", Process, POSITIVE, "100"),
    option("log-start", Process, Shape::Flag, "true"),
    option("log-every", Process, SOME_TIME, "\"10m\""),
    option("log-slow-connect", Process, SOME_TIME, "\"1s\""),
    option("log-file", Process, Shape::Text, "\"/var/log/evenkeel.log\""),
    option("metrics", Process, Shape::Socket, "\"127.0.0.1:9188\""),
    option("metrics-detail", Process, Shape::Choice(METRICS_DETAILS), "\"pool\""),
    own(
        "otlp",
        Process,
        Shape::Collector,
        "\"http://127.0.0.1:4318\"",
        "Push the metrics to this collector of OpenTelemetry, by OTLP with JSON over HTTP. A path is \
         written before /v1/metrics",
    ),
    own(
        "otlp-interval",
        Process,
        SOME_TIME,
        "\"1m\"",
        "With `otlp`: how often, 100ms at least [default: 15s]",
    ),
    option("ready-interface", Process, Shape::Interface, "\"ekready\""),
    option("pre-stop", Process, ANY_TIME, "\"2s\""),
    own(
        "watch",
        Process,
        Shape::Flag,
        "true",
        "Reload the configuration whenever the contents of its files have changed",
    ),
    own(
        "upgrade-drain",
        Process,
        DEADLINE,
        "\"12h\"",
        "How long sessions that cannot move to another process, as where TLS ends here, may go on in \
         this one after an upgrade, or never: without limit [default: the longest \
         `shutdown-timeout`, and 10s at least]",
    ),
    own(
        "viewers",
        Process,
        NAMES,
        "[\"monitor\", \"@adm\"]",
        "Users and @groups that may use the admin socket to look: status, sessions, events, metrics \
         [default: root and the user of the process, who may do everything]",
    ),
    own(
        "operators",
        Process,
        NAMES,
        "\"@oncall\"",
        "Users and @groups that may also enable, drain, disable, quarantine and limit backends, reset \
         their counters, and end sessions",
    ),
    own("admins", Process, NAMES, "\"deploy\"", "Users and @groups that may do everything"),
    own(
        "view-socket",
        Process,
        Shape::Text,
        "\"/run/evenkeel/view.sock\"",
        "Path of another admin socket, at which `viewers` and all others who may do more can only \
         look, even root: for containers and web servers",
    ),
    own(
        "admin-listen",
        Process,
        Shape::Socket,
        "\"127.0.0.1:9189\"",
        "Serve what the admin socket serves by TCP, too, at this address of the machine itself or at \
         this port of 127.0.0.1",
    ),
    own(
        "admin-tokens",
        Process,
        Shape::Text,
        "\"/etc/evenkeel/tokens\"",
        "File with the tokens for `admin-listen`, in lines of ROLE NAME TOKEN. ROLE is view, operate \
         or admin, NAME is for the log, and TOKEN has 32 characters or more",
    ),
    own(
        "tap",
        Process,
        Shape::Choice(TAP_ACCESS),
        "\"off\"",
        "Whether those who may do everything may watch sessions (`ctl tap`): off, on, or decrypted, \
         which shows plain text where TLS ends here, too [default: on]",
    ),
    option("workers", Process, Shape::Number { least: 1, most: 1024 }, "4"),
    option("spin", Process, ANY_TIME, "\"50us\""),
    // [listeners.NAME]
    required(own(
        "bind",
        Listener,
        Shape::OneOrMore(&Shape::Listen),
        "[80, \"[2001:db8::1]:8080\"]",
        "Where to listen: a port, or a string as LISTEN on a command line: service, addr:port, \
         [v6]:port or unix:/path, with /udp or /tcp+udp after it; several in a list",
    )),
    own(
        "protocol",
        Listener,
        Shape::Choice(PROTOCOLS),
        "\"udp\"",
        "What clients of the addresses in `bind` speak that do not say so themselves, as \"53/udp\" \
         and \"53/tcp+udp\" do [default: tcp]",
    ),
    own(
        "family",
        Listener,
        Shape::Choice(FAMILIES),
        "\"ipv6\"",
        "The protocol of the names in `bind` [default: any]",
    ),
    required(own("pool", Listener, Shape::Name, "\"web\"", "The pool that serves the clients")),
    own(
        "routes",
        Listener,
        Shape::List(&Shape::Table(Route)),
        "[{ sni = \"db.example.org\", pool = \"db\" }]",
        "Other pools for TLS clients, by what they ask for; TLS passes through. Clients that no \
         route is for, or that do not speak TLS, go to `pool`",
    ),
    own(
        "hello-wait",
        Listener,
        SOME_TIME,
        "\"300ms\"",
        "With `routes`: how long a client may be silent before it goes to `pool`, as where the \
         server speaks first; not with `starttls` for mail, whose clients are greeted [default: 2s]",
    ),
    own(
        "starttls",
        Listener,
        Shape::Choice(STARTTLS),
        "\"postgresql\"",
        "With `routes` or `tls-cert`: the protocol in which clients ask for TLS before they begin it. \
         Unless TLS ends here, the backend is asked likewise [default: they begin with TLS]",
    ),
    shared(option("share-port", Listener, Shape::Flag, "true")),
    shared(option(
        "accept-proxy",
        Listener,
        Shape::OneOrMore(&Shape::Proxies),
        "[\"10.0.0.0/8\", \"unix\"]",
    )),
    shared(option("tls-cert", Listener, Shape::OneOrMore(&Shape::Text), "\"/etc/tls/web.pem\"")),
    shared(option("tls-key", Listener, Shape::OneOrMore(&Shape::Text), "\"/etc/tls/web.key\"")),
    shared(option("tls-alpn", Listener, Shape::OneOrMore(&Shape::Text), "[\"h2\", \"http/1.1\"]")),
    shared(option("tls-timeout", Listener, SOME_TIME, "\"5s\"")),
    shared(option("tls-min", Listener, Shape::Choice(TLS_VERSIONS), "\"1.3\"")),
    shared(option("tls-ciphers", Listener, Shape::Ciphers, "\"ECDHE+AESGCM\"")),
    shared(option("tls-ocsp", Listener, Shape::OneOrMore(&Shape::Text), "\"/etc/tls/web.ocsp\"")),
    shared(option("tls-ticket-keys", Listener, Shape::Text, "\"/etc/tls/tickets.keys\"")),
    shared(option("tls-clients", Listener, Shape::Choice(CLIENT_CERTIFICATES), "\"require\"")),
    shared(option(
        "tls-clients-ca",
        Listener,
        Shape::OneOrMore(&Shape::Text),
        "\"/etc/tls/ca.pem\"",
    )),
    shared(option(
        "tls-clients-crl",
        Listener,
        Shape::OneOrMore(&Shape::Text),
        "\"/etc/tls/crl.pem\"",
    )),
    shared(option("max-sessions", Listener, POSITIVE, "20000")),
    shared(option("max-connecting", Listener, POSITIVE, "500")),
    shared(option("max-rate", Listener, Shape::Rate, "\"100/s\"")),
    shared(option("client-limits", Listener, Shape::ClientLimits, "\"sessions=20,rate=20/s\"")),
    shared(option("connect-timeout", Listener, SOME_TIME, "\"3s\"")),
    shared(option("idle-timeout", Listener, TIME_OR_NEVER, "\"1h\"")),
    shared(option("first-byte-timeout", Listener, TIME_OR_NEVER, "\"10s\"")),
    shared(option("half-close-timeout", Listener, TIME_NEVER_OR_NOW, "\"1m\"")),
    shared(option("backend-half-close-timeout", Listener, TIME_NEVER_OR_NOW, "\"now\"")),
    shared(option("linger", Listener, ANY_TIME, "\"2s\"")),
    shared(option("keep-alive", Listener, TIME_OR_NEVER, "\"1m\"")),
    shared(option("user-timeout", Listener, TIME_OR_NEVER, "\"30s\"")),
    shared(option("shutdown-timeout", Listener, DEADLINE, "\"5m\"")),
    shared(option("flow-timeout", Listener, SOME_TIME, "\"10s\"")),
    shared(option("requests", Listener, POSITIVE, "1")),
    shared(option("responses", Listener, POSITIVE, "1")),
    shared(option("retry-after", Listener, SOME_TIME, "\"1s\"")),
    shared(option("hash-on", Listener, Shape::HashOn, "\"quic-cid:8\"")),
    shared(option("source", Listener, Shape::Address, "\"192.0.2.7\"")),
    shared(option("transparent", Listener, Shape::Flag, "true")),
    shared(option("forwarded-headers", Listener, Shape::Flag, "true")),
    shared(option("splice", Listener, Shape::Choice(SPLICE_MODES), "\"never\"")),
    shared(option("cut", Listener, Shape::Choice(CUTS), "\"close\"")),
    own(
        "dummy",
        Listener,
        Shape::Flag,
        "true",
        "Answer every client with a fixed page, without a backend, as pen(1) can",
    ),
    // [[listeners.NAME.routes]]
    own(
        "sni",
        Route,
        Shape::OneOrMore(&Shape::ServerName),
        "[\"example.org\", \"*.example.org\"]",
        "The names that a client may ask for (SNI). A wildcard stands for one more label. The most \
         specific name decides [default: any name, or none]",
    ),
    own(
        "alpn",
        Route,
        Shape::OneOrMore(&Shape::Text),
        "[\"h2\", \"http/1.1\"]",
        "The protocols of which a client must offer one (ALPN). Among routes with the same name, \
         those with `alpn` come first [default: any, or none]",
    ),
    required(own("pool", Route, Shape::Name, "\"db\"", "The pool that serves these clients")),
    // [pools.NAME]
    shared(option("policy", Pool, Shape::Choice(POLICIES), "\"least-sessions\"")),
    shared(option("load-bound", Pool, Shape::Factor, "\"1.25\"")),
    shared(option("subset", Pool, Shape::Subset, "\"size=20,node=3,nodes=10\"")),
    shared(option("quarantine", Pool, ANY_TIME, "\"30s\"")),
    shared(option("no-last-resort", Pool, Shape::Flag, "true")),
    shared(option("essential", Pool, Shape::Flag, "true")),
    shared(option("engine", Pool, Shape::Choice(ENGINES), "\"kernel\"")),
    shared(option("failover", Pool, Shape::Choice(SCOPES), "\"later-tiers\"")),
    shared(option("hash-failover", Pool, Shape::Choice(SCOPES), "\"nothing\"")),
    shared(option("auto-disable", Pool, Shape::Flag, "true")),
    shared(option("probe", Pool, Shape::Probe, "\"http:/healthz\"")),
    shared(option("probe-interval", Pool, SOME_TIME, "\"2s\"")),
    shared(option("probe-timeout", Pool, SOME_TIME, "\"1s\"")),
    shared(option("probe-port", Pool, Shape::Number { least: 1, most: u16::MAX as i64 }, "8008")),
    shared(option("agent", Pool, Shape::Agent, "\"9100\"")),
    shared(option("agent-interval", Pool, SOME_TIME, "\"2s\"")),
    shared(option("on-down", Pool, Shape::Choice(ON_DOWN), "\"end-sessions\"")),
    shared(option("on-up", Pool, Shape::Choice(ON_UP), "\"return\"")),
    shared(option("eject", Pool, Shape::Share, "\"50%\"")),
    shared(option("fail-open-below", Pool, Shape::Share, "\"30%\"")),
    shared(option("refuse-below", Pool, Shape::Share, "\"30%\"")),
    shared(option("fall", Pool, STREAK, "2")),
    shared(option("rise", Pool, STREAK, "1")),
    shared(option("warm-up", Pool, SOME_TIME, "\"30s\"")),
    shared(option("max-age", Pool, TIME_OR_NEVER, "\"12h\"")),
    shared(option("affinity", Pool, POSITIVE, "100000")),
    shared(option("affinity-time", Pool, TIME_OR_NEVER, "\"1h\"")),
    shared(option("affinity-count-only", Pool, Shape::Flag, "true")),
    shared(own(
        "access",
        Pool,
        Shape::List(&Shape::Access),
        "[\"allow 10.0.0.0/8\", \"deny country:XX\"]",
        "Which clients are served: \"allow CLIENTS\" or \"deny CLIENTS\", with CLIENTS an ADDR, \
         ADDR/LEN or country:SE. The first match decides; without one, the opposite of the last rule \
         applies",
    )),
    shared(option("reject", Pool, Shape::Backend, "\"192.0.2.9:80\"")),
    shared(option("send-proxy", Pool, Shape::Choice(SEND_PROXY_FORMS), "\"v2\"")),
    shared(option("backend-tls", Pool, Shape::Choice(BACKEND_TLS), "\"verify\"")),
    shared(option("backend-tls-ca", Pool, Shape::OneOrMore(&Shape::Text), "\"/etc/tls/ca.pem\"")),
    shared(option("backend-tls-name", Pool, Shape::Host, "\"app.example.org\"")),
    shared(option("backend-tls-cert", Pool, Shape::Text, "\"/etc/tls/client.pem\"")),
    shared(option("backend-tls-key", Pool, Shape::Text, "\"/etc/tls/client.key\"")),
    shared(option("backend-tls-alpn", Pool, Shape::OneOrMore(&Shape::Text), "\"h2\"")),
    own(
        "fixed-places",
        Pool,
        Shape::Flag,
        "true",
        "Know tiers and backends by their numbers, so that none can be removed, as in balance(1) \
         and pen(1)",
    ),
    own(
        "backends",
        Pool,
        Shape::List(&Shape::Backend),
        "[\"app1:8080\", { to = \"app2:8080\", weight = 2 }]",
        "The backends of a pool with one tier: strings as on a command line, or tables",
    ),
    own(
        "tiers",
        Pool,
        Shape::List(&Shape::Tier),
        "[[\"db1::100\"], [\"db2\"]]",
        "The tiers, instead of `backends`. A tier is used while no backend in the tiers before it is \
         available",
    ),
    // [[pools.NAME.tiers]]
    own(
        "policy",
        Tier,
        Shape::Choice(POLICIES),
        "\"hash\"",
        "How this tier chooses [default: the pool's policy]",
    ),
    required(own(
        "backends",
        Tier,
        Shape::List(&Shape::Backend),
        "[\"db1\", \"db2\"]",
        "The backends: strings as on a command line, or tables",
    )),
    // { to = "..." }
    required(own(
        "to",
        Backend,
        Shape::Destination,
        "\"app2:8080\"",
        "The address: host, host:port, [v6]:port or unix:/path, or several: dns:name:port or \
         srv:name. Without a port, that of the pool's listeners",
    )),
    own(
        "name",
        Backend,
        Shape::Name,
        "\"blue\"",
        "A name for commands and the status, unique in the pool. A backend with a name keeps its \
         state and counters when its address changes",
    ),
    own(
        "max-sessions",
        Backend,
        Shape::Number { least: i32::MIN as i64, most: i32::MAX as i64 },
        "100",
        "Maximum number of open sessions; 0 means no limit, a negative number admits none \
         [default: 0]",
    ),
    own(
        "max-affine",
        Backend,
        Shape::Number { least: 0, most: i32::MAX as i64 },
        "120",
        "Maximum for clients that are remembered with this backend, if it is larger than \
         `max-sessions` [default: 0]",
    ),
    own(
        "weight",
        Backend,
        Shape::Number { least: 0, most: u32::MAX as i64 },
        "2",
        "Share of sessions under the policies `weighted`, `weighted-turn`, `least-weighted`, `two`, \
         `fastest`, `maglev` and `rendezvous`; 0 means none [default: 1]",
    ),
    own(
        "priority",
        Backend,
        Shape::Number { least: i32::MIN as i64, most: i32::MAX as i64 },
        "10",
        "Rank under the policy `priority`; the lowest is used first [default: 0]",
    ),
    own(
        "access",
        Backend,
        Shape::List(&Shape::Access),
        "[\"allow 10.1.0.0/16\"]",
        "Which clients may be sent here, as `access` in a pool [default: all]",
    ),
    own(
        "send-proxy",
        Backend,
        Shape::Choice(SEND_PROXY_FORMS),
        "\"v1\"",
        "As `send-proxy` in a pool, for this backend [default: the pool's]",
    ),
    own(
        "backend-tls",
        Backend,
        Shape::Choice(BACKEND_TLS),
        "\"off\"",
        "As `backend-tls` in a pool, for this backend [default: the pool's]",
    ),
    own(
        "backend-tls-name",
        Backend,
        Shape::Host,
        "\"app2.example.org\"",
        "As `backend-tls-name` in a pool, for this backend [default: the pool's]",
    ),
    own(
        "admin",
        Backend,
        Shape::Choice(ADMIN_STATES),
        "\"disabled\"",
        "Whether the backend takes new sessions [default: enabled]",
    ),
];

/// A key with the text and the value parser of the option of this name.
const fn option(name: &'static str, place: Place, shape: Shape, example: &'static str) -> Key {
    Key { name, place, shape, required: false, in_defaults: false, example, about: None }
}

/// A key without an option.
const fn own(
    name: &'static str,
    place: Place,
    shape: Shape,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { about: Some(about), ..option(name, place, shape, example) }
}

const fn required(key: Key) -> Key {
    Key { required: true, ..key }
}

/// The key may also stand in `[defaults]`.
const fn shared(key: Key) -> Key {
    Key { in_defaults: true, ..key }
}

const NAMES: Shape = Shape::OneOrMore(&Shape::Text);
const POSITIVE: Shape = Shape::Number { least: 1, most: u32::MAX as i64 };
const STREAK: Shape = Shape::Number { least: 1, most: STREAK_MAX as i64 };
const SOME_TIME: Shape = Shape::Duration { words: &[], zero: Zero::Refused };
const ANY_TIME: Shape = Shape::Duration { words: &[], zero: Zero::Zero };
const DEADLINE: Shape = Shape::Duration { words: &["never"], zero: Zero::Zero };
const TIME_OR_NEVER: Shape = Shape::Duration { words: &["never"], zero: Zero::Never };
const TIME_NEVER_OR_NOW: Shape = Shape::Duration { words: &["never", "now"], zero: Zero::Never };

const POLICIES: &[&str] = &words::<Policy, { Policy::WORDS.len() }>();
const SCOPES: &[&str] = &words::<FailoverScope, { FailoverScope::WORDS.len() }>();
const SPLICE_MODES: &[&str] = &words::<SpliceMode, { SpliceMode::WORDS.len() }>();
const SEND_PROXY_FORMS: &[&str] = &words::<SendProxy, { SendProxy::WORDS.len() }>();
const CLIENT_CERTIFICATES: &[&str] =
    &words::<ClientCertificates, { ClientCertificates::WORDS.len() }>();
const TLS_VERSIONS: &[&str] = &words::<TlsVersion, { TlsVersion::WORDS.len() }>();
const BACKEND_TLS: &[&str] = &words::<BackendTls, { BackendTls::WORDS.len() }>();
const STARTTLS: &[&str] = &words::<Starttls, { Starttls::WORDS.len() }>();
const ENGINES: &[&str] = &words::<Engine, { Engine::WORDS.len() }>();
const ON_UP: &[&str] = &words::<OnUp, { OnUp::WORDS.len() }>();
const ON_DOWN: &[&str] = &words::<OnDown, { OnDown::WORDS.len() }>();
const CUTS: &[&str] = &words::<Cut, { Cut::WORDS.len() }>();
const LOG_FORMATS: &[&str] = &words::<LogFormat, { LogFormat::WORDS.len() }>();
const TAP_ACCESS: &[&str] = &words::<TapAccess, { TapAccess::WORDS.len() }>();
const LOG_SESSIONS: &[&str] = &words::<LogSessions, { LogSessions::WORDS.len() }>();
const METRICS_DETAILS: &[&str] = &words::<MetricsDetail, { MetricsDetail::WORDS.len() }>();
const PROTOCOLS: &[&str] = &words::<Protocol, { Protocol::WORDS.len() }>();
const FAMILIES: &[&str] = &words::<Family, { Family::WORDS.len() }>();
const ADMIN_STATES: &[&str] = &words::<AdminState, { AdminState::WORDS.len() }>();

/// The words of a choice, without what they stand for.
const fn words<T: Choice, const N: usize>() -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = T::WORDS[at].0;
        at += 1;
    }
    words
}
