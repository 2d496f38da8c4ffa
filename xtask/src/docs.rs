//! Which files under `docs/` are rendered, whether they are current, and whether prose fits.
//!
//! Everything in [`FOLDERS`] is ours: a file that nothing renders any more is stale too. In
//! `docs/admin-api.md`, only some tables are rendered.

use crate::{api, keys, markdown, pen, prose, roff, root};
use anyhow::{Context, bail};
use clap_complete::{Shell, generate};
use std::collections::BTreeMap;

/// Folders of which every file is rendered.
const FOLDERS: [&str; 3] = ["docs/completions", "docs/man", "docs/reference"];

/// Writes every file, and removes those that are no longer rendered. Fails, too, when what is written
/// by hand is wrong.
pub fn write() -> anyhow::Result<()> {
    let rendered = render()?;
    for path in present()? {
        if !rendered.contains_key(&path) {
            std::fs::remove_file(root().join(&path)).with_context(|| format!("removing {path}"))?;
        }
    }
    for folder in FOLDERS {
        let folder = root().join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {folder:?}"))?;
    }
    for (path, text) in rendered {
        std::fs::write(root().join(&path), text).with_context(|| format!("writing {path}"))?;
    }
    check_written_by_hand()
}

/// Fails when a file is missing, differs, or is no longer rendered, or when a line is too long.
pub fn check() -> anyhow::Result<()> {
    let rendered = render()?;
    let mut stale: Vec<String> = Vec::new();
    for (path, text) in &rendered {
        match std::fs::read_to_string(root().join(path)) {
            Ok(present) if present == *text => {}
            Ok(present) => stale.push(format!("{path} ({})", first_difference(&present, text))),
            Err(error) => stale.push(format!("{path} ({error})")),
        }
    }
    let surplus = present()?.into_iter().filter(|path| !rendered.contains_key(path));
    stale.extend(surplus.map(|path| format!("{path} (nothing renders it)")));
    if !stale.is_empty() {
        bail!(
            "these files are not what the option tables say; run `cargo xtask docs` and commit them:\n  {}",
            stale.join("\n  ")
        );
    }
    check_written_by_hand()
}

/// Fails when the API's description does not fit the code, or when a line is too long.
fn check_written_by_hand() -> anyhow::Result<()> {
    let differences = api::differences(&root())?;
    if !differences.is_empty() {
        bail!("the API's documents do not fit the code:\n  {}", differences.join("\n  "));
    }
    let long = prose::long_lines(&root())?;
    if !long.is_empty() {
        bail!(
            "these lines have more than {} characters:\n  {}",
            prose::LINE_MAX,
            long.join("\n  ")
        );
    }
    Ok(())
}

/// Every rendered file, by its path from the root.
fn render() -> anyhow::Result<BTreeMap<String, String>> {
    let tree = cli::tree();
    let mut files = BTreeMap::new();
    let mut add = |path: &str, text: String| {
        let comment = match path {
            _ if path.ends_with(".1") => ".\\\" ",
            _ if path.starts_with("docs/completions") => "# ",
            _ => "",
        };
        let mark = if comment.is_empty() { "" } else { cli::MARK };
        // Renderers differ in how they end; a file ends with one newline.
        let text = format!("{}\n{comment}{mark}", text.trim_end());
        files.insert(path.to_owned(), format!("{}\n", text.trim_end()));
    };
    add("docs/man/balance.1", roff::balance());
    add("docs/man/pen.1", pen::pen_page());
    add("docs/man/penctl.1", pen::penctl_page());
    add("docs/man/evenkeel.1", roff::evenkeel(&tree)?);
    for (name, page) in logtools::manual_pages() {
        add(&format!("docs/man/{name}.1"), page);
    }
    for (verb, synopsis) in roff::VERBS {
        add(&format!("docs/man/evenkeel-{verb}.1"), roff::verb(&tree, verb, synopsis)?);
    }
    for personality in &cli::PERSONALITIES {
        complete(&mut add, &personality.command())?;
    }
    complete(&mut add, &tree)?;
    add("docs/reference/balance.md", markdown::balance());
    add("docs/reference/ctl.md", markdown::ctl(&tree)?);
    add("docs/reference/evenkeel.md", markdown::evenkeel(&tree));
    add("docs/reference/exit-status.md", markdown::exit_statuses());
    add("docs/reference/environment.md", markdown::environment());
    add("docs/reference/keys.md", keys::reference());
    add("docs/reference/evenkeel.schema.json", format!("{:#}", config::keys::schema()));
    add("docs/reference/pen.md", pen::reference());
    add("docs/reference/reports.md", markdown::report_codes());
    add(api::GUIDE, api::render_guide(&root())?);
    Ok(files)
}

/// Renders the completions of one program for every shell.
fn complete(add: &mut impl FnMut(&str, String), command: &clap::Command) -> anyhow::Result<()> {
    let name = command.get_name().to_owned();
    for (shell, file) in [
        (Shell::Bash, format!("{name}.bash")),
        (Shell::Zsh, format!("_{name}")),
        (Shell::Fish, format!("{name}.fish")),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut command.clone(), &name, &mut script);
        let script = String::from_utf8(script).with_context(|| format!("rendering {file}"))?;
        add(&format!("docs/completions/{file}"), script);
    }
    Ok(())
}

/// Every file that is there, by its path from the root.
fn present() -> anyhow::Result<Vec<String>> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        let full = root().join(folder);
        if !full.exists() {
            continue;
        }
        for entry in full.read_dir().with_context(|| format!("listing {folder}"))? {
            let name = entry.with_context(|| format!("listing {folder}"))?.file_name();
            paths.push(format!("{folder}/{}", name.to_string_lossy()));
        }
    }
    paths.sort();
    Ok(paths)
}

fn first_difference(present: &str, rendered: &str) -> String {
    let differs = |(_, (old, new)): &(usize, (&str, &str))| old != new;
    let lines = present.lines().zip(rendered.lines()).enumerate();
    let line = match lines.clone().find(differs) {
        Some((index, _)) => index + 1,
        None => lines.count() + 1,
    };
    format!("differs from line {line}")
}
