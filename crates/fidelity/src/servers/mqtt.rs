//! mosquitto: messages with an acknowledgement each, live and kept for a subscriber.

use std::fs::{File, read_to_string};

use super::place::{Place, Servers, check, command, tried};
use crate::Check;

/// One broker that listens on every port, because publisher and subscriber must meet.
pub fn start(place: &Place, ports: &[u16]) -> Check<Servers> {
    let listeners: String =
        ports.iter().map(|port| format!("listener {port} 127.0.0.1\n")).collect();
    let config = place.write("mosquitto.conf", listeners + CONFIG)?;
    let broker = place.server(ports, &mut command("mosquitto", ["-c", &config]))?;
    Ok(vec![Box::new(broker)])
}

/// Two subscribers register first, so that it does not matter when they are ready: one then
/// listens during the publishing, the other one comes later.
pub fn exercise(place: &Place, port: u16, _servers: &mut Servers) -> Check {
    let port = port.to_string();
    let subscriber = |id: &str, how: &[&str]| {
        let args = ["-h", "127.0.0.1", "-p", &port, "-t", "test", "-q", "1", "-c", "-i", id];
        command("mosquitto_sub", args.iter().chain(how))
    };
    for id in ["live", "late"] {
        // -E: exit as soon as the broker has acknowledged the subscription.
        place.client(&mut subscriber(id, &["-E"]))?;
    }
    let mut live = place.background("live", &mut subscriber("live", &["-C", COUNT]))?;
    let messages = messages();
    let input = place.write("messages", &messages)?;
    let args = ["-h", "127.0.0.1", "-p", &port, "-t", "test", "-q", "1", "-l"];
    let mut publisher = command("mosquitto_pub", args);
    place.client(publisher.stdin(tried("the messages to be read", File::open(input))?))?;
    let status = live.wait(place.deadline())?;
    let received = tried("messages to be text", read_to_string(place.path("live")))?;
    check(status.success() && received == messages, "1000 messages live", shown(&received))?;
    let received = place.client(&mut subscriber("late", &["-C", COUNT]))?;
    check(received == messages, "1000 kept messages", shown(&received))
}

fn messages() -> String {
    (0..1000).map(|number| format!("message {number}\n")).collect()
}

fn shown(received: &str) -> String {
    format!("{} lines, or in another order", received.lines().count())
}

const COUNT: &str = "1000";

const CONFIG: &str = "
allow_anonymous true
persistence false
log_dest stderr
max_queued_messages 5000
max_inflight_messages 100
";
