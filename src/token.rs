//! Tokens: one for each question, so that an answer fits exactly one.
//!
//! Layer 4, private. A token names its session by identity and its question by a number that is
//! never used twice in a session, so a token of another session is told apart and a late one is
//! stale.

use alloc::sync::Arc;

/// The source of a session's tokens.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    session: Arc<()>,
    last: u64,
}

/// The right to answer one question.
#[derive(Debug)]
pub(crate) struct Token {
    session: Arc<()>,
    number: u64,
}

impl Tokens {
    pub(crate) fn issue(&mut self) -> Token {
        self.last += 1;
        Token {
            session: Arc::clone(&self.session),
            number: self.last,
        }
    }

    /// The number of the question that `token` answers; `None` where it is of another session.
    pub(crate) fn redeem(&self, token: &Token) -> Option<u64> {
        Arc::ptr_eq(&self.session, &token.session).then_some(token.number)
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
