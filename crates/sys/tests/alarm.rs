//! A limit that is set before a program is started holds in that program.
//!
//! A program of its own, because the limit counts for the whole process.

use std::error::Error;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};
use std::time::Duration;
use sys::alarm;

/// The variable that says what a process is to do; the first one checks.
const TASK: &str = "ALARM_TASK";
const TEXT: &str = "too late\n";

fn main() -> Result<(), Box<dyn Error>> {
    let task = std::env::var(TASK).ok();
    match task.as_deref().map(|task| task.strip_prefix("begin, ").ok_or(task)) {
        None => check(),
        // As the command that starts a new process.
        Some(Ok(next)) => {
            alarm::set(Duration::from_millis(2900));
            Err(Command::new(std::env::current_exe()?).env(TASK, next).exec().into())
        }
        Some(Err("hang")) => {
            alarm::explain(TEXT);
            loop {
                std::thread::park();
            }
        }
        Some(Err("hang without a word")) => loop {
            std::thread::park();
        },
        Some(Err("go on")) => {
            alarm::explain(TEXT);
            alarm::extend(Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(3500));
            alarm::set(Duration::from_secs(2));
            alarm::lift();
            std::thread::sleep(Duration::from_millis(2500));
            Ok(())
        }
        // No limit was set.
        Some(Err("extend nothing")) => {
            alarm::extend(Duration::from_millis(500));
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        }
        Some(Err(task)) => Err(task.into()),
    }
}

fn check() -> Result<(), Box<dyn Error>> {
    let run = |task: &str| -> Result<Output, Box<dyn Error>> {
        Ok(Command::new(std::env::current_exe()?).env(TASK, task).output()?)
    };
    let hung = run("begin, hang")?;
    assert_eq!((hung.status.code(), &*hung.stderr), (Some(1), TEXT.as_bytes()));
    let hung = run("begin, hang without a word")?;
    assert_eq!(hung.status.signal(), Some(rustix::process::Signal::ALARM.as_raw()));
    for task in ["begin, go on", "extend nothing"] {
        let done = run(task)?;
        assert!(done.status.success() && done.stderr.is_empty(), "{task}: {done:?}");
    }
    Ok(())
}
