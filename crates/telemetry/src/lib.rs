//! Counters, status reports and log-line formats.
