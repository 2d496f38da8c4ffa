//! A limit that is set before a program is started holds in that program.
//!
//! A program of its own, because the limit counts for the whole process.

use std::error::Error;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};
use std::time::Duration;
use sys::alarm;

const TEXT: &str = "too late\n";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => check(),
        // As the command that starts a new process.
        Some("begin") => {
            alarm::set(Duration::from_millis(2900));
            let next = std::env::args().nth(2).unwrap_or_default();
            Err(Command::new(std::env::current_exe()?).arg(next).exec().into())
        }
        Some("hang") => {
            alarm::explain(TEXT);
            loop {
                std::thread::park();
            }
        }
        Some("hang without a word") => loop {
            std::thread::park();
        },
        Some("go on") => {
            alarm::explain(TEXT);
            alarm::extend(Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(3500));
            alarm::set(Duration::from_secs(2));
            alarm::lift();
            std::thread::sleep(Duration::from_millis(2500));
            Ok(())
        }
        // No limit was set.
        Some("extend nothing") => {
            alarm::extend(Duration::from_millis(500));
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        }
        Some(word) => Err(word.into()),
    }
}

fn check() -> Result<(), Box<dyn Error>> {
    let run = |words: &[&str]| -> Result<Output, Box<dyn Error>> {
        Ok(Command::new(std::env::current_exe()?).args(words).output()?)
    };
    let hung = run(&["begin", "hang"])?;
    assert_eq!((hung.status.code(), &*hung.stderr), (Some(1), TEXT.as_bytes()));
    let hung = run(&["begin", "hang without a word"])?;
    assert_eq!(hung.status.signal(), Some(rustix::process::Signal::ALARM.as_raw()));
    for words in [&["begin", "go on"][..], &["extend nothing"]] {
        let done = run(words)?;
        assert!(done.status.success() && done.stderr.is_empty(), "{words:?}: {done:?}");
    }
    Ok(())
}
