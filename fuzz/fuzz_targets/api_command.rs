//! What is posted to the admin socket: nothing panics, a command can be said back and means the
//! same, and none has room for a field that it does not have.

#![no_main]

use config::Command;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let Ok(command) = serde_json::from_slice::<Command>(text) else { return };
    let said = serde_json::to_value(&command).expect("every command is JSON");
    let again: Command = serde_json::from_value(said.clone()).expect("it can be read again");
    assert_eq!(again, command);
    let mut surplus = said;
    surplus["surplus"] = Value::Null;
    assert!(serde_json::from_value::<Command>(surplus).is_err(), "{command:?}");
});
