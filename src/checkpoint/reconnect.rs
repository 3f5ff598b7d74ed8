//! Where and when a client connects again.
//!
//! Layer 3, pure: the caller resolves, waits and connects.
//!
//! ```
//! use smtp_checkpoint::checkpoint::{Address, ClientScope, Content, Reconnect, Sent, Server,
//!     UnfinishedTransaction};
//! # use smtp_checkpoint::checkpoint::{ContentCommand, Used};
//! # use smtp_checkpoint::command::{MailLine, RcptLine};
//! # let mail = MailLine::parse(&b"MAIL FROM:<>"[..])?;
//! # let mut transaction = UnfinishedTransaction::builder(mail, Content::measure(b"x\r\n"), 0)
//! #     .recipient(RcptLine::parse(&b"RCPT TO:<a@b>"[..])?).build()?;
//! # let used = Used { command: ContentCommand::Data, transid: true, body: false, dsn: false,
//! #     auth: false, notify_failure: false };
//! let server = |host: &str, address: &str| Server { host: host.into(), address: address.into() };
//! // An attempt that sent data went to the second address of mx2.
//! transaction.will_send(used, ClientScope::default(), server("mx2", "192.0.2.22"));
//! transaction.may_have_sent(Sent::Data);
//!
//! let resolved = [("mx1", "192.0.2.1"), ("mx2", "192.0.2.21"), ("mx2", "192.0.2.22")];
//! let addresses = resolved.map(|(host, address)| Address {
//!     server: server(host, address),
//!     scope: ClientScope::default(),
//! });
//! let order: Vec<_> = Reconnect::new(&transaction).order(&addresses).collect();
//! assert_eq!(order, [2, 1, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use super::client::{ClientScope, Sent, Server, UnfinishedTransaction};

/// An address that the caller could connect to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and address, as resolved now.
    pub server: Server,
    /// From where the caller would speak.
    pub scope: ClientScope,
}

/// How the last attempt ended, as far as waiting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum After {
    /// The connection was lost, or there was none.
    Loss,
    /// The server closed with 421.
    Closed,
}

/// How long to wait before the same destination is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// After anything but a plain loss. RFC 1123 §5.3.1.1 asks for at least 30 minutes.
    pub backoff: Duration,
    /// After a plain loss no wait at all (draft-fanf-smtp-rfc1845bis-01 §2.7).
    pub at_once_after_loss: bool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(30 * 60),
            at_once_after_loss: false,
        }
    }
}

impl Waiting {
    /// How long to wait. After 421 never nothing: a `backoff` of zero counts as a second then.
    #[must_use]
    pub fn before_next(&self, after: After) -> Duration {
        match after {
            After::Loss if self.at_once_after_loss => Duration::ZERO,
            After::Loss => self.backoff,
            After::Closed => self.backoff.max(Duration::from_secs(1)),
        }
    }
}

/// The order in which addresses are tried for a transaction (RFC 1845 §4, CP-37).
#[derive(Debug, Clone, Copy)]
pub struct Reconnect<'t> {
    transaction: &'t UnfinishedTransaction,
}

impl<'t> Reconnect<'t> {
    /// For this transaction.
    #[must_use]
    pub fn new(transaction: &'t UnfinishedTransaction) -> Self {
        Self { transaction }
    }

    /// The indexes of `addresses`, given in MX order, in the order to try them.
    ///
    /// Those with the scope of the last attempt that sent data come first. Among them: the address of the last
    /// attempt that sent data, the other addresses of its host, the rest in MX order. None is
    /// waited for. Left out: an address in clear for what began under TLS, and one with another
    /// scope once the end of the data was sent, unless the caller
    /// [consents](UnfinishedTransaction::allow_doubling).
    pub fn order(&self, addresses: &[Address]) -> impl Iterator<Item = usize> + use<> {
        let mut order: Vec<(bool, Nearness, usize)> = addresses
            .iter()
            .enumerate()
            .filter(|(_, address)| self.check(&address.scope).is_ok())
            .map(|(index, address)| {
                let elsewhere = !self.same_scope(&address.scope);
                (elsewhere, self.nearness(&address.server), index)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, index)| index)
    }

    /// Whether an attempt from `scope` is allowed.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, scope: &ClientScope) -> Result<(), ScopeRefused> {
        let Some(before) = self.transaction.scope() else {
            return Ok(());
        };
        if !self.transaction.is_restart() {
            return Ok(());
        }
        if before.tls && !scope.tls {
            return Err(ScopeRefused::InClear);
        }
        if self.transaction.sent() == Sent::EndOfData
            && !self.same_scope(scope)
            && !self.transaction.is_doubling_allowed()
        {
            return Err(ScopeRefused::OtherScope);
        }
        Ok(())
    }

    fn same_scope(&self, scope: &ClientScope) -> bool {
        self.transaction
            .scope()
            .is_none_or(|before| before.is_same_for_server(scope))
    }

    fn nearness(&self, server: &Server) -> Nearness {
        match self.transaction.last_server() {
            Some(last) if last.address == server.address => Nearness::Address,
            Some(last) if !last.host.is_empty() && last.host.eq_ignore_ascii_case(&server.host) => {
                Nearness::Host
            }
            _ => Nearness::None,
        }
    }
}

/// Why an attempt is not made from a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ScopeRefused {
    /// What began under TLS never goes on in clear.
    #[error("in clear what began under TLS")]
    InClear,
    /// The server cannot connect it with the attempt that sent the end of the data: the message
    /// may be delivered twice. [`UnfinishedTransaction::allow_doubling`] lifts this.
    #[error("another scope after the end of the data was sent")]
    OtherScope,
}

/// How near an address is to the one that took data last; near ones sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Address,
    Host,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Content, ContentCommand, Used};
    use crate::command::{MailLine, RcptLine};

    fn address(host: &str, address: &str, tls: bool, local: &str) -> Address {
        Address {
            server: Server {
                host: host.into(),
                address: address.into(),
            },
            scope: ClientScope {
                name: "c.example".into(),
                identity: None,
                tls,
                local_address: local.into(),
            },
        }
    }

    fn transaction(sent: Sent, from: &Address) -> UnfinishedTransaction {
        let mail = MailLine::parse(&b"MAIL FROM:<>"[..]).unwrap();
        let mut transaction = UnfinishedTransaction::builder(mail, Content::measure(b"x\r\n"), 0)
            .recipient(RcptLine::parse(&b"RCPT TO:<a@b>"[..]).unwrap())
            .build()
            .unwrap();
        let used = Used {
            command: ContentCommand::Data,
            transid: true,
            body: false,
            dsn: false,
            auth: false,
            notify_failure: false,
        };
        if sent > Sent::Nothing {
            transaction.will_send(used, from.scope.clone(), from.server.clone());
        }
        transaction.may_have_sent(sent);
        transaction
    }

    fn order(transaction: &UnfinishedTransaction, addresses: &[Address]) -> Vec<usize> {
        Reconnect::new(transaction).order(addresses).collect()
    }

    #[test]
    fn the_address_then_its_host_then_mx_order() {
        let all = [
            address("mx1", "1", false, "l"),
            address("mx2", "21", false, "l"),
            address("mx2", "22", false, "l"),
            address("mx3", "3", false, "l"),
        ];
        assert_eq!(
            order(&transaction(Sent::Nothing, &all[2]), &all),
            [0, 1, 2, 3]
        );
        let transaction = transaction(Sent::Data, &all[2]);
        assert_eq!(order(&transaction, &all), [2, 1, 0, 3]);
        // Not resolved any more: it is not waited for.
        assert_eq!(order(&transaction, &all[..2]), [1, 0]);
    }

    #[test]
    fn the_same_scope_comes_first() {
        let all = [
            address("mx1", "1", false, "other"),
            address("mx2", "2", false, "mine"),
        ];
        let from = address("mx1", "1", false, "mine");
        assert_eq!(order(&transaction(Sent::Data, &from), &all), [1, 0]);
    }

    #[test]
    fn never_in_clear_what_began_under_tls() {
        let all = [
            address("mx1", "1", false, "l"),
            address("mx1", "1", true, "l"),
        ];
        let mut begun = transaction(Sent::Data, &all[1]);
        assert_eq!(order(&begun, &all), [1]);
        begun.allow_doubling();
        assert_eq!(order(&begun, &all), [1], "no consent lifts this");
    }

    #[test]
    fn another_scope_after_the_end_only_with_consent() {
        let all = [
            address("mx1", "1", true, "l"),
            address("mx1", "1", false, "l"),
        ];
        let mut begun = transaction(Sent::EndOfData, &all[1]);
        assert_eq!(order(&begun, &all), [1]);
        begun.allow_doubling();
        assert_eq!(order(&begun, &all), [1, 0]);
    }

    #[test]
    fn after_421_never_at_once() {
        let eager = Waiting {
            backoff: Duration::ZERO,
            at_once_after_loss: true,
        };
        assert_eq!(eager.before_next(After::Loss), Duration::ZERO);
        assert!(eager.before_next(After::Closed) > Duration::ZERO);
        let default = Waiting::default();
        let at_once = Waiting {
            at_once_after_loss: true,
            ..default
        };
        assert_eq!(at_once.before_next(After::Loss), Duration::ZERO);
        assert_eq!(at_once.before_next(After::Closed), default.backoff);
        assert_eq!(default.before_next(After::Loss), Duration::from_secs(1800));
    }
}
