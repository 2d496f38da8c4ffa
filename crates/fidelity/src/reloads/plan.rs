//! A random configuration that changes step by step, written as a file for each proxy.

use std::fmt::Write;

use crate::dice::Dice;

/// What a proxy is to do: listeners on 127.0.0.1, each with a pool of local backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The listeners, those that must never change included.
    pub listeners: Vec<Listener>,
    /// The pools. One may be shared.
    pub pools: Vec<Pool>,
    /// Ports for listeners that come and go, with a name for each.
    spare: Vec<(String, u16)>,
    /// The ports of all backends.
    backends: Vec<u16>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// The name of its pool.
    pub pool: String,
    connect_timeout: u32,
}

/// A pool of one tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    policy: &'static str,
    quarantine: u32,
    /// Its backends, in order.
    pub backends: Vec<Backend>,
}

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Its port.
    pub port: u16,
    weight: u32,
    sessions_max: Option<u32>,
}

/// The listeners that are always there: the one for new clients, for long sessions, for bulk data;
/// and three that must not notice anything: `ping`, `turns` and `limited`.
pub const LISTENERS: [&str; 6] = ["new", "long", "bulk", "ping", "turns", "limited"];

/// The limit of each of the two backends of `limited`.
pub const LIMIT: u32 = 10;

impl Plan {
    /// The first plan. There must be three backends at least.
    pub fn new(ports: &[u16; 6], spare: &[u16], backends: &[u16]) -> Self {
        let all = |sessions_max: Option<u32>| {
            let backend = move |&port: &u16| Backend { port, weight: 1, sessions_max };
            backends.iter().map(backend).collect::<Vec<_>>()
        };
        let pool = |name: &&str| Pool {
            name: (*name).to_owned(),
            policy: "round-robin",
            quarantine: 10,
            backends: match *name {
                "ping" => all(None).drain(..1).collect(),
                "turns" => all(None).drain(..3).collect(),
                "limited" => all(Some(LIMIT)).drain(..2).collect(),
                _ => all(None),
            },
        };
        let listeners = LISTENERS.iter().zip(ports);
        let spare = spare.iter().enumerate();
        Self {
            pools: LISTENERS.iter().map(pool).collect(),
            listeners: listeners.map(|(name, port)| Listener::new(name, *port, name)).collect(),
            spare: spare.map(|(number, port)| (format!("spare{number}"), *port)).collect(),
            backends: backends.to_vec(),
        }
    }

    /// Changes one to four things, and never anything about `ping` or `turns`.
    pub fn change(&mut self, dice: &mut Dice) {
        let before = self.clone();
        while *self == before {
            for _ in 0..=dice.roll(4) {
                self.change_once(dice);
            }
        }
    }

    fn change_once(&mut self, dice: &mut Dice) {
        match dice.roll(8) {
            0..3 => self.toggle_backend(dice),
            3 => {
                let backends = &mut self.changing_pool(dice).backends;
                let (one, other) = (dice.roll(backends.len()), dice.roll(backends.len()));
                backends.swap(one, other);
            }
            4 => self.changing_pool(dice).policy = dice.pick(&POLICIES),
            5 => {
                let backends = &mut self.changing_pool(dice).backends;
                let place = dice.roll(backends.len());
                backends[place].weight = 1 + dice.roll(9) as u32;
            }
            6 => {
                let limited = 5;
                self.pools[limited].quarantine = 1 + dice.roll(60) as u32;
                self.listeners[limited].connect_timeout = 1 + dice.roll(9) as u32;
            }
            _ => self.toggle_spare(dice),
        }
    }

    /// One of the pools of the first three listeners.
    fn changing_pool(&mut self, dice: &mut Dice) -> &mut Pool {
        &mut self.pools[dice.roll(3)]
    }

    fn toggle_backend(&mut self, dice: &mut Dice) {
        let port = self.backends[dice.roll(self.backends.len())];
        let backends = &mut self.changing_pool(dice).backends;
        match backends.iter().position(|it| it.port == port) {
            Some(place) if backends.len() > 1 => drop(backends.remove(place)),
            Some(_) => {}
            None => {
                let place = dice.roll(backends.len() + 1);
                backends.insert(place, Backend { port, weight: 1, sessions_max: None });
            }
        }
    }

    /// Adds a listener, with a pool of its own or with that of `new`; or removes it.
    fn toggle_spare(&mut self, dice: &mut Dice) {
        let (name, port) = self.spare[dice.roll(self.spare.len())].clone();
        if self.listeners.iter().any(|it| it.name == name) {
            self.listeners.retain(|it| it.name != name);
            self.pools.retain(|it| it.name != name);
            return;
        }
        if dice.roll(3) == 0 {
            self.listeners.push(Listener::new(&name, port, "new"));
            return;
        }
        self.listeners.push(Listener::new(&name, port, &name));
        let backend = |&port: &u16| Backend { port, weight: 1, sessions_max: None };
        let count = 1 + dice.roll(self.backends.len());
        let backends = self.backends[..count].iter().map(backend).collect();
        self.pools.push(Pool { name, policy: "round-robin", quarantine: 10, backends });
    }

    /// The listeners that come and go and are there now.
    pub fn spare_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(|it| it.name.starts_with("spare"))
    }

    /// As a file for `evenkeel run`, after these lines.
    pub fn to_evenkeel(&self, process: &str) -> String {
        let mut text = process.to_owned();
        for listener in &self.listeners {
            let Listener { name, port, pool, connect_timeout } = listener;
            let _ = write!(
                text,
                "\n[listeners.{name}]\nbind = \"127.0.0.1:{port}\"\npool = \"{pool}\"\n\
                 connect-timeout = \"{connect_timeout}s\"\n"
            );
        }
        for Pool { name, policy, quarantine, backends } in &self.pools {
            let _ = write!(
                text,
                "\n[pools.{name}]\npolicy = \"{policy}\"\nquarantine = \"{quarantine}s\"\n\
                 backends = [\n"
            );
            for Backend { port, weight, sessions_max } in backends {
                let max = sessions_max.map(|max| format!(", max-sessions = {max}"));
                let max = max.unwrap_or_default();
                let weight = match *policy {
                    "weighted" => format!(", weight = {weight}"),
                    _ => String::new(),
                };
                let _ = writeln!(text, "  {{ to = \"127.0.0.1:{port}\"{weight}{max} }},");
            }
            text.push_str("]\n");
        }
        text
    }

    /// As a file for `haproxy -W`, after these lines.
    pub fn to_haproxy(&self, global: &str) -> String {
        let mut text = format!(
            "{global}\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
             timeout server 1h\n"
        );
        for Listener { name, port, pool, .. } in &self.listeners {
            let _ = write!(
                text,
                "frontend {name}\n  bind 127.0.0.1:{port}\n  default_backend pool-{pool}\n"
            );
        }
        for Pool { name, backends, .. } in &self.pools {
            let _ = writeln!(text, "backend pool-{name}");
            for Backend { port, weight, .. } in backends {
                let _ = writeln!(text, "  server s{port} 127.0.0.1:{port} weight {weight}");
            }
        }
        text
    }

    /// As a file for nginx, after these lines.
    pub fn to_nginx(&self, main: &str) -> String {
        let mut text = format!("{main}\nstream {{\n  proxy_timeout 1h;\n");
        for Pool { name, backends, .. } in &self.pools {
            let _ = writeln!(text, "  upstream pool-{name} {{");
            for Backend { port, weight, .. } in backends {
                let _ = writeln!(text, "    server 127.0.0.1:{port} weight={weight};");
            }
            text.push_str("  }\n");
        }
        for Listener { port, pool, .. } in &self.listeners {
            let _ =
                writeln!(text, "  server {{ listen 127.0.0.1:{port}; proxy_pass pool-{pool}; }}");
        }
        text + "}\n"
    }
}

impl Listener {
    fn new(name: &str, port: u16, pool: &str) -> Self {
        Self { name: name.to_owned(), port, pool: pool.to_owned(), connect_timeout: 5 }
    }
}

const POLICIES: [&str; 5] = ["round-robin", "least-sessions", "random", "weighted", "hash"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_leave_alone_what_must_not_notice_and_can_be_repeated() {
        let first = Plan::new(&[1, 2, 3, 4, 5, 6], &[7, 8], &[11, 12, 13, 14]);
        let mut plans = [first.clone(), first.clone()];
        for plan in &mut plans {
            let mut dice = Dice::new(7, 0);
            (0..200).for_each(|_| plan.change(&mut dice));
            assert!(plan.pools.iter().all(|pool| !pool.backends.is_empty()));
            for place in [3, 4] {
                assert_eq!(plan.listeners[place], first.listeners[place]);
                assert_eq!(plan.pools[place], first.pools[place]);
            }
        }
        assert_eq!(plans[0], plans[1]);
        assert_ne!(plans[0], first);
    }
}
