//! Hashes: the classics' hash of a client address, and one that is the same everywhere.
//!
//! Source: balance 3.57 on IPv6 listeners, balance 3.52 on IPv4 listeners (3.54 to 3.57 hash the
//! wrong bytes there, so that every client gets the same backend; see `docs/compat.md`).

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::IpAddr;

/// `31^12 mod 2^32`: what the twelve zero bytes after an IPv6 address multiply its fold by.
const AFTER_ADDRESS: u32 = 4_001_564_289;

/// Hashes `client` as a listener does that sees the address in this form.
///
/// A dual-stack listener sees IPv4 clients as `::ffff:a.b.c.d` and hashes all sixteen bytes; an
/// IPv4 listener hashes four. Neither the port nor the scope of a link-local address is
/// included.
///
/// ```
/// let hash = |text: &str| balancing::client_hash(text.parse().unwrap());
/// assert_eq!(hash("127.0.0.1"), 3_783_458);
/// assert_eq!(hash("::ffff:127.0.0.1"), 3_231_995_906);
/// ```
#[must_use]
pub fn client_hash(client: IpAddr) -> u32 {
    match client {
        IpAddr::V4(address) => fold(&address.octets()),
        IpAddr::V6(address) => fold(&address.octets()).wrapping_mul(AFTER_ADDRESS),
    }
}

/// `h = 31 * h + byte`, where bytes above 127 are negative.
fn fold(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0u32, |hash, &byte| {
        let signed = i32::from(byte.cast_signed()).cast_unsigned();
        hash.wrapping_mul(31).wrapping_add(signed)
    })
}

/// A hash that is the same in every process, machine and version: `SipHash-1-3` with a key of zero.
pub(crate) fn stable_hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// Bob Jenkins's hash of one to twelve bytes as Linux has it (`jhash`, include/linux/jhash.h), on a
/// little-endian machine, with [`KERNEL_SEED`]. nftables computes the same (nft(8), `jhash`).
pub(crate) fn kernel_hash(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32).wrapping_add(KERNEL_SEED);
    let mut words = [start; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(4)) {
        let mut whole = [0; 4];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = word.wrapping_add(u32::from_le_bytes(whole));
    }
    let rounds =
        [(1, 2, 14), (2, 0, 11), (0, 1, 25), (1, 2, 16), (2, 0, 4), (0, 1, 14), (1, 2, 24)];
    for (from, to, by) in rounds {
        words[to] = (words[to] ^ words[from]).wrapping_sub(words[from].rotate_left(by));
    }
    words[2]
}

/// Which of `len` slots a hash falls into, as the kernel computes it (`reciprocal_scale`).
pub(crate) fn scale(hash: u32, len: usize) -> usize {
    ((u64::from(hash) * len as u64) >> 32) as usize
}

/// The same in every process and version, so that all of them choose alike.
pub const KERNEL_SEED: u32 = 0x4556_4b31;

/// Spreads a seed over all bits (the finalizer of MurmurHash3, Appleby 2011).
pub(crate) fn mix(mut seed: u64) -> u64 {
    seed ^= seed >> 33;
    seed = seed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    seed ^= seed >> 33;
    seed = seed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    seed ^ (seed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(client: &str, expected: u32) {
        assert_eq!(client_hash(client.parse().unwrap()), expected, "{client}");
    }

    #[test]
    fn ipv4_listeners_hash_four_bytes() {
        check("127.0.0.1", 3_783_458); // observed on balance 3.52
        check("127.0.0.2", 3_783_459);
        check("127.0.0.200", 3_783_401);
        check("127.9.200.1", 3_790_371);
    }

    #[test]
    fn ipv6_listeners_hash_sixteen_bytes() {
        check("::ffff:127.0.0.1", 3_231_995_906); // observed on balance 3.57
        check("::ffff:127.0.0.2", 2_938_592_899);
        check("::ffff:127.0.0.3", 2_645_189_892);
        check("::ffff:127.0.0.200", 2_776_098_121);
        check("::ffff:127.0.0.255", 3_818_801_920);
        check("::ffff:127.9.200.1", 2_161_572_227);
        check("::1", 4_001_564_289);
    }
}
