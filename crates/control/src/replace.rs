//! Replaces the configuration that was given, by a file or by a companion, and takes that back.
//!
//! What runs may differ from what was given, because commands change it. Only the differences
//! between what was given before and what is given now are applied.

use crate::bind::{StartError, StartErrors};
use crate::discoveries::with_names;
use crate::found::Found;
use crate::instance::Instance;
use balancing::Pool;
use config::{Change, Config, Ids, Target};
use std::collections::HashSet;
use std::sync::Arc;

/// A replacement that has not changed anything yet.
pub(crate) struct Replacement {
    /// What is given now, with the ids of what is known.
    pub wanted: Config,
    /// The differences between what was given before and what is given now.
    pub changes: Vec<Change>,
    /// What was given before, with the ids of what commands have removed and added again.
    before: Config,
    /// What is given, if it has names that stand for several backends.
    given: Option<Box<Config>>,
    ids: Ids,
}

/// What a replacement has changed.
pub(crate) struct Replaced {
    /// The differences between what was given before and what is given now.
    pub changes: Vec<Change>,
    /// Those of them that have replaced what a command had set.
    pub overruled: Vec<Change>,
    /// What was there before.
    pub before: Fallback,
}

/// A state that can be returned to.
pub(crate) struct Fallback {
    given: Config,
    with_names: Option<Box<Config>>,
    running: Config,
    /// Those of `running`. As long as they are here, none of their backends is forgotten, so that
    /// those that return have their counters.
    _pools: Vec<Arc<Pool>>,
}

impl Instance {
    /// What it takes to replace what was given by `wanted`.
    pub(crate) fn plan(&self, wanted: Config) -> Replacement {
        let given = with_names(&wanted);
        let mut wanted = if given.is_some() { self.discoveries.expand(&wanted) } else { wanted };
        let (mut ids, mut before) = (self.ids.clone(), self.given.clone());
        before.recognise_added_again(&self.config);
        wanted.recognise(&before);
        // What a command has added may be in the file now.
        wanted.identify(Some(&self.config), &mut ids);
        let changes = before.diff(&wanted);
        Replacement { wanted, before, given, ids, changes }
    }

    /// Applies what has changed since the last call, or the start. What commands have changed
    /// stays, unless the replacement has changed the same setting.
    ///
    /// # Errors
    /// What keeps the instance from listening; nothing has changed then.
    pub(crate) fn replace(
        &mut self,
        replacement: Replacement,
        found: &Found,
    ) -> Result<Replaced, StartErrors> {
        self.note_auto_disabled();
        let Replacement { wanted, before: given, given: with_names, ids, changes } = replacement;
        let overrides = given.diff(&self.config);
        let next = match overrides.is_empty() {
            true => wanted.clone(), // the same, without the work
            false => self.config.with(changes.iter().cloned()),
        };
        let running = self.config.clone();
        let _pools = self.pools.clone();
        self.publish(next, found)?;
        self.ids = ids;
        self.given = wanted;
        self.keep_limits();
        let overruled = overruled(&changes, &overrides);
        let with_names = self.discoveries.give(with_names);
        Ok(Replaced { changes, overruled, before: Fallback { given, with_names, running, _pools } })
    }

    /// What was given, and what runs. In the place of their backends, both have the names that stand
    /// for several; what commands have changed of one of these is not among it.
    pub(crate) fn configs(&mut self) -> (Config, Config) {
        let running = self.effective();
        let Some(given) = &self.discoveries.given else { return (self.given.clone(), running) };
        let mut given = Config::clone(given);
        given.recognise(&self.given);
        let running = given.with(self.given.diff(&running));
        (given, running)
    }

    /// As [`Self::replace`], for a companion: see [`crate::Operator::reconfigure`].
    pub(crate) fn reconfigure(&mut self, wanted: &Config) -> Result<(), StartError> {
        let replaced = self.replace(self.plan(wanted.clone()), &Found::default());
        replaced.map(drop).map_err(|errors| errors.0)
    }

    /// Takes a replacement back, after which the instance ran `after`. What commands have changed
    /// since then stays.
    ///
    /// # Errors
    /// What keeps the instance from listening; nothing has changed then.
    pub(crate) fn restore(
        &mut self,
        fallback: &Fallback,
        after: &Config,
    ) -> Result<(), StartErrors> {
        self.note_auto_disabled();
        let meanwhile = targets(&after.diff(&self.config));
        let back = after.diff(&fallback.running).into_iter();
        let is_ours = |it: &Change| it.target().is_none_or(|target| !meanwhile.contains(&target));
        let next = self.config.with(back.filter(is_ours));
        self.publish(next, &Found::default())?;
        self.given = fallback.given.clone();
        self.keep_limits();
        self.discoveries.give(fallback.with_names.clone());
        Ok(())
    }

    /// Has the running backends follow what names stand for now.
    ///
    /// # Errors
    /// As for [`Self::replace`].
    pub(crate) fn follow_names(&mut self) -> Result<Option<Replaced>, StartErrors> {
        let Some(given) = self.discoveries.given.clone() else { return Ok(None) };
        let replacement = self.plan(*given);
        match replacement.changes.is_empty() {
            true => Ok(None),
            false => self.replace(replacement, &Found::default()).map(Some),
        }
    }
}

impl Fallback {
    /// What ran in this state.
    pub fn running(&self) -> &Config {
        &self.running
    }

    /// Where everything has its name that changes to `after` are about: also what a command has
    /// removed.
    pub fn names<'a>(&'a self, after: &'a Config) -> [&'a Config; 3] {
        [&self.given, &self.running, after]
    }

    /// The state to return to after a further replacement, if commands have changed `after` to
    /// `now` in the meantime.
    pub fn with_changes(mut self, after: &Config, now: &Config) -> Self {
        self.running = self.running.with(after.diff(now));
        self
    }
}

/// The changes that give another value to what a command has set.
fn overruled(changes: &[Change], overrides: &[Change]) -> Vec<Change> {
    let set = targets(overrides);
    let is_set = |it: &&Change| it.target().is_some_and(|target| set.contains(&target));
    changes.iter().filter(is_set).filter(|it| !overrides.contains(it)).cloned().collect()
}

fn targets(changes: &[Change]) -> HashSet<Target> {
    changes.iter().filter_map(Change::target).collect()
}
