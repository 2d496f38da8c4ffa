//! Bytes that anyone can make again from a seed, so that a receiver knows what must come next.

/// An endless stream of bytes, the same for the same seed.
///
/// Every eight bytes are a hash of their position, so that lost, doubled or swapped pieces cannot
/// look right, at whatever offset they are.
#[derive(Debug, Clone)]
pub struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    /// The stream of `seed`, from its start.
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed), position: 0 }
    }

    /// Fills `buffer` with the next bytes of the stream.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        let mut rest = buffer;
        while !rest.is_empty() {
            let block = mix(self.seed ^ (self.position / 8)).to_le_bytes();
            let block = &block[(self.position % 8) as usize..];
            let take = block.len().min(rest.len());
            let (head, tail) = rest.split_at_mut(take);
            head.copy_from_slice(&block[..take]);
            self.position += take as u64;
            rest = tail;
        }
    }

    /// The next `len` bytes of the stream.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// Compares `bytes` with the next bytes of the stream; where they differ, the offset in the
    /// whole stream of the first wrong byte.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let start = self.position;
        let expected = self.take(bytes.len());
        if expected == bytes {
            return Ok(());
        }
        let wrong = expected.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        Err(start + wrong as u64)
    }
}

/// Sizes of writes that look like nothing a proxy's buffers were made for, the same for a seed.
#[derive(Debug, Clone)]
pub struct OddSizes(u64);

impl OddSizes {
    /// The sizes of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next size, between 1 and 65537.
    pub fn next_size(&mut self) -> usize {
        self.0 = self.0.wrapping_add(1);
        SIZES[(mix(self.0) % SIZES.len() as u64) as usize]
    }
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Around one, a usual segment, a page and the largest segment of the loopback.
const SIZES: [usize; 9] = [1, 3, 7, 100, 1447, 1449, 4097, 16_385, 65_537];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_same_stream() {
        let whole = Pattern::new(7).take(100);
        let mut pieces = Pattern::new(7);
        let joined: Vec<u8> =
            [1, 3, 7, 8, 9, 72].into_iter().flat_map(|n| pieces.take(n)).collect();
        assert_eq!(whole, joined);
        assert_ne!(whole, Pattern::new(8).take(100));
    }

    #[test]
    fn the_first_wrong_byte_is_named_by_its_offset_in_the_stream() {
        let mut bytes = Pattern::new(1).take(50);
        bytes[33] ^= 1;
        let mut pattern = Pattern::new(1);
        assert_eq!(pattern.check(&bytes[..20]), Ok(()));
        assert_eq!(pattern.check(&bytes[20..]), Err(33));
    }
}
