//! Runs pen's commands, from options, files, the control port or signals.
//!
//! `classics::pen` defines what commands change and reply; here the result is applied. A running
//! pen's settings belong to one task, [`Operation::run`], which waits for nothing but the instance.
//! Whatever may take time happens before (see `load`) or afterwards, in the task that asked.

use super::desk::{Desk, Request};
use super::facts::{Facts, gather};
use super::load::{Loaded, write_files};
use super::messages::Messages;
use super::numbers::ConnectionNumbers;
use super::traffic::TrafficLog;
use classics::pen::{FactsNeeded, Order, PenSettings, Ran, Surroundings, replies};
use config::{BackendSelector, Command};
use control::Operator;
use dataplane::Observe;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

/// A running pen: its settings and what they act on.
pub struct Operation {
    settings: PenSettings,
    numbers: ConnectionNumbers,
    messages: Messages,
    operator: Operator,
    /// For the reporter.
    for_reporter: watch::Sender<ReporterSettings>,
}

/// What an upgrade hands over to the next pen.
#[derive(Serialize, Deserialize)]
pub struct PenRecord {
    pub settings: PenSettings,
    pub numbers: ConnectionNumbers,
}

/// The settings that the reporter needs.
#[derive(Default)]
pub struct ReporterSettings {
    pub log: TrafficLog,
    pub ascii: bool,
    pub blacklist: i32,
}

impl ReporterSettings {
    pub fn new(settings: &PenSettings, log: TrafficLog) -> Self {
        Self { log, ascii: settings.ascii, blacklist: settings.blacklist }
    }
}

impl Operation {
    pub fn new(
        PenRecord { settings, numbers }: PenRecord,
        messages: Messages,
        operator: Operator,
        for_reporter: watch::Sender<ReporterSettings>,
    ) -> Self {
        Self { settings, numbers, messages, operator, for_reporter }
    }

    /// Carries out requests, and reports at USR1, until the process ends.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        [mut user1, mut user2]: [Option<Signal>; 2],
        desk: Desk,
    ) {
        loop {
            tokio::select! {
                Some(request) = requests.recv() => match request {
                    Request::Ask(question) => question(&self.settings),
                    Request::Run(loaded, answer) => {
                        let _ = answer.send(self.carry_out(&loaded).await);
                    }
                    Request::Describe(answer) => {
                        let (settings, numbers) = (self.settings.clone(), self.numbers.clone());
                        let _ = answer.send(PenRecord { settings, numbers });
                    }
                },
                () = received(&mut user1) => self.report(&desk).await,
                () = received(&mut user2) => std::process::abort(), // for a core dump, as documented
            }
        }
    }

    /// Runs commands in one step: their settings are applied as a whole. If a new address cannot be
    /// listened on, they run again without it. Writing files is left to the caller.
    async fn carry_out(&mut self, loaded: &Loaded) -> Ran {
        let facts = self.facts(loaded.facts).await;
        let clock = self.messages.clock();
        let mut settings = self.settings.clone();
        let mut ran = run(&mut settings, loaded, &facts, &clock, true);
        if ran.has_changed && !self.publish(&settings).await {
            settings = self.settings.clone();
            ran = run(&mut settings, loaded, &facts, &clock, false);
            self.publish(&settings).await;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        if let Some(why) = self.settings.no_tarpit()
            && before.no_tarpit().is_none()
        {
            self.messages.say(&why);
        }
        let log = match &ran.log {
            Some(Some(text)) => loaded.log(text).unwrap_or_default(),
            Some(None) => TrafficLog::Nowhere,
            None => self.for_reporter.borrow().log.clone(),
        };
        self.for_reporter.send_replace(ReporterSettings::new(&self.settings, log));
        ran.said.iter().for_each(|text| self.messages.say(text));
        self.messages.answer(&ran.printed);
        for order in &ran.orders {
            self.order(*order).await;
        }
        ran
    }

    /// Applies settings, and returns whether that worked.
    async fn publish(&self, settings: &PenSettings) -> bool {
        self.operator.observe(observed(settings)).await;
        match self.operator.reconfigure(settings.to_config()).await {
            Ok(()) => true,
            Err(error) => {
                self.messages.say(&error.to_string());
                false
            }
        }
    }

    async fn order(&mut self, order: Order) {
        let command = match order {
            Order::Quarantine { server, seconds } => {
                let backend = BackendSelector::place(0, server);
                Command::Quarantine { backend, seconds }
            }
            Order::CloseConnection(number) => match self.numbers.session(number) {
                Some(session) => Command::KillSession { session },
                None => return,
            },
            Order::Exit => Command::Shutdown {},
        };
        if let Err(error) = self.operator.command(command).await {
            self.messages.say(&error.to_string());
        }
    }

    /// USR1: the status page, or a report in words.
    async fn report(&mut self, desk: &Desk) {
        let facts = self.facts(FactsNeeded::AllClients).await;
        let clock = self.messages.clock();
        let status = facts.status(&clock);
        let Some(path) = self.settings.web_stats.clone() else {
            for message in replies::usr1_report(&self.settings, &status) {
                self.messages.say(&message);
            }
            return;
        };
        let page = replies::html_status(&self.settings, &status);
        let desk = desk.clone();
        tokio::spawn(async move { desk.write(vec![(path, page)]).await });
    }

    async fn facts(&mut self, wanted: FactsNeeded) -> Facts {
        match wanted {
            FactsNeeded::Nothing => Facts::default(),
            wanted => gather(&self.operator, &self.settings, &mut self.numbers, wanted).await,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn run(
    settings: &mut PenSettings,
    loaded: &Loaded,
    facts: &Facts,
    clock: &str,
    may_listen: bool,
) -> Ran {
    loaded.with_names(|names| {
        let show = |settings: &PenSettings, show| facts.answer(settings, show, clock);
        let log_fault = |text: &str| loaded.log_fault(text);
        let with = Surroundings { names, clock, show: &show, log_fault: &log_fault, may_listen };
        settings.run(&loaded.script, &with)
    })
}

/// Runs commands before the start, when there are only settings to change. An `exit` ends the
/// process.
pub fn run_early(settings: &mut PenSettings, loaded: &Loaded, messages: &Messages) {
    let ran = run(settings, loaded, &Facts::default(), &messages.clock(), true);
    ran.said.iter().for_each(|text| messages.say(text));
    messages.answer(&ran.printed);
    messages.answer(&ran.reply);
    write_files(&ran.writes, messages);
    if ran.orders.contains(&Order::Exit) {
        std::process::exit(0);
    }
}

/// What must be observed for the log and the dumps of these settings.
pub fn observed(settings: &PenSettings) -> Observe {
    let requests = settings.log.is_some();
    Observe { requests, blocks: settings.dumps_data(), ..Observe::default() }
}
