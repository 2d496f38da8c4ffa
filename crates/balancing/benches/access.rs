//! What an access list costs. Asking a hundred thousand prefixes must take less than 200 ns, and
//! making such a list less than 50 ms.

use balancing::{AccessEntry, AccessList, Client, Subject, Verdict};
use divan::{Bencher, black_box};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIZES: [usize; 4] = [0, 10, 1000, 100_000];

fn main() {
    divan::main();
}

/// SplitMix64 (Steele et al., 2014).
fn random(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn v4(number: u64) -> Subject {
    let word = random(number);
    let mask = u32::MAX << (random(word) % 12);
    let address = Ipv4Addr::from_bits((word >> 16) as u32 & mask);
    Subject::V4 { address, mask: Ipv4Addr::from_bits(mask) }
}

fn v6(number: u64) -> Subject {
    let word = random(number);
    let prefix = 24 + (random(word) % 40) as u8;
    let mask = u128::MAX << (128 - prefix);
    let address = 0x2000_u128 << 112 | u128::from(word) << 52;
    Subject::V6 { address: Ipv6Addr::from_bits(address & mask), prefix }
}

/// Either verdict, so that neighbours do not merge.
fn entries(subject: fn(u64) -> Subject, count: usize) -> Vec<AccessEntry> {
    let verdict = |number| if number & 1 == 0 { Verdict::Permit } else { Verdict::Deny };
    (0..count as u64)
        .map(|number| AccessEntry { verdict: verdict(number), subject: subject(number) })
        .collect()
}

fn ask(bencher: Bencher<'_, '_>, list: &AccessList, address: impl Fn(u64) -> IpAddr) {
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        let client = Client { address: Some(address(random(number))), ..Client::default() };
        black_box(list.permits(&client))
    });
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 100)]
fn ask_v4(bencher: Bencher<'_, '_>, count: usize) {
    let list = AccessList::new(entries(v4, count));
    ask(bencher, &list, |word| Ipv4Addr::from_bits(word as u32).into());
}

#[divan::bench(args = SIZES, sample_count = 1000, sample_size = 100)]
fn ask_v6(bencher: Bencher<'_, '_>, count: usize) {
    let list = AccessList::new(entries(v6, count));
    ask(bencher, &list, |word| {
        Ipv6Addr::from_bits(0x2000_u128 << 112 | u128::from(word) << 52).into()
    });
}

#[divan::bench(args = [1000, 100_000], sample_count = 20)]
fn make_v4(bencher: Bencher<'_, '_>, count: usize) {
    let entries = entries(v4, count);
    bencher.with_inputs(|| entries.clone()).bench_local_values(AccessList::new);
}

#[divan::bench(args = [1000, 100_000], sample_count = 20)]
fn make_v6(bencher: Bencher<'_, '_>, count: usize) {
    let entries = entries(v6, count);
    bencher.with_inputs(|| entries.clone()).bench_local_values(AccessList::new);
}
