//! Real servers behind the proxy, and their own clients in front of it.
//!
//! What the conformance suite asks byte by byte is asked here by programs that nobody here wrote.
//! Each case has a temporary directory and free ports of 127.0.0.1, and ends what it started.
//! With [`Options::lose_one`] nobody listens at `{B1}`, and the service must work all the same.
//!
//! A missing program makes a visible `SKIP`; with [`Options::require_all`] or
//! `EVENKEEL_TEST_ALL=1` in the environment, a failure.

mod files;
mod ldap;
mod mqtt;
pub(crate) mod place;
mod postgres;
mod redis;
mod transfer;
pub(crate) mod web;
mod websocket;

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    Check, Claim, Failure, Options, Outcome, Report, Verdict, command_line::Program, stage::Proxy,
};
use place::{Place, Servers, find};

/// One service, and what its clients do.
#[derive(Debug)]
pub struct ServerCase {
    /// Its name, for `--only` and the report.
    pub name: &'static str,
    /// What must work, in one line.
    pub asks: &'static str,
    /// Programs it needs, each with the Debian package that has it.
    pub(crate) needs: &'static [(&'static str, &'static str)],
    pub(crate) ports: ServerPorts,
    /// Starts what serves the ports: two, or one when the other is lost.
    pub(crate) start: fn(&Place, &[u16]) -> Check<Servers>,
    /// Runs the clients against the proxy's port.
    pub(crate) exercise: fn(&Place, u16, &mut Servers) -> Check,
}

/// What `{B1}` and `{B2}` are while none is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerPorts {
    /// Two ports, of two servers or of one that listens twice.
    Two,
    /// The same port twice, for a server that listens once and keeps what clients leave with it.
    SameTwice,
}

/// Every service, in the order in which they run.
pub const SERVER_CASES: &[ServerCase] = &[
    ServerCase {
        name: "nginx",
        asks: "wrk gets only status 200 and no socket error, with and without keep-alive",
        needs: &[("nginx", "nginx"), ("wrk", "wrk")],
        ports: ServerPorts::Two,
        start: web::start_nginx,
        exercise: web::exercise_wrk,
    },
    ServerCase {
        name: "postgresql",
        asks: "COPY of 80 MB in and out gives the same rows",
        needs: &[
            ("postgres", "postgresql"),
            ("initdb", "postgresql"),
            ("psql", "postgresql-client"),
        ],
        ports: ServerPorts::SameTwice,
        start: postgres::start,
        exercise: postgres::exercise,
    },
    ServerCase {
        name: "redis",
        asks: "redis-benchmark pipelines 16 deep without errors, and values come back exactly",
        needs: &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")],
        ports: ServerPorts::Two,
        start: redis::start,
        exercise: redis::exercise,
    },
    ServerCase {
        name: "openldap",
        asks: "every search succeeds, also after one of two slapd is killed",
        needs: &[("slapd", "slapd"), ("slapadd", "slapd"), ("ldapsearch", "ldap-utils")],
        ports: ServerPorts::Two,
        start: ldap::start,
        exercise: ldap::exercise,
    },
    ServerCase {
        name: "scp",
        asks: "64 MB arrive unchanged in both directions",
        needs: &[
            ("sshd", "openssh-server"),
            ("scp", "openssh-client"),
            ("ssh-keygen", "openssh-client"),
        ],
        ports: ServerPorts::Two,
        start: transfer::start_sshd,
        exercise: transfer::exercise_scp,
    },
    ServerCase {
        name: "vsftpd",
        asks: "a file arrives unchanged in passive and in active mode",
        needs: &[("vsftpd", "vsftpd"), ("curl", "curl")],
        ports: ServerPorts::Two,
        start: transfer::start_vsftpd,
        exercise: transfer::exercise_ftp,
    },
    ServerCase {
        name: "mosquitto",
        asks: "1000 messages of QoS 1 arrive in order, live and kept",
        needs: &[
            ("mosquitto", "mosquitto"),
            ("mosquitto_pub", "mosquitto-clients"),
            ("mosquitto_sub", "mosquitto-clients"),
        ],
        ports: ServerPorts::Two,
        start: mqtt::start,
        exercise: mqtt::exercise,
    },
    ServerCase {
        name: "websocket",
        asks: "frames of 5 bytes to 100 kB, a ping and a close are answered",
        needs: &[],
        ports: ServerPorts::Two,
        start: websocket::start,
        exercise: websocket::exercise,
    },
    ServerCase {
        name: "iperf3",
        asks: "a second of traffic in each direction without an error",
        needs: &[("iperf3", "iperf3")],
        ports: ServerPorts::SameTwice,
        start: web::start_iperf3,
        exercise: web::exercise_iperf3,
    },
];

/// A program that runs the chosen of `cases`, with the arguments of this process.
pub fn main(name: &'static str, usage: &'static str, cases: &'static [ServerCase]) -> ExitCode {
    let run = |options: &_, tell: &mut dyn FnMut(&_)| run_and_tell(cases, options, tell);
    let cases = cases.iter().map(|case| (case.name, case.asks)).collect();
    Program { name, usage, cases, run }.main()
}

/// Runs the chosen services of `cases` behind the proxy of `options`.
pub fn run(cases: &[ServerCase], options: &Options) -> Report {
    run_and_tell(cases, options, |_| {})
}

/// Like [`run`], but reports each outcome as soon as it is known.
pub fn run_and_tell(
    cases: &[ServerCase],
    options: &Options,
    mut tell: impl FnMut(&Outcome),
) -> Report {
    let mut report = Report::default();
    for round in 1..=options.rounds {
        for case in cases.iter().filter(|case| options.is_chosen(case.name)) {
            let start = Instant::now();
            let verdict = verdict(case, options);
            let name = options.round_name(case.name, round);
            let outcome = Outcome { name, verdict, time: start.elapsed() };
            tell(&outcome);
            report.outcomes.push(outcome);
        }
    }
    report
}

fn verdict(case: &ServerCase, options: &Options) -> Verdict {
    let is_told_so = env::var_os("EVENKEEL_TEST_ALL").is_some_and(|all| all == "1");
    if let Some(verdict) = missing(case.needs, options.require_all || is_told_so) {
        return verdict;
    }
    match play(case, options) {
        Ok(()) => Verdict::Ok,
        Err(failure) => Verdict::Fail(failure),
    }
}

/// The verdict on a case that needs a program which is not here.
fn missing(needs: &[(&str, &str)], is_required: bool) -> Option<Verdict> {
    let (program, package) = needs.iter().find(|(program, _)| find(program).is_none())?;
    let needs = format!("{program} (apt-get install {package})");
    Some(if is_required {
        Verdict::Fail(Failure::new(needs, "no such program"))
    } else {
        Verdict::Skip { needs }
    })
}

fn play(case: &ServerCase, options: &Options) -> Check {
    let deadline = Instant::now() + BUDGET.mul_f64(options.timeout_scale);
    let claim = || Claim::new().map_err(|error| Failure::new("a free port for a server", error));
    let claims = [claim()?, claim()?];
    let [first, second] = claims.each_ref().map(Claim::port);
    let (serving, backends) = match (options.lose_one, case.ports) {
        (true, _) => (vec![second], [first, second]),
        (false, ServerPorts::Two) => (vec![first, second], [first, second]),
        (false, ServerPorts::SameTwice) => (vec![second], [second, second]),
    };
    // In this order, so that they end the other way round: proxy, servers, directory.
    let place = Place::new(options.host(), deadline)?;
    let mut servers = (case.start)(&place, &serving)?;
    let mut proxy = Proxy::start(options, backends, deadline)?;
    (case.exercise)(&place, proxy.port(), &mut servers)?;
    proxy.check_alive()
}

/// All of one case, its servers' start included.
const BUDGET: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_skipped_or_fails() {
        assert_eq!(missing(&[("sh", "dash")], true), None);
        let needs = [("sh", "dash"), ("no-such-program", "nothing")];
        let named = "no-such-program (apt-get install nothing)".to_owned();
        assert_eq!(missing(&needs, false), Some(Verdict::Skip { needs: named.clone() }));
        let failure = Failure::new(named, "no such program");
        assert_eq!(missing(&needs, true), Some(Verdict::Fail(failure)));
    }
}
