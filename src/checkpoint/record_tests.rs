use super::*;
use crate::checkpoint::{
    Claim, Confirmation, DataOutcome, EndOutcome, Identity, MailOutcome, Offered, RcptOutcome,
    Scope, Transaction, TransactionKey,
};
use crate::dsn::Owed;
use crate::encoding::Writer;
use crate::transid::TransId;

const MAIL: &[u8] = b"MAIL FROM:<a@b.example> TRANSID=<1@c> RET=HDRS ENVID=x";

fn key() -> TransactionKey {
    let identity = Identity::Authenticated(b"tim");
    let transid = TransId::parse(b"<1@c>").unwrap();
    let scope = Scope {
        identity,
        tls: true,
    };
    TransactionKey::new(&scope, transid)
}

fn claim(generation: u64, found: Option<&Record>) -> Claim {
    Claim::Claimed {
        generation: Generation(generation),
        found: found.map(|record| record.clone().into()),
    }
}

fn begun(lmtp: bool, mail: &[u8], claim: Claim) -> (Transaction, MailOutcome) {
    let mut transaction = if lmtp {
        Transaction::lmtp()
    } else {
        Transaction::default()
    };
    transaction.begin(mail, Some(key())).unwrap();
    let outcome = transaction.claim(
        claim,
        Offered::default(),
        crate::line::Following::Nothing,
        standard::OK.into(),
    );
    (transaction, outcome)
}

/// A record with all its data, whose recipients have these parameters.
fn whole(lmtp: bool, mail: &[u8], recipients: &[&str]) -> Record {
    let (mut transaction, outcome) = begun(lmtp, mail, claim(1, None));
    assert_eq!(outcome, MailOutcome::Fresh);
    for (index, parameters) in recipients.iter().enumerate() {
        let line = std::format!("RCPT TO:<r{index}@x.example>{parameters}");
        let asked = transaction.rcpt(line.as_bytes()).unwrap();
        assert_eq!(asked, RcptOutcome::Ask { index });
        transaction.answer_recipient(index, standard::OK.into());
    }
    let _ask = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    assert_eq!(transaction.end(6.into()), EndOutcome::Decide);
    *transaction.snapshot().unwrap()
}

fn no() -> Reply {
    standard::NO_SUCH_MAILBOX.into()
}

fn later() -> Reply {
    standard::LOCAL_ERROR.into()
}

fn yes() -> Reply {
    standard::MESSAGE_ACCEPTED.into()
}

fn reported_reply() -> Reply {
    standard::REPORTED_BY_DSN.into()
}

fn replies(record: &Record) -> Vec<Reply> {
    match record.state() {
        RecordState::Committed(completion) => completion.replies.clone(),
        state => panic!("{state:?}"),
    }
}

#[test]
fn every_state_is_loaded_as_it_was_stored_detached_or_not() {
    let partial = whole(false, MAIL, &[""]);
    let processing = partial.processing(7);
    let refused = partial.complete(&no().into()).unwrap();
    let issued = refused.detach().with_dsn_issued();
    for record in [partial, processing, refused, issued] {
        for record in [
            record.detach(),
            record.clone(),
            record.take_back(Generation(9)),
        ] {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }
}

#[test]
fn every_way_of_content_is_loaded_as_it_was_stored() {
    for (transfer, octet) in [
        (Transfer::Data, 0),
        (chunks(true, false), 3),
        (chunks(false, true), 5),
        (chunks(true, true), 7),
    ] {
        let record = Record {
            transfer,
            ..whole(false, MAIL, &[""])
        };
        let stored = record.encode();
        // behind it: length, per_recipient, the mark, three faults, the state, the checksum
        let at = stored.len() - 8 - 1 - 3 - 1 - 1 - 8 - 1;
        assert_eq!(stored[at], octet, "{transfer:?}");
        assert_eq!(Record::decode(&stored), Ok(record));
    }
    let neither = Record {
        transfer: chunks(false, false),
        ..whole(false, MAIL, &[""])
    };
    assert_eq!(Record::decode(&neither.encode()), Err(DecodeError::Damaged));
}

fn chunks(bdat: bool, burl: bool) -> Transfer {
    Transfer::Chunks { bdat, burl }
}

fn code(code: u16) -> Reply {
    Reply::with_text(crate::reply::ReplyCode::new(code).unwrap(), None, "x").unwrap()
}

#[test]
fn only_final_replies_as_many_as_are_owed_complete_a_record() {
    let record = whole(true, MAIL, &["", ""]);
    let verdict = |replies: &[fn() -> Reply]| {
        Verdict::for_each_recipient(replies.iter().map(|reply| reply()))
    };
    for (verdict, refused) in [
        (verdict(&[yes, no]), None),
        (verdict(&[yes]), Some(Refused::ReplyCount)),
        (verdict(&[yes, no, no]), Some(Refused::ReplyCount)),
        (verdict(&[yes, || code(354)]), Some(Refused::ReplyCode)),
        (verdict(&[|| code(120), yes]), Some(Refused::ReplyCode)),
        (verdict(&[yes, || code(421)]), Some(Refused::ReplyCode)),
    ] {
        assert_eq!(record.complete(&verdict).err(), refused, "{verdict:?}");
        let completion = Completion {
            replies: verdict.replies().to_vec(),
            dsn_issued: false,
        };
        let stored = Record {
            state: RecordState::Committed(completion),
            ..record.clone()
        };
        let loaded = Record::decode(&stored.encode());
        assert_eq!(loaded.is_err(), refused.is_some(), "{verdict:?}");
    }
    let done = record.complete(&verdict(&[yes, no])).unwrap();
    let again = done.complete(&verdict(&[yes, no]));
    assert_eq!(again, Err(Refused::AlreadyCommitted));
    assert!(verdict(&[yes, no]).accepts());
    assert!(!verdict(&[later, no]).accepts());
}

#[test]
fn verdicts_are_compared_by_what_they_say() {
    let one = Verdict::from(yes());
    assert_eq!(one, Verdict::for_each_recipient([yes()]));
    assert_ne!(one, Verdict::from(no()));
    assert_ne!(one, Verdict::for_each_recipient([yes(), yes()]));
    assert_ne!(one, one.clone().with_dsn_issued());
}

#[test]
fn a_decision_is_withdrawn_and_a_completion_stays() {
    let record = whole(false, MAIL, &[""]);
    assert!(!record.is_detached() && record.detach().is_detached());
    assert_eq!(record.processing(1).withdraw(), record);
    assert_eq!(record.withdraw(), record);
    let done = record.complete(&yes().into()).unwrap();
    assert_eq!(done.withdraw(), done);
    assert_eq!(std::format!("{:>3}", Generation(7)), "  7");
}

/// HD-12: version 1 knew of no client that detaches.
#[test]
fn a_record_of_version_1_is_read() {
    let record = whole(true, MAIL, &["", " NOTIFY=NEVER"]);
    let mut writer = Writer::new(KIND, 1);
    writer.u64(record.generation.0);
    record.envelope.encode(&mut writer);
    writer.u8(0).u64(6).flag(true);
    for _ in 0..3 {
        writer.optional_u64(None);
    }
    writer.u8(0);
    let stored = writer.finish();
    assert_eq!(Record::decode(&stored), Ok(record));
    assert_eq!(stored.get(3), Some(&1));
}

#[test]
fn the_mark_is_one_octet_of_which_nothing_else_is_read() {
    let stored = whole(false, MAIL, &[""]).detach().encode();
    // behind it: three faults, the state, the checksum
    let at = stored.len() - 8 - 1 - 3 - 1;
    assert_eq!(stored[at], 1);
    let mut other = stored[..stored.len() - 8].to_vec();
    other[at] = 2;
    let sum = other.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    });
    other.extend_from_slice(&sum.to_be_bytes());
    assert_eq!(Record::decode(&other), Err(DecodeError::Damaged));
}

#[test]
fn what_is_owed_to_a_client_that_has_detached() {
    let record = whole(false, MAIL, &[""]);
    for (record, duty) in [
        (record.clone(), "Nothing"),
        (record.detach(), "Decide"),
        (record.detach().processing(1), "Decide"),
        (record.detach().processing(1).withdraw(), "Decide"),
        (record.detach().take_back(Generation(1)), "Nothing"),
        // made under a later claim: another message
        (record.detach().take_back(Generation(0)), "Decide"),
    ] {
        let found = std::format!("{:?}", record.duty());
        assert_eq!(found, duty, "{record:?}");
    }
    let decided = |recipients: &[&str], mail: &[u8], verdict: Verdict| {
        let record = whole(verdict.replies().len() > 1, mail, recipients).detach();
        record.complete(&verdict).unwrap()
    };
    let both = Verdict::for_each_recipient;
    for (recipients, mail, verdict, owed) in [
        (&[""][..], MAIL, Verdict::from(yes()), false),
        (&[""], MAIL, no().into(), true),
        (&[""], MAIL, later().into(), true),
        (&[" NOTIFY=NEVER"], MAIL, no().into(), false),
        (
            &[" NOTIFY=NEVER", " NOTIFY=FAILURE"],
            MAIL,
            no().into(),
            true,
        ),
        (&[""], b"MAIL FROM:<> TRANSID=<1@c>", no().into(), false),
        (&["", ""], MAIL, both([yes(), no()]), true),
        (&["", " NOTIFY=SUCCESS"], MAIL, both([yes(), no()]), false),
        (&[" NOTIFY=NEVER", ""], MAIL, both([later(), yes()]), false),
        (&[""], MAIL, Verdict::from(no()).with_dsn_issued(), false),
    ] {
        let record = decided(recipients, mail, verdict);
        let Duty::Report(results) = record.duty() else {
            assert!(!owed, "{record:?}");
            assert_eq!(record.duty(), Duty::Nothing);
            continue;
        };
        assert!(owed, "{record:?}");
        // The one place to ask and the helper of RFC 3461 agree.
        let report = Owed::by(record.envelope(), &results).unwrap();
        assert!(matches!(report, Owed::Report(_)));
        assert_eq!(record.with_dsn_issued().duty(), Duty::Nothing);
    }
}

#[test]
fn failures_that_are_reported_are_answered_250_and_no_others() {
    let record = whole(
        true,
        MAIL,
        &["", " NOTIFY=NEVER", " NOTIFY=FAILURE", "", " NOTIFY=DELAY"],
    );
    let verdict = Verdict::for_each_recipient([no(), no(), later(), yes(), no()]);
    let expected = [reported_reply(), no(), reported_reply(), yes(), no()];
    let detached = record.detach().complete(&verdict).unwrap();
    assert_eq!(replies(&detached), verdict.replies(), "not reported yet");
    let issued = detached.with_dsn_issued();
    assert_eq!(replies(&issued), expected);
    assert_eq!(issued.with_dsn_issued(), issued);
    // or in one step, with the verdict
    let at_once = record.detach().complete(&verdict.clone().with_dsn_issued());
    assert_eq!(at_once, Ok(issued));
    // A client that waits is told what became of it.
    let waits = record.complete(&verdict.clone().with_dsn_issued()).unwrap();
    assert_eq!(replies(&waits), verdict.replies());
    assert_eq!(waits.with_dsn_issued(), waits);
    // The one reply of SMTP stands for all recipients: reported to one, it is no reason to send
    // the message again.
    let record = whole(false, MAIL, &[" NOTIFY=NEVER", ""]).detach();
    let issued = record.complete(&later().into()).unwrap().with_dsn_issued();
    assert_eq!(replies(&issued), [reported_reply()]);
    let record = whole(false, MAIL, &[" NOTIFY=NEVER"]).detach();
    let issued = record.complete(&later().into()).unwrap().with_dsn_issued();
    assert_eq!(replies(&issued), [later()]);
}

/// CP-13, CP-16, DE-08: how a restart finds a record from which the client has detached.
#[test]
fn a_restart_of_a_detached_record() {
    let record = whole(false, MAIL, &[""]).detach();
    let refused = record.complete(&later().into()).unwrap();
    let accepted = record.complete(&yes().into()).unwrap();
    for (record, takes_back) in [
        (&record, true),
        (&record.processing(3), true),
        (&refused, true),
        (&refused.with_dsn_issued(), false),
        (&accepted, false),
    ] {
        let other: &[u8] = b"MAIL FROM:<z@b.example> TRANSID=<1@c>";
        let (_, outcome) = begun(false, other, claim(2, Some(record)));
        assert_eq!(outcome, MailOutcome::SequenceError, "never afresh");
        let (mut transaction, outcome) = begun(false, MAIL, claim(2, Some(record)));
        assert_eq!(outcome, MailOutcome::Restart(6.into()));
        assert!(transaction.is_complete());
        assert_eq!(transaction.takes_back(), takes_back);
        assert_eq!(transaction.reset(), None, "nobody's to discard");
        let outcome = transaction.data(Transfer::Data);
        assert!(matches!(outcome, DataOutcome::Confirm { .. }));
        assert_eq!(transaction.confirm(Confirmation::WrongLength), None);
        transaction.confirm(Confirmation::Current);
        assert_eq!(transaction.end(7.into()), EndOutcome::ContentAfterEnd);
        match transaction.end(6.into()) {
            EndOutcome::Await => assert!(takes_back),
            EndOutcome::Retained {
                completion,
                discard,
            } => {
                assert!(!takes_back);
                assert_eq!(completion.replies, replies(record));
                assert_eq!(discard, None, "an acceptance, or reported");
            }
            outcome => panic!("{outcome:?}"),
        }
    }
    // What is withdrawn is decided on anew, and stays detached.
    let (mut transaction, _) = begun(false, MAIL, claim(2, Some(&record)));
    let _ask = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    assert_eq!(transaction.end(6.into()), EndOutcome::Await);
    transaction.decide_anew();
    let anew = transaction.snapshot().unwrap();
    assert!(anew.is_detached());
    assert_eq!(anew.generation(), Generation(2));
    assert_eq!(transaction.reset(), None);
    // A DSN that was issued all the same is what the client is told of.
    let verdict = Verdict::from(no()).with_dsn_issued();
    assert_eq!(transaction.final_replies(&verdict)[..], [reported_reply()]);
    assert_eq!(transaction.final_replies(&no().into())[..], [no()]);
}

/// Advice to discard is never carried out on a record with a duty, however late it comes.
#[test]
fn nothing_with_a_duty_is_discarded() {
    let record = whole(false, MAIL, &[""]);
    let (mut transaction, _) = begun(false, MAIL, claim(1, None));
    let asked = transaction.rcpt(b"RCPT TO:<r0@x.example>").unwrap();
    assert_eq!(asked, RcptOutcome::Ask { index: 0 });
    transaction.answer_recipient(0, standard::OK.into());
    let _ask = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    transaction.progress(6.into(), Faults::default());
    assert!(transaction.snapshot().is_some());
    let partial = transaction.reset().unwrap();
    assert!(partial.applies_to(&record, Generation(1)));
    assert!(!partial.applies_to(&record.detach(), Generation(1)));

    let refused = record.complete(&later().into()).unwrap();
    let (mut transaction, _) = begun(false, MAIL, claim(2, Some(&refused)));
    let EndOutcome::Retained {
        discard: Some(transient),
        ..
    } = transaction.end(6.into())
    else {
        panic!("kept")
    };
    assert!(transient.applies_to(&refused, Generation(2)));
    assert!(!transient.applies_to(&refused.detach(), Generation(2)));
    assert!(transient.applies_to(&refused.detach().take_back(Generation(2)), Generation(2)));
    assert!(!transient.applies_to(&refused.detach().with_dsn_issued(), Generation(2)));
}
