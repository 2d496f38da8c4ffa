//! What is known of the process itself.

/// What is known of the process itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessRow {
    /// When it started, in seconds since 1970.
    pub started_seconds: f64,
    /// Its processor time.
    pub cpu_seconds: f64,
    /// The processor time of each worker.
    pub worker_cpu_seconds: Vec<f64>,
    /// Its memory in bytes, if that is known.
    pub resident_bytes: Option<u64>,
    /// Its open file descriptors, if they can be counted.
    pub descriptors: Option<u64>,
    /// The limit of file descriptors.
    pub descriptors_max: u64,
    /// What the control plane has counted.
    pub counts: ControlCounts,
}

/// What the control plane counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlCounts {
    /// Reloads that were carried out.
    pub reloads_done: u64,
    /// Reloads that found nothing to change.
    pub reloads_unchanged: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Whether the last reload, if there was one, was not refused.
    pub has_last_succeeded: bool,
    /// When a configuration was last taken into use, in seconds since 1970.
    pub last_success_seconds: f64,
    /// Lines of the log that nobody read in time.
    pub lost_lines: u64,
    /// Events that came faster than they could be logged.
    pub lost_events: u64,
    /// Sessions that are not in the log because only a sample is.
    pub left_out: u64,
    /// How long each thing was lacking, in seconds.
    pub shortages: Vec<(&'static str, f64)>,
}
