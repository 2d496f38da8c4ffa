//! Large files that are the same again, or not.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use super::place::{Place, check, tried};
use crate::{Check, pattern::Pattern};

/// Writes `len` bytes of a pattern to the file `name`.
///
/// # Errors
/// Those of writing.
pub fn write_pattern(place: &Place, name: &str, len: u64) -> Check<String> {
    let write = || -> io::Result<()> {
        let mut file = File::create(place.path(name))?;
        let mut pattern = Pattern::new(len);
        for _ in 0..len / BLOCK {
            file.write_all(&pattern.take(BLOCK as usize))?;
        }
        file.write_all(&pattern.take((len % BLOCK) as usize))
    };
    tried(&format!("{name} to be written"), write())?;
    Ok(place.text(name))
}

/// Writes `rows` lines of about 210 bytes, as PostgreSQL's `COPY` reads and writes them: a number,
/// a tabulator, and text that depends on it.
///
/// # Errors
/// Those of writing.
pub fn write_rows(place: &Place, name: &str, rows: u64) -> Check<String> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(BLOCK as usize, File::create(place.path(name))?);
        for row in 0..rows {
            let word = format!("{:016x}", row.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            writeln!(file, "{row}\t{}", word.repeat(13))?;
        }
        file.flush()
    };
    tried(&format!("{name} to be written"), write())?;
    Ok(place.text(name))
}

/// Fails unless the files `sent` and `received` hold the same bytes.
///
/// # Errors
/// Where they differ.
pub fn check_same(place: &Place, sent: &str, received: &str) -> Check {
    let expected = format!("{received} to be the same as {sent}");
    let differs = tried(&expected, first_difference(&place.path(sent), &place.path(received)))?;
    let seen = || format!("a difference after {} bytes", differs.unwrap_or_default());
    check(differs.is_none(), &expected, seen())
}

/// The offset of a block in which two files differ, in length or content.
fn first_difference(left: &Path, right: &Path) -> io::Result<Option<u64>> {
    let (left, right) = (File::open(left)?, File::open(right)?);
    let mut offset = 0;
    loop {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        (&left).take(BLOCK).read_to_end(&mut a)?;
        (&right).take(BLOCK).read_to_end(&mut b)?;
        if a != b {
            return Ok(Some(offset));
        }
        if a.is_empty() {
            return Ok(None);
        }
        offset += a.len() as u64;
    }
}

const BLOCK: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn files_are_the_same_or_not() {
        let place = Place::new([127, 0, 0, 1].into(), Instant::now()).unwrap();
        write_pattern(&place, "a", 2_500_000).unwrap();
        write_pattern(&place, "b", 2_500_000).unwrap();
        check_same(&place, "a", "b").unwrap();
        let mut bytes = std::fs::read(place.path("b")).unwrap();
        bytes.pop();
        place.write("b", &bytes).unwrap();
        let failure = check_same(&place, "a", "b").unwrap_err();
        assert!(failure.seen.contains("2000000"), "{failure}");
    }
}
