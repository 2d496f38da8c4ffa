//! Connection ids in datagrams: what is found lies in the datagram, at its place, and a flow of any
//! such datagrams has few of them in the table, none before its client has shown that it sees answers.

#![no_main]

use balancing::ConnectionIds;
use libfuzzer_sys::fuzz_target;
use relay::{FlowIds, IDS_MAX, IdStep, id_of_server, id_to_server};
use terms::{BackendId, Instant};

fuzz_target!(|input: (u8, Vec<(bool, &[u8])>)| {
    let (count, datagrams) = input;
    let count = usize::from(count % 24);
    let table = ConnectionIds::with_sets((1, 2), 64);
    let (mut ids, backend) = (FlowIds::new(false), BackendId::new(1));
    for (second, (is_answer, datagram)) in datagrams.into_iter().enumerate() {
        let now = Instant::from_millis(second as u64 * 1000);
        if is_answer {
            let named = id_of_server(datagram, count);
            if let Some(id) = named {
                assert!(id.len() == count && datagram.len() > 6 + count && datagram[0] >= 0x80);
            }
            ids.on_answer(named.map(|id| table.key(id)));
        } else if let Some(to) = id_to_server(datagram, count) {
            let start = if to.is_long { 6 } else { 1 };
            assert_eq!(to.id, &datagram[start..start + count]);
            let step = ids.on_request(table.key(to.id), to.is_long, now);
            if let IdStep::Use(key) = step {
                assert_eq!(table.find(key, now), Some(backend));
            }
            step.apply(&table, backend, now);
        }
        let held = table.count();
        assert!(held <= IDS_MAX && (held == 0 || ids.is_acquainted()));
    }
});
