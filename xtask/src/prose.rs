//! Whether the Markdown files of this repository fit an editor's window.
//!
//! Rows of tables are exempt, because Markdown cannot break them.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// The longest line allowed, in characters.
pub const LINE_MAX: usize = 120;

/// Every line that is too long, as `PATH:LINE (N characters)`.
pub fn long_lines(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in markdown_files(root)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        found.extend(
            too_long(&text).map(|(line, length)| format!("{shown}:{line} ({length} characters)")),
        );
    }
    Ok(found)
}

/// The number and length of each line that is too long.
fn too_long(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('|'));
    lines
        .map(|(number, line)| (number, line.chars().count()))
        .filter(|(_, length)| *length > LINE_MAX)
}

/// All Markdown files below `root`, except in `target` and hidden folders.
fn markdown_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("listing {folder:?}"))? {
            let entry = entry.with_context(|| format!("listing {folder:?}"))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::too_long;

    #[test]
    fn only_lines_outside_tables_count() {
        let row = format!("| {} |", "x".repeat(200));
        let limit = "ä".repeat(120);
        let text = format!("{limit}\n{row}\n{limit}.\nshort\n");
        assert_eq!(too_long(&text).collect::<Vec<_>>(), [(3, 121)]);
    }
}
