//! Man pages: clap's for the native command line, our own rendering for balance's table.

use anyhow::Context;
use clap::{Arg, Command};
use clap_mangen::Man;
use classics::balance::{self, shell};
use config::native;
use config::{EXIT_STATUSES, ExitRow, ExitStatus};
use std::io::Write;

/// evenkeel(1): the start form, with clap's list of options.
pub fn evenkeel(tree: &Command) -> anyhow::Result<String> {
    let mut page = Page::new("evenkeel");
    page.clap_section(tree, Man::render_name_section)?;
    page.section("SYNOPSIS");
    page.lines(&[
        "evenkeel [OPTIONS] LISTEN BACKEND... [! BACKEND...]",
        "evenkeel demo [--port N]",
        "evenkeel ctl [--admin PATH | --listen PORT] VERB",
        "evenkeel links DIR",
        "evenkeel balance | pen | penctl WORD...",
    ]);
    page.section("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.clap_section(tree, Man::render_options_section)?;
    page.verbs(tree);
    page.exit_statuses(|_| true);
    page.section("EXAMPLES");
    page.lines(&native::EXAMPLES.map(|(line, meaning)| format!("{line:<42}{meaning}")));
    page.see_also(&["evenkeel-ctl(1)", "evenkeel-demo(1)", "balance(1)", "pen(1)", "penctl(1)"]);
    Ok(page.0)
}

/// The page of a verb, such as evenkeel-ctl(1).
pub fn verb(tree: &Command, verb: &str, synopsis: &str) -> anyhow::Result<String> {
    let command = tree.find_subcommand(verb).with_context(|| format!("no verb {verb}"))?;
    let command = command.clone().display_name(format!("evenkeel-{verb}"));
    let mut page = Page::new(command.get_display_name().unwrap_or(verb));
    page.clap_section(&command, Man::render_name_section)?;
    page.section("SYNOPSIS");
    page.lines(&[synopsis]);
    page.clap_section(&command, Man::render_options_section)?;
    if command.has_subcommands() {
        page.verbs(&command);
        page.paragraph("A BACKEND is TIER.INDEX or an address, as `status` shows them.");
    }
    let own = format!("evenkeel {verb}");
    let has_own =
        |row: &&ExitRow| row.status != ExitStatus::Usage && forms(row).any(|it| it == own);
    let asks_for =
        if EXIT_STATUSES.iter().any(|row| has_own(&row)) { own } else { "evenkeel".to_owned() };
    page.exit_statuses(|row| row.from == "all" || forms(row).any(|form| form == asks_for));
    page.see_also(&["evenkeel(1)"]);
    Ok(page.0)
}

/// balance(1), from the tables of the personality.
pub fn balance() -> String {
    let mut page = Page::new("balance");
    page.section("NAME");
    page.0.push_str("balance \\- a TCP proxy with load balancing and failover\n");
    page.section("SYNOPSIS");
    page.lines(&balance::SYNOPSES);
    page.section("DESCRIPTION");
    for paragraph in BALANCE_DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.section("OPTIONS");
    for option in &balance::OPTIONS {
        let head = match option.value {
            Some(value) => format!("-{} {value}", option.letter),
            None => format!("-{}", option.letter),
        };
        // The usage text has always shown "never" as zero.
        let default = option.default.filter(|default| *default != "0");
        let default = default.map(|default| format!(" The default is {default}."));
        page.item(&head, &format!("{}{}", option.long, default.unwrap_or_default()));
    }
    page.section("CHANNELS");
    page.paragraph(BALANCE_CHANNELS);
    for (separator, meaning) in balance::SEPARATORS {
        page.item(&separator.to_string(), &sentence(meaning));
    }
    page.section("CONTROL SHELL");
    page.paragraph(BALANCE_SHELL);
    for (synopsis, meaning) in shell::HELP {
        page.item(synopsis, &sentence(meaning));
    }
    page.exit_statuses(|row| row.from == "all" || row.from.starts_with("balance"));
    page.section("EXAMPLES");
    page.lines(&balance::EXAMPLES);
    page.see_also(&["evenkeel(1)", "evenkeel-ctl(1)"]);
    page.0
}

/// A man page being written.
pub struct Page(pub String);

impl Page {
    pub fn new(name: &str) -> Self {
        // The first two lines define the apostrophe that clap's sections use.
        let apostrophe = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
        Self(format!("{apostrophe}.TH {name} 1 \"\" \"{SOURCE}\" \"Evenkeel\"\n"))
    }

    fn clap_section(
        &mut self,
        command: &Command,
        render: impl FnOnce(&Man, &mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let man = Man::new(command.clone());
        let mut out = Vec::new();
        render(&man, &mut out).context("rendering a man page")?;
        self.0.push_str(&String::from_utf8(out).context("a man page is text")?);
        Ok(())
    }

    fn verbs(&mut self, command: &Command) {
        self.section("VERBS");
        for verb in command.get_subcommands() {
            self.item(&verb_words(verb), &sentence(&about(verb)));
        }
    }

    pub fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {}\n", quoted(title)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!(".PP\n{}\n", escaped(text)));
    }

    pub fn item(&mut self, head: &str, text: &str) {
        self.0.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", escaped(head), escaped(text)));
    }

    /// Lines that stay as they are.
    pub fn lines<S: AsRef<str>>(&mut self, lines: &[S]) {
        self.0.push_str(".nf\n");
        for line in lines {
            self.0.push_str(&format!("{}\n", escaped(line.as_ref())));
        }
        self.0.push_str(".fi\n");
    }

    pub fn exit_statuses(&mut self, wanted: impl Fn(&ExitRow) -> bool) {
        self.section("EXIT STATUS");
        for row in EXIT_STATUSES.iter().filter(|row| wanted(row)) {
            let text = format!("{} ({})", row.meaning, row.from);
            self.item(&row.status.code().to_string(), &text);
        }
    }

    pub fn see_also(&mut self, pages: &[&str]) {
        self.section("SEE ALSO");
        self.0.push_str(&format!("{}\n", escaped(&pages.join(", "))));
    }
}

/// A verb with its own options and operands, as a synopsis.
pub fn verb_words(verb: &Command) -> String {
    let flags = verb.get_arguments().filter(|arg| !arg.is_global_set());
    let flags = flags.filter_map(Arg::get_long).map(|long| format!(" [--{long}]"));
    let operands = verb.get_positionals().map(|arg| format!(" {}", operand(arg)));
    flags.chain(operands).fold(verb.get_name().to_owned(), |words, word| words + &word)
}

/// An operand as the texts call it.
pub fn operand(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => name.to_uppercase(),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

/// What clap says a command is about.
pub fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// The forms of the program that end with a status.
fn forms(row: &ExitRow) -> impl Iterator<Item = &'static str> {
    row.from.split(", ")
}

/// A short text of a table as a sentence.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

/// Text as roff takes it: backslashes and hyphens escaped, code spans bold, no line a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let mut parts = text.split('`').enumerate();
    let text = parts.by_ref().fold(String::new(), |text, (index, part)| match index {
        0 => text + part,
        odd if odd % 2 == 1 => text + "\\fB" + part,
        _ => text + "\\fR" + part,
    });
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\(dq"))
}

const SOURCE: &str = concat!("evenkeel ", env!("CARGO_PKG_VERSION"));

const DESCRIPTION: [&str; 6] = [
    "Listens on LISTEN and spreads the TCP connections that arrive over the BACKENDs, in the \
     foreground, with one log line for every session that ends.",
    "LISTEN is a port, a service name, addr:port, [v6]:port or unix:/path. A BACKEND is a host, \
     [v6] or unix:/path, and behind it :port:max:max_affine:weight:priority, as much of that as is \
     needed. Without a port it has the listening port; max is the most sessions it is given at \
     one time, 0 for no limit; max_affine is the most where a client is remembered with it (see \
     `--affinity`); weight and priority are for the policies weighted and priority. A Unix \
     backend has no port, and either all four numbers or only max: a path that really ends with \
     :NUMBER is written with :0 behind it.",
    "The word ! ends a tier: the backends before it are used as long as one of them can be had, \
     then those behind it. The word % does the same and lets the client's address decide within \
     the tier.",
    "Policies: round-robin, each backend in turn; hash, by the client's address, so that few move \
     when backends come and go; least-sessions; random; rotation, in turn and beginning with the \
     second; address-hash, the client's address as a number modulo the number of backends; \
     address-port-hash, the same with the client's port; weighted, the fewest sessions for its \
     weight; priority, the lowest number that is to be had.",
    "`--allow` and `--deny` make one list, in the order in which they are given. The first entry \
     that fits a client decides. If none does, the opposite of the last one holds: after only \
     `--allow`, nobody else is served. Clients of Unix sockets always are.",
    "Times are whole numbers with ns, us, ms, s, m, h or d; a bare number is seconds.",
];

const BALANCE_DESCRIPTION: [&str; 2] = [
    "Accepts TCP connections on port and gives each to one of the channels, in the background \
     unless -f is given. With -i or -c it controls such a proxy that is already running on port.",
    "This is the balance of Evenkeel. It takes the command line of balance 3.57 and answers as \
     that did; docs/compat.md lists where it differs on purpose. `evenkeel balance \
     --print-config ...` prints the native command line that means the same.",
];

const BALANCE_CHANNELS: &str = "A channel is host[:port[:maxc]] or [v6][:port[:maxc]]. The host is looked up once, at the \
     start. Without a port the channel has the listening port. At most maxc connections are open \
     to it at one time; 0 is no limit. Up to 64 channels make a group, and there are up to 32 \
     groups: the first serves as long as it can, then the next.";

const BALANCE_SHELL: &str = "Commands may be shortened. Channels are those of the current group, which is 0 at first and \
     always with -c.";
