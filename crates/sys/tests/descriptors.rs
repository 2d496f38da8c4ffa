//! Room for file descriptors.

use std::error::Error;
use std::fs::{File, read_to_string};

#[test]
fn room_for_descriptors_is_made_at_once() -> Result<(), Box<dyn Error>> {
    sys::process::reserve_descriptors(File::open("/dev/null")?, 700);
    let status = read_to_string("/proc/self/status")?;
    let room = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
    let room: usize = room.ok_or("proc(5) has it")?.trim().parse()?;
    assert!(room >= 700, "{room}");
    Ok(())
}
