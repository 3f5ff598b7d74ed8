//! Stored data: decoding never panics, and what decodes is encoded as it was.

use smtp_checkpoint::checkpoint::{
    Completion, Duty, Record, RecordState, TransactionKey, UnfinishedTransaction, Verdict,
};
use smtp_checkpoint::dsn::Owed;
use smtp_checkpoint::reply::{Reply, standard};

pub fn check(data: &[u8]) {
    one(data);
    // The checksum would stop the fuzzer: the same octets with one that fits.
    let mut summed = data.to_vec();
    summed.extend_from_slice(&checksum(data).to_be_bytes());
    one(&summed);
    // Any octets, with the head of a record.
    for head in [b"REC\x01", b"REC\x02", b"UNF\x01"] {
        let mut headed = [head, data].concat();
        headed.extend_from_slice(&checksum(&headed).to_be_bytes());
        one(&headed);
    }

    if let Ok(key) = TransactionKey::from_bytes(data) {
        assert_eq!(key.as_bytes(), data);
    }
}

fn one(octets: &[u8]) {
    if let Ok(unfinished) = UnfinishedTransaction::decode(octets) {
        let encoded = unfinished.encode();
        assert_eq!(
            UnfinishedTransaction::decode(&encoded).as_ref(),
            Ok(&unfinished)
        );
        assert!(unfinished.matches(unfinished.content()));
        let _ = unfinished.may_leave_out_recipients();
    }
    let Ok(record) = Record::decode(octets) else {
        return;
    };
    let encoded = record.encode();
    let again = Record::decode(&encoded).expect("a record that was encoded");
    assert_eq!(again, record);
    assert_eq!(again.encode(), encoded);

    assert_eq!(record.withdraw().withdraw(), record.withdraw());
    let processing = record.processing(7);
    assert_eq!(
        Record::decode(&processing.encode()).as_ref(),
        Ok(&processing)
    );
    let replies = vec![Reply::from(standard::OK); record.expected_replies()];
    let verdict = Verdict::for_each_recipient(replies.clone());
    match (record.state(), record.complete(&verdict)) {
        (RecordState::Committed(_), completed) => assert!(completed.is_err()),
        (_, completed) => {
            let completed = completed.expect("a record that can be completed");
            let expected = RecordState::Committed(Completion {
                replies,
                dsn_issued: false,
            });
            assert_eq!(completed.state(), &expected);
            assert_eq!(Record::decode(&completed.encode()).as_ref(), Ok(&completed));
        }
    }
    detached(&record);
    for recipient in record.envelope().recipients() {
        let _ = recipient.rcpt().same_recipient(&recipient.rcpt());
    }
    assert!(record.envelope().accepted().count() <= record.envelope().recipients().count());
}

/// The mark of a client that has detached stays, whatever else happens to the record.
fn detached(record: &Record) {
    let detached = record.detach();
    assert!(detached.is_detached());
    assert_eq!(Record::decode(&detached.encode()).as_ref(), Ok(&detached));
    assert!(detached.withdraw().is_detached() && detached.processing(7).is_detached());
    assert_eq!(
        detached.take_back(record.generation()),
        record.take_back(record.generation())
    );
    match detached.duty() {
        Duty::Nothing => {}
        Duty::Decide => assert!(!matches!(detached.state(), RecordState::Committed(_))),
        Duty::Report(results) => {
            let owed = Owed::by(detached.envelope(), &results).expect("results that fit");
            assert!(matches!(owed, Owed::Report(_)), "nothing is owed");
            let issued = detached.with_dsn_issued();
            assert_eq!(issued.duty(), Duty::Nothing);
            assert_eq!(issued.with_dsn_issued(), issued);
            assert_eq!(Record::decode(&issued.encode()).as_ref(), Ok(&issued));
        }
    }
}

/// FNV-1a, as the encoding has it.
fn checksum(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
    })
}
