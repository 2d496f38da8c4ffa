//! Agents of HAProxy's protocol: what they say about backends, and what operators see of it.

use crate::support::{Backend, Place, Port, Program, ask_often, ask_times, port, until};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};

/// An agent for two backends: of `a`, it says what the test wants, and that `b` is up.
struct Agent {
    at: Backend,
    line: Arc<Mutex<String>>,
}

impl Agent {
    fn new(line: &str) -> Self {
        let line = Arc::new(Mutex::new(line.to_owned()));
        let says = Arc::clone(&line);
        let at = Backend::new(move |client| {
            let line = match &*client.line() {
                "a" => says.lock().unwrap().clone(),
                _ => "up\n".to_owned(),
            };
            client.send(line);
            client.finish();
            drop(client.rest());
        });
        Self { at, line }
    }

    fn say(&self, line: &str) {
        line.clone_into(&mut self.line.lock().unwrap());
    }
}

/// An instance with the backends `a` and `b`.
struct Stage {
    place: Place,
    port: Port,
    evenkeel: Program,
    _backends: [Backend; 2],
}

fn stage(agent: &Agent, keys: &str) -> Stage {
    let (place, port) = (Place::new(), port());
    let [a, b] = ["a", "b"].map(Backend::named);
    let file = place.file("agents.toml");
    let text = format!(
        "[listeners.main]\nbind = \"127.0.0.1:{port}\"\npool = \"main\"\n[pools.main]\n\
         agent = '{} send=\"{{backend}}\\n\"'\nagent-interval = \"500ms\"\n{keys}\n\
         backends = [{{ to = \"{a}\", name = \"a\" }}, {{ to = \"{b}\", name = \"b\" }}]\n",
        agent.at
    );
    fs::write(&file, text).unwrap();
    let evenkeel = place.native(&format!("run {}", file.display()));
    Stage { place, port, evenkeel, _backends: [a, b] }
}

impl Stage {
    fn row(&self) -> Value {
        self.place.backend(0, 0)
    }

    #[track_caller]
    fn wait_for(&self, key: &str, value: &Value) {
        until(&format!("{key}: {value}"), || self.row()["agent"][key] == *value);
    }

    /// How many of 400 sessions, all open at once, `a` gets.
    fn share_of_a(&self) -> usize {
        let (answers, _open) = ask_often(&self.port, 400);
        answers.get("a").copied().unwrap_or_default()
    }
}

#[test]
fn an_agent_gives_its_backend_a_part_of_its_sessions() {
    let agent = Agent::new("25% # busy");
    let stage = stage(&agent, "policy = \"least-weighted\"");
    // The start waits for the first answers: nothing is to be waited for here.
    assert_eq!(stage.share_of_a(), 80, "a quarter for a, to the whole of b");
    assert_eq!(stage.row()["agent"]["says"], "25% # busy");
    let text = stage.place.ctl("status").check(0).stdout;
    assert!(text.contains(&format!("0.0: agent {} says \"25% # busy\" for ", agent.at)), "{text}");
    agent.say("100%\r\n");
    stage.wait_for("share_percent", &json!(100));
    until("no sessions", || stage.place.sessions() == 0);
    assert_eq!(stage.share_of_a(), 200);
    agent.say("MAXCONN:3,100%\n");
    stage.wait_for("sessions_max", &json!(3));
    until("no sessions", || stage.place.sessions() == 0);
    assert_eq!(stage.share_of_a(), 3);
    assert_eq!(stage.row()["sessions_max"], 3);
}

#[test]
fn drain_holds_until_the_agent_says_ready() {
    let agent = Agent::new("up\n");
    let stage = stage(&agent, "");
    assert_eq!(ask_times(&stage.port, 4), "a b a b");
    agent.say("drain # kernel update\n");
    stage.evenkeel.log.wait("backend takes no new sessions");
    assert_eq!(ask_times(&stage.port, 3), "b b b");
    let why = stage.place.ctl("why 127.0.0.1").check(0).stdout;
    assert!(why.contains("its agent says \"drain # kernel update\""), "{why}");
    let text = stage.place.ctl("status").check(0).stdout;
    assert!(text.contains("draining"), "{text}");
    agent.say("up 100%\n");
    stage.wait_for("says", &json!("up 100%"));
    assert_eq!(ask_times(&stage.port, 3), "b b b");
    agent.say("ready\n");
    stage.evenkeel.log.wait("backend takes new sessions again");
    assert!(ask_times(&stage.port, 2).contains('a'));
}

#[test]
fn down_is_down_until_up_and_an_agent_that_is_gone_is_forgotten() {
    let agent = Agent::new("down # disk is full\n");
    let stage = stage(&agent, "probe = \"tcp\"\nprobe-interval = \"100ms\"");
    // Not one session goes there after a start, though probes pass.
    assert_eq!(ask_times(&stage.port, 3), "b b b");
    assert_eq!(stage.row()["health"], "down");
    let line = stage.evenkeel.log.wait("backend down");
    assert!(line.contains("its agent says \\\"down # disk is full\\\""), "{line}");
    until("a probe", || stage.row()["probe"]["verdict"] == "up");
    assert_eq!(stage.row()["health"], "down");
    agent.say("up\n");
    stage.evenkeel.log.wait("backend up");
    assert!(ask_times(&stage.port, 2).contains('a'));

    agent.say("stopped\n");
    until("down", || stage.row()["health"] == "down");
    // Nonsense is no answer, and neither is a connection that is refused.
    agent.say("HTTP/1.0 400 Bad Request\r\n");
    stage
        .wait_for("last_error", &json!("said nothing that is known: \"HTTP/1.0 400 Bad Request\""));
    agent.at.stop();
    stage.wait_for("last_error", &json!("connection refused"));
    until("up", || stage.row()["health"] == "healthy");
    assert_eq!(stage.row()["agent"]["says"], Value::Null);
    assert!(ask_times(&stage.port, 2).contains('a'));
}

#[test]
fn what_an_operator_commands_wins() {
    let agent = Agent::new("maint maxconn:1\n");
    let stage = stage(&agent, "");
    assert_eq!(ask_times(&stage.port, 2), "b b");
    stage.place.ctl("enable 0.0").check(0);
    assert_eq!(ask_times(&stage.port, 2).matches('a').count(), 1);
    assert_eq!(stage.row()["agent"]["is_overruled"], true);
    let text = stage.place.ctl("status").check(0).stdout;
    assert!(text.contains("but an operator has enabled it"), "{text}");
    // What it repeats, and what it says of the same kind, does not count before it has agreed.
    agent.say("drain\n");
    stage.wait_for("says", &json!("drain"));
    assert_eq!(ask_times(&stage.port, 2).matches('a').count(), 1);
    agent.say("ready\n");
    stage.wait_for("is_overruled", &json!(false));
    agent.say("drain\n");
    stage.evenkeel.log.wait("backend takes no new sessions");
    until("drained", || ask_times(&stage.port, 2) == "b b");

    agent.say("ready maxconn:2\n");
    until("the limit", || stage.row()["sessions_max"] == 2);
    stage.place.ctl("limit 0.0 50").check(0);
    assert_eq!(stage.row()["sessions_max"], 50);
    agent.say("ready maxconn:3\n");
    stage.wait_for("sessions_max", &json!(3));
    assert_eq!(stage.row()["sessions_max"], 50);
    stage.place.ctl("limit 0.0 0").check(0);
    assert_eq!(stage.row()["sessions_max"], 3);

    stage.place.ctl("disable 0.0").check(0);
    agent.say("ready up 100%\n");
    stage.wait_for("says", &json!("ready up 100%"));
    assert_eq!(ask_times(&stage.port, 2), "b b");
    assert_eq!(stage.row()["admin"], "disabled");
}

#[test]
fn a_reload_without_an_agent_takes_its_advice_back() {
    let agent = Agent::new("down maxconn:2 drain\n");
    let stage = stage(&agent, "");
    until("down", || stage.row()["health"] == "down");
    let file = stage.place.file("agents.toml");
    let text = fs::read_to_string(&file).unwrap();
    let other = text.replace("100ms", "150ms");
    fs::write(&file, &other).unwrap();
    stage.place.ctl("reload").check(0);
    assert_eq!(stage.row()["health"], "down", "another interval forgets nothing");
    assert_eq!(ask_times(&stage.port, 2), "b b");
    let lines = other.lines().filter(|line| !line.starts_with("agent"));
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    stage.place.ctl("reload").check(0);
    assert_eq!(stage.row()["agent"], Value::Null);
    assert_eq!(
        (&stage.row()["health"], &stage.row()["sessions_max"]),
        (&json!("unknown"), &json!(0))
    );
    assert_eq!(ask_times(&stage.port, 2).matches('a').count(), 1);
}
