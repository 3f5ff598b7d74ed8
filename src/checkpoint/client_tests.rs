//! The unfinished transaction: what is stored and loaded, and what it decides.

use super::*;
use crate::checkpoint::stored::{KIND, VERSION};
use crate::command::MailLine;
use crate::encoding::Writer;
use crate::reply::standard;
use std::vec;

fn builder(mail: &'static [u8]) -> UnfinishedTransactionBuilder {
    UnfinishedTransaction::builder(
        MailLine::parse(mail).unwrap(),
        Content::measure(b"one\r\n"),
        1_000,
    )
    .transid(TransId::parse(b"<a@b>").unwrap())
}

fn rcpt(line: &'static [u8]) -> RcptLine {
    RcptLine::parse(line).unwrap()
}

fn transaction() -> UnfinishedTransaction {
    builder(b"MAIL FROM:<a@b> SIZE=7 RET=FULL")
        .recipient(rcpt(b"RCPT TO:<c@d>"))
        .recipient(rcpt(b"RCPT TO:<e@f>"))
        .build()
        .unwrap()
}

const USED: Used = Used {
    command: ContentCommand::Data,
    transid: true,
    body: false,
    dsn: true,
    auth: false,
    notify_failure: false,
};

fn scope() -> ClientScope {
    ClientScope {
        name: b"c.example".to_vec(),
        identity: Some(b"me".to_vec()),
        tls: true,
        local_address: b"192.0.2.1".to_vec(),
    }
}

/// Every field at a value other than its first.
fn sent() -> UnfinishedTransaction {
    let mut transaction = transaction();
    transaction.begin_attempt();
    transaction.mail_accepted(&standard::SENDER_OK.reply());
    transaction.recipient_answered(0, &standard::RECIPIENT_OK.reply());
    let server = Server {
        host: b"mx.example".to_vec(),
        address: b"192.0.2.25".to_vec(),
    };
    transaction.will_send(USED, scope(), server);
    transaction.may_have_sent(Sent::EndOfData);
    transaction.allow_doubling();
    transaction.content.fingerprint = vec![1, 2, 3];
    transaction
}

#[test]
fn what_is_stored_is_loaded_and_damage_is_named() {
    for transaction in [transaction(), sent()] {
        let stored = transaction.encode();
        assert_eq!(UnfinishedTransaction::decode(&stored), Ok(transaction));
        for end in 0..stored.len() {
            assert!(
                UnfinishedTransaction::decode(&stored[..end]).is_err(),
                "{end}"
            );
        }
        for index in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[index] ^= 0x10;
            assert!(UnfinishedTransaction::decode(&damaged).is_err(), "{index}");
        }
    }
}

#[test]
fn any_fields_with_a_good_checksum_are_no_panic() {
    // The fields themselves are damaged, and the checksum is made anew.
    let stored = sent().encode();
    for index in 4..stored.len() - 8 {
        for octet in [0, 1, 0x7f, 0xff] {
            let mut writer = Writer::new(KIND, VERSION);
            let mut fields = stored[4..stored.len() - 8].to_vec();
            fields[index - 4] = octet;
            writer.raw().extend_from_slice(&fields);
            let _ = UnfinishedTransaction::decode(&writer.finish());
        }
    }
}

#[test]
fn only_transactions_that_can_be_sent_are_built() {
    use InvalidTransaction as E;
    let build = |mail: &'static [u8]| builder(mail).recipient(rcpt(b"RCPT TO:<c@d>")).build();
    let bare = builder(b"MAIL FROM:<a@b>").build();
    assert_eq!(bare, Err(E::NoRecipients));
    assert_eq!(
        build(b"MAIL FROM:<a@b> TRANSID=<a@b>"),
        Err(E::TransIdInMail)
    );
    assert_eq!(
        build(b"MAIL FROM:<a@b> BODY=BINARYMIME"),
        Err(E::BinaryMimeWithoutBdat)
    );
    // What RFC 6531 §3.4 lets nobody send to a server that does not offer SMTPUTF8.
    for (mail, to, expected) in [
        (
            "MAIL FROM:<\u{e9}@b>",
            "RCPT TO:<c@d>",
            Err(E::NeedsSmtpUtf8),
        ),
        (
            "MAIL FROM:<a@b>",
            "RCPT TO:<\u{e9}@d>",
            Err(E::NeedsSmtpUtf8),
        ),
        (
            "MAIL FROM:<a@b>",
            "RCPT TO:<c@d> ORCPT=utf-8;\u{e9}@d",
            Err(E::NeedsSmtpUtf8),
        ),
        (
            "MAIL FROM:<\u{e9}@b> SMTPUTF8",
            "RCPT TO:<\u{e9}@d>",
            Ok(()),
        ),
        ("MAIL FROM:<a@b> SMTPUTF8", "RCPT TO:<c@d>", Ok(())),
    ] {
        let built = builder(mail.as_bytes()).recipient(rcpt(to.as_bytes()));
        assert_eq!(built.build().map(|_| ()), expected, "{mail} {to}");
    }
    let long = std::format!("<{}@b>", "a".repeat(76));
    let long = TransId::parse(long.as_bytes()).unwrap();
    let built = builder(b"MAIL FROM:<a@b>")
        .recipient(rcpt(b"RCPT TO:<c@d>"))
        .transid(long)
        .build();
    assert_eq!(built, Err(E::TransIdTooLong));
    let longest = std::format!("<{}@b>", "a".repeat(75));
    let longest = TransId::parse(longest.as_bytes()).unwrap();
    let built = builder(b"MAIL FROM:<a@b>")
        .recipient(rcpt(b"RCPT TO:<c@d>"))
        .transid(longest)
        .build();
    assert_eq!(built.unwrap().transid(), Some(longest));
    assert_eq!(
        transaction().envelope().mail_line(),
        b"MAIL FROM:<a@b> RET=FULL"
    );
}

/// 88 octets of TRANSID and 26 of SIZE have room behind MAIL; RCPT needs none.
#[test]
fn lines_of_the_greatest_length_are_built_and_longer_ones_are_not() {
    let padded = |line: &str, length: usize| {
        let mut line = std::format!("{line} X={}", "x".repeat(length));
        line.truncate(length);
        line.into_bytes()
    };
    let build = |mail: usize, rcpts: &[usize]| {
        let mail = MailLine::parse(padded("MAIL FROM:<a@b>", mail)).unwrap();
        let mut builder = UnfinishedTransaction::builder(mail, Content::measure(b"x"), 0);
        for length in rcpts {
            builder = builder.recipient(RcptLine::parse(padded("RCPT TO:<c@d>", *length)).unwrap());
        }
        builder.build().map(|_| ())
    };
    let long = Err(InvalidTransaction::LineTooLong);
    assert_eq!(build(1932, &[2046, 30]), Ok(()));
    assert_eq!(build(1933, &[30]), long);
    assert_eq!(build(30, &[30, 2047]), long);
    let url = |length: usize| {
        let url = padded("imap://h/", length)
            .into_iter()
            .filter(|octet| *octet != b' ');
        builder(b"MAIL FROM:<a@b>")
            .recipient(rcpt(b"RCPT TO:<c@d>"))
            .burl(url.collect::<Vec<u8>>())
            .build()
    };
    // One space less.
    assert_eq!(url(1933).unwrap().url().unwrap().len(), 1932);
    assert_eq!(url(1934), Err(InvalidTransaction::LineTooLong));
    assert_eq!(
        builder(b"MAIL FROM:<a@b>")
            .recipient(rcpt(b"RCPT TO:<c@d>"))
            .burl("imap://a b")
            .build(),
        Err(InvalidTransaction::Url)
    );
}

#[test]
fn what_was_asked_for_is_what_is_told() {
    let plain = transaction();
    assert!(!plain.is_lmtp() && plain.url().is_none());
    assert_eq!(plain.wanted(), ContentCommand::Data);
    assert_eq!((plain.began(), plain.attempts()), (1_000, 0));
    assert_eq!((plain.scope(), plain.last_server()), (None, None));
    let asked = builder(b"MAIL FROM:<a@b> BODY=BINARYMIME")
        .recipient(rcpt(b"RCPT TO:<c@d>"))
        .bdat()
        .lmtp()
        .build()
        .unwrap();
    assert!(asked.is_lmtp());
    assert_eq!(asked.wanted(), ContentCommand::Bdat);
    let sent = sent();
    assert_eq!(sent.attempts(), 1);
    assert_eq!(sent.used(), Some(USED));
    assert_eq!(sent.scope(), Some(&scope()));
    assert_eq!(sent.last_server().unwrap().host, b"mx.example");
    assert_eq!(
        sent.envelope().mail_reply(),
        Some(&standard::SENDER_OK.reply())
    );
}

#[test]
fn size_counts_the_crlf_that_data_adds() {
    for (message, data, bdat) in [
        (&b""[..], 0, 0),
        (b"a", 3, 1),
        (b"a\r\n", 3, 3),
        (b"a\n", 4, 2),
    ] {
        let content = Content::measure(message);
        assert_eq!(content.size(ContentCommand::Data), data);
        assert_eq!(content.size(ContentCommand::Bdat), bdat);
    }
}

#[test]
fn recipients_are_left_out_after_one_mail_with_all_replies() {
    let ok = standard::OK.reply();
    let mut transaction = transaction();
    assert!(!transaction.may_leave_out_recipients());
    transaction.mail_accepted(&ok);
    transaction.recipient_answered(0, &ok);
    assert!(
        !transaction.may_leave_out_recipients(),
        "a reply is missing"
    );
    transaction.recipient_answered(1, &standard::TRANSACTION_FAILED.reply());
    assert!(
        transaction.may_leave_out_recipients(),
        "a refusal is a reply"
    );
    transaction.mail_accepted(&ok);
    transaction.recipient_answered(0, &ok);
    transaction.recipient_answered(1, &ok);
    assert!(
        !transaction.may_leave_out_recipients(),
        "two MAILs were accepted"
    );
}

#[test]
fn next_steps() {
    let policy = RestartPolicy {
        attempts: 2,
        age: Duration::from_secs(100),
    };
    let same = transaction().content().clone();
    let changed = Content::measure(b"two.\r\n");
    let mut transaction = transaction();
    assert_eq!(
        transaction.next_step(5_000, &policy, &same),
        NextStep::Send,
        "never sent"
    );
    assert_eq!(
        transaction.next_step(0, &policy, &changed),
        NextStep::StartOver
    );
    transaction.will_send(USED, scope(), Server::default());
    assert!(!transaction.is_restart(), "nothing was sent");
    transaction.may_have_sent(Sent::Data);
    assert!(transaction.is_restart());
    assert_eq!(transaction.next_step(1_100, &policy, &same), NextStep::Send);
    assert_eq!(
        transaction.next_step(1_101, &policy, &same),
        NextStep::StartOver
    );
    transaction.may_have_sent(Sent::EndOfData);
    transaction.may_have_sent(Sent::Data);
    assert_eq!(transaction.sent(), Sent::EndOfData, "never lowered");
    assert_eq!(
        transaction.next_step(1_101, &policy, &same),
        NextStep::Unknown
    );
    assert_eq!(
        transaction.next_step(1_000, &policy, &changed),
        NextStep::Unknown
    );
    transaction.begin_attempt();
    transaction.begin_attempt();
    assert_eq!(
        transaction.next_step(1_000, &policy, &same),
        NextStep::Unknown,
        "attempts"
    );

    // In plain SMTP, marked, and then a crash.
    let mut plain = self::transaction();
    plain.will_send(
        Used {
            transid: false,
            ..USED
        },
        scope(),
        Server::default(),
    );
    plain.may_have_sent(Sent::EndOfData);
    assert!(!plain.is_restart());
    assert_eq!(plain.next_step(1_000, &policy, &same), NextStep::Unknown);
    plain.allow_doubling();
    assert_eq!(plain.next_step(1_000, &policy, &same), NextStep::Send);
}

#[test]
fn a_new_start_holds_nothing_of_the_old() {
    let old = sent();
    let transid = TransId::parse(b"<new@b>").ok();
    let new = old.start_over(transid, old.content().clone(), 2_000);
    assert_eq!(new.transid(), transid);
    assert_eq!(
        (new.sent(), new.attempts(), new.used()),
        (Sent::Nothing, 0, None)
    );
    assert!(
        new.envelope()
            .recipients()
            .all(|rcpt| rcpt.reply().is_none())
    );
    assert_eq!(new.envelope().recipients().len(), 2);
    assert!(!new.is_doubling_allowed() && new.last_server().is_none());
}

#[test]
fn scopes_as_a_server_sees_them() {
    let one = scope();
    let moved = ClientScope {
        name: b"other".to_vec(),
        local_address: b"192.0.2.2".to_vec(),
        ..scope()
    };
    assert!(one.is_same_for_server(&moved), "an identity counts alone");
    let anonymous = |name: &[u8], address: &[u8]| ClientScope {
        name: name.to_vec(),
        identity: None,
        tls: true,
        local_address: address.to_vec(),
    };
    let host = anonymous(b"c.example", b"1");
    assert!(host.is_same_for_server(&anonymous(b"C.EXAMPLE", b"1")));
    assert!(!host.is_same_for_server(&anonymous(b"c.example", b"2")));
    assert!(!host.is_same_for_server(&one));
    let clear = ClientScope {
        tls: false,
        ..host.clone()
    };
    assert!(!host.is_same_for_server(&clear));
}

#[test]
fn a_fingerprint_is_compared_where_there_are_two() {
    let mut transaction = transaction();
    let plain = transaction.content().clone();
    let one = plain.clone().with_fingerprint(*b"1");
    assert!(transaction.matches(&one));
    transaction.content.fingerprint = vec![b'1'];
    assert!(transaction.matches(&one) && transaction.matches(&plain));
    assert!(!transaction.matches(&plain.with_fingerprint(*b"2")));
}

#[test]
fn plain_smtp_changes_nothing_that_is_known_under_the_transid() {
    let mut transaction = sent();
    let before = (transaction.used(), transaction.last_server().cloned());
    transaction.will_send(
        Used {
            transid: false,
            ..USED
        },
        scope(),
        Server::default(),
    );
    assert_eq!(
        (transaction.used(), transaction.last_server().cloned()),
        before
    );
}

#[test]
fn every_command_and_every_stage_is_loaded_as_it_was_stored() {
    let begin = || builder(b"MAIL FROM:<a@b>").recipient(rcpt(b"RCPT TO:<c@d>"));
    for builder in [begin(), begin().bdat(), begin().burl("imap://h/m")] {
        let mut transaction = builder.build().unwrap();
        assert_eq!(
            UnfinishedTransaction::decode(&transaction.encode()),
            Ok(transaction.clone())
        );
        transaction.will_send(USED, ClientScope::default(), Server::default());
        for sent in [Sent::Data, Sent::EndOfData] {
            transaction.may_have_sent(sent);
            assert_eq!(
                UnfinishedTransaction::decode(&transaction.encode()),
                Ok(transaction.clone())
            );
        }
    }
}

#[test]
fn what_could_not_have_been_stored_is_damage() {
    let damaged = Err(crate::error::DecodeError::Damaged);
    let mut nobody = transaction();
    nobody.envelope = Envelope::new(b"MAIL FROM:<a@b>", standard::SENDER_OK.into()).unwrap();
    assert_eq!(UnfinishedTransaction::decode(&nobody.encode()), damaged);
    let mut unsaid = sent();
    unsaid.used = None;
    assert_eq!(UnfinishedTransaction::decode(&unsaid.encode()), damaged);
    unsaid.sent = Sent::Nothing;
    assert_eq!(UnfinishedTransaction::decode(&unsaid.encode()), Ok(unsaid));
    let mut url = transaction();
    url.url = b"imap://h/m".to_vec();
    assert_eq!(UnfinishedTransaction::decode(&url.encode()), damaged);
}

#[test]
fn the_last_attempt_that_counts_is_the_one_that_is_kept() {
    let plain = Used {
        transid: false,
        ..USED
    };
    let server = |host: &[u8]| Server {
        host: host.to_vec(),
        address: Vec::new(),
    };
    let kept = |attempts: &[(Used, &[u8])]| {
        let mut transaction = transaction();
        for (used, host) in attempts {
            transaction.will_send(*used, scope(), server(host));
        }
        (transaction.used(), transaction.last_server().cloned())
    };
    for (attempts, used, host) in [
        (&[(plain, &b"1"[..])][..], plain, &b"1"[..]),
        (&[(plain, b"1"), (plain, b"2")], plain, b"2"),
        (&[(plain, b"1"), (USED, b"2")], USED, b"2"),
        (&[(USED, b"1"), (USED, b"2")], USED, b"2"),
        (&[(USED, b"1"), (plain, b"2")], USED, b"1"),
    ] {
        assert_eq!(kept(attempts), (Some(used), Some(server(host))));
    }
}

/// Sent whole in plain SMTP, and then a crash: nothing is left to restart by, but by consent.
#[cfg(feature = "session")]
#[test]
fn what_is_stored_before_plain_smtp_is_no_restart() {
    let plain = Used {
        transid: false,
        ..USED
    };
    for (used, consent, restart) in [
        (USED, false, true),
        (USED, true, true),
        (plain, false, false),
        (plain, true, true),
    ] {
        let mut transaction = transaction();
        transaction.will_send(USED, scope(), Server::default());
        transaction.may_have_sent(Sent::Data);
        if consent {
            transaction.allow_doubling();
        }
        transaction.will_store(used, scope(), Server::default());
        assert_eq!(transaction.is_restart(), restart, "{used:?} {consent}");
        assert_eq!(transaction.used(), Some(if restart { USED } else { plain }));
    }
    let mut first = transaction();
    first.will_store(plain, scope(), Server::default());
    assert_eq!(first.used(), Some(plain));
}
