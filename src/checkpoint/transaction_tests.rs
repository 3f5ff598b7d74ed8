//! The server's transaction: each answer, and what it leaves behind.

use super::*;
use crate::checkpoint::{Identity, Scope};
use crate::reply::standard;
use crate::transid::TransId;

const MAIL: &[u8] = b"MAIL FROM:<a@b.example> TRANSID=<1@c>";
const ONE: &[u8] = b"RCPT TO:<one@x.example>";
const TWO: &[u8] = b"RCPT TO:<two@x.example>";
const BDAT: Transfer = Transfer::Chunks {
    bdat: true,
    burl: false,
};
const BURL: Transfer = Transfer::Chunks {
    bdat: false,
    burl: true,
};
const BOTH: Transfer = Transfer::Chunks {
    bdat: true,
    burl: true,
};

fn key() -> TransactionKey {
    let scope = Scope {
        identity: Identity::Authenticated(b"tim"),
        tls: true,
    };
    TransactionKey::new(&scope, TransId::parse(b"<1@c>").unwrap())
}

fn begun(claim: Claim, offered: Offered, following: Following) -> (Transaction, MailOutcome) {
    let mut transaction = Transaction::default();
    transaction.begin(MAIL, Some(key())).unwrap();
    let outcome = transaction.claim(claim, offered, following, standard::OK.into());
    (transaction, outcome)
}

fn claimed(generation: u64, found: Option<&Record>) -> Claim {
    Claim::Claimed {
        generation: Generation(generation),
        found: found.map(|record| Box::new(record.clone())),
    }
}

fn fresh() -> Transaction {
    let nothing = claimed(1, None);
    let (mut transaction, outcome) = begun(nothing, Offered::default(), Following::Nothing);
    assert_eq!(outcome, MailOutcome::Fresh);
    accept(&mut transaction, ONE, 0);
    transaction
}

fn accept(transaction: &mut Transaction, rcpt: &[u8], index: usize) {
    let asked = transaction.rcpt(rcpt).unwrap();
    assert_eq!(asked, RcptOutcome::Ask { index });
    let advice = transaction.answer_recipient(index, standard::RECIPIENT_OK.into());
    assert_eq!(advice, None);
}

/// The record of a transaction that is lost behind `length` octets.
fn partial(transfer: Transfer, length: u64) -> Record {
    let mut transaction = fresh();
    let _confirm = transaction.data(transfer);
    transaction.confirm(Confirmation::Current);
    transaction.progress(length.into(), Faults::default());
    *transaction.snapshot().unwrap()
}

fn restarted(record: &Record) -> Transaction {
    let found = claimed(2, Some(record));
    let (transaction, outcome) = begun(found, Offered::default(), Following::Nothing);
    assert_eq!(outcome, MailOutcome::Restart(record.length()));
    transaction
}

#[test]
fn a_restart_needs_what_the_content_came_by() {
    for (transfer, chunking, burl) in [
        (Transfer::Data, false, false),
        (BDAT, true, false),
        (BURL, false, true),
        (BOTH, true, true),
    ] {
        let record = partial(transfer, 6);
        for offered in [(false, false), (true, false), (false, true), (true, true)] {
            let enough = (offered.0 || !chunking) && (offered.1 || !burl);
            let offered = Offered {
                chunking: offered.0,
                burl: offered.1,
                dsn: false,
            };
            let (transaction, outcome) =
                begun(claimed(2, Some(&record)), offered, Following::Nothing);
            let expected = if enough {
                MailOutcome::Restart(6.into())
            } else {
                MailOutcome::Fresh
            };
            assert_eq!(outcome, expected, "{transfer:?} {offered:?}");
            assert_eq!(transaction.is_restart(), enough);
            assert_eq!(transaction.transfer(), enough.then_some(transfer));
            assert_eq!(transaction.length().get(), if enough { 6 } else { 0 });
        }
        let all = Offered {
            chunking: true,
            burl: true,
            dsn: true,
        };
        let (_, outcome) = begun(claimed(2, Some(&record)), all, Following::Input);
        assert_eq!(outcome, MailOutcome::Fresh, "it does not wait for a 355");
    }
}

#[test]
fn without_a_key_or_a_record_nothing_is_kept() {
    let mut transaction = Transaction::default();
    transaction.begin(MAIL, None).unwrap();
    let offered = Offered::default();
    let outcome = transaction.claim(
        claimed(1, None),
        offered,
        Following::Nothing,
        standard::OK.into(),
    );
    assert_eq!(outcome, MailOutcome::Fresh);
    assert_eq!((transaction.key(), transaction.generation()), (None, None));
    let (mut transaction, outcome) = begun(Claim::Unrecorded, offered, Following::Nothing);
    assert_eq!(outcome, MailOutcome::Fresh);
    accept(&mut transaction, ONE, 0);
    assert_eq!(
        transaction.data(Transfer::Data),
        DataOutcome::Begin(OctetOffset::ZERO)
    );
    transaction.progress(6.into(), Faults::default());
    assert_eq!(transaction.snapshot(), None);
    assert_eq!(transaction.reset(), None);
    assert_eq!(fresh().key(), Some(&key()));
    assert_eq!(fresh().generation(), Some(Generation(1)));
}

#[test]
fn data_and_chunks_never_mix_and_chunks_add_up() {
    for (first, second, outcome) in [
        (Transfer::Data, Transfer::Data, Some(Transfer::Data)),
        (BDAT, BDAT, Some(BDAT)),
        (BURL, BURL, Some(BURL)),
        (BDAT, BURL, Some(BOTH)),
        (BURL, BDAT, Some(BOTH)),
        (Transfer::Data, BDAT, None),
        (BURL, Transfer::Data, None),
    ] {
        let mut transaction = fresh();
        assert!(matches!(
            transaction.data(first),
            DataOutcome::Confirm { .. }
        ));
        transaction.confirm(Confirmation::Current);
        let begin = DataOutcome::Begin(OctetOffset::ZERO);
        let expected = outcome.map_or(DataOutcome::Mixed, |_| begin);
        assert_eq!(transaction.data(second), expected, "{first:?} {second:?}");
        assert_eq!(transaction.transfer(), Some(outcome.unwrap_or(first)));
    }
}

#[test]
fn a_refused_data_command_may_be_followed_by_the_other_kind() {
    let mut transaction = fresh();
    let _confirm = transaction.data(Transfer::Data);
    transaction.refuse_data();
    assert_eq!(transaction.transfer(), None);
    let _confirm = transaction.data(BDAT);
    transaction.confirm(Confirmation::Current);
    transaction.refuse_data();
    assert_eq!(transaction.transfer(), Some(BDAT), "content may have come");
    // Content of a plain transaction, which is not confirmed.
    let (mut plain, _) = begun(Claim::Unrecorded, Offered::default(), Following::Nothing);
    accept(&mut plain, ONE, 0);
    let _begin = plain.data(BDAT);
    plain.progress(6.into(), Faults::default());
    plain.refuse_data();
    assert_eq!(plain.transfer(), Some(BDAT));
    // Content of an earlier attempt.
    let mut transaction = restarted(&partial(Transfer::Data, 6));
    transaction.refuse_data();
    assert_eq!(transaction.data(BDAT), DataOutcome::Mixed);
}

#[test]
fn recipients_are_repeated_in_order_and_no_others() {
    let mut transaction = fresh();
    accept(&mut transaction, TWO, 1);
    accept(&mut transaction, ONE, 2);
    let _confirm = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    transaction.progress(6.into(), Faults::default());
    let record = transaction.snapshot().unwrap();
    let repeat = || Ok(RcptOutcome::Repeat(standard::RECIPIENT_OK.into()));
    for (rcpts, last) in [
        (&[ONE, TWO, ONE][..], repeat()),
        (&[TWO, ONE], repeat()),
        (&[ONE, ONE], repeat()),
        (&[ONE, ONE, ONE], Ok(RcptOutcome::OutOfOrder)),
        (&[TWO, TWO], Ok(RcptOutcome::OutOfOrder)),
        (&[ONE, ONE, TWO], Ok(RcptOutcome::OutOfOrder)),
        (&[b"RCPT TO:<other@x.example>"], Ok(RcptOutcome::Unknown)),
        (&[b"RCPT FROM:<a@b>"], Err(NotAnEnvelopeLine)),
    ] {
        let mut transaction = restarted(&record);
        let mut outcome = Ok(RcptOutcome::Unknown);
        for rcpt in rcpts {
            outcome = transaction.rcpt(rcpt);
        }
        assert_eq!(outcome, last, "{rcpts:?}");
    }
}

#[test]
fn what_is_snapshot_is_behind_a_confirmation_and_never_less() {
    let mut transaction = fresh();
    assert_eq!(transaction.data(BDAT), {
        DataOutcome::Confirm {
            generation: Generation(1),
            length: OctetOffset::ZERO,
            fresh: true,
        }
    });
    transaction.progress(6.into(), Faults::default());
    assert_eq!(transaction.snapshot(), None, "not confirmed");
    transaction.confirm(Confirmation::Current);
    assert_eq!(transaction.snapshot().unwrap().length().get(), 6);
    transaction.progress(4.into(), Faults::default());
    assert_eq!(transaction.length().get(), 6);
    let nul = Faults {
        nul: Some(5.into()),
        ..Faults::default()
    };
    transaction.progress(8.into(), nul);
    assert_eq!(transaction.faults(), &nul);
    let record = transaction.snapshot().unwrap();
    assert_eq!((record.length().get(), record.faults()), (8, &nul));
    transaction.fail();
    assert_eq!(transaction.snapshot(), None, "it could not be stored");

    let mut transaction = fresh();
    let _confirm = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    assert_eq!(transaction.snapshot(), None, "nothing has come");
    assert_eq!(transaction.end(OctetOffset::ZERO), EndOutcome::Decide);
    let empty = transaction.snapshot().unwrap();
    assert_eq!(empty.length(), OctetOffset::ZERO, "an empty message is one");

    let mut transaction = fresh();
    let _confirm = transaction.data(Transfer::Data);
    assert_eq!(transaction.confirm(Confirmation::Outdated), None);
    transaction.confirm(Confirmation::Current);
    transaction.progress(6.into(), Faults::default());
    assert_eq!(transaction.snapshot(), None, "the key is another's");
}

/// A store that dropped what it holds wherever the length is 0 would forget that it has delivered
/// an empty message.
#[test]
fn a_complete_message_of_length_0_does_not_begin_afresh() {
    let mut record = partial(Transfer::Data, 6);
    record.length = OctetOffset::ZERO;
    let accepted = record.complete(&Verdict::from(standard::OK)).unwrap();
    for (record, is_fresh) in [
        (record.clone(), true),
        (record.processing(1), false),
        (accepted, false),
    ] {
        let found = claimed(2, Some(&record));
        let (mut transaction, outcome) = begun(found, Offered::default(), Following::Nothing);
        assert_eq!(outcome == MailOutcome::Fresh, is_fresh);
        if is_fresh {
            let asked = transaction.rcpt(ONE).unwrap();
            assert_eq!(asked, RcptOutcome::Ask { index: 0 });
            let _ = transaction.answer_recipient(0, standard::RECIPIENT_OK.into());
        }
        assert_eq!(transaction.data(Transfer::Data), {
            DataOutcome::Confirm {
                generation: Generation(2),
                length: OctetOffset::ZERO,
                fresh: is_fresh,
            }
        });
    }
}

#[test]
fn what_is_discarded_is_ones_own() {
    let record = partial(Transfer::Data, 6);
    // Lost octets: what is left is of no use.
    let mut transaction = restarted(&record);
    assert_eq!(transaction.data(Transfer::Data), {
        DataOutcome::Confirm {
            generation: Generation(2),
            length: 6.into(),
            fresh: false,
        }
    });
    let advice = transaction.confirm(Confirmation::WrongLength).unwrap();
    assert_eq!((&advice.key, advice.generation), (&key(), Generation(2)));
    assert!(advice.applies_to(&record, Generation(2)));
    // Another session goes on from the same record.
    assert!(!advice.applies_to(&record, Generation(3)));
    // A record of a later claim is not what the advice is about.
    let mut later = record.clone();
    later.generation = Generation(2);
    assert!(!advice.applies_to(&later, Generation(2)));
    assert!(!advice.applies_to(&record.processing(1), Generation(2)));
    let accepted = record.complete(&Verdict::from(standard::OK)).unwrap();
    assert!(!advice.applies_to(&accepted, Generation(2)));
    assert_eq!(transaction.reset(), None, "the advice is given once");

    // A new message under the same TRANSID replaces it at its first recipient.
    let found = claimed(2, Some(&record));
    let (mut transaction, outcome) = begun(found, Offered::default(), Following::Input);
    assert_eq!(outcome, MailOutcome::Fresh);
    assert_eq!(transaction.reset(), None, "not its own");
    assert_eq!(transaction.refuse(), None);
    for (index, rcpt, reply, replaces) in [
        (0, ONE, Reply::from(standard::NO_SUCH_MAILBOX), false),
        (1, ONE, standard::RECIPIENT_OK.into(), true),
        (2, TWO, standard::RECIPIENT_OK.into(), false),
    ] {
        assert_eq!(transaction.rcpt(rcpt).unwrap(), RcptOutcome::Ask { index });
        let advice = transaction.answer_recipient(index, reply);
        assert_eq!(advice.is_some(), replaces);
        assert!(advice.is_none_or(|advice| advice.applies_to(&record, Generation(2))));
    }

    // Refused for what it is, or reset.
    let advice = restarted(&record).refuse().unwrap();
    assert!(advice.applies_to(&record, Generation(2)));
    let advice = restarted(&record).reset().unwrap();
    assert!(advice.applies_to(&record, Generation(2)));
    let mut transaction = restarted(&record);
    assert_eq!(transaction.end(9.into()), EndOutcome::Decide);
    assert_eq!(transaction.length().get(), 9);
    assert_eq!(transaction.reset(), None, "all is in: let go of");
    assert!(transaction.refuse().is_some());
}

#[test]
fn what_is_cleared_is_as_new_and_of_its_kind() {
    let mut transaction = Transaction::lmtp();
    assert_eq!(transaction.expected_replies(), 0);
    transaction.begin(MAIL, Some(key())).unwrap();
    let claim = claimed(1, None);
    let ok = standard::OK.into();
    let _fresh = transaction.claim(claim, Offered::default(), Following::Nothing, ok);
    accept(&mut transaction, ONE, 0);
    accept(&mut transaction, TWO, 1);
    assert_eq!(transaction.expected_replies(), 2);
    assert_eq!(transaction.envelope().recipients().len(), 2);
    transaction.clear();
    assert_eq!(transaction.key(), None);
    assert_eq!(transaction.envelope().recipients().len(), 0);
    assert_eq!(transaction.expected_replies(), 0, "still LMTP");
    assert_eq!(fresh().expected_replies(), 1);
}

#[test]
fn another_mail_or_an_empty_record_is_no_restart() {
    let other: &[u8] = b"MAIL FROM:<z@b.example> TRANSID=<1@c>";
    let mut empty = fresh();
    let _confirm = empty.data(Transfer::Data);
    empty.confirm(Confirmation::Current);
    assert_eq!(empty.end(OctetOffset::ZERO), EndOutcome::Decide);
    let empty = *empty.snapshot().unwrap();
    let partial = partial(Transfer::Data, 6);
    for (mail, record, expected) in [
        (MAIL, &partial, MailOutcome::Restart(6.into())),
        (other, &partial, MailOutcome::Fresh),
        (MAIL, &empty, MailOutcome::Fresh),
        (MAIL, &empty.processing(1), {
            MailOutcome::Restart(OctetOffset::ZERO)
        }),
        (other, &partial.processing(1), MailOutcome::SequenceError),
    ] {
        let mut transaction = Transaction::default();
        transaction.begin(mail, Some(key())).unwrap();
        let outcome = transaction.claim(
            claimed(2, Some(record)),
            Offered::default(),
            Following::Nothing,
            standard::OK.into(),
        );
        assert_eq!(outcome, expected, "{record:?}");
    }
}

/// Nothing is discarded that the client has left to the server, not even by a decision anew.
#[test]
fn no_advice_on_what_the_server_owns() {
    let mut transaction = restarted(&partial(Transfer::Data, 6).detach());
    assert!(transaction.takes_back());
    transaction.decide_anew();
    assert_eq!(transaction.refuse(), None);
}

#[cfg(feature = "session")]
#[test]
fn a_mail_of_binary_content_is_told() {
    let mut transaction = Transaction::default();
    for (mail, binary) in [
        (&b"MAIL FROM:<a@b> BODY=BINARYMIME"[..], true),
        (b"MAIL FROM:<a@b> BODY=8BITMIME", false),
        (b"MAIL FROM:<a@b> BODY=BINARYMIME", true),
        (b"MAIL FROM:<a@b>", false),
    ] {
        transaction.begin(mail, None).unwrap();
        assert_eq!(transaction.is_binary(), binary, "{mail:?}");
        assert_eq!(transaction.envelope().mail_line(), mail);
    }
    assert_eq!(
        transaction.begin(b"RCPT TO:<a@b>", None),
        Err(NotAnEnvelopeLine)
    );
}
