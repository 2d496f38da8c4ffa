//! The log and watch tools as a program of their own, called by their names or as first argument.

fn main() -> std::process::ExitCode {
    logtools::dispatch(std::env::args_os())
}
