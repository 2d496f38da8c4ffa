//! `evenkeel run`: a balancer that is started from a configuration file.

use crate::config_file::default_path;
use crate::output::complain;
use crate::serve::{admin_path, report, serve};
use config::ExitStatus;
use config::file::Report;
use config::native::RunArgs;
use control::{Origin, ReadError, ServiceManager};
use std::process::ExitCode;

/// Starts a balancer from a file, and serves until the end.
pub fn run(args: &RunArgs) -> ExitCode {
    let path = args.file.clone().unwrap_or_else(default_path);
    let origin = match Origin::new(&path) {
        Ok(origin) => origin,
        Err(error) => return report(Err(error.into())),
    };
    match origin.read() {
        Ok(loaded) => {
            complain_about(&loaded.warnings);
            let mut manager = ServiceManager::from_environment(loaded.config.process.daemon);
            if args.take_over {
                manager = manager.and_then(|mut it| {
                    it.take_over(&admin_path(&loaded.config))?;
                    Ok(it)
                });
            }
            let origin = Some((origin, loaded.hash));
            let serve = |manager| serve(loaded.config, manager, origin);
            report(manager.map_err(Into::into).and_then(serve))
        }
        Err(ReadError::Load(error)) => report(Err(error.into())),
        Err(ReadError::Invalid { reports, left_out }) => {
            complain_about(&reports);
            if left_out > 0 {
                complain(&format!("{left_out} more are not shown"));
            }
            ExitStatus::Failure.into()
        }
    }
}

/// Prints reports in the order in which `evenkeel check` prints them.
fn complain_about(reports: &[Report]) {
    reports.iter().for_each(|it| complain(&it.to_string()));
}
