//! The lookup table of consistent hashing by Maglev (Eisenbud et al., NSDI 2016, section 3.4).

use super::Member;
use crate::hash::mix;

/// Entries of the table for up to [`FEW`] backends, and for more. Primes, so that every step leads
/// through all entries.
const SMALL: u32 = 65_537;
const LARGE: u32 = 655_373;
const FEW: usize = 650;

/// The place of a backend for each entry; empty if no backend has a weight.
///
/// Backends claim entries in `turns`, each in an order of its own that only its name decides. When
/// one is gone, the others claim nearly the same entries as before.
pub(super) fn table(members: &[Member], turns: &[u32]) -> Vec<u32> {
    if turns.is_empty() {
        return Vec::new();
    }
    let len = if members.len() > FEW { LARGE } else { SMALL };
    /// The entry that a backend wants next, and the step to the one after that.
    struct Claim(u32, u32);
    let mut claims: Vec<_> = members
        .iter()
        .map(|member| {
            let step = mix(member.hash) % u64::from(len - 1) + 1;
            Claim((member.hash % u64::from(len)) as u32, step as u32)
        })
        .collect();
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; len as usize];
    for &place in turns.iter().cycle().take(table.len()) {
        let Claim(entry, step) = &mut claims[place as usize];
        while table[*entry as usize] != FREE {
            *entry = (*entry + *step) % len;
        }
        table[*entry as usize] = place;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::stable_hash;

    fn members(numbers: impl Iterator<Item = u32>) -> Vec<Member> {
        let hash = |number: u32| stable_hash(&[format!("10.0.0.{number}:80").as_bytes()]);
        numbers.map(|number| Member { hash: hash(number), weight: 1 }).collect()
    }

    #[test]
    fn entries_are_shared_equally_and_hardly_move() {
        let turns: Vec<_> = (0..100).collect();
        let all = table(&members(0..100), &turns);
        let mut counts = [0; 100];
        all.iter().for_each(|&place| counts[place as usize] += 1);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{least} to {most}");
        for gone in [0, 41, 99] {
            let fewer = table(&members((0..100).filter(|it| *it != gone)), &turns[..99]);
            let place = |before: u32| if before > gone { before - 1 } else { before };
            let others = all.iter().zip(&fewer).filter(|(before, _)| **before != gone);
            let moved = others.filter(|(before, after)| place(**before) != **after).count();
            let share = moved as f64 / all.len() as f64;
            assert!(share < 0.03, "without {gone}, {share} of the other entries moved");
        }
    }

    /// Another version that sends clients elsewhere would break up their affinity.
    #[test]
    fn the_table_is_the_same_in_every_version() {
        let table = table(&members(0..5), &[0, 1, 2, 3, 4]);
        let first: String = table[..20].iter().map(ToString::to_string).collect();
        assert_eq!(first, "12304343042411211424");
        let bytes: Vec<u8> = table.iter().map(|&place| place as u8).collect();
        assert_eq!(stable_hash(&[&bytes]), 17_633_698_389_801_082_389);
    }
}
