use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The table as its description has it, searched from end to end.
struct Naive {
    clients_max: usize,
    time_limit: Option<Duration>,
    slots: Vec<Option<AffinityRow>>,
}

impl Naive {
    fn enter(&mut self, client: Option<IpAddr>, backend: Option<BackendId>, now: Instant) {
        let is_over = |row: &AffinityRow| {
            self.time_limit.is_some_and(|limit| now.since(row.last_used) > limit)
        };
        for slot in &mut self.slots {
            match slot {
                Some(row) if row.client == client && is_over(row) => *slot = None,
                Some(row) if row.client == client => {
                    row.last_used = now;
                    row.connects += 1;
                    row.backend = backend;
                    return;
                }
                _ => {}
            }
        }
        self.slots.resize(self.clients_max, None);
        let free = self.slots.iter().position(|slot| slot.as_ref().is_none_or(is_over));
        let oldest = || (0..self.slots.len()).min_by_key(|&it| self.slots[it].unwrap().last_used);
        let Some(slot) = free.or_else(oldest) else { return };
        self.slots[slot] = Some(AffinityRow {
            slot,
            client,
            last_used: now,
            backend,
            connects: 1,
            sent_bytes: 0,
            received_bytes: 0,
        });
    }

    fn rows(&self) -> Vec<AffinityRow> {
        self.slots.iter().flatten().copied().collect()
    }
}

fn client(number: u32) -> Option<IpAddr> {
    match number % 3 {
        0 if number == 0 => None,
        0 | 1 => Some(Ipv4Addr::from_bits(number).into()),
        _ => Some(Ipv6Addr::from_bits(u128::from(number) << 64 | 7).into()),
    }
}

fn at(client: Option<IpAddr>) -> Client {
    Client { address: client, ..Client::default() }
}

proptest! {
    #[test]
    fn does_what_a_search_through_all_does(
        clients_max in 0usize..40,
        clients in 1u32..80,
        steps in proptest::collection::vec((0u32..1000, 0u64..4, 0u32..60), 1..400),
    ) {
        let table = Affinity::new(clients_max, None, 1);
        let mut naive = Naive { clients_max, time_limit: None, slots: Vec::new() };
        let mut now = Instant::ZERO;
        for (number, pause, what) in steps {
            now = now + Duration::from_secs(pause);
            match what {
                0 => {
                    table.grow(number as usize % 60);
                    naive.clients_max = naive.clients_max.max(number as usize % 60);
                }
                1..=3 => {
                    let limit = (number % 3 != 0).then(|| Duration::from_secs(u64::from(number % 20)));
                    table.set_time_limit(limit);
                    naive.time_limit = limit;
                }
                _ => {
                    let who = client(number % clients);
                    let backend = (number % 7 != 0).then(|| BackendId::new(u64::from(1 + number % 5)));
                    naive.enter(who, backend, now);
                    table.enter(&at(who), now).remember(backend);
                    let slot = naive.rows().iter().find(|it| it.client == who).map(|it| it.slot);
                    prop_assert_eq!(table.slot(who), slot);
                }
            }
            prop_assert_eq!(table.rows(), naive.rows());
        }
        let since = now - Duration::from_secs(5);
        let recent: Vec<_> =
            naive.rows().into_iter().filter(|row| row.last_used >= since).collect();
        prop_assert_eq!(table.recent(since), recent);
    }
}

#[test]
fn one_client_whatever_its_address_looks_like() {
    let table = Affinity::new(10, None, 0);
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    let plain: IpAddr = "10.0.0.1".parse().unwrap();
    table.enter(&at(Some(mapped)), Instant::ZERO).remember(Some(BackendId::new(3)));
    assert_eq!(table.recall(&at(Some(plain))).backend(), Some(BackendId::new(3)));
    table.add_bytes(Some(mapped), 5, 7);
    assert_eq!(table.slot(Some(plain)), Some(0));
    let rows = table.rows();
    assert_eq!((rows.len(), rows[0].client), (1, Some(plain)));
    assert_eq!((rows[0].sent_bytes, rows[0].received_bytes), (5, 7));
}

#[test]
fn a_million_clients_come_and_go_as_one_does() {
    // Enough for several chunks and levels, and for every bucket to be split more than once.
    let count = 20_000u32;
    let table = Affinity::new(count as usize, None, 2);
    let second = |number: u32| Instant::from_millis(u64::from(number) * 1000);
    for number in 0..3 * count {
        table
            .enter(&at(Some(Ipv4Addr::from_bits(number).into())), second(number))
            .remember(Some(BackendId::new(1)));
    }
    for number in 0..3 * count {
        let slot = table.slot(Some(Ipv4Addr::from_bits(number).into()));
        let expected = (number >= 2 * count).then_some((number % count) as usize);
        assert_eq!(slot, expected, "{number}");
    }
    // All but the last hundred expire at once, and the next takes the lowest.
    table.set_time_limit(Some(Duration::from_secs(100)));
    let newcomer = Ipv4Addr::from_bits(5 * count).into();
    assert_eq!(table.enter(&at(Some(newcomer)), second(3 * count)).slot, Some(0));
    assert_eq!(table.rows().len(), count as usize, "who expired is seen until replaced");
}

#[test]
fn an_entry_is_small() {
    let links = 8;
    let (head_at_most, stamp) = (4, 8 + 1);
    let bytes = size_of::<Entry>() + size_of::<Moved>() + links + head_at_most + stamp;
    assert!(bytes <= 75, "{bytes} bytes a client");
}
