//! The owner's part of reloads: it applies them, takes unconfirmed ones back, and says so.

use crate::certificates::Renewal;
use crate::desk::Reload;
use crate::discoveries::Discovered;
use crate::found::Found;
use crate::instance::Instance;
use crate::origin::{Loaded, ReadError};
use crate::owner::Owner;
use crate::replace::{Replaced, Replacement};
use crate::revisions::Unconfirmed;
use crate::watch::Watch;
use config::file::{Report, Severity};
use config::{
    Change, CommandError, Config, Listener, ListenerSetting, Names, ProcessSetting, Reply,
};
use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use sys::errors::with_causes;
use telemetry::{Level, Value};
use terms::Source;
use tokio::time::Instant;

/// How often it is tried to take a reload back, if that fails.
const REVERT_PAUSE: Duration = Duration::from_secs(10);
/// How to change what a reload cannot.
const WAY_OUT: &str = "restart it, or run `evenkeel upgrade`, which ends no session";
/// How many changes a reload describes in the log.
const CHANGES_SHOWN: usize = 100;

impl Owner {
    /// Applies a reload, logs what came of it, and answers.
    pub fn reload(&mut self, reload: Reload) {
        let Reload { who, confirm, read, answer } = reload;
        let by = who.to_string();
        let result = match read {
            Ok((loaded, found)) => self.apply_file(loaded, &found, &by, confirm),
            Err(error) => {
                self.note_unread(&error);
                Err(CommandError::InvalidFile(error.texts()))
            }
        };
        if result.is_err() {
            let fields = [("by", Value::Text(&by))];
            self.note(Level::Error, "reload refused; nothing has changed", &fields);
        }
        self.counts.note_reload(&result);
        self.reports.ready();
        self.settle_later();
        drop(answer.send(result));
    }

    fn apply_file(
        &mut self,
        loaded: Loaded,
        found: &Found,
        by: &str,
        confirm: Option<Duration>,
    ) -> Result<Reply, CommandError> {
        let Some(revisions) = &self.revisions else { return Err(CommandError::NoFile) };
        if self.instance.is_shutting_down() {
            return Err(CommandError::ShuttingDown);
        }
        if self.is_handing_over {
            return Err(CommandError::HandingOver);
        }
        let (old_hash, hash) = (revisions.hash, loaded.hash);
        if old_hash == hash {
            let unusable = self.instance.certificates.unusable(&found.certificates);
            if !unusable.is_empty() {
                let reasons = unusable.iter().map(|it| with_causes(&**it)).collect();
                return Err(self.refuse_file(reasons));
            }
            return Ok(match self.renew_all(found) && confirm.is_none() {
                true => Reply::Done,
                false => Reply::Unchanged,
            });
        }
        loaded.warnings.iter().for_each(|it| self.note_report(it));
        for (name, found) in &found.discovered {
            self.learn(name, found.clone());
        }
        let had_names = self.instance.discoveries.given.clone();
        let replaced =
            self.replace(loaded.config, found).map_err(|reasons| self.refuse_file(reasons))?;
        self.renew_all(found);
        let Some(revisions) = &mut self.revisions else { return Err(CommandError::NoFile) };
        revisions.hash = hash;
        if replaced.changes.is_empty() && self.instance.discoveries.given == had_names {
            return Ok(Reply::Unchanged);
        }
        revisions.number += 1;
        let after = &self.instance.config;
        let Replaced { changes, overruled, .. } = &replaced;
        let shown = changes.iter().take(CHANGES_SHOWN).chain(overruled.iter().take(CHANGES_SHOWN));
        let names = Names::new(replaced.before.names(after), shown);
        let deadline = confirm.map(|time| Instant::now() + time);
        revisions.unconfirmed = match revisions.unconfirmed.take() {
            // What is taken back is all that was not confirmed.
            Some(earlier) => Some(Unconfirmed {
                deadline: deadline.unwrap_or(earlier.deadline),
                fallback: earlier.fallback.with_changes(&earlier.after, replaced.before.running()),
                after: after.clone(),
                hash: earlier.hash,
            }),
            None => deadline.map(|deadline| Unconfirmed {
                deadline,
                fallback: replaced.before,
                after: after.clone(),
                hash: old_hash,
            }),
        };
        self.note_changes(&replaced.changes, &replaced.overruled, &names, by);
        self.note_country_error();
        self.keep_watch();
        self.keep_pushing();
        self.watch_certificates();
        self.forget_certificates();
        Ok(Reply::Done)
    }

    /// Logs why a file cannot be applied.
    fn refuse_file(&mut self, reasons: Vec<String>) -> CommandError {
        for reason in &reasons {
            self.note(Level::Error, "cannot reload", &[("error", Value::Text(reason))]);
        }
        CommandError::NotReloadable(reasons)
    }

    /// Uses what files of certificates have become, which have been read for a reload. Returns
    /// whether there was anything new.
    fn renew_all(&mut self, found: &Found) -> bool {
        let mut has_news = false;
        for (way, contents) in found.certificates.clone() {
            has_news |= self.renew(Renewal { way, contents });
        }
        self.watch_certificates();
        has_news
    }

    /// Forgets certificates that neither this configuration nor the one to which an unconfirmed reload
    /// would return has, if there are many.
    fn forget_certificates(&mut self) {
        let unconfirmed = self.revisions.as_ref().and_then(|it| it.unconfirmed.as_ref());
        let fallback = unconfirmed.map(|it| it.fallback.running());
        let configs: Vec<_> = fallback.into_iter().chain([&self.instance.config]).collect();
        self.instance.certificates.forget_except(&configs);
    }

    /// Replaces the configuration, unless that needs a restart.
    fn replace(&mut self, wanted: Config, found: &Found) -> Result<Replaced, Vec<String>> {
        let replacement = self.instance.plan(wanted);
        let reasons = self.instance.what_needs_a_restart(&replacement);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        self.instance.replace(replacement, found).map_err(|errors| errors.texts())
    }

    /// Begins or ends to watch the file, as configured.
    pub fn keep_watch(&mut self) {
        let wanted = self.instance.config.process.watch;
        let Some(revisions) = self.revisions.as_ref().filter(|_| wanted) else {
            self.watch = None;
            return;
        };
        if self.watch.is_none() {
            match Watch::start(&revisions.path, revisions.hash, &self.watched) {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    let fields = [("error", Value::Text(&error))];
                    self.note(Level::Error, "cannot watch the configuration file", &fields);
                }
            }
        }
    }

    /// Makes an unconfirmed reload final.
    pub fn confirm(&mut self, by: &dyn Display) -> Result<Reply, CommandError> {
        let unconfirmed = self.revisions.as_mut().and_then(|it| it.unconfirmed.take());
        unconfirmed.ok_or(CommandError::NothingToConfirm)?;
        self.note(Level::Info, "reload confirmed", &[("by", Value::Text(by))]);
        self.settle_later();
        Ok(Reply::Done)
    }

    /// Takes the unconfirmed reload back. If that fails, it is tried again later.
    pub fn revert(&mut self) {
        let Some(revisions) = &mut self.revisions else { return };
        let Some(mut it) = revisions.unconfirmed.take() else { return };
        match self.instance.restore(&it.fallback, &it.after) {
            Ok(()) => {
                revisions.number += 1;
                revisions.hash = it.hash;
                let (number, hash) = (revisions.number, revisions.hash);
                let fields = [("revision", Value::Count(number)), ("hash", Value::Text(&hash))];
                self.note(Level::Warn, "reload not confirmed: taken back", &fields);
                self.follow_names();
                self.keep_watch();
                self.keep_pushing();
                self.watch_certificates();
                self.settle_later();
            }
            Err(errors) => {
                it.deadline = Instant::now() + REVERT_PAUSE;
                revisions.unconfirmed = Some(it);
                for text in errors.texts() {
                    let message = "reload not confirmed, but cannot be taken back; trying again";
                    self.note(Level::Error, message, &[("error", Value::Text(&text))]);
                }
            }
        }
    }

    /// Uses what a lookup of a name has found that stands for several backends.
    pub fn use_discovered(&mut self, name: &str, found: Discovered) {
        // Until it is clear which process goes on, and afterwards, this one changes nothing.
        if self.is_handing_over || self.instance.is_leaving || self.instance.is_shutting_down() {
            return;
        }
        if self.learn(name, found) {
            self.follow_names();
        }
    }

    /// Notes what a lookup has found, and returns whether the name stands for other backends now.
    fn learn(&mut self, name: &str, found: Discovered) -> bool {
        let news = self.instance.discoveries.learn(name, found, sys::clock::now());
        let name = ("name", Value::Text(&name));
        if let Some(error) = &news.failed {
            let message = "name not resolved; its backends stay as they are";
            self.note(Level::Warn, message, &[name, ("error", Value::Text(error))]);
        }
        if news.is_back {
            self.note(Level::Info, "name resolved again", &[name]);
        }
        if news.left_out > 0 && news.is_new {
            let left_out = ("left_out", Value::Count(news.left_out as u64));
            self.note(Level::Warn, "name has too many addresses", &[name, left_out]);
        }
        news.is_new
    }

    /// Has the running backends follow what names stand for.
    fn follow_names(&mut self) {
        match self.instance.follow_names() {
            Ok(None) => {}
            Ok(Some(Replaced { changes, before, .. })) => {
                let shown = changes.iter().take(CHANGES_SHOWN);
                let names = Names::new(before.names(&self.instance.config), shown.clone());
                for what in shown.map(|change| names.describe(change)) {
                    let fields = [("change", Value::Text(&what))];
                    self.note(Level::Info, "backends of a name changed", &fields);
                }
                self.note_country_error();
            }
            Err(errors) => {
                for text in errors.texts() {
                    let fields = [("error", Value::Text(&text))];
                    self.note(Level::Error, "backends of a name cannot change", &fields);
                }
            }
        }
    }

    fn note_changes(&mut self, all: &[Change], overruled: &[Change], names: &Names, by: &str) {
        let Some(revisions) = &self.revisions else { return };
        let (number, hash) = (revisions.number, revisions.hash);
        for change in all.iter().take(CHANGES_SHOWN) {
            let what = names.describe(change);
            let fields = [("revision", Value::Count(number)), ("change", Value::Text(&what))];
            self.note(Level::Info, "configuration changed", &fields);
        }
        for change in overruled.iter().take(CHANGES_SHOWN) {
            let what = names.describe(change);
            let message = "the file has changed what a command had set; the file applies";
            self.note(Level::Warn, message, &[("change", Value::Text(&what))]);
        }
        let fields = [
            ("revision", Value::Count(number)),
            ("changes", Value::Count(all.len() as u64)),
            ("by", Value::Text(&by)),
            ("hash", Value::Text(&hash)),
        ];
        self.note(Level::Info, "configuration reloaded", &fields);
    }

    fn note_unread(&mut self, error: &ReadError) {
        match error {
            ReadError::Load(_) => {
                for text in error.texts() {
                    let fields = [("error", Value::Text(&text))];
                    self.note(Level::Error, "configuration file", &fields);
                }
            }
            ReadError::Invalid { reports, .. } => {
                reports.iter().for_each(|it| self.note_report(it))
            }
        }
    }

    fn note_report(&mut self, report: &Report) {
        let level = match report.severity() {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warn,
        };
        let start = report.span.start;
        let at = format!("{}:{}:{}", report.file, start.line, start.column);
        let code = report.code.to_string();
        let help = report.help.as_deref().unwrap_or_default();
        let fields = [
            ("at", Value::Text(&at)),
            ("code", Value::Text(&code)),
            ("problem", Value::Text(&report.message)),
            ("help", Value::Text(&help)),
        ];
        self.note(level, "configuration file", &fields);
    }
}

impl Instance {
    /// What a replacement would change that cannot change while the process runs.
    fn what_needs_a_restart(&self, replacement: &Replacement) -> Vec<String> {
        let needs_a_restart = |change: &&Change| match change {
            Change::SetProcess(
                ProcessSetting::Watch(_)
                | ProcessSetting::UpgradeDrain(_)
                | ProcessSetting::Push(_),
            ) => false,
            Change::SetProcess(_) => true,
            Change::SetListener(_, ListenerSetting::SharedPort(_)) => true,
            // Sessions that were counted must be found again.
            Change::SetListener(id, ListenerSetting::Clients(limits)) => {
                let mut listeners = self.given.listeners.iter();
                let before = listeners.find(|it| it.id == Some(*id)).map(|it| it.clients);
                before.is_some_and(|before| {
                    before.are_any()
                        && (before.prefixes, before.table) != (limits.prefixes, limits.table)
                })
            }
            _ => false,
        };
        let changes = replacement.changes.iter().filter(needs_a_restart);
        let describe = |change| {
            let what = Names::new([&self.given, &replacement.wanted], [change]).describe(change);
            format!("{what} cannot change while the balancer runs: {WAY_OUT}")
        };
        let commands = self.unknown_commands(&replacement.wanted);
        changes.map(describe).chain(without_privilege(replacement)).chain(commands).collect()
    }

    /// Probes whose programs the process that runs commands does not know. It began before privileges
    /// were given up, with a list of the programs that it may run.
    fn unknown_commands(&self, wanted: &Config) -> Vec<String> {
        let unknown = wanted.programs().filter(|(_, program)| !self.probes.may_run(program));
        let refuse = |(pool, program): (&str, &Path)| {
            let program = program.display();
            let why = "only programs that were configured at the start can be run";
            format!("pool {pool}: the probe runs {program}, but {why}: {WAY_OUT}")
        };
        unknown.map(refuse).collect()
    }

    /// The running configuration, with what the data plane has decided by itself.
    pub(crate) fn effective(&mut self) -> Config {
        self.note_auto_disabled();
        self.config.clone()
    }
}

/// Listeners that would begin to connect to backends from their clients' addresses, if this process
/// has not kept the privilege to do so.
fn without_privilege(replacement: &Replacement) -> Vec<String> {
    let begins = |change: &Change| match change {
        Change::AddListener { listener, .. } if listener.source == Source::Client => listener.id,
        Change::SetListener(id, ListenerSetting::Source(Source::Client)) => Some(*id),
        _ => None,
    };
    let begin: HashSet<_> = replacement.changes.iter().filter_map(begins).collect();
    if begin.is_empty() || sys::process::may_use_foreign_sources() {
        return Vec::new();
    }
    let listeners = replacement.wanted.listeners.iter();
    let listeners = listeners.filter(|it| it.id.is_some_and(|id| begin.contains(&id)));
    let refuse = |listener: &Listener| {
        let needs = "needs CAP_NET_RAW or CAP_NET_ADMIN, which the balancer has not kept";
        format!("listener {}: transparent {needs}: {WAY_OUT}", listener.name)
    };
    listeners.map(refuse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::read_all;
    use crate::instance::tests::{config, start};
    use crate::manager::Reports;
    use crate::owner::tests::Silent;
    use crate::socket::AdminSocket;
    use terms::BackendTls;

    #[tokio::test]
    async fn what_a_reload_has_renewed_is_watched_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let socket = AdminSocket::claim(&dir.path().join("admin"), None).unwrap();
        let instance = start(config(&dir.path().join("l"), "127.0.0.1:1"));
        let mut owner = Owner::new(instance, Box::new(Silent), socket, Reports::default(), None);
        let config = &mut owner.instance.config;
        config.pools = vec![config.pools[0].clone(); 3];
        for (pool, number) in config.pools.iter_mut().zip(0..) {
            pool.tls.mode = BackendTls::Insecure;
            pool.tls.protocols = vec![format!("protocol {number}")];
        }
        let mut certificates = read_all(config);
        owner.instance.certificates.take(&owner.instance.config, &certificates).unwrap();
        owner.watch_certificates();
        let ways = |owner: &Owner| owner.instance.certificates.ways(&owner.instance.config);
        let before = ways(&owner);
        assert_eq!((owner.renewals.watched(), before.len()), (Some(&before), 3));

        certificates.values_mut().for_each(|it| it.hash += 1);
        let found = Found { certificates, ..Found::default() };
        assert!(owner.renew_all(&found));
        assert!(ways(&owner).iter().all(|(way, hash)| *hash == before[way] + 1));
        assert_eq!(owner.renewals.watched(), Some(&ways(&owner)));
        assert!(!owner.renew_all(&found), "there is nothing new in that");
    }
}
