//! A file of pen's commands: nothing panics, every state has a meaning, answers are whole lines,
//! and what is written can be read.

#![no_main]

use classics::pen::replies::{ServerFacts, StatusFacts, html_status, servers, usr1_report};
use classics::pen::{Effect, Names, PenCommand, PenSettings, lines};
use libfuzzer_sys::fuzz_target;
use config::Host;
use std::net::IpAddr;

const NAMES: Names<'static> = Names {
    hosts: &|name| (name.len() < 4).then(|| Host::Address(IpAddr::from([10, 0, 0, 1]))),
    services: &|name| (name == "http").then_some(80),
};

fuzz_target!(|text: &[u8]| {
    let mut settings = PenSettings::default();
    for line in lines(text) {
        run(&mut settings, line);
    }
    let config = settings.to_config();
    let _ = config.to_command_line();
    let text = settings.write("/file", "2026-11-20 17:16:29");
    let facts = [ServerFacts { connections: 1, sent: 2, received: 3, failed_at: i64::MIN }];
    let _ = servers(&settings, &facts);
    let status = StatusFacts {
        now: "now",
        current: 0,
        servers: &facts,
        clients: &[],
        connections: &[],
        last: 0,
    };
    let _ = (html_status(&settings, &status), usr1_report(&settings, &status));

    let mut again = PenSettings::default();
    again.listen.clone_from(&settings.listen);
    for line in lines(text.as_bytes()) {
        run(&mut again, line);
    }
    let second = again.write("/file", "2026-11-20 17:16:29");
    let body = |text: &str| text.lines().skip(2).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&second), body(&text));
});

fn run(settings: &mut PenSettings, line: &[u8]) {
    let command = PenCommand::parse(line);
    assert!(command.hosts_to_resolve().iter().all(|name| !name.is_empty()));
    let applied = settings.apply(&command, NAMES);
    let partial = matches!(command, PenCommand::Source(_) | PenCommand::Value(..));
    assert!(partial || applied.reply.is_empty() || applied.reply.ends_with('\n'));
    for effect in applied.effects {
        match effect {
            Effect::Listen(listen) => drop(settings.set_listen(listen)),
            Effect::Log(log) => drop(settings.set_log(log)),
            Effect::Quarantine { server, .. } => assert!(server < settings.servers().len()),
            _ => {}
        }
    }
}
