//! Who may use the admin socket, and where else it is served.

use super::super::excerpt::quoted;
use super::super::parts::{AccessPart, Word};
use super::super::report::{Fault, Reports};
use super::Code;
use crate::native::parse_address;
use crate::words::Choice;
use crate::{AdminAccess, TapAccess};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the part means. What is wrong with it is reported.
pub(super) fn access(part: &AccessPart, reports: &mut Reports<'_>) -> AdminAccess {
    let AccessPart { viewers, operators, admins, view_socket, listen, tokens, tap } = part;
    let names = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect();
    let address = listen.as_ref().and_then(|word| address(word, reports));
    match (listen, tokens) {
        (Some(listen), None) => {
            let message = "`admin-listen` needs `admin-tokens`, so that not everybody may do all";
            let help = "add `admin-tokens`, the path of a file with lines of ROLE NAME TOKEN";
            reports.add(Fault::new(Code::Needs, &listen.at, message).place("process").help(help));
        }
        (None, Some(tokens)) => {
            let message = "`admin-tokens` needs `admin-listen`";
            let help = "add `admin-listen`, or remove this one";
            reports.add(Fault::new(Code::Needs, &tokens.at, message).place("process").help(help));
        }
        _ => {}
    }
    AdminAccess {
        viewers: names(viewers),
        operators: names(operators),
        admins: names(admins),
        view_socket: view_socket.as_ref().map(|word| PathBuf::from(&word.text)),
        listen: address.zip(tokens.as_ref().map(|word| PathBuf::from(&word.text))),
        // Other words have been reported.
        tap: tap.as_ref().and_then(|word| TapAccess::from_word(&word.text)).unwrap_or_default(),
    }
}

/// Where to listen: only on this machine, because tokens pass in plain text.
fn address(word: &Word, reports: &mut Reports<'_>) -> Option<SocketAddr> {
    let fault = match parse_address(&word.text) {
        Ok(address) if address.ip().is_loopback() => return Some(address),
        Ok(address) => {
            let message = format!("tokens would pass in plain text to {}", address.ip());
            let help = "use an address of the machine itself, such as 127.0.0.1:9189; ssh -L, or a \
                        listener that ends TLS, leads there from others";
            Fault::new(Code::Value, &word.at, message).help(help)
        }
        Err(_) => {
            let message = format!("{} is not an address with a port", quoted(&word.text));
            Fault::new(Code::Value, &word.at, message).help("write it as 127.0.0.1:9189 or 9189")
        }
    };
    reports.add(fault.place("process"));
    None
}
