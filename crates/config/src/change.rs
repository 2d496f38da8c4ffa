//! The differences between two configurations, and how to apply them.
//!
//! [`Config::diff`] compares listeners and backends with the same id, so that a change can also be
//! applied to a third configuration: [`Config::with`] leaves alone what a change does not name.

use crate::{
    Affinity, Backend, Bind, Config, Endpoint, Limits, Listener, LogFormat, Pool, Process, Tier,
};
use balancing::{AccessList, AdminState, FailoverScope, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use terms::{BackendId, Cut, Limit, ListenerId, Source, SpliceMode, Timeouts};

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A setting of the process has another value.
    SetProcess(ProcessSetting),
    /// A listener was removed.
    RemoveListener(ListenerId),
    /// A listener was added, with its pool.
    AddListener {
        /// Its place in the list.
        at: usize,
        /// The listener.
        listener: Box<Listener>,
    },
    /// A setting of a listener has another value.
    SetListener(ListenerId, ListenerSetting),
    /// A setting of a listener's pool has another value.
    SetPool(ListenerId, PoolSetting),
    /// A backend was removed.
    RemoveBackend(BackendId),
    /// A tier was removed, unless it has backends that are not known here.
    RemoveTier {
        /// The listener of the pool.
        listener: ListenerId,
        /// Its number.
        tier: usize,
    },
    /// A tier was added, still empty. An existing tier of that number stays.
    AddTier {
        /// The listener of the pool.
        listener: ListenerId,
        /// Its number.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// A tier has another policy.
    SetPolicy {
        /// The listener of the pool.
        listener: ListenerId,
        /// Its number.
        tier: usize,
        /// The policy.
        policy: Policy,
    },
    /// A backend was added to a tier.
    AddBackend {
        /// The listener of the pool.
        listener: ListenerId,
        /// The tier's number.
        tier: usize,
        /// Its place in the tier; the last place if the tier is shorter.
        at: usize,
        /// The backend.
        backend: Box<Backend>,
    },
    /// A setting of a backend has another value.
    SetBackend(BackendId, BackendSetting),
}

/// Makes an enum of the settings of a part of the configuration, with functions that compare and
/// set them. The pattern must name every field, so that a new one is not forgotten.
macro_rules! settings {
    (
        $(#[$doc:meta])* $Setting:ident of $Owner:ident as $pattern:pat,
        $($(#[$about:meta])* $Variant:ident($type:ty) is $($field:ident).+;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Setting {
            $($(#[$about])* $Variant($type),)*
        }

        impl $Owner {
            /// The settings in which `self` differs from `before`.
            fn settings_since(&self, before: &Self) -> Vec<$Setting> {
                let $pattern = self;
                let mut settings = Vec::new();
                $(if self.$($field).+ != before.$($field).+ {
                    settings.push($Setting::$Variant(self.$($field).+.clone()));
                })*
                settings
            }

            fn set(&mut self, setting: $Setting) {
                match setting {
                    $($Setting::$Variant(value) => self.$($field).+ = value,)*
                }
            }
        }
    };
}

settings! {
    /// A setting of the process.
    ProcessSetting of Process as Process {
        workers: _, spin: _, daemon: _, pid_file: _, user: _, root: _, admin: _, log_format: _,
    },
    /// [`Process::workers`]
    Workers(Option<usize>) is workers;
    /// [`Process::spin`]
    Spin(Option<Duration>) is spin;
    /// [`Process::daemon`]
    Daemon(bool) is daemon;
    /// [`Process::pid_file`]
    PidFile(Option<PathBuf>) is pid_file;
    /// [`Process::user`]
    User(Option<String>) is user;
    /// [`Process::root`]
    Root(Option<PathBuf>) is root;
    /// [`Process::admin`]
    Admin(Option<PathBuf>) is admin;
    /// [`Process::log_format`]
    LogFormat(LogFormat) is log_format;
}

settings! {
    /// A setting of a listener.
    ListenerSetting of Listener as Listener {
        id: _, bind: _, shared_port: _, pool: _, sessions_max: _, connecting_max: _, timeouts: _,
        source: _, forwarded_headers: _, dummy: _, splice: _, cut: _,
    },
    /// [`Listener::bind`]
    Bind(Bind) is bind;
    /// [`Listener::shared_port`]
    SharedPort(bool) is shared_port;
    /// [`Listener::sessions_max`]
    SessionsMax(Option<u32>) is sessions_max;
    /// [`Listener::connecting_max`]
    ConnectingMax(Option<u32>) is connecting_max;
    /// [`Listener::timeouts`]
    Timeouts(Timeouts) is timeouts;
    /// [`Listener::source`]
    Source(Source) is source;
    /// [`Listener::forwarded_headers`]
    ForwardedHeaders(bool) is forwarded_headers;
    /// [`Listener::dummy`]
    Dummy(bool) is dummy;
    /// [`Listener::splice`]
    Splice(SpliceMode) is splice;
    /// [`Listener::cut`]
    Cut(Cut) is cut;
}

settings! {
    /// A setting of a pool.
    PoolSetting of Pool as Pool {
        name: _, tiers: _, quarantine: _, auto_disable: _, failover: _, hash_failover: _,
        last_resort: _, access: _, reject: _, affinity: _, fixed_places: _,
    },
    /// [`Pool::name`]
    Name(String) is name;
    /// [`Pool::quarantine`]
    Quarantine(Duration) is quarantine;
    /// [`Pool::auto_disable`]
    AutoDisable(bool) is auto_disable;
    /// [`Pool::failover`]
    Failover(FailoverScope) is failover;
    /// [`Pool::hash_failover`]
    HashFailover(FailoverScope) is hash_failover;
    /// [`Pool::last_resort`]
    LastResort(bool) is last_resort;
    /// [`Pool::access`]
    Access(Arc<AccessList>) is access;
    /// [`Pool::reject`]
    Reject(Option<Backend>) is reject;
    /// [`Pool::affinity`]
    Affinity(Option<Affinity>) is affinity;
    /// [`Pool::fixed_places`]
    FixedPlaces(bool) is fixed_places;
}

settings! {
    /// A setting of a backend.
    BackendSetting of Backend as Backend {
        id: _, endpoint: _, limits: Limits { sessions_max: _, sessions_max_affine: _ }, weight: _,
        priority: _, access: _, admin: _,
    },
    /// [`Backend::endpoint`]
    Endpoint(Endpoint) is endpoint;
    /// [`Limits::sessions_max`]
    SessionsMax(Limit) is limits.sessions_max;
    /// [`Limits::sessions_max_affine`]
    SessionsMaxAffine(u32) is limits.sessions_max_affine;
    /// [`Backend::weight`]
    Weight(u32) is weight;
    /// [`Backend::priority`]
    Priority(i32) is priority;
    /// [`Backend::access`]
    Access(Arc<AccessList>) is access;
    /// [`Backend::admin`]
    Admin(AdminState) is admin;
}

impl Config {
    /// The changes that turn `self` into `wanted`; none if they are equal.
    ///
    /// Both must have been [identified](Config::identify).
    #[must_use]
    pub fn diff(&self, wanted: &Self) -> Vec<Change> {
        let settings = wanted.process.settings_since(&self.process);
        let mut changes: Vec<_> = settings.into_iter().map(Change::SetProcess).collect();
        let kept = kept(&ids(&self.listeners), &ids(&wanted.listeners));
        let gone = ids(&self.listeners).into_iter().filter(|id| !kept.contains(id));
        changes.extend(gone.map(Change::RemoveListener));
        let before = |wanted: &Listener| {
            let id = wanted.id.filter(|id| kept.contains(id));
            id.and_then(|id| self.listeners.iter().find(|it| it.id == Some(id)))
        };
        // Everything that is removed goes first, because a backend may reappear behind another
        // listener.
        for listener in &wanted.listeners {
            if let Some((before, id)) = before(listener).zip(listener.id) {
                removals(id, &before.pool.tiers, &listener.pool.tiers, &mut changes);
            }
        }
        for (at, listener) in wanted.listeners.iter().enumerate() {
            match before(listener).zip(listener.id) {
                Some((before, id)) => {
                    let settings = listener.settings_since(before).into_iter();
                    changes.extend(settings.map(|it| Change::SetListener(id, it)));
                    let settings = listener.pool.settings_since(&before.pool).into_iter();
                    changes.extend(settings.map(|it| Change::SetPool(id, it)));
                    additions(id, &before.pool.tiers, &listener.pool.tiers, &mut changes);
                }
                None => {
                    let listener = Box::new(listener.clone());
                    changes.push(Change::AddListener { at, listener });
                }
            }
        }
        changes
    }

    /// This configuration with these changes applied. A change to something that does not exist has
    /// no effect.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut config = self.clone();
        for change in changes {
            config.make(change);
        }
        config
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::SetProcess(setting) => self.process.set(setting),
            Change::RemoveListener(id) => self.listeners.retain(|it| it.id != Some(id)),
            Change::AddListener { at, listener } => {
                self.listeners.insert(at.min(self.listeners.len()), *listener);
            }
            Change::SetListener(id, setting) => {
                if let Some(listener) = self.listener_mut(id) {
                    listener.set(setting);
                }
            }
            Change::SetPool(id, setting) => {
                if let Some(listener) = self.listener_mut(id) {
                    listener.pool.set(setting);
                }
            }
            Change::RemoveBackend(id) => {
                let tiers = self.listeners.iter_mut().flat_map(|it| &mut it.pool.tiers);
                tiers.for_each(|tier| tier.backends.retain(|it| it.id != Some(id)));
            }
            Change::RemoveTier { listener, tier } => {
                if let Some(tiers) = self.tiers_mut(listener)
                    && tiers.get(tier).is_some_and(|tier| tier.backends.is_empty())
                {
                    tiers.remove(tier);
                }
            }
            Change::AddTier { listener, tier, policy } => {
                if let Some(tiers) = self.tiers_mut(listener).filter(|it| it.len() <= tier) {
                    tiers.push(Tier { policy, backends: Vec::new() });
                }
            }
            Change::SetPolicy { listener, tier, policy } => {
                if let Some(tier) = self.tiers_mut(listener).and_then(|it| it.get_mut(tier)) {
                    tier.policy = policy;
                }
            }
            Change::AddBackend { listener, tier, at, backend } => {
                if let Some(tier) = self.tiers_mut(listener).and_then(|it| it.get_mut(tier)) {
                    tier.backends.insert(at.min(tier.backends.len()), *backend);
                }
            }
            Change::SetBackend(id, setting) => {
                if let Some(backend) = self.backend_mut(id) {
                    backend.set(setting);
                }
            }
        }
    }

    fn listener_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.listeners.iter_mut().find(|it| it.id == Some(id))
    }

    fn tiers_mut(&mut self, id: ListenerId) -> Option<&mut Vec<Tier>> {
        self.listener_mut(id).map(|it| &mut it.pool.tiers)
    }

    /// The backend with this id, unless it is a reject backend.
    pub(crate) fn backend_mut(&mut self, id: BackendId) -> Option<&mut Backend> {
        let tiers = self.listeners.iter_mut().flat_map(|it| &mut it.pool.tiers);
        tiers.flat_map(|tier| &mut tier.backends).find(|it| it.id == Some(id))
    }
}

/// The removed backends and tiers, from the end, so that each number is still right at its turn.
fn removals(listener: ListenerId, before: &[Tier], wanted: &[Tier], changes: &mut Vec<Change>) {
    for (tier, old) in before.iter().enumerate().rev() {
        let kept = kept_backends(Some(old), wanted.get(tier));
        let gone = backend_ids(old).into_iter().filter(|id| !kept.contains(id));
        changes.extend(gone.map(Change::RemoveBackend));
        if tier >= wanted.len() {
            changes.push(Change::RemoveTier { listener, tier });
        }
    }
}

/// The added or changed backends and tiers, from the beginning.
fn additions(listener: ListenerId, before: &[Tier], wanted: &[Tier], changes: &mut Vec<Change>) {
    for (number, tier) in wanted.iter().enumerate() {
        let (old, policy) = (before.get(number), tier.policy);
        match old {
            None => changes.push(Change::AddTier { listener, tier: number, policy }),
            Some(old) if old.policy != policy => {
                changes.push(Change::SetPolicy { listener, tier: number, policy });
            }
            Some(_) => {}
        }
        let kept = kept_backends(old, Some(tier));
        let old = old.into_iter().flat_map(|tier| &tier.backends);
        let old = old.filter_map(|backend| Some((backend.id?, backend)));
        let old: BTreeMap<_, _> = old.filter(|(id, _)| kept.contains(id)).collect();
        for (at, backend) in tier.backends.iter().enumerate() {
            match backend.id.and_then(|id| old.get(&id).map(|old| (id, old))) {
                Some((id, old)) => {
                    let settings = backend.settings_since(old).into_iter();
                    changes.extend(settings.map(|it| Change::SetBackend(id, it)));
                }
                None => {
                    let (tier, backend) = (number, Box::new(backend.clone()));
                    changes.push(Change::AddBackend { listener, tier, at, backend });
                }
            }
        }
    }
}

fn kept_backends(before: Option<&Tier>, wanted: Option<&Tier>) -> BTreeSet<BackendId> {
    let ids = |tier: Option<&Tier>| tier.map(backend_ids).unwrap_or_default();
    kept(&ids(before), &ids(wanted))
}

fn backend_ids(tier: &Tier) -> Vec<BackendId> {
    tier.backends.iter().filter_map(|it| it.id).collect()
}

fn ids(listeners: &[Listener]) -> Vec<ListenerId> {
    listeners.iter().filter_map(|it| it.id).collect()
}

/// The elements of `before` that are also in `wanted`, in the same order. An element that changes
/// its place is removed and added again.
fn kept<T: Copy + Ord>(before: &[T], wanted: &[T]) -> BTreeSet<T> {
    let places: BTreeMap<T, usize> =
        before.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let mut next = 0;
    let kept = wanted.iter().filter(|id| {
        let place = places.get(id).filter(|place| **place >= next);
        next = place.map_or(next, |place| place + 1);
        place.is_some()
    });
    kept.copied().collect()
}

#[cfg(test)]
mod tests;
