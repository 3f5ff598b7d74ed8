//! The same work for all, and the check that all come to the same result.

pub mod decode;
pub mod encode;
pub mod parse;
pub mod session;

use std::hint::black_box;

use crate::timing::Group;

/// All groups whose work and case hold one of `filters`; all, where there is none.
#[must_use]
pub fn groups(filters: &[String]) -> Vec<Group<'static>> {
    let mut groups = decode::groups();
    groups.extend(encode::groups());
    groups.extend(parse::groups());
    groups.extend(session::groups());
    let chosen = |group: &Group<'_>| {
        let name = format!("{}, {}", group.work, group.case);
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    groups.into_iter().filter(chosen).collect()
}

/// The anchor of scanning: two octets that are nowhere in `octets`.
fn absent(octets: &[u8]) {
    black_box(memchr::memchr2(1, 2, black_box(octets)));
}

/// How the tables name that anchor.
pub const MEMCHR2: &str = "memchr2";
/// How the tables name the anchor of the parsers.
pub const LOOKUP: &str = "one look-up an octet";
/// How the tables name the anchor of the sessions.
pub const MEMCPY: &str = "memcpy";
