//! The references under `docs/reference/`.

use crate::prose::LINE_MAX;
use crate::roff::{about, operand, sentence, verb_words};
use anyhow::Context;
use clap::{Arg, Command};
use classics::balance::{self, shell};
use config::{EXIT_STATUSES, environment};

pub const NOTICE: &str = "<!-- Rendered by `cargo xtask docs`; do not edit. -->\n";

/// The options of `evenkeel`, by heading.
pub fn evenkeel(tree: &Command) -> String {
    let mut text = format!("{NOTICE}# `evenkeel`\n\n```text\n");
    text.push_str(&usage(tree));
    text.push_str("```\n");
    let mut headings: Vec<&str> = Vec::new();
    for arg in tree.get_arguments() {
        let heading = arg.get_help_heading().unwrap_or("");
        if !heading.is_empty() && !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    text.push_str("\n## Operands\n\n");
    text.push_str(&table(
        ["Operand", "Meaning"],
        tree.get_positionals().map(|arg| [code(&operand(arg)), help(arg)]),
    ));
    for heading in headings {
        text.push_str(&format!("\n## {heading}\n\n"));
        let args = tree.get_arguments().filter(|arg| arg.get_help_heading() == Some(heading));
        text.push_str(&table(
            ["Option", "Default", "Meaning"],
            args.map(|arg| [code(&option(arg)), default(arg), help(arg)]),
        ));
    }
    text.push_str("\n## Verbs\n\n");
    text.push_str(&table(
        ["Verb", "Meaning"],
        tree.get_subcommands().map(|verb| [code(verb.get_name()), plain(&about(verb))]),
    ));
    text.push_str(
        "\nSee [`ctl`](ctl.md), [`balance`](balance.md), [`pen`](pen.md) and [exit statuses](exit-status.md).\n",
    );
    text
}

/// The verbs of `evenkeel ctl`.
pub fn ctl(tree: &Command) -> anyhow::Result<String> {
    let ctl = tree.find_subcommand("ctl").context("there is no ctl")?;
    let mut text = format!("{NOTICE}# `evenkeel ctl`\n\n{}.\n\n", plain(&about(ctl)));
    text.push_str("A BACKEND is `TIER.INDEX` or an address, as shown by `status`.\n\n");
    let options = ctl.get_arguments().filter(|arg| arg.get_long().is_some());
    text.push_str(&table(
        ["Option", "Meaning"],
        options.map(|arg| [code(&option(arg)), help(arg)]),
    ));
    text.push('\n');
    let verbs = ctl.get_subcommands();
    text.push_str(&table(
        ["Verb", "Meaning"],
        verbs.map(|verb| [code(&verb_words(verb)), plain(&about(verb))]),
    ));
    Ok(text)
}

/// The options and shell commands of `balance`.
pub fn balance() -> String {
    let mut text = format!("{NOTICE}# `balance`\n\n```text\n");
    for line in balance::SYNOPSES {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("```\n\n## Options\n\n");
    text.push_str(&table(
        ["Option", "Default", "Meaning"],
        balance::OPTIONS.iter().map(|option| {
            let head = match option.value {
                Some(value) => format!("-{} {value}", option.letter),
                None => format!("-{}", option.letter),
            };
            [code(&head), option.default.map(code).unwrap_or_default(), plain(option.long)]
        }),
    ));
    text.push_str("\n## Separators\n\n");
    text.push_str(&table(
        ["Word", "Meaning"],
        balance::SEPARATORS
            .map(|(word, meaning)| [code(&word.to_string()), plain(&sentence(meaning))]),
    ));
    text.push_str("\n## Commands of `-i` and `-c`\n\n");
    text.push_str(&table(
        ["Command", "Meaning"],
        shell::HELP.map(|(synopsis, meaning)| [code(synopsis), plain(&sentence(meaning))]),
    ));
    text.push_str("\n## Examples\n\n```text\n");
    for line in balance::EXAMPLES {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("```\n");
    text
}

/// The codes of the reports about configuration files.
pub fn report_codes() -> String {
    let mut text = format!("{NOTICE}# Reports about configuration files\n\n");
    text.push_str(&paragraph(
        "`evenkeel check`, a start and a reload report these. A code never changes its meaning. \
         `E` is an error: the file cannot be used. `W` is a warning. Some are found only by \
         `check`, which also looks at the machine, and with `--online` at the backends.",
    ));
    text.push('\n');
    text.push_str(&table(
        ["Code", "Meaning", "What to do"],
        config::file::CODES.iter().map(|row| [code(row.word), plain(row.meaning), plain(row.cure)]),
    ));
    text
}

/// Every exit status of every form.
pub fn exit_statuses() -> String {
    let mut text = format!("{NOTICE}# Exit statuses\n\n");
    text.push_str(&table(
        ["Status", "From", "Meaning"],
        EXIT_STATUSES.iter().map(|row| {
            let from = if row.from == "all" { "all".to_owned() } else { code(row.from) };
            [row.status.code().to_string(), from, plain(row.meaning)]
        }),
    ));
    text.push_str(
        "\nIf a signal ends a process, the shell reports 128 plus the signal's number.\n",
    );
    text
}

/// The variables of the environment that programs read.
pub fn environment() -> String {
    let mut text = format!("{NOTICE}# Environment variables\n\n");
    text.push_str(&table(
        ["Variable", "Read by", "Meaning"],
        environment::ALL.iter().map(|it| [code(it.name), plain(it.read_by), plain(it.meaning)]),
    ));
    text.push_str(
        "\n*All* are the programs that start a balancer: `evenkeel`, `balance` and `pen`. The \
         variables of a service\nmanager (`LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_*`) are read \
         once and then removed from the environment.\n",
    );
    text
}

fn usage(tree: &Command) -> String {
    let usage = tree.clone().render_usage().to_string();
    let lines = usage.lines().map(|line| line.trim_start_matches("Usage:").trim());
    lines.map(|line| format!("{line}\n")).collect()
}

pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&head.map(str::to_owned)) + &line(&head.map(|_| "---".to_owned()));
    text.extend(rows.into_iter().map(|row| line(&row)));
    text
}

fn option(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    match arg.get_value_names() {
        Some([value, ..]) if arg.get_action().takes_values() => format!("--{long} {value}"),
        _ => format!("--{long}"),
    }
}

fn default(arg: &Arg) -> String {
    let values = if arg.get_action().takes_values() { arg.get_default_values() } else { &[] };
    values.first().map(|value| code(&value.to_string_lossy())).unwrap_or_default()
}

fn help(arg: &Arg) -> String {
    plain(&arg.get_help().map(ToString::to_string).unwrap_or_default())
}

pub fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// A paragraph of `text` in lines that [`prose`](crate::prose) accepts.
pub fn paragraph(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// Text of a table as Markdown that shows it unchanged, but for its code spans.
pub fn plain(text: &str) -> String {
    let mut shown = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            shown.push_str(&code(part));
        } else {
            for c in part.chars() {
                if "|<>*[]_".contains(c) {
                    shown.push('\\');
                }
                shown.push(c);
            }
        }
    }
    shown
}
