//! What messages consist of.

/// Attributes, one after the other.
#[derive(Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = HEAD + value.len() as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self
    }

    /// A number, in the order of bytes of the network.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(NESTED | kind, &inner.0)
    }

    /// Bytes of a key or of what belongs to it (`NFTA_DATA_VALUE`).
    pub fn value(self, kind: u16, value: &[u8]) -> Self {
        self.nest(kind, &Self::default().bytes(1, value))
    }

    /// Where a packet goes on (`NFTA_DATA_VERDICT`).
    pub fn verdict(self, kind: u16, verdict: Verdict<'_>) -> Self {
        let code = |code: i32| Self::default().number(1, code as u32);
        let verdict = match verdict {
            Verdict::Return => code(-5),
            Verdict::Goto(chain) => code(-4).text(2, chain),
        };
        self.nest(kind, &Self::default().nest(2, &verdict))
    }
}

/// Where a packet goes on.
#[derive(Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// Where it came from.
    Return,
    Goto(&'a str),
}

const HEAD: u16 = 4;
const ALIGN: usize = 4;
/// Says that an attribute consists of others.
const NESTED: u16 = 0x8000;
