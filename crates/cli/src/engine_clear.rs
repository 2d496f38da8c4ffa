//! `evenkeel engine-clear`: removes the rules that instances have left in the kernel.

use crate::ctl::printable;
use crate::output::{complain, print};
use config::ExitStatus;
use config::native::EngineClearArgs;
use control::{KernelRules, KernelTable};
use std::path::PathBuf;
use std::process::ExitCode;
use sys::errors::with_causes;

const PROGRAM: &str = "evenkeel engine-clear";

/// Removes the rules of instances that are gone, or says which there are.
pub fn engine_clear(args: &EngineClearArgs) -> ExitCode {
    let rules = match KernelRules::read() {
        Ok(rules) => rules,
        Err(error) => return fail(&with_causes(&error)),
    };
    let unknown = |name: &&PathBuf| !rules.tables().iter().any(|it| it.is_called(name));
    if let Some(name) = args.names.iter().find(unknown) {
        return fail(&nothing_called(&name.to_string_lossy(), rules.tables()));
    }
    let is_meant = |table: &&KernelTable| {
        args.names.is_empty() || args.names.iter().any(|name| table.is_called(name))
    };
    let is_free = |table: &&KernelTable| args.force || table.keeper.is_none();
    let (doomed, spared): (Vec<_>, Vec<_>) =
        rules.tables().iter().filter(is_meant).partition(is_free);
    if !args.dry_run
        && let Err(error) = rules.remove(&doomed)
    {
        return fail(&with_causes(&error));
    }
    let done = if args.dry_run { "would remove" } else { "removed" };
    let mut text: String = doomed.iter().map(|it| format!("{done} {}\n", it.name())).collect();
    if rules.tables().is_empty() {
        text = "no instance has left rules in the kernel\n".to_owned();
    }
    let mut status = ExitStatus::Success;
    if let Err(error) = print(&text) {
        status = error.report(PROGRAM);
    }
    for table in &spared {
        complain(&format!("{PROGRAM}: {}", left_alone(table)));
        status = ExitStatus::Failure;
    }
    status.into()
}

fn left_alone(table: &KernelTable) -> String {
    let keeper = table.keeper.unwrap_or_default();
    format!(
        "{} was left alone: its instance is running, with the process evenkeel-kernel ({keeper}); \
         stop it, which removes the rules, or use --force",
        table.name()
    )
}

fn nothing_called(name: &str, tables: &[KernelTable]) -> String {
    let all: Vec<_> = tables.iter().map(KernelTable::name).collect();
    match all.is_empty() {
        true => format!("'{name}' has no rules in the kernel, and neither has any other instance"),
        false => format!("'{name}' has no rules in the kernel; there are {}", all.join(", ")),
    }
}

fn fail(message: &str) -> ExitCode {
    complain(&format!("{PROGRAM}: {}", printable(message)));
    ExitStatus::Failure.into()
}
