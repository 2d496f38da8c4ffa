//! `evenkeel run`: a balancer that is started from a configuration file.

use crate::config_file::default_path;
use crate::output::complain;
use crate::serve::{report, serve};
use config::ExitStatus;
use config::file::Severity;
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
            loaded.warnings.iter().for_each(|it| complain(it.to_string().trim_end()));
            let manager = ServiceManager::from_environment(loaded.config.process.daemon);
            let origin = Some((origin, loaded.hash));
            let serve = |manager| serve(loaded.config, manager, origin);
            report(manager.map_err(Into::into).and_then(serve))
        }
        Err(error) => {
            if let ReadError::Invalid { reports, .. } = &error {
                let warnings = reports.iter().filter(|it| it.severity() == Severity::Warning);
                warnings.for_each(|it| complain(it.to_string().trim_end()));
            }
            error.texts().iter().for_each(|it| complain(it.trim_end()));
            ExitStatus::Failure.into()
        }
    }
}
