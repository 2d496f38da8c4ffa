//! Who may do what over the admin socket.

use crate::bind::StartError;
use config::{AdminAccess, Role};
use std::io;
use sys::process::{User, find_group, user_id};

/// Who has which role, by the numbers of users and groups.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    users: Vec<(u32, Role)>,
    groups: Vec<(u32, Role)>,
}

impl Roles {
    /// Looks up the users and groups that are named.
    ///
    /// # Errors
    /// If there is no such user or group.
    pub fn find(access: &AdminAccess) -> Result<Self, StartError> {
        let AdminAccess { viewers, operators, admins, .. } = access;
        let mut roles = Self::default();
        let lists = [(viewers, Role::View), (operators, Role::Operate), (admins, Role::Admin)];
        for (name, role) in
            lists.into_iter().flat_map(|(it, role)| it.iter().map(move |it| (it, role)))
        {
            let failed = |source| StartError::Role { name: name.clone(), role, source };
            match name.strip_prefix('@') {
                Some(group) => {
                    roles.groups.push((number(group, find_group).map_err(failed)?, role))
                }
                None => {
                    let find = |name: &str| User::find(name).map(|user| user.uid());
                    roles.users.push((number(name, find).map_err(failed)?, role));
                }
            }
        }
        Ok(roles)
    }

    /// Whether anybody has one who would have none otherwise.
    pub fn are_given(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    /// The role of a user with these groups: the highest that was given. Root and the user of this
    /// process may do everything.
    pub fn of(&self, user: u32, groups: &[u32]) -> Option<Role> {
        if user == 0 || user == user_id() {
            return Some(Role::Admin);
        }
        let users = self.users.iter().filter(|(it, _)| *it == user);
        let groups = self.groups.iter().filter(|(it, _)| groups.contains(it));
        users.chain(groups).map(|(_, role)| *role).max()
    }
}

/// What a name, or a number, stands for.
fn number(text: &str, find: impl Fn(&str) -> io::Result<u32>) -> io::Result<u32> {
    text.parse().or_else(|_| find(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_role_counts() {
        let names = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let access = AdminAccess {
            viewers: names(&["70001", "@80001"]),
            operators: names(&["@80002"]),
            admins: names(&["70002"]),
            ..AdminAccess::default()
        };
        let roles = Roles::find(&access).unwrap();
        let check = |user, groups: &[u32], expected| {
            assert_eq!(roles.of(user, groups), expected, "{user} {groups:?}");
        };
        check(70_001, &[], Some(Role::View));
        check(70_001, &[1, 80_002], Some(Role::Operate));
        check(70_002, &[80_001], Some(Role::Admin));
        check(70_003, &[80_001, 80_002], Some(Role::Operate));
        check(70_003, &[70_001, 70_002], None); // users' numbers are not groups'
        check(80_001, &[], None);
        check(0, &[], Some(Role::Admin));
        check(user_id(), &[], Some(Role::Admin));
        assert!(!Roles::default().are_given() && roles.are_given());
    }
}
