//! Whatever a state file has in it, it is read or refused. What it changes is what would be written
//! again.

#![no_main]

use clap::Parser;
use config::native::NativeCli;
use config::state::{Moment, PoolState, State};
use config::{Config, Ids};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(state) = State::parse(data, INSTANCE) {
        check(&state);
    }
    // Without what stands around it, which is always the same.
    if let Ok(pool) = serde_json::from_slice::<PoolState>(data) {
        let pools = [("main".to_owned(), pool)].into();
        check(&State { pools, ..empty() });
    }
});

const INSTANCE: &str = "i";

fn empty() -> State {
    State { version: State::VERSION, instance: INSTANCE.to_owned(), ..State::default() }
}

fn check(state: &State) {
    let bytes = state.to_bytes().expect("shorter than what was read");
    assert_eq!(State::parse(&bytes, INSTANCE).expect("as written"), *state);
    for millis in [0, u64::MAX] {
        let now = Moment { boot: "b".to_owned(), millis };
        let _ = state.healths("main", &now);
        state.known_clients("main", &now).for_each(drop);
    }
    let (given, mut ids) = given();
    let (mut running, dropped) = state.apply(&given);
    running.identify(Some(&given), &mut ids);
    dropped.iter().for_each(|it| drop(format!("{} {}", it.dropped.place(), it.dropped)));
    let mut again = empty();
    again.note_overrides(&given, &running);
    let (restored, dropped) = again.apply(&given);
    assert_eq!(dropped, []);
    assert_eq!(without_ids(restored), without_ids(running));
}

fn given() -> (Config, Ids) {
    let words = ["evenkeel", "80", "a", "b", "a", "!", "c"];
    let cli = NativeCli::try_parse_from(words).expect("a line");
    let mut config = cli.start.to_config(&|_| None).expect("operands");
    let mut ids = Ids::default();
    config.identify(None, &mut ids);
    (config, ids)
}

fn without_ids(mut config: Config) -> Config {
    let tiers = config.pools.iter_mut().flat_map(|pool| &mut pool.tiers);
    tiers.flat_map(|tier| &mut tier.backends).for_each(|backend| backend.id = None);
    config
}
