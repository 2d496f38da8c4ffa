//! The table of keys as a JSON Schema.
//!
//! It describes what can be said of one file without looking elsewhere: which keys a table has, the
//! types and forms of their values, ranges, words, and what is required. The reader says the rest:
//! references, duplicates, keys that need or exclude each other, command lines, and inside strings
//! the range of numbers, the digits of IPv6 addresses and the names of services. A string with a
//! variable may be anything.

use super::{Key, Place, Shape, Zero};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of a configuration file.
pub fn schema() -> Value {
    let places = Place::ALL.iter().filter(|place| **place != Place::File);
    let places = places.map(|place| (def(*place).to_owned(), table(*place)));
    let strings = strings().into_iter().map(|(name, pattern)| (name.to_owned(), string(&pattern)));
    let variable = json!({
        "description": "A string with a variable: ${NAME} or ${NAME:-default}",
        "type": "string",
        "pattern": r"\$\{",
    });
    let mut defs: Map<String, Value> = places.chain(strings).collect();
    defs.insert("variable".to_owned(), variable);
    let mut file = table(Place::File);
    if let Some(object) = file.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("Configuration of evenkeel"));
        object.insert("$defs".to_owned(), Value::Object(defs));
    }
    file
}

/// A table with the keys of this place.
fn table(place: Place) -> Value {
    let properties: Map<_, _> =
        place.keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let is_required = |key: &&Key| key.required && place != Place::Defaults;
    let required: Vec<_> = place.keys().filter(is_required).map(|key| key.name).collect();
    let mut table = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some(object) = table.as_object_mut() {
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        if place == Place::Route {
            let any_of = json!([{ "required": ["sni"] }, { "required": ["alpn"] }]);
            object.insert("anyOf".to_owned(), any_of);
        }
        if place == Place::Pool {
            let one_of = json!([{ "required": ["backends"] }, { "required": ["tiers"] }]);
            object.insert("oneOf".to_owned(), one_of);
        }
    }
    table
}

fn property(key: &Key) -> Value {
    let mut property = value(key.shape);
    if let Some(object) = property.as_object_mut() {
        object.insert("description".to_owned(), json!(key.about()));
        if let Some(default) = key.default() {
            object.insert("default".to_owned(), json!(default));
        }
    }
    property
}

fn value(shape: Shape) -> Value {
    match shape {
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number { least, most } => {
            let sign = if least < 0 { "[+-]?" } else { r"\+?" };
            any([integer(least, most), string(&format!("^{sign}[0-9]+$")), variable()])
        }
        Shape::Choice(words) => any([json!({ "enum": words }), variable()]),
        Shape::Duration { words, zero } => {
            let zero = zero != Zero::Refused;
            let number = if zero { "[0-9]+" } else { "0*[1-9][0-9]*" };
            let words: String = words.iter().map(|word| format!("|{word}")).collect();
            let text = string(&format!("^({number}(ns|us|ms|s|m|h|d)?{words})$"));
            any([integer(i64::from(!zero), LONGEST_SECONDS), text, variable()])
        }
        Shape::Text | Shape::Ciphers => json!({ "type": "string", "minLength": 1 }),
        Shape::Name => any([reference("name"), variable()]),
        Shape::Factor => {
            let text = r"^(1\.(0[1-9]|[1-9][0-9]?)|[2-9](\.[0-9]{1,2})?|[1-9][0-9](\.[0-9]{1,2})?|100(\.0{1,2})?)$";
            any([string(text), variable()])
        }
        Shape::Subset => {
            let part = "(size|node|nodes)=[0-9]+";
            any([string(&format!("^{part},{part},{part}$")), variable()])
        }
        Shape::Share => any([string("^([1-9][0-9]?|100)%$"), variable()]),
        Shape::Interface => any([string("^[!-$&-.0-9;-~]{1,15}$"), variable()]),
        Shape::ClientLimits => {
            let limit = r"(sessions=[1-9][0-9]{0,9}|rate=[1-9][0-9]{0,9}/[1-9]?[0-9]{0,3}[smh]?|prefix=[0-9]{1,2}/[0-9]{1,3}|table=[1-9][0-9]{0,6}|full=(admit|refuse))";
            any([string(&format!("^{limit}(,{limit})*$")), variable()])
        }
        Shape::Rate => any([string("^[1-9][0-9]{0,9}/[1-9]?[0-9]{0,3}[smh]?$"), variable()]),
        Shape::HashOn => any([string("^quic-cid(:([4-9]|1[0-9]|20))?$"), variable()]),
        Shape::Address => any([reference("address"), variable()]),
        Shape::Collector => {
            let host = r"(\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9_.-]+)";
            let path = r"(/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*)?";
            any([string(&format!("^http://{host}(:[0-9]{{1,5}})?{path}$")), variable()])
        }
        Shape::Socket => any([reference("socket"), variable()]),
        Shape::Probe => any([reference("probe"), variable()]),
        Shape::Agent => {
            let place = r"^ *([0-9]+(\.[0-9]+){3}:|\[[0-9A-Fa-f:.]+\]:)?[0-9]{1,5}( +send=.*)? *$";
            any([string(place), variable()])
        }
        Shape::Listen => any([integer(1, 65535), reference("listen"), variable()]),
        Shape::Operand => any([reference("operand"), variable()]),
        Shape::Destination => any([reference("destination"), variable()]),
        Shape::Access => any([reference("entry"), variable()]),
        Shape::Proxies => any([reference("proxies"), variable()]),
        Shape::Host => any([reference("host"), variable()]),
        Shape::ServerName => any([reference("server-name"), variable()]),
        Shape::Backend => any([reference("operand"), reference(def(Place::Backend)), variable()]),
        Shape::Tier => any([list(value(Shape::Backend)), reference(def(Place::Tier))]),
        // An empty list of these is only a warning.
        Shape::List(item @ (Shape::Backend | Shape::Tier)) => list(value(*item)),
        Shape::List(item) => some(value(*item)),
        Shape::OneOrMore(item) => any([value(*item), some(value(*item))]),
        Shape::Table(place) => reference(def(place)),
        Shape::Named(place) => {
            let table = reference(def(place));
            let line = json!({ "type": "string", "minLength": 1 });
            json!({
                "type": "object",
                "propertyNames": reference("name"),
                "additionalProperties": if place == Place::Listener { any([line, table]) } else { table },
            })
        }
    }
}

fn any<const N: usize>(of: [Value; N]) -> Value {
    json!({ "anyOf": Vec::from(of) })
}

fn integer(least: i64, most: i64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most })
}

fn string(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn some(items: Value) -> Value {
    json!({ "type": "array", "items": items, "minItems": 1 })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn variable() -> Value {
    reference("variable")
}

/// The name of a place in `$defs`.
fn def(place: Place) -> &'static str {
    match place {
        Place::File => "file",
        Place::Process => "process",
        Place::Defaults => "defaults",
        Place::Listener => "listener",
        Place::Route => "route",
        Place::Pool => "pool",
        Place::Tier => "tier",
        Place::Backend => "backend",
    }
}

/// The longest duration that [`crate::duration`] reads.
const LONGEST_SECONDS: i64 = 36_500 * 86_400;

/// How probes begin.
const PROBES: &str = "(tcp|pgsql|redis|smtp|imap|pop3|ftp|ssh|ldap|mqtt|memcached|dns|ntp)( |:|$)|mysql \
                      |(http|command):\"?/|(send|expect)=";

/// The forms of strings that several keys share.
fn strings() -> [(&'static str, String); 11] {
    let name = "[A-Za-z0-9_][A-Za-z0-9_.-]*";
    let host = format!(r"(?!unix(:|$))({name}|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])");
    let host_port = format!("({host}|dns:{name})");
    let port = "[A-Za-z0-9_+-]";
    let (srv, numbers) = (format!("srv:{name}"), r"(:(-?[0-9]+)?){0,4}");
    let address = r"([0-9]+(\.[0-9]+){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)";
    let network = format!("{address}(/[0-9.]+)?");
    let proxies = format!("({network}|unix)");
    let path = r"unix:/[^\x00]";
    let protocol = r"(/(tcp|udp|tcp\+udp))?";
    let label = "[A-Za-z0-9_-]{1,63}";
    [
        ("name", r"^[^\x00-\x1f\x7f]+$".to_owned()),
        ("address", format!("^{address}$")),
        ("socket", r"^([0-9]+(\.[0-9]+){3}:|\[[0-9A-Fa-f:.]+\]:)?[0-9]{1,5}$".to_owned()),
        ("probe", format!("^ *({PROBES})")),
        ("listen", format!(r"^((tcp|udp)://)?({port}+|(\*|{host}):{port}+){protocol}$|^{path}*$")),
        ("operand", format!("^({host_port}(:{port}*{numbers})?|{srv}{numbers}|{path}+)$")),
        ("destination", format!("^({host_port}(:{port}*)?|{srv}|{path}+)$")),
        ("entry", format!("^(allow|deny) +({network}|country:[A-Za-z0-9]{{2}})$")),
        ("proxies", format!("^{proxies}(,{proxies})*$")),
        ("host", r"^[A-Za-z0-9_.:-]{1,253}$".to_owned()),
        ("server-name", format!(r"^(?!{address}$)(?=.{{1,255}}$)(\*\.)?{label}(\.{label})*\.?$")),
    ]
}
