//! Tokens: one for each question, so that an answer fits exactly one.
//!
//! Layer 4, private. A token names its session and its question by numbers that are never used
//! twice, in the process and in the session: a token of another session is told apart, and a late
//! one is stale.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many sessions there have been. Of no consequence but for telling their tokens apart, and a
/// good deal cheaper than memory whose address does. (With 32 bits it begins anew after four
/// thousand million; a token as old as that is nobody's.)
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// The source of a session's tokens.
pub(crate) struct Tokens {
    session: usize,
    last: u64,
}

/// The right to answer one question.
pub(crate) struct Token {
    session: usize,
    number: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            last: 0,
        }
    }
}

impl Tokens {
    #[inline]
    pub(crate) fn issue(&mut self) -> Token {
        self.last += 1;
        Token {
            session: self.session,
            number: self.last,
        }
    }

    /// The number of the question that `token` answers; `None` where it is of another session.
    #[inline]
    pub(crate) fn redeem(&self, token: &Token) -> Option<u64> {
        (self.session == token.session).then_some(token.number)
    }
}

// Without the number of the session: what is shown of one is the same whatever others there were.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("last", &self.last).finish()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("number", &self.number)
            .finish()
    }
}

impl Token {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_two_sessions_differ_though_their_numbers_agree() {
        let (mut one, mut other) = (Tokens::default(), Tokens::default());
        let token = one.issue();
        assert_eq!(token.number(), other.issue().number());
        assert_eq!(one.redeem(&token), Some(1));
        assert_eq!(other.redeem(&token), None);
    }
}
