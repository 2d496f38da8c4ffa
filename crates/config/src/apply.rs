//! Applies commands to a configuration.

use crate::operand::{Services, parse_endpoint};
use crate::{
    Backend, BackendSelector, Command, CommandError, Config, Endpoint, Limits, Pool, Tier,
};
use balancing::AdminState;
use std::collections::BTreeMap;
use terms::BackendId;

/// What a command may need besides the configuration.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The id for an added backend.
    pub new_backend: BackendId,
    /// The backends that a lookup found at this address.
    pub at: &'a dyn Fn(&str) -> Vec<BackendId>,
    /// The ports of services, by name.
    pub services: Services<'a>,
}

/// The maximum number of tiers in a pool. A session that finds no backend visits all of them.
pub(crate) const TIERS_MAX: usize = 1024;

impl Config {
    /// The configuration after a command. Commands that change something else, such as
    /// [`Command::KillSession`], leave it as it is.
    ///
    /// # Errors
    /// The reason why the command cannot be carried out. [`CommandError::UnknownSession`] and
    /// [`CommandError::ShuttingDown`] are beyond the configuration's knowledge.
    pub fn apply(&self, command: &Command, known: &Known<'_>) -> Result<Self, CommandError> {
        let mut next = self.clone();
        match command {
            Command::SetAdminState { backend, state } => next.find(backend, known)?.admin = *state,
            Command::SetSessionsMax { backend, sessions_max } => {
                next.find(backend, known)?.limits.sessions_max = *sessions_max;
            }
            Command::AddBackend { pool, tier, endpoint } => {
                let backend = Backend {
                    id: Some(known.new_backend),
                    admin: AdminState::Disabled,
                    ..Backend::new(read_endpoint(endpoint, known)?, Limits::default())
                };
                open_tier(next.pool_mut(pool.as_deref(), Some(*tier))?, *tier)?
                    .backends
                    .push(backend);
            }
            Command::RemoveBackend { backend } => next.remove(backend, known)?,
            Command::SetEndpoint { backend: selector, endpoint } => {
                let backend = next.find(selector, known)?;
                if backend.admin == AdminState::Enabled {
                    return Err(CommandError::NotDisabled(selector.to_string()));
                }
                backend.endpoint = read_endpoint(endpoint, known)?;
            }
            Command::SetPolicy { pool, tier, policy } => {
                let pool = next.pool_mut(pool.as_deref(), Some(*tier))?;
                let (tier, next) = (*tier, pool.tiers.len());
                let tier = match pool.fixed_places {
                    true => open_tier(pool, tier)?,
                    false => {
                        let found = pool.tiers.get_mut(tier);
                        let can_add = false;
                        found.ok_or(CommandError::TierOutOfRange { tier, next, can_add })?
                    }
                };
                tier.policy = *policy;
            }
            Command::Quarantine { backend, .. } | Command::ResetCounters { backend } => {
                next.find(backend, known)?;
            }
            Command::Rebalance { pool, .. } => drop(next.pool_mut(pool.as_deref(), None)?),
            Command::KillSession { .. }
            | Command::Reload { .. }
            | Command::Confirm {}
            | Command::DrainAll { .. }
            | Command::CancelDrainAll {}
            | Command::Shutdown {} => {}
        }
        Ok(next)
    }

    /// The id of the backend that a command selects. Places, names and addresses as configured come
    /// before addresses that a lookup found.
    ///
    /// # Errors
    /// [`CommandError::UnknownBackend`] or [`CommandError::AmbiguousBackend`].
    pub fn backend_id(
        &self,
        selector: &BackendSelector,
        known: &Known<'_>,
    ) -> Result<BackendId, CommandError> {
        let backends = || {
            let all = self.pools.iter().flat_map(|pool| pool.backends().map(move |it| (pool, it)));
            all.filter_map(|(pool, place)| Some((pool, place, place.2.id?)))
        };
        let by_word = backends().filter(|(pool, (tier, index, backend), _)| {
            let endpoint = backend.endpoint.to_string();
            let is_called = |text: &str| backend.name.as_deref() == Some(text) || endpoint == text;
            selector.fits(&pool.name, *tier, *index, is_called)
        });
        let mut found: Vec<_> = by_word.map(|(_, _, id)| id).collect();
        if found.is_empty() {
            let at = self.pools.iter().map(|pool| (pool, selector.within(&pool.name)));
            let at = at.filter_map(|(pool, text)| Some((pool, (known.at)(text?))));
            let at: BTreeMap<_, _> = at.map(|(pool, ids)| (&pool.name, ids)).collect();
            let anywhere = (known.at)(selector.as_str());
            let is_there = |pool: &Pool, id| {
                anywhere.contains(&id) || at.get(&pool.name).is_some_and(|ids| ids.contains(&id))
            };
            let by_address = backends().filter(|(pool, _, id)| is_there(pool, *id));
            found.extend(by_address.map(|(_, _, id)| id));
        }
        match found[..] {
            [only] => Ok(only),
            [] => Err(CommandError::UnknownBackend(selector.to_string())),
            _ => Err(CommandError::AmbiguousBackend(selector.to_string())),
        }
    }

    fn find(
        &mut self,
        selector: &BackendSelector,
        known: &Known<'_>,
    ) -> Result<&mut Backend, CommandError> {
        let id = self.backend_id(selector, known)?;
        self.backend_mut(id).ok_or_else(|| CommandError::UnknownBackend(selector.to_string()))
    }

    /// The backend with this id, unless it is a reject backend.
    pub(crate) fn backend_mut(&mut self, id: BackendId) -> Option<&mut Backend> {
        let tiers = self.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
        tiers.flat_map(|tier| &mut tier.backends).find(|it| it.id == Some(id))
    }

    fn remove(
        &mut self,
        selector: &BackendSelector,
        known: &Known<'_>,
    ) -> Result<(), CommandError> {
        let id = self.backend_id(selector, known)?;
        for pool in &mut self.pools {
            if pool.backends().any(|(_, _, backend)| backend.id == Some(id)) {
                if pool.fixed_places {
                    return Err(CommandError::FixedPlaces(selector.to_string()));
                }
                pool.tiers.iter_mut().for_each(|it| it.backends.retain(|it| it.id != Some(id)));
            }
        }
        Ok(())
    }

    /// The pool of this name, or the only one. `tier` is that which the command is about, for the
    /// error.
    fn pool_mut(
        &mut self,
        name: Option<&str>,
        tier: Option<usize>,
    ) -> Result<&mut Pool, CommandError> {
        let mut pools = self.pools.iter_mut();
        match name {
            Some(name) => pools
                .find(|pool| pool.name == name)
                .ok_or_else(|| CommandError::UnknownPool(name.to_owned())),
            None => match (pools.next(), pools.next()) {
                (Some(only), None) => Ok(only),
                (Some(first), Some(_)) => {
                    let tier = tier.map(|tier| format!("/{tier}")).unwrap_or_default();
                    Err(CommandError::AmbiguousPool(format!("{}{tier}", first.name)))
                }
                (None, _) => Err(CommandError::UnknownPool(Pool::DEFAULT_NAME.to_owned())),
            },
        }
    }
}

fn read_endpoint(text: &str, known: &Known<'_>) -> Result<Endpoint, CommandError> {
    parse_endpoint(text, known.services)
        .map_err(|error| CommandError::InvalidEndpoint(error.to_string()))
}

/// An existing tier, or a new one: the next one, with the policy of the last, or any one if tiers
/// are known by fixed numbers.
fn open_tier(pool: &mut Pool, tier: usize) -> Result<&mut Tier, CommandError> {
    let next = pool.tiers.len();
    if tier == next || tier > next && pool.fixed_places {
        if tier >= TIERS_MAX {
            return Err(CommandError::TooManyTiers(TIERS_MAX));
        }
        let last = pool.tiers.last().filter(|_| !pool.fixed_places);
        let policy = last.map(|last| last.policy).unwrap_or_default();
        pool.tiers.resize_with(tier + 1, || Tier { policy, backends: Vec::new() });
    }
    pool.tiers.get_mut(tier).ok_or(CommandError::TierOutOfRange { tier, next, can_add: true })
}

#[cfg(test)]
mod tests;
