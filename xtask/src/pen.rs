//! Man pages and reference of pen and penctl, from their tables.

use crate::markdown::{NOTICE, code, paragraph, plain, table};
use crate::roff::Page;
use classics::pen::{COMMANDS, CommandRow, EXAMPLE, OPTIONS, OptionRow, SYNOPSIS};

/// pen(1).
pub fn pen_page() -> String {
    let mut page = Page::new("pen");
    page.name("pen");
    page.section("SYNOPSIS");
    page.lines(&SYNOPSIS);
    page.section("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.section("OPTIONS");
    for option in &OPTIONS {
        // Zero is how the option says never, for ever or no limit; its text has that.
        let default = option.default.filter(|default| *default != "0");
        let default = default.map(|default| format!(" The default is {default}."));
        page.item(&head(option), &format!("{}{}", option.long, default.unwrap_or_default()));
    }
    page.section("SERVERS");
    page.paragraph(SERVERS);
    page.section("SIGNALS");
    for (signal, meaning) in SIGNALS {
        page.item(signal, meaning);
    }
    page.exit_statuses(|row| row.from == "all" || row.from.split(", ").any(|form| form == "pen"));
    page.section("EXAMPLES");
    page.lines(&[EXAMPLE]);
    page.see_also(&["penctl(1)", "penlogd(1)", "evenkeel(1)"]);
    page.0
}

/// penctl(1), with the language that files of pen have, too.
pub fn penctl_page() -> String {
    let mut page = Page::new("penctl");
    page.name("penctl");
    page.section("SYNOPSIS");
    page.lines(&["penctl host:port|/path command [words ...]"]);
    page.section("DESCRIPTION");
    for paragraph in PENCTL_DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.section("COMMANDS");
    for row in &COMMANDS {
        page.item(&synopsis(row), &meaning(row));
    }
    page.exit_statuses(|row| {
        row.from == "all" || row.from.split(", ").any(|form| form == "penctl")
    });
    page.see_also(&["pen(1)", "evenkeel-ctl(1)"]);
    page.0
}

/// The options of `pen` and its commands.
pub fn reference() -> String {
    let mut text = format!("{NOTICE}# `pen` and `penctl`\n\n```text\n");
    for line in SYNOPSIS {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str("penctl host:port|/path command [words ...]\n```\n\n## Options of `pen`\n\n");
    text.push_str(&table(
        ["Option", "Default", "Meaning"],
        OPTIONS.iter().map(|option| {
            let default = option.default.map(code).unwrap_or_default();
            [code(&head(option)), default, plain(option.long)]
        }),
    ));
    text.push_str("\n## Servers\n\n");
    text.push_str(&paragraph(&plain(SERVERS)));
    text.push_str("\n## Signals\n\n");
    text.push_str(&table(
        ["Signal", "Meaning"],
        SIGNALS.map(|(signal, meaning)| [code(signal), plain(meaning)]),
    ));
    text.push_str("\n## Commands of `penctl`, `-O` and files\n\n");
    text.push_str(&table(
        ["Command", "Answer", "Meaning"],
        COMMANDS.iter().map(|row| [code(&synopsis(row)), plain(row.reply), plain(row.long)]),
    ));
    text
}

fn head(option: &OptionRow) -> String {
    match option.value {
        Some(value) => format!("-{} {value}", option.letter),
        None => format!("-{}", option.letter),
    }
}

fn synopsis(row: &CommandRow) -> String {
    // If there are arguments, the text says what `no` means.
    let no = if row.is_negatable() && row.arguments.is_empty() { "[no] " } else { "" };
    format!("{no}{} {}", row.name, row.arguments).trim_end().to_owned()
}

fn meaning(row: &CommandRow) -> String {
    match row.reply {
        "" => row.long.to_owned(),
        reply => format!("{} The answer: {reply}.", row.long),
    }
}

const DESCRIPTION: [&str; 4] = [
    "Accepts TCP connections and connects each to one of the servers, in the background unless -f \
     is given. A known client returns to its server. New clients get the servers in turn, \
     beginning with number 1.",
    "The first operand is the listening address: a port, addr:port, [v6]:port or the path of a \
     Unix socket. The last colon precedes the port, so ::1:80 is port 80 of ::1.",
    "If a server cannot be reached, the next one is tried, and the server is skipped for some \
     time; see -b, -s and -e. penctl(1) can change nearly everything while pen runs.",
    "This is the pen of Evenkeel. It takes the command line, files and commands of pen 0.34.1 and \
     gives the same answers; docs/compat.md lists the deliberate differences. `evenkeel pen \
     --print-config ...` prints the equivalent native command line.",
];

const SERVERS: &str = "A server is host[:port[:soft[:hard[:weight[:prio]]]]], with an IPv6 address in brackets, or the \
     path of a Unix socket. Without a port, the listening port is used. soft is the maximum number \
     of open connections, 0 for no limit; for clients that are remembered with the server, the \
     maximum is hard if that is larger. weight is for -W, prio for the command prio. Servers are \
     numbered from 0, and hosts are resolved once.";

const SIGNALS: [(&str, &str); 3] = [
    (
        "HUP",
        "Reopen the log, which may have been renamed, and read the file of -F again. Nothing is \
         reset first: settings that the file does not mention stay as they are.",
    ),
    (
        "USR1",
        "Write the status page of -w. Without -w, write a report to standard error or syslog.",
    ),
    ("TERM, INT", "Close everything, remove the pid file, and exit with status 0."),
];

const PENCTL_DESCRIPTION: [&str; 3] = [
    "Sends one command to the control port of a pen (pen(1), -C) and prints the answer. Words are \
     joined with blanks. Most commands that change something have no answer; pen writes errors in \
     their arguments to wherever it writes its messages.",
    "A file for pen's option -F, or for the command include, consists of the same commands, one per \
     line. Lines that start with # are comments. Superfluous words are ignored.",
    "Commands for a value print it, after the change if there is one.",
];
