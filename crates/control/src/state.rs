//! What a restart remembers: how the state file is read at the start, and what is to be written
//! into it. The [`Keeper`](crate::keeper::Keeper) writes it.

use crate::first_names::LastNames;
use crate::instance::Instance;
use balancing::{Affinity, AffinityRow, Health, Pool};
use config::state::{Dropped, KnownClient, Moment, Override, Quarantine, State, addresses};
use config::{Answers, Config};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use sys::kept_file::KeptFile;
use sys::process::User;
use telemetry::Level;
use terms::{Address, BackendId};

/// Where the state of an instance is kept.
#[derive(Clone, Debug)]
pub struct StatePlace {
    /// The directory.
    pub directory: PathBuf,
    /// Whether somebody wants this directory. Otherwise it is used only if it exists and can be
    /// written, and nothing is said if not.
    pub is_asked: bool,
    /// The name of the instance, which is also the file's.
    pub instance: String,
}

/// The state at the start, and where it will be kept.
pub(crate) struct Kept {
    file: Option<KeptFile>,
    is_asked: bool,
    /// What the file says; without a usable one, a state of no instance.
    state: State,
    instance: String,
    boot: String,
    pub remarks: Vec<Remark>,
}

/// A line for the log, which is not open yet.
pub(crate) struct Remark {
    pub level: Level,
    pub message: &'static str,
    pub fields: Vec<(&'static str, String)>,
}

/// The number of remarks about changes that are logged one by one.
const REMARKS_MAX: usize = 50;

impl Kept {
    /// Reads the state. What cannot be used is set aside, and never stops a start. `user` is the
    /// user that the process will change to.
    pub fn read(place: Option<&StatePlace>, user: Option<&User>) -> Self {
        let mut kept = Self {
            file: None,
            is_asked: place.is_some_and(|place| place.is_asked),
            state: State::default(),
            instance: place.map(|place| place.instance.clone()).unwrap_or_default(),
            // Also for what a process that this one takes over has known.
            boot: sys::clock::boot_id(),
            remarks: Vec::new(),
        };
        let Some(place) = place else { return kept };
        match open(place, user) {
            Ok(file) => kept.read_file(file),
            Err(error) if place.is_asked => {
                let directory = ("directory", place.directory.display().to_string());
                let fields = vec![directory, ("error", error.to_string())];
                kept.remark(Level::Warn, "no state is kept: a restart will know nothing", fields);
            }
            Err(_) => {}
        }
        kept
    }

    fn read_file(&mut self, mut file: KeptFile) {
        let contents = file.read(State::BYTES_MAX).map_err(|error| error.to_string());
        let read = contents.and_then(|contents| {
            let parse = |bytes: Vec<u8>| State::parse(&bytes, &self.instance);
            contents.map(parse).transpose().map_err(|error| error.to_string())
        });
        match read {
            Ok(state) => self.state = state.unwrap_or_default(),
            Err(why) => {
                let mut fields = vec![("path", file.path().display().to_string()), ("why", why)];
                fields.push(match file.set_aside(".broken") {
                    Ok(path) => ("kept_as", path.display().to_string()),
                    Err(error) => ("error", error.to_string()),
                });
                self.remark(Level::Warn, "state file not used", fields);
            }
        }
        self.file = Some(file);
    }

    /// Uses the state of the process that this one takes over instead of the file's.
    pub fn replace(&mut self, state: State) {
        self.state = state;
        self.remarks.clear();
    }

    /// What names stood for when the instance was last running.
    pub fn names(&self) -> LastNames {
        self.state.names.clone()
    }

    /// What names stood for then that stand for several backends.
    pub fn answers(&self) -> Answers {
        self.state.discovered.clone()
    }

    /// The configuration to run instead of the `given` one, with what was changed before the
    /// restart.
    pub fn apply(&mut self, given: &Config) -> Config {
        let (config, dropped) = self.state.apply(given);
        let all = self
            .state
            .pools
            .iter()
            .flat_map(|(pool, it)| it.overrides.iter().map(|it| (pool.clone(), it.clone())));
        let is_dropped = |pool: &str, it: &Override| {
            dropped.iter().any(|dropped| dropped.pool == *pool && dropped.dropped == *it)
        };
        let applied: Vec<_> = all.filter(|(pool, it)| !is_dropped(pool, it)).collect();
        for (pool, it) in applied {
            let backend = ("backend", it.place());
            let fields = vec![("pool", pool), backend, ("change", it.to_string())];
            self.change(Level::Info, "still changed as before the restart", fields);
        }
        for Dropped { pool, dropped, why } in dropped {
            let fields = vec![
                ("pool", pool),
                ("backend", dropped.place()),
                ("change", dropped.to_string()),
                ("why", why.to_string()),
            ];
            self.change(Level::Info, "change from before the restart dropped", fields);
        }
        config
    }

    /// Gives backends the health that they had.
    pub fn restore_health(&self, config: &Config, pools: &[Pool]) {
        let now = moment(&self.boot);
        for (config, pool) in config.pools.iter().zip(pools) {
            let healths = self.state.healths(&config.name, &now);
            if healths.is_empty() {
                continue;
            }
            for (address, (_, _, backend)) in addresses(config).iter().zip(pool.backends()) {
                // Only probes can end what probes have found, and likewise ejections.
                let counts = |it: &&Health| match it {
                    Health::Down { .. } => config.checks.probe.is_some(),
                    Health::Ejected { .. } => config.checks.eject.is_some(),
                    _ => true,
                };
                if let Some(health) = healths.get(&**address).filter(counts) {
                    backend.state.set_health(*health);
                }
            }
        }
    }

    /// Makes clients return to the backends that they had.
    pub fn restore_clients(&self, config: &Config, pools: &[Pool]) {
        let now = moment(&self.boot);
        for (config, pool) in config.pools.iter().zip(pools) {
            let Some(affinity) = sticky(pool) else { continue };
            let ids: BTreeMap<_, _> = first_tier(config).collect();
            for (client, backend, last_used) in self.state.known_clients(&config.name, &now) {
                if let Some(id) = ids.get(backend) {
                    affinity.restore(client, *id, last_used);
                }
            }
        }
    }

    /// The file, if the user that the process has now can use it; what it says; and what to note in
    /// it. `listening` is what the names of listening addresses stand for.
    pub fn into_parts(self, listening: LastNames) -> (Option<KeptFile>, State, Noted) {
        let is_usable = |file: &KeptFile| self.is_asked || file.can_write().is_ok();
        let file = self.file.filter(is_usable);
        (file, self.state, Noted { instance: self.instance, boot: self.boot, listening })
    }

    fn change(&mut self, level: Level, message: &'static str, fields: Vec<(&'static str, String)>) {
        if self.remarks.len() < REMARKS_MAX {
            self.remark(level, message, fields);
        }
    }

    pub fn remark(
        &mut self,
        level: Level,
        message: &'static str,
        fields: Vec<(&'static str, String)>,
    ) {
        self.remarks.push(Remark { level, message, fields });
    }
}

fn open(place: &StatePlace, user: Option<&User>) -> io::Result<KeptFile> {
    let name = OsString::from(format!("{}.json", place.instance));
    if place.is_asked {
        return KeptFile::in_new(&place.directory, &name, user);
    }
    let file = KeptFile::new(&place.directory, &name, user)?;
    file.can_write()?;
    Ok(file)
}

fn moment(boot: &str) -> Moment {
    Moment { boot: boot.to_owned(), millis: sys::clock::now().as_millis() }
}

/// What a state has in it besides what the instance knows.
#[derive(Default)]
pub(crate) struct Noted {
    instance: String,
    boot: String,
    listening: LastNames,
}

impl Noted {
    /// For another process of the same boot, which knows the rest.
    pub fn for_another_process() -> Self {
        Self { boot: sys::clock::boot_id(), ..Self::default() }
    }
}

/// The affinity table of a pool whose clients return.
fn sticky(pool: &Pool) -> Option<&Arc<Affinity>> {
    pool.affinity.as_ref().filter(|_| pool.sticky)
}

/// The backends of the first tier, by their addresses.
fn first_tier(config: &config::Pool) -> impl Iterator<Item = (String, BackendId)> {
    let backends = config.tiers.first().into_iter().flat_map(|tier| &tier.backends);
    let ids = backends.map(|backend| backend.id.unwrap_or_default());
    addresses(config).into_iter().zip(ids)
}

/// A pool's clients, before they are listed, which takes time.
pub(crate) struct Clients {
    pool: String,
    affinity: Arc<Affinity>,
    /// The addresses of the first tier.
    backends: BTreeMap<BackendId, String>,
}

impl Clients {
    /// The clients seen last, by pool.
    pub fn list(all: &[Self]) -> BTreeMap<String, Vec<KnownClient>> {
        all.iter().map(|it| (it.pool.clone(), it.last_seen())).collect()
    }

    fn last_seen(&self) -> Vec<KnownClient> {
        let known = |row: AffinityRow| {
            let backend = self.backends.get(&row.backend?)?.clone();
            let last_millis = row.last_used.as_millis();
            Some(KnownClient { client: row.client, backend, last_millis })
        };
        let mut all: Vec<_> = self.affinity.rows().into_iter().filter_map(known).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.last_millis));
        all.truncate(State::CLIENTS_MAX);
        all
    }
}

impl Instance {
    /// The pools whose clients a restart is to know.
    pub(crate) fn clients(&self) -> Vec<Clients> {
        let pools = self.config.pools.iter().zip(&self.pools);
        let all = pools.filter_map(|(config, pool)| {
            let affinity = Arc::clone(sticky(pool)?);
            let backends = first_tier(config).map(|(address, id)| (id, address)).collect();
            Some(Clients { pool: config.name.clone(), affinity, backends })
        });
        all.collect()
    }

    /// What a restart is to know, clients apart.
    pub(crate) fn note_state(&mut self, noted: &Noted) -> State {
        self.note_auto_disabled();
        let mut state = State {
            version: State::VERSION,
            instance: noted.instance.clone(),
            written: moment(&noted.boot),
            names: noted.listening.clone(),
            discovered: self.discoveries.answers().clone(),
            ..State::default()
        };
        state.note_overrides(&self.given, &self.config);
        for (config, pool) in self.config.pools.iter().zip(&self.pools) {
            let quarantines = quarantines(config, pool);
            if !quarantines.is_empty() {
                state.pools.entry(config.name.clone()).or_default().quarantines = quarantines;
            }
        }
        let known = self.known_addresses().into_iter();
        state.names.extend(known.map(|(name, all)| (name, all.iter().filter_map(ip).collect())));
        state
    }
}

fn quarantines(config: &config::Pool, pool: &Arc<Pool>) -> Vec<Quarantine> {
    let backends = addresses(config).into_iter().zip(pool.backends());
    let all =
        backends.filter_map(|(address, (_, _, it))| Quarantine::of(address, it.state.health()));
    all.collect()
}

fn ip(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Ip(address) => Some(*address),
        Address::Unix(_) => None,
    }
}
