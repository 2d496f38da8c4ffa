//! The configuration file read again: what changes, what stays, and what is refused.

use super::support::{Backend, Client, Place, Port, Program, ask, ask_times, port, until};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;

/// An instance that was started from `lb.toml`.
struct Running {
    // First, so that it ends before its files go.
    program: Program,
    place: Place,
}

impl Running {
    #[track_caller]
    fn start(text: &str) -> Self {
        let place = Place::new();
        fs::write(place.file("lb.toml"), text).unwrap();
        Self { program: place.native("run lb.toml"), place }
    }

    /// Replaces the file.
    fn write(&self, text: &str) {
        fs::write(self.place.file("lb.toml"), text).unwrap();
    }

    /// Replaces the file and has it reloaded.
    #[track_caller]
    fn reload(&self, text: &str) {
        self.write(text);
        assert_eq!(self.place.run("evenkeel", "reload").check(0).stdout, "reloaded\n");
    }

    /// Replaces the file, which must be refused; returns what is said.
    #[track_caller]
    fn refusal(&self, text: &str) -> String {
        self.write(text);
        let said = self.place.run("evenkeel", "reload").check(1).stderr;
        assert!(said.starts_with("evenkeel reload: "), "{said}");
        said
    }

    /// A figure in kB from a file of proc(5).
    fn kb(&self, file: &str, name: &str) -> u64 {
        let pid = self.program.pid().as_raw_nonzero();
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The status without the age of the process.
    fn status(&self) -> String {
        let mut status = self.place.status();
        status["uptime_seconds"] = 0.into();
        status.to_string()
    }
}

/// A listener `web` with a pool `web`.
fn web(port: &Port, backends: &[&Backend]) -> String {
    pool("web", port, "web", &list(backends))
}

fn list(backends: &[&Backend]) -> String {
    let words: Vec<_> = backends.iter().map(|backend| format!("'{backend}'")).collect();
    words.join(", ")
}

/// A listener with a pool, both of these names.
fn pool(listener: &str, port: &Port, pool: &str, backends: &str) -> String {
    format!(
        "[listeners.{listener}]\nbind = {port}\npool = '{pool}'\n\
         [pools.{pool}]\nbackends = [{backends}]\n"
    )
}

#[test]
fn a_reload_sends_new_clients_elsewhere_and_cuts_nobody() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    let client = Client::connect(&port);
    client.expect("a\n");
    running.reload(&web(&port, &[&b]));
    assert_eq!(ask_times(&port, 3), "b b b");
    client.send("still there");
    client.expect("still there");
    let departed = || running.place.status()["departed_backends"].clone();
    assert_eq!(departed()[0]["pool"], "web");
    assert_eq!(departed()[0]["backend"]["endpoint"], a.to_string());
    assert_eq!(departed()[0]["backend"]["sessions"], 1);
    drop(client);
    until("the departed backend to be gone", || departed().as_array().unwrap().is_empty());
    let line = running.program.log.wait("configuration reloaded");
    for part in ["revision=2", "changes=2", "by=", "hash="] {
        assert!(line.contains(part), "{line}");
    }
    let changes = running.program.log.with("configuration changed");
    assert!(
        changes.iter().any(|it| it.contains(&format!("backend web/{b}: added"))),
        "{changes:?}"
    );
}

#[test]
fn hangup_reloads() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let mut running = Running::start(&web(&port, &[&a]));
    running.write(&web(&port, &[&b]));
    running.program.signal(Signal::HUP);
    running.program.log.wait("by=SIGHUP");
    assert_eq!(ask(&port), "b");
}

#[test]
fn a_watched_file_is_reloaded_when_a_link_to_its_directory_is_replaced() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let place = Place::new();
    // As Kubernetes mounts a ConfigMap: ..data is replaced by another link.
    let write = |dir: &str, backend: &Backend| {
        fs::create_dir(place.file(dir)).unwrap();
        let text = format!("[process]\nwatch = true\n{}", web(&port, &[backend]));
        fs::write(place.file(dir).join("lb.toml"), text).unwrap();
    };
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, place.file(name)).unwrap();
    write("one", &a);
    write("two", &b);
    link("one", "..data");
    link("..data/lb.toml", "lb.toml");
    let program = place.native("run lb.toml");
    assert_eq!(ask(&port), "a");
    link("two", "..new");
    fs::rename(place.file("..new"), place.file("..data")).unwrap();
    program.log.wait("by=watch");
    assert_eq!(ask(&port), "b");
}

#[test]
fn a_file_with_errors_changes_nothing_and_all_of_them_are_named() {
    let (port, a) = (port(), Backend::named("a"));
    let good = web(&port, &[&a]);
    let running = Running::start(&good);
    let before = running.status();
    let bad = good.replace("bind", "bnid").replace("backends =", "backend =");
    let said = running.refusal(&bad);
    let file = running.place.file("lb.toml");
    for place in [format!("{}:2:1", file.display()), format!("{}:5:1", file.display())] {
        assert!(said.contains(&place), "{said}");
        running.program.log.wait(&place);
    }
    running.program.log.wait("reload refused; nothing has changed");
    assert_eq!(running.status(), before);
    fs::remove_file(&file).unwrap();
    let said = running.place.run("evenkeel", "ctl reload").check(1).stderr;
    assert!(said.contains("cannot read") && said.contains("lb.toml"), "{said}");
    assert_eq!(running.status(), before);
    assert_eq!(ask(&port), "a");
}

#[test]
fn when_one_of_forty_new_addresses_is_taken_nothing_changes() {
    let (first, a) = (port(), Backend::named("a"));
    let ports: Vec<Port> = (0..40).map(|_| port()).collect();
    let good = web(&first, &[&a]);
    let running = Running::start(&good);
    let before = running.status();
    let more = ports.iter().enumerate().map(|(number, port)| {
        format!("[listeners.new{number}]\nbind = '127.0.0.1:{port}'\npool = 'web'\n")
    });
    let all = format!("{good}{}", more.collect::<String>());
    let taken = TcpListener::bind(("127.0.0.1", ports[36].number())).unwrap();
    let said = running.refusal(&all);
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{}", ports[36])), "{said}");
    assert_eq!(running.status(), before);
    for port in ports.iter().filter(|port| port.number() != ports[36].number()) {
        // Nobody listens there.
        drop(TcpListener::bind(("127.0.0.1", port.number())).unwrap());
    }
    drop(taken);
    running.reload(&all);
    assert_eq!(ask(&ports[36]), "a");
}

#[test]
fn what_a_command_has_set_stays_until_the_file_changes_that_key() {
    let (port, a) = (port(), Backend::named("a"));
    let text = |max: u32, weight: u32| {
        pool(
            "web",
            &port,
            "web",
            &format!("{{ to = '{a}', max-sessions = {max}, weight = {weight} }}"),
        )
    };
    let running = Running::start(&text(5, 1));
    let max = || running.place.backend(0, 0)["sessions_max"].clone();
    running.place.ctl("limit 0.0 9").check(0);
    running.reload(&text(5, 2));
    assert_eq!(max(), 9);
    running.reload(&text(6, 2));
    assert_eq!(max(), 6);
    let line = running.program.log.wait("the file has changed what a command had set");
    assert!(line.contains("max-sessions"), "{line}");
}

#[test]
fn a_backend_that_a_command_has_added_is_the_one_that_the_file_names_later() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    running.place.ctl(&format!("add 0 {b}")).check(0);
    running.place.ctl("enable 0.1").check(0);
    assert_eq!(ask_times(&port, 2), "a b");
    running.reload(&web(&port, &[&a, &b]));
    let pools = running.place.status()["pools"].clone();
    let backends = pools[0]["tiers"][0]["backends"].as_array().unwrap().clone();
    assert_eq!(backends.len(), 2);
    assert_eq!(backends[1]["attempts_total"], 1);
}

#[test]
fn a_backend_that_commands_have_removed_and_added_again_is_the_one_of_the_file() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let text = |rest: &str| pool("web", &port, "web", &format!("{{ to = '{a}'{rest} }}, '{b}'"));
    let running = Running::start(&text(""));
    let last = || {
        let tier = running.place.status()["pools"][0]["tiers"][0].clone();
        let backend = tier["backends"].as_array().unwrap().last().unwrap().clone();
        let name = if backend["endpoint"] == a.to_string() { "a" } else { "b" };
        format!("{name} {} {}", backend["admin"], backend["sessions_max"]).replace('"', "")
    };
    running.place.ctl(&format!("remove {a}")).check(0);
    running.place.ctl(&format!("add 0 {a}")).check(0);
    assert_eq!(last(), "a disabled 0");
    running.reload(&text(", max-sessions = 7"));
    assert_eq!(last(), "a disabled 7", "only what the file has changed applies");
    running.place.ctl(&format!("enable {a}")).check(0);
    running.place.ctl(&format!("limit {a} 9")).check(0);
    running.reload(&text(", max-sessions = 8, admin = 'draining'"));
    assert_eq!(last(), "a draining 8");
    let line = running.program.log.wait("the file has changed what a command had set");
    assert!(line.contains("max-sessions"), "{line}");
    running.reload(&web(&port, &[&b]));
    assert_eq!(last(), "b enabled 0", "the file has dropped the other");
}

#[test]
fn an_unconfirmed_reload_is_taken_back_without_what_was_set_meanwhile() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    let client = Client::connect(&port);
    client.expect("a\n");
    running.write(&web(&port, &[&b]));
    let said = running.place.run("evenkeel", "reload --confirm 2s").check(0).stdout;
    assert!(said.contains("ctl confirm"), "{said}");
    assert_eq!(ask(&port), "b");
    assert!(running.place.status()["unconfirmed_seconds"].is_number());
    running.place.ctl("policy 0 random").check(0);
    running.program.log.wait("reload not confirmed: taken back");
    assert_eq!(ask(&port), "a");
    let tier = || running.place.status()["pools"][0]["tiers"][0].clone();
    assert_eq!(tier()["policy"], "random");
    // The backend that comes back is the one that left: its session still counts, when that of the
    // question has ended.
    until("one session", || tier()["backends"][0]["sessions"] == 1);
    assert_eq!(running.place.ctl("confirm").check(1).stderr.lines().count(), 1);
}

#[test]
fn a_confirmed_reload_stays() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    running.write(&web(&port, &[&b]));
    running.place.run("evenkeel", "ctl reload --confirm 1h").check(0);
    running.place.ctl("confirm").check(0);
    running.program.log.wait("reload confirmed");
    assert!(running.place.status()["unconfirmed_seconds"].is_null());
    assert_eq!(ask(&port), "b");
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    let (port, a) = (port(), Backend::named("a"));
    let good = web(&port, &[&a]);
    let running = Running::start(&good);
    let said = running.refusal(&format!("[process]\nworkers = 3\nlog-format = 'json'\n{good}"));
    for key in ["workers", "log-format"] {
        let way_out = "restart it, or run `evenkeel upgrade`";
        let reason = format!("{key} cannot change while the balancer runs: {way_out}");
        assert!(said.contains(&reason), "{said}");
    }
}

#[test]
fn a_listener_can_get_another_name_and_sessions_of_a_removed_one_go_on() {
    let (port, a) = (port(), Backend::named("a"));
    let running = Running::start(&pool("old", &port, "web", &list(&[&a])));
    let client = Client::connect(&port);
    client.expect("a\n");
    running.reload(&pool("new", &port, "web", &list(&[&a])));
    assert_eq!(ask(&port), "a");
    client.send("x");
    client.expect("x");
    let status = running.place.status();
    assert_eq!(status["listeners"][0]["name"], "new");
    assert_eq!(status["departed_listeners"][0]["name"], "old");
    assert_eq!(status["departed_listeners"][0]["sessions"], 1);
    let sessions = running.place.ctl("sessions --json").check(0).stdout;
    assert!(sessions.contains(&format!("*:{port}")), "{sessions}");
}

#[test]
fn diff_shows_what_a_reload_would_change_and_what_commands_have_set() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    let diff = || running.place.run("evenkeel", "diff");
    assert_eq!(diff().check(0).stdout, "");
    running.place.ctl("limit 0.0 9").check(0);
    running.write(&web(&port, &[&a, &b]));
    let said = diff().check(1).stdout;
    let (reload, commands) = said.split_once("+++ running").unwrap();
    assert!(reload.contains("[pools.web]") && reload.contains(&b.to_string()), "{said}");
    assert!(!commands.contains(&b.to_string()), "{said}");
    assert!(commands.contains(&format!("{a}:9")), "{said}");
    let config = running.place.ctl("config").check(0).stdout;
    assert!(config.contains("[listeners.web]") && config.contains(&format!("{a}:9")), "{config}");
    running.write("[");
    assert!(diff().check(2).stderr.contains("lb.toml:1:"));
}

#[test]
fn files_that_have_not_changed_are_not_applied_again() {
    let (port, a) = (port(), Backend::named("a"));
    let running = Running::start(&web(&port, &[&a]));
    let said = running.place.run("evenkeel", "reload").check(0).stdout;
    assert_eq!(said, "nothing has changed\n");
    assert_eq!(running.place.status()["revision"], 1);
}

#[test]
fn an_instance_without_a_file_says_that_there_is_none() {
    let (place, port, a) = (Place::new(), port(), Backend::named("a"));
    let _evenkeel = place.native(&format!("{port} {a}"));
    let said = place.ctl("reload").check(1).stderr;
    assert!(said.contains("no configuration file to reload"), "{said}");
}

#[test]
fn what_a_reload_needed_leaves_the_memory_again() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a]));
    let pid = running.program.pid().as_raw_nonzero();
    let is_below_peak = || running.kb("status", "VmRSS:") + 1024 < running.kb("status", "VmHWM:");
    until("memory of the start to be released", is_below_peak);
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap(); // the peak begins anew: proc(5)
    running.reload(&web(&port, &[&b]));
    until("memory of the reload to be released", is_below_peak);
    assert_eq!(ask(&port), "b");
}

#[test]
fn ten_thousand_removed_backends_leave_the_memory_again() {
    let (port, a) = (port(), Backend::named("a"));
    let text = |number: u8| {
        let word = |at: u16| format!("'10.{number}.{}.{}:1', ", at / 256, at % 256);
        let idle: String = (0..10_000).map(word).collect();
        format!("{}[pools.idle]\nbackends = [{idle}]\n", web(&port, &[&a]))
    };
    let running = Running::start(&text(1));
    let is_below_peak = || running.kb("status", "VmRSS:") + 1024 < running.kb("status", "VmHWM:");
    until("memory of the start to be released", is_below_peak);
    let used = || running.kb("smaps_rollup", "Pss_Anon:");
    let before = used();
    for number in [2, 3] {
        running.reload(&text(number));
    }
    // All of them take 12 MB. What is left is pages that others share with them.
    until("memory of removed backends to be released", || used() < before + 7000);
}

#[test]
fn the_log_names_what_a_command_had_removed() {
    let (port, a, b) = (port(), Backend::named("a"), Backend::named("b"));
    let running = Running::start(&web(&port, &[&a, &b]));
    running.place.ctl(&format!("remove {a}")).check(0);
    running.reload(&web(&port, &[&b]));
    running.program.log.wait(&format!("backend web/{a}: removed"));
    assert_eq!(ask_times(&port, 2), "b b");
}
