//! What the affinity table costs with a million clients of random addresses.
//!
//! `cargo bench -p balancing --bench affinity` first prints bytes per client and the slowest calls,
//! then a table of medians. The aim is below 300 ns at the median, and no pause. Most of it is
//! waiting for memory: with a thousand clients the same calls take 40 to 130 ns.

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a bench asks the machine and prints"
)]

use balancing::{Affinity, Client};
use divan::{Bencher, black_box};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use terms::{BackendId, Instant};

const CLIENTS: usize = 1_000_000;

fn main() {
    if std::env::args().any(|arg| arg == "--bench") {
        costs::print();
    }
    divan::main();
}

/// SplitMix64 (Steele et al., 2014): the client with this number.
fn client(number: u64) -> Client {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let address = if z & 1 == 0 {
        IpAddr::V4(Ipv4Addr::from_bits((z >> 8) as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(z)))
    };
    Client { address: Some(address), ..Client::default() }
}

fn at(call: u64) -> Instant {
    Instant::from_nanos(1_000_000_000_000 + call * 1000)
}

fn full() -> Affinity {
    let table = Affinity::new(CLIENTS, None, 0x5eed);
    for number in 0..CLIENTS as u64 {
        table.enter(&client(number), at(number)).remember(Some(BackendId::new(1)));
    }
    table
}

/// A client that is known begins a session.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn known(bencher: Bencher<'_, '_>) {
    let (table, mut call) = (full(), CLIENTS as u64);
    bencher.bench_local(|| {
        call += 1;
        let number = call.wrapping_mul(0x9e37_79b9) % CLIENTS as u64;
        black_box(table.enter(&client(number), at(call)).backend())
    });
}

/// A client's entry is read, as after a failover.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn recalled(bencher: Bencher<'_, '_>) {
    let (table, mut call) = (full(), CLIENTS as u64);
    bencher.bench_local(|| {
        call += 1;
        let number = call.wrapping_mul(0x9e37_79b9) % CLIENTS as u64;
        black_box(table.recall(&client(number)).backend())
    });
}

/// A new client takes the place of the one not seen for longest.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn new_in_a_full_table(bencher: Bencher<'_, '_>) {
    let (table, mut call) = (full(), CLIENTS as u64);
    bencher.bench_local(|| {
        call += 1;
        black_box(table.enter(&client(call), at(call)).backend())
    });
}

/// The same after every client has begun another session, in random order.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn new_in_a_full_mixed_table(bencher: Bencher<'_, '_>) {
    let (table, mut call) = (full(), CLIENTS as u64);
    for _ in 0..2 * CLIENTS {
        call += 1;
        let number = call.wrapping_mul(0x9e37_79b9) % CLIENTS as u64;
        table.enter(&client(number), at(call)).remember(Some(BackendId::new(2)));
    }
    bencher.bench_local(|| {
        call += 1;
        black_box(table.enter(&client(call), at(call)).backend())
    });
}

/// A new client takes the lowest of very many slots whose time is over.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn new_where_all_have_expired(bencher: Bencher<'_, '_>) {
    let (table, mut call) = (full(), CLIENTS as u64);
    table.set_time_limit(Some(Duration::from_secs(1)));
    bencher.bench_local(|| {
        call += 1;
        black_box(table.enter(&client(call), at(call + 10_000_000)).backend())
    });
}

/// A new client takes a slot that nobody had, from 800 000 to a million.
#[divan::bench(sample_count = 2000, sample_size = 100)]
fn new_in_a_filling_table(bencher: Bencher<'_, '_>) {
    let table = Affinity::new(CLIENTS, None, 0x5eed);
    let mut call = 0;
    while call < 800_000 {
        call += 1;
        table.enter(&client(call), at(call)).remember(Some(BackendId::new(1)));
    }
    bencher.bench_local(|| {
        call += 1;
        black_box(table.enter(&client(call), at(call)).backend())
    });
}

/// What medians do not show.
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "measures real time")]
mod costs {
    use super::{Affinity, CLIENTS, Client, Duration, at, client};
    use std::time::Instant;

    pub fn print() {
        let before = resident();
        let table = Affinity::new(CLIENTS, None, 0x5eed);
        let mut calls = Vec::with_capacity(CLIENTS);
        let filling = slowest(&mut calls, |call| drop(table.enter(&client(call), at(call))));
        let bytes = resident().saturating_sub(before + 8 * CLIENTS);
        println!("memory: {} bytes per client (resident)", bytes / CLIENTS);
        println!("filling from nothing: {filling}");
        let million = CLIENTS as u64;
        let full = slowest(&mut calls, |call| {
            drop(table.enter(&client(million + call), at(million + call)));
        });
        println!("replacing in a full table: {full}");
        table.set_time_limit(Some(Duration::from_millis(1)));
        let expired = slowest(&mut calls, |call| {
            drop(table.enter(&client(2 * million + call), at(9 * million + call)));
        });
        println!("all expired at once: {expired}");
        table.set_time_limit(None);
        table.grow(2 * CLIENTS);
        let grown = slowest(&mut calls, |call| {
            drop(table.enter(&client(3 * million + call), at(10 * million + call)));
        });
        println!("filling after growth to two million: {grown}");
        let client = Client::default();
        let begin = Instant::now();
        let rows = table.rows().len();
        println!("report of {rows} rows: {:?}", begin.elapsed());
        drop(table.recall(&client));
    }

    /// Makes a million calls; tells the median and the slowest.
    fn slowest(calls: &mut Vec<u64>, call: impl Fn(u64)) -> String {
        calls.clear();
        for number in 0..CLIENTS as u64 {
            let begin = Instant::now();
            call(number);
            calls.push(begin.elapsed().as_nanos() as u64);
        }
        calls.sort_unstable();
        let at = |share: f64| calls[((CLIENTS - 1) as f64 * share) as usize];
        format!(
            "median {} ns, 99.9 % {} ns, 99.999 % {} ns, slowest {} us (with 2 clock readings)",
            at(0.5),
            at(0.999),
            at(0.999_99),
            at(1.0) / 1000
        )
    }

    /// Bytes of this process in memory; zero where the system does not say.
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
        pages.unwrap_or(0) * 4096
    }
}
