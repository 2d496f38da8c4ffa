//! Whether each line of a log has the whole life of its session.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;

use crate::clients::Life;

/// What is wrong in a log, in JSON, about the sessions with these lives.
pub fn compare(log: &str, lives: &[Life]) -> Vec<String> {
    let mut ended: HashMap<String, Vec<Value>> = HashMap::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if line["message"] == "session ended" {
            let client = line["client"].as_str().unwrap_or_default().to_owned();
            ended.entry(client).or_default().push(line);
        }
    }
    let wrong = |life: &Life| {
        let none = Vec::new();
        let lines = ended.get(&life.client.to_string()).unwrap_or(&none);
        // Later sessions may have had the same address.
        match lines.iter().any(|line| is_life_of(line, life)) {
            true => None,
            false => Some(format!("{life:?} is logged as {lines:?}")),
        }
    };
    lives.iter().filter_map(wrong).collect()
}

fn is_life_of(line: &Value, life: &Life) -> bool {
    let took = Duration::from_secs_f64(line["duration"].as_f64().unwrap_or_default());
    line["sent"] == life.sent && line["received"] == life.received && took + SLACK > life.took
}

/// A client that waits in a queue has connected before the proxy accepts it.
const SLACK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn bytes_and_duration_must_be_those_of_the_whole_life() {
        let life = Life {
            client: ([127, 0, 0, 1], 7).into(),
            begun: Instant::now(),
            took: Duration::from_secs(9),
            sent: 5,
            received: 6,
        };
        let line = |sent: u64, duration: f64| {
            format!(
                "{{\"message\":\"session ended\",\"client\":\"127.0.0.1:7\",\"sent\":{sent},\
                 \"received\":6,\"duration\":{duration}}}\n"
            )
        };
        let count = |log: &str| compare(log, &[life]).len();
        assert_eq!(count(&line(5, 9.1)), 0);
        assert_eq!(count(&(line(1, 1.0) + &line(5, 9.1))), 0);
        assert_eq!(count(&line(5, 1.0)), 1, "it began anew");
        assert_eq!(count(&line(4, 9.1)), 1, "a byte is missing");
        assert_eq!(count(""), 1);
    }
}
