//! Which files of a crate import which.

use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// A module's place: the names from the crate's root.
type Place = Vec<String>;

/// The modules of a crate.
pub struct Crate(BTreeMap<Place, Module>);

#[derive(Default)]
struct Module {
    /// Relative to `src`.
    file: String,
    /// What it defines, modules included.
    defines: BTreeSet<String>,
    /// What it names by `use`, and how it spells it.
    aliases: BTreeMap<String, Place>,
    /// What it takes everything from.
    globs: Vec<Place>,
    /// Paths that the code spells, imports included and re-exports not.
    spelled: Vec<Place>,
}

impl Crate {
    /// Reads the crate that begins with the file `start`.
    pub fn read(start: &Path) -> anyhow::Result<Self> {
        let mut found = Self(BTreeMap::new());
        let folder = start.parent().context("a file in a folder")?;
        found.read_file(start, folder, folder, Vec::new())?;
        Ok(found)
    }

    /// Reads a file and the modules below it, which lie in `below`.
    fn read_file(
        &mut self,
        path: &Path,
        below: &Path,
        source: &Path,
        place: Place,
    ) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parsing {path:?}"))?;
        let file = path.strip_prefix(source).unwrap_or(path).display().to_string();
        self.read_items(&parsed.items, &file, below, source, place)
    }

    fn read_items(
        &mut self,
        items: &[Item],
        file: &str,
        below: &Path,
        source: &Path,
        place: Place,
    ) -> anyhow::Result<()> {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            if let Item::Mod(inner) = item {
                if is_test(&inner.attrs) {
                    continue;
                }
                let name = inner.ident.to_string();
                module.defines.insert(name.clone());
                let place = [&place[..], std::slice::from_ref(&name)].concat();
                let deeper = below.join(&name);
                match &inner.content {
                    Some((_, items)) => self.read_items(items, file, &deeper, source, place)?,
                    None => self.read_file(&find(below, &name)?, &deeper, source, place)?,
                }
            } else {
                module.visit_item(item);
            }
        }
        self.0.insert(place, module);
        Ok(())
    }

    /// For each file, the files that it imports.
    pub fn imports(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (place, module) in &self.0 {
            let found = imports.entry(module.file.clone()).or_default();
            let globs = module.globs.iter();
            for path in module.spelled.iter().chain(globs) {
                let Some(target) = self.resolve(place, path, 0) else { continue };
                // A module's inside may look back at it.
                let is_inside = place.starts_with(&target);
                if !is_inside && let Some(target) = self.0.get(&target) {
                    found.insert(target.file.clone());
                }
            }
            found.remove(&module.file);
        }
        imports
    }

    /// The module that defines what `path` means in the module at `from`; `None` if that is in
    /// another crate.
    fn resolve(&self, from: &Place, path: &[String], depth: usize) -> Option<Place> {
        // Aliases that go round in circles are no valid Rust.
        let (first, rest) = path.split_first().filter(|_| depth < 16)?;
        match first.as_str() {
            "crate" => self.walk(Vec::new(), rest, depth),
            "self" => self.walk(from.clone(), rest, depth),
            "super" => {
                let parent = from[..from.len().checked_sub(1)?].to_vec();
                let again = rest.first().is_some_and(|next| next == "super");
                if again {
                    self.resolve(&parent, rest, depth)
                } else {
                    self.walk(parent, rest, depth)
                }
            }
            _ => {
                let module = self.0.get(from)?;
                let is_here = module.defines.contains(first) || module.aliases.contains_key(first);
                is_here.then(|| self.walk(from.clone(), path, depth))?
            }
        }
    }

    fn walk(&self, place: Place, path: &[String], depth: usize) -> Option<Place> {
        let Some((name, rest)) = path.split_first() else { return Some(place) };
        let module = self.0.get(&place)?;
        let inner = [&place[..], std::slice::from_ref(name)].concat();
        if self.0.contains_key(&inner) {
            return self.walk(inner, rest, depth);
        }
        if module.defines.contains(name) {
            return Some(place);
        }
        if let Some(alias) = module.aliases.get(name) {
            let path = [&alias[..], rest].concat();
            return self.resolve(&place, &path, depth + 1);
        }
        let mut globs = module.globs.iter().filter_map(|it| self.resolve(&place, it, depth + 1));
        globs.find_map(|glob| {
            let has_it = self.0.get(&glob)?.knows(name);
            has_it.then(|| self.walk(glob, path, depth + 1))?
        })
    }
}

impl Module {
    fn knows(&self, name: &str) -> bool {
        self.defines.contains(name) || self.aliases.contains_key(name)
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String], is_reexport: bool) {
        let with = |name: String| [before, &[name]].concat();
        let mut name = |path: Place, known_as: String| {
            // `use a::{self}` names the module.
            let path = if path.last().is_some_and(|it| it == "self") && path.len() > 1 {
                path[..path.len() - 1].to_vec()
            } else {
                path
            };
            let known_as = if known_as == "self" {
                path.last().cloned().unwrap_or_default()
            } else {
                known_as
            };
            if !is_reexport {
                self.spelled.push(path.clone());
            }
            self.aliases.insert(known_as, path);
        };
        match tree {
            UseTree::Path(path) => {
                let before = with(path.ident.to_string());
                self.add_use(&path.tree, &before, is_reexport);
            }
            UseTree::Name(it) => name(with(it.ident.to_string()), it.ident.to_string()),
            UseTree::Rename(it) => name(with(it.ident.to_string()), it.rename.to_string()),
            UseTree::Glob(_) if is_reexport => self.globs.push(before.to_vec()),
            UseTree::Glob(_) => {
                self.globs.push(before.to_vec());
                self.spelled.push(before.to_vec());
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, before, is_reexport);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = match item {
            Item::Const(it) => (Some(&it.ident), &it.attrs),
            Item::Enum(it) => (Some(&it.ident), &it.attrs),
            Item::Fn(it) => (Some(&it.sig.ident), &it.attrs),
            Item::Macro(it) => (it.ident.as_ref(), &it.attrs),
            Item::Static(it) => (Some(&it.ident), &it.attrs),
            Item::Struct(it) => (Some(&it.ident), &it.attrs),
            Item::Trait(it) => (Some(&it.ident), &it.attrs),
            Item::Type(it) => (Some(&it.ident), &it.attrs),
            Item::Union(it) => (Some(&it.ident), &it.attrs),
            Item::Impl(it) => (None, &it.attrs),
            Item::Use(it) => (None, &it.attrs),
            _ => return visit::visit_item(self, item),
        };
        if is_test(attributes) {
            return;
        }
        self.defines.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_reexport = !matches!(item.vis, Visibility::Inherited);
        self.add_use(&item.tree, &[], is_reexport);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            self.spelled.push(path.segments.iter().map(|it| it.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}

/// Whether an item is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (condition == "test" || condition.starts_with("all") && condition.contains("test"))
    })
}

/// The file of a module.
fn find(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    match candidates.into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("no file of module {name} in {folder:?}"),
    }
}
