//! Work aside. Without a harness: it needs a process with one thread.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::aside::Aside;

fn main() -> Result<(), Box<dyn Error>> {
    what_ends_is_read_to_its_end()?;
    what_never_ends_is_given_up()?;
    what_panics_is_over()?;
    Ok(())
}

fn what_ends_is_read_to_its_end() -> Result<(), Box<dyn Error>> {
    let long = vec![b'x'; 1 << 18]; // more than a pipe holds
    let mut aside = Aside::begin(|mut out: File| out.write_all(&long).unwrap_or_default())?;
    let (begin, mut found) = (Instant::now(), Vec::new());
    assert!(aside.read_until(begin + Duration::from_secs(60), &mut found));
    assert!(found == long);
    assert!(begin.elapsed() < Duration::from_secs(30), "waited after the end");
    Ok(())
}

fn what_never_ends_is_given_up() -> Result<(), Box<dyn Error>> {
    let mut aside = Aside::begin(|mut out: File| {
        let _ = write!(out, "{}", std::process::id());
        let forever = || loop {
            std::thread::park();
        };
        let _ = std::thread::spawn(forever).join();
    })?;
    let mut found = Vec::new();
    assert!(!aside.read_until(Instant::now() + Duration::from_secs(1), &mut found));
    drop(aside);
    let child: u32 = String::from_utf8(found)?.parse()?;
    assert_ne!(child, std::process::id());
    assert!(!Path::new(&format!("/proc/{child}")).exists(), "it is still there");
    Ok(())
}

fn what_panics_is_over() -> Result<(), Box<dyn Error>> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut aside = Aside::begin(|_| panic!("on purpose"))?;
    let _ = std::panic::take_hook();
    let (begin, mut found) = (Instant::now(), Vec::new());
    assert!(aside.read_until(begin + Duration::from_secs(60), &mut found) && found.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(30), "waited after the end");
    Ok(())
}
