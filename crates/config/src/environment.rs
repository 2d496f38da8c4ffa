//! The environment variables that programs read, in one table. The man page and the reference are
//! rendered from it, and code that reads a variable takes its name from here.

/// An environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The programs that read it; `all` are those that start a balancer.
    pub read_by: &'static str,
    /// What it does, as sentences.
    pub meaning: &'static str,
}

macro_rules! variables {
    ($($name:ident, $read_by:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Variable =
                Variable { name: stringify!($name), read_by: $read_by, meaning: $meaning };
        )*
        /// All of them, in the order of their names.
        pub const ALL: &[Variable] = &[$($name),*];
    };
}

variables! {
    EVENKEEL_COUNTRIES, "all",
        "The path of the country database (MaxMind DB) for rules such as `--allow country:CH`. \
         Default: the first of the usual paths that exists.";
    EVENKEEL_RUNTIME_DIR, "all, evenkeel ctl",
        "The directory of the admin sockets. Default: `/run/evenkeel` for root, else the first \
         directory of `RUNTIME_DIRECTORY`, else `evenkeel` in `XDG_RUNTIME_DIR`, else \
         `/tmp/evenkeel-UID`.";
    EVENKEEL_TAKE_OVER, "all",
        "Set by `evenkeel upgrade`: the socket of a running instance. The balancer starts in the \
         place of that instance, and takes over its sockets and sessions.";
    EVENKEEL_TAKE_OVER_GUARD, "all",
        "Set by `evenkeel upgrade --watch`: for how many milliseconds the old process of \
         `EVENKEEL_TAKE_OVER` stays ready to serve again.";
    FDSTORE, "all",
        "How many sockets the service manager keeps for the next process \
         (`FileDescriptorStoreMax=`). Since version 254, systemd sets it. If it is 1 or more, the \
         balancer has its listening sockets of TCP kept, and clients wait while it restarts.";
    GATEWAY_INTERFACE, "evenkeel status",
        "If it is set, a web server runs the program as a CGI program, and HTTP headers precede \
         the page.";
    HOME, "evenkeel run, check and fmt",
        "The user's directory; see `XDG_CONFIG_HOME`.";
    JOURNAL_STREAM, "evenkeel",
        "The device and the inode of standard output or error, if that is the journal \
         (systemd.exec(5)). Lines of the log then begin with their priority, such as `<4>`.";
    LISTEN_FDNAMES, "all",
        "The names of the sockets in `LISTEN_FDS`, separated by colons (sd_listen_fds(3)). A \
         socket with the name of a listener is for that listener; with any other name, the \
         address decides.";
    LISTEN_FDS, "all",
        "The number of listening sockets that a service manager passes, from file descriptor 3 \
         on (sd_listen_fds(3)). A listener with the address of one of them uses it.";
    LISTEN_PID, "all",
        "The process that the sockets in `LISTEN_FDS` are for. Other processes ignore them.";
    NOTIFY_SOCKET, "all",
        "The notification socket of a service manager (sd_notify(3)). The balancer reports there \
         when it is ready, reloads or stops, and sends a one-line status.";
    NO_COLOR, "evenkeel top",
        "If it is set to anything, there are no colours.";
    RUNTIME_DIRECTORY, "all, evenkeel ctl",
        "The directories that systemd has created for the service (`RuntimeDirectory=`), \
         separated by colons; see `EVENKEEL_RUNTIME_DIR`.";
    STATE_DIRECTORY, "evenkeel",
        "The directories that systemd has created for the service's state (`StateDirectory=`), \
         separated by colons. The first one is the default of `--state`.";
    WATCHDOG_PID, "all",
        "The process that `WATCHDOG_USEC` is for. Default: any process that reads it.";
    WATCHDOG_USEC, "all",
        "The time in microseconds after which a service manager ends a balancer that has not \
         reported that it is alive (sd_watchdog_enabled(3)). The balancer reports twice in that \
         time, as long as every worker responds.";
    XDG_CONFIG_HOME, "evenkeel run, check and fmt",
        "The user's directory for configuration. If there is no `/etc/evenkeel/evenkeel.toml`, \
         `evenkeel/evenkeel.toml` in this directory is used. Default: `.config` in `HOME`.";
    XDG_RUNTIME_DIR, "all, evenkeel ctl",
        "The user's directory for sockets; see `EVENKEEL_RUNTIME_DIR`.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_names() {
        assert!(ALL.is_sorted_by_key(|variable| variable.name));
    }
}
