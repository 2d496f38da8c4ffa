//! Man pages: rendered by clap for the native command line, and by us for balance's table.

use anyhow::Context;
use clap::{Arg, Command};
use clap_mangen::Man;
use classics::balance::{self, shell};
use config::native;
use config::{EXIT_STATUSES, ExitRow, ExitStatus, environment};
use std::io::Write;

/// evenkeel(1): the start form, with clap's list of options.
pub fn evenkeel(tree: &Command) -> anyhow::Result<String> {
    let mut page = Page::new("evenkeel");
    page.clap_section(tree, Man::render_name_section)?;
    page.section("SYNOPSIS");
    page.lines(&["evenkeel [OPTIONS] LISTEN BACKEND... [! BACKEND...] [-- LISTEN BACKEND...]..."]);
    page.lines(&VERBS.map(|(_, synopsis)| synopsis));
    page.lines(&[
        "evenkeel schema",
        "evenkeel install [--prefix DIR]",
        "evenkeel links DIR",
        "evenkeel PROGRAM [WORD]...",
    ]);
    page.section("DESCRIPTION");
    for paragraph in DESCRIPTION {
        page.paragraph(paragraph);
    }
    page.clap_section(tree, Man::render_options_section)?;
    page.verbs(tree);
    page.exit_statuses(|_| true);
    page.section("ENVIRONMENT");
    for variable in environment::ALL {
        page.item(variable.name, &format!("{} ({})", variable.meaning, variable.read_by));
    }
    page.section("EXAMPLES");
    page.lines(&native::EXAMPLES.map(|(line, meaning)| format!("{line:<42}{meaning}")));
    let verbs = VERBS.map(|(verb, _)| format!("evenkeel-{verb}(1)"));
    let programs = cli::PERSONALITIES.iter().map(|it| format!("{}(1)", it.name));
    page.see_also(&verbs.into_iter().chain(programs).collect::<Vec<_>>());
    Ok(page.0)
}

/// The verbs that have a page, with their synopses.
pub const VERBS: [(&str, &str); 11] = [
    ("check", "evenkeel check [FILE] [--offline | --online] [--format text|json] [--strict]"),
    ("ctl", "evenkeel ctl [--admin PATH | --listen LISTEN] VERB"),
    ("demo", "evenkeel demo [--port N]"),
    ("diff", "evenkeel diff [--admin PATH | --listen LISTEN] [FILE]"),
    ("engine-clear", "evenkeel engine-clear [NAME]... [--force] [--dry-run]"),
    ("fmt", "evenkeel fmt [--check] [FILE]"),
    ("ready", "evenkeel ready [--admin PATH | --listen LISTEN]"),
    ("reload", "evenkeel reload [--confirm TIME] [--admin PATH | --listen LISTEN]"),
    ("run", "evenkeel run [FILE]"),
    ("status", "evenkeel status --html [--admin PATH | --listen LISTEN]"),
    ("top", "evenkeel top [--admin PATH | --listen LISTEN]"),
];

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
        page.paragraph("A BACKEND is TIER.INDEX or an address, as shown by `status`.");
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
    page.name("balance");
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

    /// The section that says in one line what a personality is.
    pub fn name(&mut self, name: &str) {
        self.section("NAME");
        let about = cli::Personality::find(name).map_or("", |personality| personality.about);
        self.0.push_str(&format!("{name} \\- {}\n", escaped(about)));
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

    /// Lines that are not filled.
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

    pub fn see_also<S: AsRef<str>>(&mut self, pages: &[S]) {
        self.section("SEE ALSO");
        let pages: Vec<_> = pages.iter().map(AsRef::as_ref).collect();
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

/// The name of an operand in texts.
pub fn operand(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some([name, ..]) => name.to_uppercase(),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

/// clap's short description of a command.
pub fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// The programs that exit with a status.
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

/// Text for roff: backslashes and hyphens are escaped, code spans are bold, and no line is a request.
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

const DESCRIPTION: [&str; 8] = [
    "Listens on LISTEN and distributes TCP connections over the BACKENDs. It runs in the \
     foreground and logs one line for each session that ends.",
    "LISTEN is a port, a service name, addr:port, [v6]:port or unix:/path. A BACKEND is a host, \
     [v6] or unix:/path, followed by as many of the fields :port:max:max_affine:weight:priority as \
     are needed. Without a port, the listening port is used. max is the maximum number of open \
     sessions, 0 for no limit; max_affine is the maximum for clients that are remembered with the \
     backend (see `--affinity`); weight and priority are for the policies of these names. A Unix \
     backend has no port, and either only max or all four numbers: after a path that really ends \
     with :NUMBER, write :0.",
    "The word ! ends a tier: the backends before it are used while one of them is available, \
     otherwise those after it. The word % also ends a tier; in this tier, the client's address \
     selects the backend.",
    "The word -- ends a service. The words after it describe another one, with options and \
     backends of its own, in the same process. A configuration file can take the place of the \
     command line: `evenkeel run` starts from it, and `evenkeel reload` applies what has changed \
     in it.",
    "Policies: round-robin uses the backends in turn; hash selects by the client's address \
     and the number of backends; least-sessions; random; rotation uses the \
     backends in turn, beginning with the second; address-hash takes the client's address as a \
     number modulo the number of backends; address-port-hash does so with the client's port \
     included; weighted selects the backend with the fewest sessions for its weight; priority \
     selects the available backend with the lowest number; weighted-turn uses the backends in turn, \
     each as often as its weight says; least-weighted selects the backend with the fewest sessions \
     for its weight, the new one included; two compares two random backends in this way, and fastest \
     compares their latency as well; maglev and rendezvous select by the client's network, so that \
     few clients move when backends come and go.",
    "`--allow` and `--deny` form one list, in the order in which they are given. The first entry \
     that matches a client decides. Without a match, the opposite of the last entry applies: after \
     only `--allow` entries, no other client is served. Clients of Unix sockets are always served.",
    "With `--accept-proxy`, the peers of the listener are proxies. Each connection must begin with a \
     header of the PROXY protocol, version 1 or 2, within the time of `--connect-timeout`, and the \
     client that it names is the session's client from then on. No other peer is served, so a \
     client cannot announce itself. With `--send-proxy`, each connection to a backend begins with \
     such a header. Over UDP, each datagram does, in version 2.",
    "Times are whole numbers with ns, us, ms, s, m, h or d; a bare number is seconds.",
];

const BALANCE_DESCRIPTION: [&str; 2] = [
    "Accepts TCP connections on port and connects each to one of the channels, in the background \
     unless -f is given. With -i or -c, it controls a proxy that is already running on port.",
    "This is the balance of Evenkeel. It takes the command line of balance 3.57 and gives the \
     same answers; docs/compat.md lists the deliberate differences. `evenkeel balance \
     --print-config ...` prints the equivalent native command line.",
];

const BALANCE_CHANNELS: &str = "A channel is host[:port[:maxc]] or [v6][:port[:maxc]]. The host is resolved once, at the \
     start. Without a port, the listening port is used. At most maxc connections are open to the \
     channel at a time; 0 means no limit. A group has up to 64 channels, and there are up to 32 \
     groups: a group serves while no channel in the groups before it is available.";

const BALANCE_SHELL: &str = "Commands can be abbreviated. Channels are those of the current group, which is initially 0, \
     and always 0 with -c.";
