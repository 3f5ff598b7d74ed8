//! Parameters of MAIL and RCPT, taken apart but not interpreted.
//!
//! Layer 1. What `mail.rs` and `rcpt.rs` do not know stays visible through here, octet for octet.
//!
//! ```
//! use smtp_checkpoint::command::Command;
//!
//! let Command::Mail(mail) = Command::parse(b"MAIL FROM:<> X-Y=1 SIZE=9")? else { unreachable!() };
//! let unknown = mail.unknown_parameters().next().unwrap();
//! assert_eq!((unknown.keyword, unknown.value), (&b"X-Y"[..], Some(&b"1"[..])));
//! assert!(unknown.is(b"x-y"));
//! # Ok::<(), smtp_checkpoint::command::CommandError>(())
//! ```

use super::error::CommandError;
use super::parse::trim_start;
use crate::class::{KEYWORD, each, eight, first_below, split_run, value_run};
use crate::syntax::is_wsp;
use crate::word::{CASELESS, Word};

/// Unknown parameters in one command. RFC 5321 sets no limit; without one, looking for duplicates
/// would take time that grows with the square of the line.
pub const MAX_UNKNOWN_PARAMETERS: usize = 64;

/// One parameter as it came: `esmtp-keyword ["=" esmtp-value]` (RFC 5321 §4.1.2).
///
/// `==` compares octet for octet, the keyword too; [`is`](Self::is) knows that keywords have no
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameter<'a> {
    /// The keyword as it came.
    pub keyword: &'a [u8],
    /// What stands behind the "=", where there is one; then it is not empty.
    pub value: Option<&'a [u8]>,
}

impl<'a> Parameter<'a> {
    /// Whether it has this keyword, in any case.
    #[must_use]
    pub fn is(&self, keyword: &[u8]) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }

    /// The keyword for choosing: it holds no controls.
    #[inline(always)]
    pub(super) const fn word(&self) -> Word {
        Word::new(self.keyword)
    }

    /// The value, where there is one; else `error`.
    pub(super) fn required(&self, error: CommandError) -> Result<&'a [u8], CommandError> {
        self.value.ok_or(error)
    }
}

/// Takes the first parameter off `rest`; `None` at the end.
#[inline(always)]
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Parameter<'a>>, CommandError> {
    let start = trim_start(rest);
    if start.is_empty() {
        *rest = start;
        return Ok(None);
    }
    let (keyword, behind) = split_run(KEYWORD, start);
    if matches!(keyword, [] | [b'-', ..]) {
        return Err(CommandError::Parameter);
    }
    let (value, behind) = match behind {
        [b'=', behind @ ..] => match behind.split_at_checked(value_run(behind)) {
            Some((value, behind)) if !value.is_empty() => (Some(value), behind),
            _ => return Err(CommandError::Parameter),
        },
        _ => (None, behind),
    };
    if behind.first().is_some_and(|octet| !is_wsp(*octet)) {
        return Err(CommandError::Parameter);
    }
    *rest = behind;
    Ok(Some(Parameter { keyword, value }))
}

/// The keyword of a parameter behind one SPACE and its "=", as [`caseless`](crate::word::caseless) has them, and what
/// follows. `None` where they are longer than eight octets. Whoever gets it knows the keyword, or
/// takes the parameter with [`next`].
#[inline(always)]
pub(super) fn usual(rest: &[u8]) -> Option<(u64, &[u8])> {
    let start = rest.strip_prefix(b" ")?;
    let number = eight(start);
    let end = first_below(number ^ each(b'='), 1);
    if end == 0 {
        return None;
    }
    let behind = start.get(end.trailing_zeros() as usize / 8 + 1..)?;
    // All bits of the "=" and before it.
    let mask = end ^ end.wrapping_sub(1);
    Some((number & mask & CASELESS, behind))
}

/// Whether a parameter ends before `behind`.
#[inline(always)]
pub(super) fn ends(behind: &[u8]) -> bool {
    behind.first().is_none_or(|octet| is_wsp(*octet))
}

/// Checks an unknown parameter that was found in front of `behind`, in `all`, after `count` other
/// unknown ones.
pub(super) fn check_unknown(
    parameter: Parameter<'_>,
    all: &[u8],
    behind: &[u8],
    count: usize,
) -> Result<(), CommandError> {
    if parameter.value.is_some_and(|value| value.contains(&b'=')) {
        return Err(CommandError::Parameter);
    }
    if count >= MAX_UNKNOWN_PARAMETERS {
        return Err(CommandError::TooManyParameters);
    }
    if count == 0 {
        return Ok(());
    }
    let mut rest = all;
    let mut seen = 0;
    while rest.len() > behind.len() {
        match next(&mut rest)? {
            Some(other) if other.is(parameter.keyword) => seen += 1,
            Some(_) => {}
            None => break,
        }
    }
    if seen > 1 {
        return Err(CommandError::DuplicateParameter);
    }
    Ok(())
}

/// The parameters that the crate does not know, in the order of the line.
#[derive(Debug, Clone)]
pub struct UnknownParameters<'a> {
    rest: &'a [u8],
    known: &'static [&'static [u8]],
}

impl<'a> UnknownParameters<'a> {
    pub(super) const fn new(parameters: &'a [u8], known: &'static [&'static [u8]]) -> Self {
        Self {
            rest: parameters,
            known,
        }
    }

    /// Whether both hold the same parameters, keywords in any case and values octet for octet, in
    /// any order.
    pub(super) fn same_parameters(self, other: UnknownParameters<'_>) -> bool {
        // No keyword stands twice in a line, so that one direction and the count will do.
        self.clone().count() == other.clone().count()
            && self.into_iter().all(|one| {
                other
                    .clone()
                    .any(|other| one.is(other.keyword) && one.value == other.value)
            })
    }
}

impl<'a> Iterator for UnknownParameters<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        loop {
            let parameter = next(&mut self.rest).ok()??;
            if !self.known.iter().any(|known| parameter.is(known)) {
                return Some(parameter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn all(mut rest: &[u8]) -> Result<Vec<Parameter<'_>>, CommandError> {
        let mut found = Vec::new();
        while let Some(parameter) = next(&mut rest)? {
            found.push(parameter);
        }
        Ok(found)
    }

    #[test]
    fn parameters() {
        let parameter = |keyword, value| Parameter { keyword, value };
        assert_eq!(all(b""), Ok(Vec::new()));
        assert_eq!(all(b" \t "), Ok(Vec::new()));
        assert_eq!(
            all(b" A=1  8-b\tC=\xc3\xa9 "),
            Ok(std::vec![
                parameter(&b"A"[..], Some(&b"1"[..])),
                parameter(b"8-b", None),
                parameter(b"C", Some("é".as_bytes())),
            ])
        );
        for bad in [
            &b" ="[..],
            b" =1",
            b" A=",
            b" A= B",
            b" -A",
            b" A_B=1",
            b" A=1\x7f",
            b" A\0",
        ] {
            assert_eq!(all(bad), Err(CommandError::Parameter), "{bad:?}");
        }
    }

    #[test]
    fn sets_of_parameters() {
        let same = |one, other| {
            UnknownParameters::new(one, &[b"SIZE"])
                .same_parameters(UnknownParameters::new(other, &[b"SIZE"]))
        };
        assert!(same(b" A=1 B", b" b A=1 SIZE=1"));
        assert!(!same(b" A=1 B", b" A=1"));
        assert!(!same(b" A=1", b" A=1 B"));
        assert!(!same(b" A=x", b" A=X"));
        assert!(!same(b" A", b" A=1"));
    }
}
