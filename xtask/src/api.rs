//! Whether the documents of the admin API say what the code does.
//!
//! `docs/openapi.yaml` is written by hand, and compared here with what serde makes of the types,
//! both ways. The tables of `docs/admin-api.md` are rendered from it; its list of commands is
//! written by hand and compared, too.

mod code;
mod document;
mod shape;
mod tables;

use anyhow::Context;
use balancing::{AdminState, Policy};
use code::words;
use config::{Command, CommandError, Reply};
use document::Document;
use shape::Shape;
use std::path::Path;
use telemetry::{Health, InstanceRow, ProbeVerdict, SessionRow, Stance, Status, Why, WhyReason};
use terms::{CloseReason, Phase};

/// Where the API is described exactly.
const DESCRIPTION: &str = "docs/openapi.yaml";
/// Where it is explained.
pub const GUIDE: &str = "docs/admin-api.md";

/// Every difference between the code and the documents of the API.
pub fn differences(root: &Path) -> anyhow::Result<Vec<String>> {
    let document = Document::read(&root.join(DESCRIPTION))?;
    let mut found = Vec::new();
    let mut compare = |name: &str, code: &Shape| -> anyhow::Result<()> {
        let described = document.schema(name).with_context(|| format!("reading schema {name}"))?;
        found.extend(code.differences(&described, name));
        Ok(())
    };
    let commands = code::commands::<Command>()?;
    compare("Command", &commands)?;
    let status_words = [
        words::<Policy>,
        words::<AdminState>,
        words::<Health>,
        words::<ProbeVerdict>,
        words::<Stance>,
        words::<CloseReason>,
    ];
    compare("Status", &code::traced::<Status>(&status_words)?)?;
    compare("Instance", &code::traced::<InstanceRow>(&[])?)?;
    compare("Session", &code::traced::<SessionRow>(&[words::<Phase>])?)?;
    compare("Why", &code::traced::<Why>(&[words::<Policy>, words::<WhyReason>])?)?;
    compare("Reply", &code::traced::<Reply>(&[])?)?;
    let errors = code::variants::<CommandError>("error")?;
    compare("CommandErrorWord", &Shape::Words(errors.clone()))?;
    let mut found: Vec<_> =
        found.into_iter().map(|difference| format!("{DESCRIPTION}: {difference}")).collect();
    let guide = root.join(GUIDE);
    let guide = std::fs::read_to_string(&guide).with_context(|| format!("reading {guide:?}"))?;
    let in_guide = tables::differences(&guide, &commands, &errors);
    found.extend(in_guide.into_iter().map(|difference| format!("{GUIDE}: {difference}")));
    Ok(found)
}

/// The guide with its tables rendered anew.
pub fn render_guide(root: &Path) -> anyhow::Result<String> {
    let document = Document::read(&root.join(DESCRIPTION))?;
    let path = root.join(GUIDE);
    let guide = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
    tables::render(&guide, &document)
}
