//! What agents say about backends, and what comes of it.
//!
//! An agent's advice comes last: what an operator has commanded about a backend is not changed by
//! it. The advice itself is folded by [`probing::Agent`].

use crate::prober::{Definition, Question, Target};
use balancing::BackendState;
use config::PeriodicAgent;
use probing::{Advice, AgentAddress, Standing};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use telemetry::AgentRow;
use terms::{Address, Instant, Limit};

/// A backend with an agent.
pub(crate) struct Advised {
    pub target: Arc<Target>,
    state: Arc<BackendState>,
    advice: Advice,
    since: Instant,
    /// The backend's limit without its agent.
    limit: Limit,
    /// Whether an operator has set this limit.
    keeps_limit: bool,
    /// Whether an operator has enabled the backend although the agent wanted no sessions. Until the
    /// agent agrees, what it says about that does not count.
    is_overruled: bool,
}

/// Whether new sessions come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No longer.
    Closed,
    /// Again.
    Open,
}

impl Advised {
    /// The agent of a backend with this limit. What was known about it before is `known`.
    pub fn new(
        target: Arc<Target>,
        state: Arc<BackendState>,
        limit: Limit,
        known: Option<&Self>,
        now: Instant,
    ) -> Self {
        let mut advised = Self {
            target,
            state,
            limit,
            advice: known.map(|it| it.advice.clone()).unwrap_or_default(),
            since: known.map_or(now, |it| it.since),
            keeps_limit: known.is_some_and(|it| it.keeps_limit),
            is_overruled: known.is_some_and(|it| it.is_overruled),
        };
        advised.apply(now);
        advised
    }

    /// How the agent of a backend is asked, and where; `None` if the backend has no address for it.
    pub fn target(
        agent: &PeriodicAgent,
        source: Option<IpAddr>,
        called: &str,
        address: Option<&Address>,
    ) -> Option<Target> {
        let address = match (agent.check.at, address) {
            (AgentAddress::Fixed(address), _) => Address::Ip(address),
            (AgentAddress::Port(port), Some(Address::Ip(address))) => {
                Address::Ip(SocketAddr::new(address.ip(), port))
            }
            (AgentAddress::Port(_), _) => return None,
        };
        let question = Question::Agent(agent.check.question(called));
        let (header, encryption) = (None, None);
        let definition = Definition { question, rules: agent.rules(), source, header, encryption };
        Some(Target { address, definition: Arc::new(definition) })
    }

    /// The backend's limit without its agent.
    pub fn own_limit(&self) -> Limit {
        self.limit
    }

    pub fn advice(&self) -> &Advice {
        &self.advice
    }

    /// Whether the agent says that the backend is down, and nobody else that it is not.
    pub fn is_down(&self) -> bool {
        self.advice.is_down && !self.is_overruled
    }

    /// The agent advises something else; returns whether new sessions stay away or come.
    pub fn advise(&mut self, advice: &Advice, now: Instant) -> Option<Turn> {
        if self.advice != *advice {
            (self.advice, self.since) = (advice.clone(), now);
        }
        // An agent that is not heard any more does not agree.
        if advice.text.is_some() && !advice.is_down && !advice.is_closed() {
            self.is_overruled = false;
        }
        self.apply(now)
    }

    /// An operator enables the backend; returns whether that overrules the agent.
    pub fn overrule(&mut self, now: Instant) -> bool {
        let has_effect = (self.advice.is_down || self.advice.is_closed()) && !self.is_overruled;
        self.is_overruled |= has_effect;
        self.apply(now);
        has_effect
    }

    /// Whether the limit is one that an operator has set.
    pub fn keep_limit(&mut self, keeps: bool) {
        self.keeps_limit = keeps;
        self.set_limit();
    }

    fn set_limit(&self) {
        let limit = match self.advice.sessions_max.filter(|_| !self.keeps_limit) {
            None => self.limit,
            Some(0) => Limit::None,
            Some(most) => Limit::AtMost(most),
        };
        self.state.set_sessions_max(limit);
    }

    /// Gives the backend its limit and its share of sessions.
    fn apply(&mut self, now: Instant) -> Option<Turn> {
        self.set_limit();
        let was_closed = self.state.granted_percent() == 0;
        let is_closed = self.advice.is_closed() && !self.is_overruled;
        let percent = match (is_closed, self.advice.share_percent) {
            (true, _) => 0,
            (false, 0) => 100, // overruled
            (false, percent) => percent.into(),
        };
        self.state.grant_percent(percent);
        match (was_closed, is_closed) {
            (false, true) => Some(Turn::Closed),
            (true, false) => {
                self.state.warm_up(now);
                Some(Turn::Open)
            }
            _ => None,
        }
    }

    /// There is no agent any more, and the backend has this limit.
    pub fn forget(mut self, limit: Limit, now: Instant) {
        (self.advice, self.limit) = (Advice::default(), limit);
        self.apply(now);
    }

    /// What the agent has said, for people.
    pub fn says(&self) -> Option<String> {
        let overruled = if self.is_overruled { ", but an operator has enabled it" } else { "" };
        let text = self.advice.text.as_ref()?;
        Some(format!("its agent says \"{text}\"{overruled}"))
    }

    /// What the status says about it. `error` is why it did not answer last, if it did not.
    pub fn row(&self, error: Option<String>, now: Instant) -> AgentRow {
        AgentRow {
            at: self.target.address.to_string(),
            says: self.advice.text.clone(),
            since_seconds: now.since(self.since).as_secs(),
            is_down: self.advice.is_down,
            declines_sessions: self.advice.standing != Standing::Ready,
            share_percent: self.advice.share_percent,
            sessions_max: self.advice.sessions_max,
            is_overruled: self.is_overruled,
            last_error: error,
        }
    }
}
