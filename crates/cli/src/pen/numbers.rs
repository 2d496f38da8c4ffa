//! Connection numbers: small and reused, as the original's table has them.

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Gives sessions the numbers of a table: the lowest free one counted from the last one given.
///
/// Sessions get their numbers on demand, since nothing else shows them. The cost depends on the
/// number of sessions, not on the size of the table.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ConnectionNumbers {
    by_session: HashMap<u64, usize>,
    /// Where to look for a free number next.
    next: usize,
}

impl ConnectionNumbers {
    /// Numbers these sessions, oldest first, out of `size` numbers; forgets all others.
    pub fn assign(&mut self, sessions: impl Iterator<Item = u64>, size: usize) {
        let mut before = std::mem::take(&mut self.by_session);
        let mut strangers = Vec::new();
        for session in sessions {
            match before.remove(&session) {
                Some(number) => drop(self.by_session.insert(session, number)),
                None => strangers.push(session),
            }
        }
        if self.by_session.is_empty() {
            self.next = 0;
        }
        let size = size.max(self.by_session.len() + strangers.len());
        let mut taken: HashSet<usize> = self.by_session.values().copied().collect();
        for session in strangers {
            let start = self.next;
            let free = (0..size).map(|step| (start + step) % size).find(|it| !taken.contains(it));
            let number = free.unwrap_or(size); // there are at least as many numbers as sessions
            taken.insert(number);
            self.next = number;
            self.by_session.insert(session, number);
        }
    }

    /// The number of a session.
    pub fn number(&self, session: u64) -> Option<usize> {
        self.by_session.get(&session).copied()
    }

    /// The session with a number.
    pub fn session(&self, number: usize) -> Option<u64> {
        self.by_session.iter().find(|(_, it)| **it == number).map(|(session, _)| *session)
    }

    /// The number given last.
    pub fn last(&self) -> usize {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Assigns in turn, and compares the numbers after each round.
    #[track_caller]
    fn check(rounds: &[&[u64]], size: usize, expected: &[&[usize]]) {
        let mut numbers = ConnectionNumbers::default();
        for (sessions, expected) in rounds.iter().zip(expected) {
            numbers.assign(sessions.iter().copied(), size);
            let given: Vec<_> = sessions.iter().filter_map(|&it| numbers.number(it)).collect();
            assert_eq!(given, *expected, "{sessions:?}");
        }
    }

    #[test]
    fn one_connection_at_a_time_is_number_zero() {
        check(&[&[7], &[], &[9]], 500, &[&[0], &[], &[0]]);
    }

    #[test]
    fn numbers_stay_and_are_given_again() {
        check(&[&[1, 2, 3], &[2, 3, 4], &[3, 4, 5]], 500, &[&[0, 1, 2], &[1, 2, 3], &[2, 3, 4]]);
        check(&[&[1, 2, 3], &[2, 3, 4]], 3, &[&[0, 1, 2], &[1, 2, 0]]);
    }

    #[test]
    fn a_huge_table_costs_nothing() {
        check(&[&[1, 2], &[2, 3]], usize::MAX / 2, &[&[0, 1], &[1, 2]]);
    }

    #[test]
    fn more_sessions_than_the_table_has_room_for() {
        check(&[&[1, 2, 3]], 1, &[&[0, 1, 2]]);
    }
}
