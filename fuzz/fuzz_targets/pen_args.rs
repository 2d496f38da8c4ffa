//! Command lines of pen and penctl, one word per line of input: nothing panics, every start has a
//! meaning, and what has native words means the same in them.

#![no_main]

use classics::pen::{Names, PenArgs, PenCommand, PenSettings, PenctlArgs};
use config::native::NativeCli;
use config::{Config, Host};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use std::sync::Arc;

const NAMES: Names<'static> = Names {
    hosts: &|name| (name.len() < 4).then(|| Host::Address(IpAddr::from([10, 0, 0, 1]))),
    services: &services,
};

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.lines().collect();
    if let Ok(args) = PenctlArgs::parse(&words) {
        assert!(args.line.ends_with('\n') && args.line.len() <= 1022);
    }
    let args = match PenArgs::parse("pen", &words) {
        Ok(args) => args,
        Err(error) => return assert!(error.exit_status().code() < 2, "{error}"),
    };
    let mut settings = PenSettings::new(&args, |settings, line| {
        settings.apply(&PenCommand::parse(line.as_bytes()), NAMES);
    });
    let Ok(servers) = settings.take_listener(&args.operands, NAMES) else { return };
    if settings.take_servers(servers, NAMES).is_err() {
        return;
    }
    let _ = settings.write("/file", "now");
    let mut config = settings.to_config();
    let _ = config.to_command_line();
    // Words that clap would take for options, and a path it would refuse, have no native form.
    let odd = |text: &&str| text.starts_with('-') || text.is_empty();
    let texts = [&settings.user, &settings.chroot, &settings.pid_file].into_iter().flatten();
    let files = config.listeners[0].tls.iter().flat_map(|tls| {
        tls.certificates.iter().chain(&tls.keys).chain(&tls.client_authorities)
    });
    let mut words = texts.map(String::as_str).chain(files.filter_map(|file| file.to_str()));
    if config.inexpressible().is_empty() && !words.any(|text| odd(&text)) {
        let access = Arc::clone(&config.pools[0].access);
        let tiers = &mut config.pools[0].tiers;
        for backend in tiers.iter_mut().flat_map(|tier| &mut tier.backends) {
            assert!(backend.access.entries().is_empty() || backend.access == access);
            backend.access = Arc::default();
        }
        // The native form names backends by themselves, and not by their places.
        config.pools[0].fixed_places = false;
        if is_native(&config) {
            assert_eq!(parse_native(&config.to_arguments()).as_ref(), Some(&config));
        }
    }
});

fn services(name: &str) -> Option<u16> {
    (name == "http").then_some(80)
}

/// Natively, paths of sockets begin at the root.
fn is_native(config: &Config) -> bool {
    let relative =
        |text: String| text.strip_prefix("unix:").is_some_and(|path| !path.starts_with('/'));
    let pool = &config.pools[0];
    let backends = pool.tiers.iter().flat_map(|tier| &tier.backends).chain(&pool.reject);
    !relative(config.listeners[0].bound_to())
        && !backends.map(|backend| backend.endpoint.to_string()).any(relative)
}

fn parse_native(words: &[String]) -> Option<Config> {
    let words = std::iter::once("evenkeel").chain(words.iter().map(AsRef::as_ref));
    let cli = <NativeCli as clap::Parser>::try_parse_from(words).ok()?;
    cli.start.to_config(&services).ok()
}
