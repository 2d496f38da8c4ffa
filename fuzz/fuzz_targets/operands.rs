//! Command lines, one word per line of input: nothing panics, and what is understood can be
//! said back and means the same.

#![no_main]

use classics::balance::{BalanceArgs, Mode, hosts_to_resolve, resolve};
use config::native::{Typed, parse};
use config::operand::{parse_backend, parse_classic_ipv4, parse_endpoint, parse_listen};
use config::{Bind, Config, Host};
use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::net::Ipv4Addr;

fuzz_target!(|text: &str| {
    let words: Vec<&str> = text.lines().collect();
    for word in &words {
        one_operand(word);
    }
    native(&words);
    balance(&words);
});

fn services(name: &str) -> Option<u16> {
    (name == "http").then_some(80)
}

fn one_operand(word: &str) {
    let _ = parse_classic_ipv4(word);
    if let Ok(bind) = parse_listen(word, &services) {
        assert_eq!(parse_listen(&bind.to_string(), &services), Ok(bind));
    }
    if let Ok(backend) = parse_backend(word, Some(8080), &services) {
        assert_eq!(parse_backend(&backend.to_string(), None, &services), Ok(backend));
    }
    if let Ok(endpoint) = parse_endpoint(word, &services) {
        assert_eq!(parse_endpoint(&endpoint.to_string(), &services), Ok(endpoint));
    }
}

fn native(words: &[&str]) {
    if let Some(config) = parse_native(words) {
        assert_eq!(parse_native(&config.to_arguments()).as_ref(), Some(&config));
        let _ = config.to_command_line();
    }
}

fn parse_native<S: AsRef<str>>(words: &[S]) -> Option<Config> {
    let words: Vec<_> = words.iter().map(|word| OsString::from(word.as_ref())).collect();
    match parse(&words).ok()? {
        Typed::Start(start) => start.to_config(&services).ok(),
        Typed::Verb(_) => None,
    }
}

fn balance(words: &[&str]) {
    let Ok(args) = BalanceArgs::parse("balance", words) else { return };
    let Ok(Mode::Proxy(proxy)) = args.mode(&services) else { return };
    let Ok(mut config) = proxy.to_config(&services) else { return };
    let names = hosts_to_resolve(&proxy, &config).len();
    assert!(names <= words.len());
    resolve(&proxy, &mut config, &|_| Some(Ipv4Addr::LOCALHOST)).expect("every name resolves");
    assert!(hosts_to_resolve(&proxy, &config).len() <= 1, "only -B keeps its name");
    // The native form has no empty pools, names backends by themselves and not by their places, and
    // knows hosts by its own stricter rules.
    let named =
        matches!(config.listeners[0].binds[..], [Bind::Tcp { host: Some(Host::Name(_)), .. }]);
    let pool = &mut config.pools[0];
    if !named && !pool.tiers.is_empty() {
        pool.fixed_places = false;
        assert_eq!(parse_native(&config.to_arguments()).as_ref(), Some(&config));
    }
}
