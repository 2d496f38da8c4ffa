//! The tables of `docs/admin-api.md`.

use super::document::Document;
use super::shape::Shape;
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where a rendered table begins: `<!-- fields of NAME -->`.
const BEGIN: &str = "<!-- fields of ";
/// Where it ends.
const END: &str = "<!-- end -->";

/// The guide with every table between its marks rendered anew.
pub fn render(guide: &str, document: &Document) -> anyhow::Result<String> {
    let mut parts = guide.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->").context("a mark that does not end")?;
        let (_, rest) = rest.split_once(END).with_context(|| format!("no end of {name}"))?;
        let table = fields(document, name).with_context(|| format!("the table of {name}"))?;
        write!(text, "{BEGIN}{name} -->\n{table}{END}{rest}")?;
    }
    Ok(text)
}

fn fields(document: &Document, name: &str) -> anyhow::Result<String> {
    let mut table = "| Field | Type | Meaning |\n|---|---|---|\n".to_owned();
    for (field, schema) in document.fields(name)? {
        let kind = kind(document, schema)?;
        let description = |schema: &Value| schema["description"].as_str().map(ToOwned::to_owned);
        let meaning = description(schema);
        let meaning = meaning.or_else(|| description(document.resolved(schema).ok()?));
        let meaning = meaning.with_context(|| format!("{field} has no description"))?;
        writeln!(table, "| `{field}` | {kind} | {meaning} |")?;
    }
    Ok(table)
}

/// What a field holds, with the name of the table that shows the inside of an object.
fn kind(document: &Document, schema: &Value) -> anyhow::Result<String> {
    let target = |schema: &Value| {
        let name = schema.get("$ref").and_then(Value::as_str)?.rsplit('/').next()?;
        Some(name.to_lowercase())
    };
    Ok(match document.shape(schema)? {
        Shape::Object(_) => target(schema).unwrap_or_else(|| "object".to_owned()),
        Shape::Nullable(inner) if matches!(*inner, Shape::Object(_)) => {
            let name = target(&schema["anyOf"][0]).unwrap_or_else(|| "object".to_owned());
            format!("{name} or null")
        }
        Shape::List(inner) if matches!(*inner, Shape::Object(_)) => {
            let name = target(&schema["items"]).context("a list of nameless objects")?;
            format!("array of {name} objects")
        }
        shape => shape.name(),
    })
}

/// What the guide's list of commands and its reasons for refusals lack, or have too much.
pub fn differences(guide: &str, commands: &Shape, errors: &BTreeSet<String>) -> Vec<String> {
    let Shape::Choice(commands) = commands else { return vec!["no commands".to_owned()] };
    let mut found = Vec::new();
    let rows = table(guide, "| Command |");
    let listed: BTreeSet<_> =
        rows.iter().filter_map(|row| words(row[0]).into_iter().next()).collect();
    found.extend(
        listed
            .iter()
            .filter(|name| !commands.contains_key(**name))
            .map(|name| format!("the table has command `{name}`, which the code has not")),
    );
    for (name, shape) in commands {
        let Shape::Object(fields) = shape else { continue };
        let row = rows.iter().find(|row| words(row[0]).contains(&name.as_str()));
        let Some(row) = row else {
            found.push(format!("the table lacks command `{name}`"));
            continue;
        };
        let mentioned = words(row[1]);
        found.extend(
            fields
                .keys()
                .filter(|field| !mentioned.contains(&field.as_str()))
                .map(|field| format!("command `{name}` lacks field `{field}`")),
        );
        let may_be = |word: &str| {
            word.starts_with('-')
                || fields.contains_key(word)
                || fields.values().any(
                    |field| matches!(&field.shape, Shape::Words(words) if words.contains(word)),
                )
        };
        found.extend(
            mentioned
                .into_iter()
                .filter(|word| !may_be(word))
                .map(|word| format!("command `{name}` has `{word}`, which the code has not")),
        );
    }
    let rows = table(guide, "| Status |");
    let reasons: BTreeSet<_> = rows.iter().flat_map(|row| bracketed(row[1])).collect();
    found.extend(
        errors
            .iter()
            .filter(|error| !reasons.contains(error.as_str()))
            .map(|error| format!("no status explains error `{error}`")),
    );
    found.extend(
        reasons
            .iter()
            .filter(|reason| !errors.contains(**reason))
            .map(|reason| format!("a status has error `{reason}`, which the code has not")),
    );
    found
}

/// The cells of the table whose heading begins with `heading`.
fn table<'a>(guide: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = guide.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.len() > 1)
        .collect()
}

/// What stands in backquotes.
fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What stands in backquotes within brackets of its own: ``(`unknown-backend`)``.
fn bracketed(cell: &str) -> Vec<&str> {
    cell.split("(`")
        .skip(1)
        .filter_map(|rest| rest.split_once("`)").map(|(word, _)| word))
        .collect()
}
