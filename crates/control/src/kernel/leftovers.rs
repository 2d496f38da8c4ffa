//! The rules that instances have left in the kernel, and their removal.

use super::claim::Claims;
use super::helper::marks;
use super::hosting::{Network, hosted};
use super::nft;
use super::nft_calls::{list_tables, run};
use forwarding::{Kind, Mark, TableName, clear};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// What instances have made in the kernel, in this network namespace.
pub struct KernelRules {
    nft: PathBuf,
    tables: Vec<KernelTable>,
}

/// The rules of one instance.
pub struct KernelTable {
    name: TableName,
    /// Which of its tables there are.
    kinds: Vec<Kind>,
    /// The marks of its connections.
    marks: Vec<Mark>,
    /// The addresses that this machine answers for because of it.
    hosted: Vec<Network>,
    /// The process that keeps it up to date, if one is alive.
    pub keeper: Option<u32>,
}

impl KernelRules {
    /// What there is now.
    ///
    /// # Errors
    /// If this user may not look, or there is no nft(8), or that fails.
    pub fn read() -> io::Result<Self> {
        if !sys::helper::may_change_network() {
            let message = "CAP_NET_ADMIN is missing; run this as root";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let nft = nft().map_err(io::Error::other)?;
        // In this order: a keeper makes its claim before it makes its table.
        let names = names(&list_tables(&nft)?);
        let claims = Claims::read()?;
        let tables = names.into_iter().map(|(name, kinds)| {
            // Without the set, somebody else has changed the table; it goes like any other.
            let marks = marks(Kind::Translated, &name).unwrap_or_default();
            let keeper = claims.holder(&name);
            let hosted = hosted(&nft, &name);
            KernelTable { name, kinds, marks, hosted, keeper }
        });
        let tables = tables.collect();
        Ok(Self { nft, tables })
    }

    /// All of it.
    #[must_use]
    pub fn tables(&self) -> &[KernelTable] {
        &self.tables
    }

    /// Removes these rules in one step, and has the kernel forget the connections that they have
    /// begun. Other instances keep theirs.
    ///
    /// # Errors
    /// [`RemoveError::Rules`] if nothing has changed.
    pub fn remove(&self, doomed: &[&KernelTable]) -> Result<(), RemoveError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let text: String = doomed.iter().map(|it| clear(&it.name, &it.kinds)).collect();
        run(&self.nft, &text).map_err(RemoveError::Rules)?;
        let mut hosted = doomed.iter().flat_map(|it| &it.hosted);
        hosted
            .try_for_each(|network| sys::routes::unhost(*network))
            .map_err(RemoveError::Addresses)?;
        let marks = doomed.iter().flat_map(|it| it.marks.iter().map(|it| it.bits()));
        sys::tracking::forget_marked(marks).map_err(RemoveError::Connections)
    }
}

impl KernelTable {
    /// Its name, for `nft`.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// Whether it is meant: by its own name, by the name of its instance, or by the admin socket of
    /// that.
    #[must_use]
    pub fn is_called(&self, word: &Path) -> bool {
        let (Some(file), Some(stem)) = (word.file_name(), word.file_stem()) else { return false };
        let [whole, file, stem] = [word.as_os_str(), file, stem].map(OsStr::to_string_lossy);
        // Without a path, a dot may belong to the name of an instance.
        let is_path = whole.contains('/');
        let instance = if is_path { &*stem } else { file.strip_suffix(".sock").unwrap_or(&file) };
        self.name.to_string() == whole || TableName::of(instance) == self.name
    }
}

/// Why not everything is removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Nothing has changed.
    #[error("the rules cannot be removed")]
    Rules(#[source] io::Error),
    /// The rules are gone, but not all addresses.
    #[error("the rules are removed, but this machine still answers for addresses of theirs")]
    Addresses(#[source] io::Error),
    /// The rules are gone, but not all connections.
    #[error(
        "the rules are removed, but the kernel has not forgotten the connections that they have \
         begun; it will when they have been silent for a while"
    )]
    Connections(#[source] io::Error),
}

/// The names of instances' tables in what nft(8) has listed.
fn names(listed: &str) -> Vec<(TableName, Vec<Kind>)> {
    let mut names: BTreeMap<_, (TableName, Vec<Kind>)> = BTreeMap::new();
    for line in listed.lines() {
        let ["table", family, name] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let kind = Kind::ALL.into_iter().find(|kind| family == kind.family());
        if let (Some(kind), Some(name)) = (kind, TableName::listed(name)) {
            names.entry(name.to_string()).or_insert((name, Vec::new())).1.push(kind);
        }
    }
    names.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_called(instance: &str, word: &str, expected: bool) {
        let name = TableName::of(instance);
        let (kinds, marks) = (Vec::new(), Vec::new());
        let table = KernelTable { name, kinds, marks, hosted: Vec::new(), keeper: None };
        assert_eq!(table.is_called(Path::new(word)), expected, "{instance}: {word}");
    }

    #[test]
    fn tables_have_the_names_of_their_instances() {
        check_called("evenkeel.80", "evenkeel.80", true);
        check_called("evenkeel.80", "evenkeel.80.sock", true);
        check_called("evenkeel.80", "/run/evenkeel/evenkeel.80.sock", true);
        check_called("evenkeel.80", "./evenkeel.80.sock", true);
        check_called("evenkeel.80", "evenkeel_evenkeel_2e80", true);
        check_called("admin", "/run/admin.socket", true);
        check_called("evenkeel.80", "evenkeel.8080", false);
        check_called("evenkeel", "evenkeel.80", false);
        check_called("evenkeel.80", "80", false);
        check_called("evenkeel.80", "..", false);
        check_called("evenkeel.80", "", false);
    }

    #[test]
    fn only_tables_of_instances_are_found() {
        let listed = "table inet evenkeel_web\ntable ip6 evenkeel_ip\ntable ip evenkeel_web\n\
                      table inet filter\ntable inet evenkeel\ntable inet evenkeel_a b\n\
                      table inet anchor_evenkeel_web\ntable netdev evenkeel_web\n\
                      table netdev evenkeel_db\n";
        let expected = [
            (TableName::of("db"), vec![Kind::Direct]),
            (TableName::of("web"), vec![Kind::Translated, Kind::Pit, Kind::Direct]),
        ];
        assert_eq!(names(listed), expected);
    }
}
