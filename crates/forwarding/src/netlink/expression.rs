//! What rules consist of. The numbers are those of <linux/netfilter/nf_tables.h>.

use super::attributes::{Attributes, Verdict};
use crate::door::Family;

/// A step of a rule. It reads and writes the first register unless it says otherwise. The rule stops at
/// the first step that does not match.
pub(super) enum Expression<'a> {
    /// The number of the internet protocol.
    Protocol,
    /// The number of the protocol above it.
    Transport,
    /// The client's address.
    Source(Family, Register),
    /// The first half of the client's address, in the second register.
    SourceNetwork,
    /// The state of the connection.
    State,
    /// The mark of the connection.
    Mark(Register),
    /// Marks the connection.
    SetMark,
    /// Whether it equals this value.
    Equals(&'a [u8]),
    /// A constant.
    Value([u8; 4]),
    /// The numbers below this one, in turn.
    Turn(u32),
    /// A random number below this one.
    Random(u32),
    /// A hash of the second register's first `bytes`, reduced to a number below `modulus`.
    Hash { bytes: u32, modulus: u32, seed: u32 },
    /// Whether it is missing from this set.
    Misses(&'a str),
    /// Its value in this map.
    Find(&'a str),
    /// Stores it in this map, with the second register as its value.
    Update(&'a str),
    /// Deletes it from this map, if its value is that of the second register.
    Delete(&'a str),
    /// Applies the object of this type and name.
    Object(u32, &'a str),
    /// Where the packet goes on.
    Leave(Verdict<'a>),
}

/// Where something is between two steps. Each has room for an address.
#[derive(Clone, Copy)]
pub(super) enum Register {
    First = 1,
    Second = 2,
}

impl Expression<'_> {
    /// Those of a rule.
    pub fn all(expressions: &[Self]) -> Attributes {
        expressions.iter().fold(Attributes::default(), |all, expression| {
            let (name, data) = expression.written();
            all.nest(1, &Attributes::default().text(1, name).nest(2, &data))
        })
    }

    /// Its name and attributes.
    fn written(&self) -> (&'static str, Attributes) {
        let [first, second] = [Register::First, Register::Second].map(|it| it as u32);
        let (verdict, none) = (0, Attributes::default());
        match self {
            Self::Protocol => ("meta", none.number(2, 15).number(1, first)),
            Self::Transport => ("meta", none.number(2, 16).number(1, first)),
            Self::Source(Family::V4, register) => load(12, 4, *register),
            Self::Source(Family::V6, register) => load(8, 16, *register),
            Self::SourceNetwork => load(8, 8, Register::Second),
            Self::State => ("ct", none.number(2, 0).number(1, first)),
            Self::Mark(register) => ("ct", none.number(2, 3).number(1, *register as u32)),
            Self::SetMark => ("ct", none.number(2, 3).number(4, first)),
            Self::Equals(value) => ("cmp", none.number(1, first).number(2, 0).value(3, value)),
            Self::Value(value) => ("immediate", none.number(1, first).value(2, value)),
            Self::Turn(modulus) => numbered(*modulus, 0),
            Self::Random(modulus) => numbered(*modulus, 1),
            Self::Hash { bytes, modulus, seed } => {
                let data = none.number(1, second).number(2, first).number(3, *bytes);
                ("hash", data.number(4, *modulus).number(5, *seed))
            }
            Self::Misses(set) => ("lookup", none.text(1, set).number(2, first).number(5, 1)),
            Self::Find(map) => ("lookup", none.text(1, map).number(2, first).number(3, first)),
            Self::Update(map) => remember(map, 1),
            Self::Delete(map) => remember(map, 2),
            Self::Object(kind, name) => ("objref", none.number(1, *kind).text(2, name)),
            Self::Leave(to) => ("immediate", none.number(1, verdict).verdict(2, *to)),
        }
    }
}

/// Bytes of the header of the internet protocol.
fn load(offset: u32, bytes: u32, register: Register) -> (&'static str, Attributes) {
    let network = 1;
    let data = Attributes::default().number(1, register as u32).number(2, network);
    ("payload", data.number(3, offset).number(4, bytes))
}

fn numbered(modulus: u32, way: u32) -> (&'static str, Attributes) {
    let data = Attributes::default().number(1, Register::First as u32);
    ("numgen", data.number(2, modulus).number(3, way))
}

fn remember(map: &str, operation: u32) -> (&'static str, Attributes) {
    let data = Attributes::default().text(1, map).number(3, operation);
    ("dynset", data.number(4, Register::First as u32).number(5, Register::Second as u32))
}
