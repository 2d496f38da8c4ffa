//! The file with the process id: written as the user pen runs as, without a line end, and gone
//! when the process ends in order.

use std::path::{Path, PathBuf};

/// A file that goes when this does.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the process id.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(path: &Path) -> std::io::Result<Self> {
        std::fs::write(path, std::process::id().to_string())?;
        // The path stays right if the directory is changed later.
        Ok(Self(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
