//! What a client makes use of in a transaction, from what the server offers.
//!
//! Layer 3. A restart uses exactly what the first attempt used: with anything else the MAIL would
//! be another one, or the content could not go on (RFC 1845 §4, RFC 3030 §2).

use bytes::Bytes;
use thiserror::Error;

use super::client::{MAX_LINE, UnfinishedTransaction};
use crate::command::{Body, BuildError, MailLine, Notify, NotifyOn, RcptLine};
use crate::ehlo::Capabilities;

/// The command that transfers the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContentCommand {
    /// DATA (RFC 5321 §4.1.1.4).
    #[default]
    Data,
    /// BDAT (RFC 3030 §2).
    Bdat,
    /// BURL with one URL that is the whole message: the server fetches it (RFC 4468).
    Burl,
}

/// An extension that a transaction needs and a server does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum MissingExtension {
    /// CHUNKING.
    #[error("CHUNKING is not offered")]
    Chunking,
    /// BURL.
    #[error("BURL is not offered")]
    Burl,
    /// BINARYMIME.
    #[error("BINARYMIME is not offered")]
    BinaryMime,
    /// 8BITMIME.
    #[error("8BITMIME is not offered")]
    EightBitMime,
    /// SMTPUTF8.
    #[error("SMTPUTF8 is not offered")]
    SmtpUtf8,
    /// DSN, which the first attempt used.
    #[error("DSN is not offered")]
    Dsn,
    /// AUTH, whose parameter the first attempt used.
    #[error("AUTH is not offered")]
    Auth,
}

/// What an attempt makes use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Used {
    /// How the content goes.
    pub command: ContentCommand,
    /// TRANSID is written.
    pub transid: bool,
    /// BODY is written.
    pub body: bool,
    /// RET, ENVID, NOTIFY and ORCPT are written.
    pub dsn: bool,
    /// AUTH= is written.
    pub auth: bool,
    /// NOTIFY=FAILURE is written for recipients without a NOTIFY.
    pub notify_failure: bool,
}

impl Used {
    /// What a first attempt of `transaction` uses where this is offered.
    ///
    /// RET, ENVID, NOTIFY, ORCPT and AUTH= are left out where they are not offered (RFC 3461
    /// §5.2.1, RFC 4954 §5): they are wishes.
    ///
    /// # Errors
    ///
    /// The extension without which the message cannot be sent as it is.
    pub fn first(
        transaction: &UnfinishedTransaction,
        offered: &Capabilities,
    ) -> Result<Self, MissingExtension> {
        use MissingExtension as E;
        let mail = transaction.envelope().mail();
        let body = match mail.body {
            Some(Body::BinaryMime) if !offered.binary_mime() => return Err(E::BinaryMime),
            Some(Body::BinaryMime) if !offered.chunking() => return Err(E::Chunking),
            Some(Body::EightBitMime) if !offered.eight_bit_mime() => return Err(E::EightBitMime),
            Some(Body::SevenBit) => offered.eight_bit_mime(),
            body => body.is_some(),
        };
        if mail.smtputf8 && !offered.smtputf8() {
            return Err(E::SmtpUtf8);
        }
        let asks_dsn = mail.ret.is_some()
            || mail.envid.is_some()
            || transaction.envelope().recipients().any(|recipient| {
                let rcpt = recipient.rcpt();
                rcpt.notify.is_some() || rcpt.orcpt.is_some()
            });
        Ok(Self {
            command: match transaction.wanted() {
                ContentCommand::Burl if offered.burl().is_none() => return Err(E::Burl),
                ContentCommand::Burl => ContentCommand::Burl,
                ContentCommand::Bdat if offered.chunking() => ContentCommand::Bdat,
                ContentCommand::Bdat | ContentCommand::Data => ContentCommand::Data,
            },
            transid: transaction.transid().is_some() && offered.checkpoint(),
            body,
            dsn: asks_dsn && offered.dsn(),
            auth: mail.auth.is_some() && offered.auth().next().is_some(),
            notify_failure: false,
        })
    }

    /// The same for a message that may be detached, where DSN is offered: a failure that nobody
    /// waits for is asked to be reported, for recipients without a NOTIFY
    /// (draft-burger-smtp-deta-00 §2.2.2). A restart keeps to what the first attempt did.
    #[must_use]
    pub fn detachable(self) -> Self {
        Self {
            dsn: true,
            notify_failure: true,
            ..self
        }
    }

    /// What a restart of `transaction` uses: the same as before, or nothing is restarted there
    /// (CP-33). CHUNKING is not asked for: a server that lacks it may still hold the reply to a
    /// complete message.
    ///
    /// # Errors
    ///
    /// The extension that was used and is not offered.
    pub fn again(
        self,
        transaction: &UnfinishedTransaction,
        offered: &Capabilities,
    ) -> Result<Self, MissingExtension> {
        use MissingExtension as E;
        let mail = transaction.envelope().mail();
        match mail.body {
            Some(Body::BinaryMime) if !offered.binary_mime() => return Err(E::BinaryMime),
            Some(_) if self.body && !offered.eight_bit_mime() && !offered.binary_mime() => {
                return Err(E::EightBitMime);
            }
            _ => {}
        }
        if mail.smtputf8 && !offered.smtputf8() {
            return Err(E::SmtpUtf8);
        }
        if self.dsn && !offered.dsn() {
            return Err(E::Dsn);
        }
        if self.auth && offered.auth().next().is_none() {
            return Err(E::Auth);
        }
        if self.command == ContentCommand::Burl && offered.burl().is_none() {
            return Err(E::Burl);
        }
        Ok(self)
    }

    /// The MAIL line without CRLF, with SIZE where `size` is given.
    ///
    /// # Errors
    ///
    /// Never for a transaction that was built or decoded.
    pub fn mail_line(
        &self,
        transaction: &UnfinishedTransaction,
        size: Option<u64>,
    ) -> Result<Bytes, BuildError> {
        let line = MailLine::parse(Bytes::copy_from_slice(transaction.envelope().mail_line()))?;
        let line = line.without(|keyword| {
            let is = |name: &[u8]| keyword.eq_ignore_ascii_case(name);
            (!self.body && is(b"BODY"))
                || (!self.dsn && (is(b"RET") || is(b"ENVID")))
                || (!self.auth && is(b"AUTH"))
        });
        let line = if size.is_some() {
            line.with_size(size)
        } else {
            line
        };
        let transid = transaction.transid().filter(|_| self.transid);
        let line = if transid.is_some() {
            line.with_transid(transid)?
        } else {
            line
        };
        Ok(line.to_bytes())
    }

    /// The RCPT line with this index, without CRLF; empty where there is none.
    ///
    /// # Errors
    ///
    /// Never for a transaction that was built or decoded.
    pub fn rcpt_line(
        &self,
        transaction: &UnfinishedTransaction,
        index: usize,
    ) -> Result<Bytes, BuildError> {
        let Some(recipient) = transaction.envelope().recipient(index) else {
            return Ok(Bytes::new());
        };
        let line = Bytes::copy_from_slice(recipient.line());
        if self.dsn && !self.notify_failure {
            return Ok(line);
        }
        let written = RcptLine::parse(line.clone())?;
        if self.dsn {
            let asking = written
                .with_notify(Notify::On(NotifyOn::FAILURE))
                .to_bytes();
            // Where there is no room for it: without NOTIFY failures are reported too.
            return Ok(if asking.len() > MAX_LINE {
                line
            } else {
                asking
            });
        }
        let written = written.without(|keyword| {
            keyword.eq_ignore_ascii_case(b"NOTIFY") || keyword.eq_ignore_ascii_case(b"ORCPT")
        });
        Ok(written.to_bytes())
    }

    /// One octet that is never 0.
    pub(crate) fn to_bits(self) -> u8 {
        // The highest first.
        [
            true,
            self.notify_failure,
            self.command == ContentCommand::Burl,
            self.auth,
            self.dsn,
            self.body,
            self.transid,
            self.command == ContentCommand::Bdat,
        ]
        .into_iter()
        .fold(0, |bits, flag| 2 * bits + u8::from(flag))
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        if bits & 0x80 == 0 {
            return None;
        }
        Some(Self {
            command: match (bits & 1 != 0, bits & 0x20 != 0) {
                (false, false) => ContentCommand::Data,
                (true, false) => ContentCommand::Bdat,
                (false, true) => ContentCommand::Burl,
                (true, true) => return None,
            },
            transid: bits & 2 != 0,
            body: bits & 4 != 0,
            dsn: bits & 8 != 0,
            auth: bits & 16 != 0,
            notify_failure: bits & 0x40 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Content;
    use crate::limits::Limits;
    use crate::reply::{Reply, ReplyCode};
    use crate::transid::TransId;

    fn offered(keywords: &[&str]) -> Capabilities {
        let lines = [&["mx"], keywords].concat();
        let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
        Capabilities::from_reply(&reply, &Limits::default()).unwrap()
    }

    fn transaction(mail: &'static str, rcpt: &'static str) -> UnfinishedTransaction {
        let mail = MailLine::parse(mail.as_bytes()).unwrap();
        UnfinishedTransaction::builder(mail, Content::measure(b"x"), 0)
            .recipient(RcptLine::parse(rcpt.as_bytes()).unwrap())
            .transid(TransId::parse(b"<x@y>").unwrap())
            .bdat()
            .build()
            .unwrap()
    }

    fn line(octets: Result<Bytes, BuildError>) -> std::string::String {
        std::string::String::from_utf8(octets.unwrap().to_vec()).unwrap()
    }

    const MAIL: &str = "MAIL FROM:<a@b> BODY=8BITMIME RET=FULL ENVID=e AUTH=<> X=1";
    const RCPT: &str = "RCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;x Y";

    #[test]
    fn wishes_are_left_out_and_needs_are_not() {
        let transaction = transaction(MAIL, RCPT);
        let missing = Used::first(&transaction, &offered(&["DSN"]));
        assert_eq!(missing, Err(MissingExtension::EightBitMime));
        let least = Used::first(&transaction, &offered(&["8BITMIME"])).unwrap();
        assert_eq!(
            line(least.mail_line(&transaction, None)),
            "MAIL FROM:<a@b> BODY=8BITMIME X=1"
        );
        assert_eq!(line(least.rcpt_line(&transaction, 0)), "RCPT TO:<c@d> Y");
        assert_eq!(least.command, ContentCommand::Data);

        let all = offered(&["8BITMIME", "DSN", "AUTH PLAIN", "CHUNKING", "CHECKPOINT"]);
        let most = Used::first(&transaction, &all).unwrap();
        assert_eq!(
            line(most.mail_line(&transaction, Some(1))),
            std::format!("{MAIL} SIZE=1 TRANSID=<x@y>")
        );
        assert_eq!(line(most.rcpt_line(&transaction, 0)), RCPT);
        assert_eq!(most.command, ContentCommand::Bdat);
    }

    #[test]
    fn a_restart_uses_what_the_first_attempt_used_or_nothing() {
        let transaction = transaction(MAIL, RCPT);
        let all = ["8BITMIME", "DSN", "AUTH PLAIN", "CHUNKING", "CHECKPOINT"];
        let most = Used::first(&transaction, &offered(&all)).unwrap();
        let least = Used::first(&transaction, &offered(&["8BITMIME", "CHECKPOINT"])).unwrap();
        assert_eq!(least.again(&transaction, &offered(&all)), Ok(least));
        for (left_out, error) in [
            ("8BITMIME", MissingExtension::EightBitMime),
            ("DSN", MissingExtension::Dsn),
            ("AUTH PLAIN", MissingExtension::Auth),
        ] {
            let some: alloc::vec::Vec<_> = all
                .iter()
                .copied()
                .filter(|name| *name != left_out)
                .collect();
            assert_eq!(most.again(&transaction, &offered(&some)), Err(error));
        }
    }

    #[test]
    fn smtputf8_and_binarymime_are_needs() {
        let utf8 = transaction("MAIL FROM:<ä@b> SMTPUTF8", "RCPT TO:<c@d>");
        assert_eq!(
            Used::first(&utf8, &offered(&[])),
            Err(MissingExtension::SmtpUtf8)
        );
        let binary = transaction("MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<c@d>");
        for (keywords, error) in [
            (&["CHUNKING"][..], MissingExtension::BinaryMime),
            (&["BINARYMIME"], MissingExtension::Chunking),
        ] {
            assert_eq!(Used::first(&binary, &offered(keywords)), Err(error));
        }
    }

    #[test]
    fn every_octet_is_one_way_of_sending_or_none() {
        let read = (0..=255).filter_map(|bits| Some((bits, Used::from_bits(bits)?)));
        let mut count = 0;
        for (bits, used) in read {
            assert_eq!(used.to_bits(), bits);
            count += 1;
        }
        assert_eq!(count, 96);
    }

    #[test]
    fn the_bits_are_those_that_are_stored() {
        let none = Used::from_bits(0x80).unwrap();
        assert_eq!(none.command, ContentCommand::Data);
        assert!(!(none.transid || none.body || none.dsn || none.auth || none.notify_failure));
        for (bit, used) in [
            (
                0x01,
                Used {
                    command: ContentCommand::Bdat,
                    ..none
                },
            ),
            (
                0x02,
                Used {
                    transid: true,
                    ..none
                },
            ),
            (0x04, Used { body: true, ..none }),
            (0x08, Used { dsn: true, ..none }),
            (0x10, Used { auth: true, ..none }),
            (
                0x20,
                Used {
                    command: ContentCommand::Burl,
                    ..none
                },
            ),
            (
                0x40,
                Used {
                    notify_failure: true,
                    ..none
                },
            ),
        ] {
            assert_eq!(Used::from_bits(0x80 | bit), Some(used));
            assert_eq!(used.to_bits(), 0x80 | bit);
        }
    }

    #[test]
    fn each_wish_alone_asks_for_its_extension() {
        let dsn = offered(&["DSN", "AUTH PLAIN", "SMTPUTF8"]);
        let plain = "MAIL FROM:<a@b>";
        for (mail, rcpt, asks_dsn, asks_auth) in [
            (plain, "RCPT TO:<c@d>", false, false),
            ("MAIL FROM:<a@b> RET=FULL", "RCPT TO:<c@d>", true, false),
            ("MAIL FROM:<a@b> ENVID=e", "RCPT TO:<c@d>", true, false),
            (plain, "RCPT TO:<c@d> NOTIFY=NEVER", true, false),
            (plain, "RCPT TO:<c@d> ORCPT=rfc822;x", true, false),
            ("MAIL FROM:<a@b> AUTH=<>", "RCPT TO:<c@d>", false, true),
        ] {
            let transaction = transaction(mail, rcpt);
            let used = Used::first(&transaction, &dsn).unwrap();
            assert_eq!(
                (used.dsn, used.auth),
                (asks_dsn, asks_auth),
                "{mail} {rcpt}"
            );
            assert!(!used.transid && !used.body && !used.notify_failure);
            let none = Used::first(&transaction, &offered(&[])).unwrap();
            assert!(!none.dsn && !none.auth);
            let with = Used::first(&transaction, &offered(&["CHECKPOINT"])).unwrap();
            assert!(with.transid);
            // What is not used is not written.
            assert_eq!(line(none.mail_line(&transaction, None)), plain);
            assert_eq!(line(none.rcpt_line(&transaction, 0)), "RCPT TO:<c@d>");
            let written = line(with.mail_line(&transaction, None));
            assert_eq!(written, "MAIL FROM:<a@b> TRANSID=<x@y>");
        }
    }

    #[test]
    fn seven_bits_are_said_where_they_can_be() {
        let transaction = transaction("MAIL FROM:<a@b> BODY=7BIT", "RCPT TO:<c@d>");
        let said = Used::first(&transaction, &offered(&["8BITMIME"])).unwrap();
        assert!(said.body);
        let unsaid = Used::first(&transaction, &offered(&[])).unwrap();
        assert!(!unsaid.body);
        assert_eq!(unsaid.again(&transaction, &offered(&[])), Ok(unsaid));
        let missing = said.again(&transaction, &offered(&[]));
        assert_eq!(missing, Err(MissingExtension::EightBitMime));
        // BINARYMIME carries 7BIT and 8BITMIME too.
        assert_eq!(
            said.again(&transaction, &offered(&["BINARYMIME"])),
            Ok(said)
        );
    }

    #[test]
    fn needs_are_needs_of_a_restart_too() {
        let utf8 = transaction("MAIL FROM:<ä@b> SMTPUTF8", "RCPT TO:<c@d>");
        let used = Used::first(&utf8, &offered(&["SMTPUTF8"])).unwrap();
        assert_eq!(used.again(&utf8, &offered(&["SMTPUTF8"])), Ok(used));
        let missing = used.again(&utf8, &offered(&[]));
        assert_eq!(missing, Err(MissingExtension::SmtpUtf8));

        let binary = transaction("MAIL FROM:<a@b> BODY=BINARYMIME", "RCPT TO:<c@d>");
        let all = offered(&["BINARYMIME", "CHUNKING"]);
        let used = Used::first(&binary, &all).unwrap();
        assert_eq!(used.again(&binary, &offered(&["BINARYMIME"])), Ok(used));
        let missing = used.again(&binary, &offered(&["8BITMIME", "CHUNKING"]));
        assert_eq!(missing, Err(MissingExtension::BinaryMime));

        let mail = MailLine::parse(&b"MAIL FROM:<a@b>"[..]).unwrap();
        let burl = UnfinishedTransaction::builder(mail, Content::measure(b"x"), 0)
            .recipient(RcptLine::parse(&b"RCPT TO:<c@d>"[..]).unwrap())
            .burl("imap://h/m")
            .build()
            .unwrap();
        let missing = Used::first(&burl, &offered(&["CHUNKING"]));
        assert_eq!(missing, Err(MissingExtension::Burl));
        let used = Used::first(&burl, &offered(&["BURL imap"])).unwrap();
        assert_eq!(used.command, ContentCommand::Burl);
        assert_eq!(used.again(&burl, &offered(&["BURL imap"])), Ok(used));
        let missing = used.again(&burl, &offered(&["CHUNKING"]));
        assert_eq!(missing, Err(MissingExtension::Burl));
    }

    #[test]
    fn a_failure_nobody_waits_for_is_asked_for_where_there_is_room() {
        let asked = |rcpt: &[u8]| {
            let mail = MailLine::parse(&b"MAIL FROM:<a@b>"[..]).unwrap();
            let transaction = UnfinishedTransaction::builder(mail, Content::measure(b"x"), 0)
                .recipient(RcptLine::parse(Bytes::copy_from_slice(rcpt)).unwrap())
                .build()
                .unwrap();
            let used = Used::first(&transaction, &offered(&["DSN"])).unwrap();
            assert!(!used.notify_failure);
            let used = used.detachable();
            assert!(used.dsn && used.notify_failure);
            line(used.rcpt_line(&transaction, 0))
        };
        const ADDED: &str = " NOTIFY=FAILURE";
        let asking = std::format!("RCPT TO:<c@d>{ADDED}");
        assert_eq!(asked(b"RCPT TO:<c@d>"), asking);
        let named = "RCPT TO:<c@d> NOTIFY=NEVER";
        assert_eq!(asked(named.as_bytes()), named);
        let mut long = std::format!("RCPT TO:<c@d> X={}", "x".repeat(MAX_LINE));
        long.truncate(MAX_LINE - ADDED.len());
        assert_eq!(asked(long.as_bytes()), std::format!("{long}{ADDED}"));
        long.push('x');
        assert_eq!(asked(long.as_bytes()), long);
    }
}
