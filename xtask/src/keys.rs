//! The reference of the keys of configuration files.

use crate::markdown::{NOTICE, code, paragraph, plain, table};
use config::keys::{Key, NOT_IN_FILES, Place, Shape};

/// Every key, by the table in which it stands.
pub fn reference() -> String {
    let mut text = format!("{NOTICE}# Keys of the configuration file\n\n");
    text.push_str(&paragraph(INTRODUCTION));
    for (place, heading, about) in SECTIONS {
        text.push_str(&format!("\n## {heading}\n\n"));
        text.push_str(&paragraph(about));
        text.push('\n');
        text.push_str(&table(
            ["Key", "Value", "Default", "Meaning", "Example"],
            place.keys().map(row),
        ));
    }
    text.push_str("\n## Options that are not keys\n\n");
    text.push_str(&table(
        ["Option", "Reason"],
        NOT_IN_FILES.iter().map(|(name, reason)| [code(&format!("--{name}")), plain(reason)]),
    ));
    text
}

fn row(key: &Key) -> [String; 5] {
    let default = match key.shape {
        _ if key.required => "required".to_owned(),
        Shape::Flag => code("false"),
        _ => key.default().map(|it| code(&it)).unwrap_or_default(),
    };
    let example = format!("{} = {}", key.name, key.example);
    [code(key.name), plain(&key.shape.to_string()), default, plain(&key.about()), code(&example)]
}

const INTRODUCTION: &str = "A key is a long option without its dashes, and means the same. Durations \
     are written \"500ms\", \"2s\", \"10m\" or \"1h\"; a bare number is seconds. The guide is \
     [docs/file.md](../file.md), and `evenkeel schema` prints the [JSON \
     Schema](evenkeel.schema.json) for editors.";

const SECTIONS: [(Place, &str, &str); 7] = [
    (Place::File, "The file", "The tables of a file."),
    (Place::Process, "`[process]`", "How the process runs."),
    (
        Place::Listener,
        "`[listeners.NAME]`",
        "Where clients connect. All but `bind`, `family`, `pool`, `routes`, `hello-wait` and `dummy` may also stand in `[defaults]`, \
         for listeners that do not have them.",
    ),
    (
        Place::Route,
        "A route",
        "An item of `routes`: a table with these keys, in braces or below \
         `[[listeners.NAME.routes]]`. It needs `sni` or `alpn`, or both, and is then for clients \
         that ask for both. The guide is [docs/routing.md](../routing.md).",
    ),
    (
        Place::Pool,
        "`[pools.NAME]`",
        "What serves clients: `backends` or `tiers`, and how one is chosen. All but `backends`, \
         `tiers` and `fixed-places` may also stand in `[defaults]`, for pools that do not have them.",
    ),
    (
        Place::Tier,
        "A tier",
        "An item of `tiers`: a list of backends, or a table with these keys, written \
         `[[pools.NAME.tiers]]` or in braces.",
    ),
    (
        Place::Backend,
        "A backend",
        "An item of `backends`: a string as on a command line, or a table with these keys, usually \
         in braces.",
    ),
];
