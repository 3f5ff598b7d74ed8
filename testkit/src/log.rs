//! What happens in a run: a digest of all of it, and the last lines in words where they are asked
//! for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// Lines that are kept.
const LINES: usize = 400;

/// Shared by all that takes part in a run. By default nothing is logged at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Option<Rc<RefCell<Inner>>>);

#[derive(Debug)]
struct Inner {
    /// FNV-1a.
    digest: u64,
    lines: Option<VecDeque<String>>,
    /// Milliseconds of simulated time.
    now: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            digest: 0xcbf2_9ce4_8422_2325,
            lines: None,
            now: 0,
        }
    }
}

impl Log {
    /// Only the digest.
    pub(crate) fn in_short() -> Self {
        Self(Some(Rc::default()))
    }

    /// Keeps the last lines in words too.
    pub(crate) fn in_words() -> Self {
        let inner = Inner {
            lines: Some(VecDeque::new()),
            ..Inner::default()
        };
        Self(Some(Rc::new(RefCell::new(inner))))
    }

    pub(crate) fn at(&self, milliseconds: u64) {
        if let Some(inner) = &self.0 {
            inner.borrow_mut().now = milliseconds;
        }
    }

    /// Something happened: all of it counts for the digest.
    pub(crate) fn event(&self, who: fmt::Arguments<'_>, what: &str, octets: &[u8]) {
        let Some(inner) = &self.0 else {
            return;
        };
        let mut inner = inner.borrow_mut();
        let now = inner.now;
        inner.mix(&now.to_be_bytes());
        inner.mix(what.as_bytes());
        inner.mix(octets);
        let Some(lines) = &mut inner.lines else {
            return;
        };
        if lines.len() == LINES {
            lines.pop_front();
        }
        let octets = shown(octets);
        lines.push_back(format!("{now:>9} {who}: {what} {octets}").trim_end().into());
    }

    pub(crate) fn digest(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.borrow().digest)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = |inner: &Rc<RefCell<Inner>>| {
            let inner = inner.borrow();
            inner.lines.iter().flatten().cloned().collect()
        };
        self.0.as_ref().map(lines).unwrap_or_default()
    }
}

impl Inner {
    fn mix(&mut self, octets: &[u8]) {
        for octet in octets.iter().chain(&[0xff]) {
            self.digest = (self.digest ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// Octets as a person reads them, the middle of long ones left out.
pub(crate) fn shown(octets: &[u8]) -> String {
    const MOST: usize = 160;
    match octets.len().checked_sub(2 * MOST) {
        Some(left_out @ 1..) => format!(
            "{} ({left_out} more) {}",
            octets[..MOST].escape_ascii(),
            octets[octets.len() - MOST..].escape_ascii()
        ),
        _ => octets.escape_ascii().to_string(),
    }
}
