//! What programs share: arguments in, lines or JSON out, exit status back.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use crate::{Arguments, Check, Options, Outcome, Report};

/// A program that tries cases on a proxy.
pub struct Program<R> {
    /// Its name, for messages.
    pub name: &'static str,
    /// What follows the name and the common options in its usage.
    pub usage: &'static str,
    /// Names of its cases and what they ask.
    pub cases: Vec<(&'static str, &'static str)>,
    /// Runs the chosen ones and reports each as it ends.
    pub run: R,
}

impl<R: FnOnce(&Options, &mut dyn FnMut(&Outcome)) -> Report> Program<R> {
    /// Runs the program with the arguments of this process.
    ///
    /// The status is 0 when nothing failed, 1 when something did, and 2 when it was called wrongly.
    pub fn main(self) -> ExitCode {
        match Arguments::parse(std::env::args_os().skip(1)) {
            Ok(Arguments::Run { options, json }) => self.report(&options, json),
            Ok(Arguments::List) => {
                for (name, asks) in &self.cases {
                    println!("{name:24} {asks}");
                }
                ExitCode::SUCCESS
            }
            Ok(Arguments::Help) => {
                println!("Usage: {} --cmd 'PROXY {{L}} {{B1}} {{B2}}'\n{}", self.name, self.usage);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{}: {error} (see --help)", self.name);
                ExitCode::from(2)
            }
        }
    }

    fn report(self, options: &Options, json: bool) -> ExitCode {
        if !self.cases.iter().any(|(name, _)| options.is_chosen(name)) {
            eprintln!("{}: no case is called {:?} (see --list)", self.name, options.only);
            return ExitCode::from(2);
        }
        // A reader that has gone, such as `head`, does not change the exit status.
        let print_line = |line: &dyn Display| drop(writeln!(io::stdout(), "{line}"));
        let mut print = |outcome: &Outcome| print_line(outcome);
        let mut be_silent = |_: &Outcome| {};
        let report = (self.run)(options, if json { &mut be_silent } else { &mut print });
        if json {
            print_line(&format_args!("{:#}", report.to_json()));
        } else {
            print_line(&report);
        }
        if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs another program with what its arguments mean; `None` asks for the usage.
///
/// The status is that of `run`, 0 after the usage, and 2 when the program was called wrongly.
pub fn run<T>(
    name: &str,
    usage: &str,
    parsed: Result<Option<T>, lexopt::Error>,
    run: impl FnOnce(T) -> ExitCode,
) -> ExitCode {
    match parsed {
        Ok(Some(settings)) => run(settings),
        Ok(None) => {
            // A reader that has gone, such as `head`, does not change the exit status.
            drop(writeln!(io::stdout(), "{usage}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error} (see --help)");
            ExitCode::from(2)
        }
    }
}

/// Prints what a run has found, and returns the status: 0 if all was well.
pub fn report(found: Check<(bool, impl Display)>) -> ExitCode {
    let (is_clean, text) = match found {
        Ok((is_clean, summary)) => (is_clean, summary.to_string()),
        Err(failure) => (false, format!("FAIL {failure}")),
    };
    drop(writeln!(io::stdout(), "{text}"));
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
