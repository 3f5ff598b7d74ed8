//! What all runs have in common, and the crate's machines brought to where a run needs them.
//!
//! The machines hold their state to themselves, and a state of the model has to be hashed and
//! compared. They are pure, so a state holds what they were told, and they are told it again.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use smtp_checkpoint::checkpoint::{
    Claim, ClientScope, Confirmation, Content, DataOutcome, Discard, Generation, Identity,
    MailOutcome, Offered, RcptOutcome, Record, Scope, Sent, Server, Transaction, TransactionKey,
    Transfer, UnfinishedTransaction, Used, Verdict,
};
use smtp_checkpoint::command::{MailLine, RcptLine, Rdlv};
use smtp_checkpoint::ehlo::Capabilities;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::{self, Following, ServerSettings, Submission, Within};
use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

/// Octets of each line of the message, CRLF included.
pub(crate) const LINE: u64 = 8;

const TRANSID: &[u8] = b"<12345@claremont.edu>";
const MAIL: &[u8] = b"MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>";
const RCPT: &[u8] = b"RCPT TO:<mrose@dbc.mtview.ca.us>";

static KEY: LazyLock<TransactionKey> = LazyLock::new(|| {
    let identity = Identity::Authenticated(b"ned");
    let scope = Scope {
        identity,
        tls: true,
    };
    TransactionKey::new(&scope, TransId::parse(TRANSID).unwrap())
});

static OFFERED: LazyLock<Capabilities> = LazyLock::new(|| {
    let lines = ["mx", "CHECKPOINT", "RDLV mintimer=1", "DETA", "DSN"];
    let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
    Capabilities::from_reply(&reply, &Limits::default()).unwrap()
});

/// A record as a store holds it: what [`Record::encode`] gave.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stored(Arc<[u8]>);

impl Stored {
    pub(crate) fn of(record: &Record) -> Self {
        Self(record.encode().into())
    }

    pub(crate) fn record(&self) -> Record {
        Record::decode(&self.0).expect("it was encoded")
    }
}

/// The client's unfinished transaction as its journal holds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Journal(Arc<[u8]>);

impl Journal {
    pub(crate) fn first(lines: u8) -> Self {
        let mail = MailLine::parse(&b"MAIL FROM:<ned@ymir.claremont.edu>"[..]).unwrap();
        let transaction = UnfinishedTransaction::builder(mail, content(lines))
            .recipient(RcptLine::parse(RCPT).unwrap())
            .transid(TransId::parse(TRANSID).unwrap())
            .began(1)
            .build()
            .unwrap();
        Self::of(&transaction)
    }

    pub(crate) fn of(transaction: &UnfinishedTransaction) -> Self {
        Self(transaction.encode().into())
    }

    pub(crate) fn transaction(&self) -> UnfinishedTransaction {
        UnfinishedTransaction::decode(&self.0).expect("it was encoded")
    }
}

/// Marks that so much may have been sent, as a client does before a data command.
pub(crate) fn mark(transaction: &mut UnfinishedTransaction, sent: Sent) {
    let used = Used::first(transaction, &OFFERED).unwrap();
    transaction.will_send(used, ClientScope::default(), Server::default());
    transaction.may_have_sent(sent);
}

pub(crate) fn content(lines: u8) -> Content {
    Content {
        octets: u64::from(lines) * LINE,
        unfinished_last_line: false,
        fingerprint: Vec::new(),
    }
}

pub(crate) fn octets(lines: u8) -> OctetOffset {
    OctetOffset::new(u64::from(lines) * LINE)
}

pub(crate) fn lines(octets: OctetOffset) -> u8 {
    assert_eq!(octets.get() % LINE, 0, "not a line start");
    u8::try_from(octets.get() / LINE).unwrap()
}

pub(crate) fn reply(code: u16) -> Reply {
    match code {
        250 => standard::MESSAGE_ACCEPTED.into(),
        451 => standard::LOCAL_ERROR.into(),
        code => Reply::cleaned(ReplyCode::new(code).expect("a code"), None, b"as it is"),
    }
}

pub(crate) fn verdict(code: u16) -> Verdict {
    Verdict::from(reply(code))
}

/// What the store answered to the claim of a session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Seen {
    pub(crate) generation: Generation,
    pub(crate) found: Option<Found>,
    /// The decision number of the key at that time.
    pub(crate) number: u64,
    /// How many claims had found a decision, this one included.
    pub(crate) taken: u64,
    /// Commands stood behind MAIL already.
    pub(crate) followed: bool,
}

/// A record that a claim found.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Found {
    pub(crate) stored: Stored,
    pub(crate) lines: u8,
    pub(crate) state: Stands,
}

/// Where a found record stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stands {
    Partial,
    /// The decision with this number runs.
    Processing(u64),
    Committed,
}

impl Found {
    pub(crate) fn record(&self) -> Record {
        let record = self.stored.record();
        match self.state {
            Stands::Processing(number) => record.processing(number),
            Stands::Partial | Stands::Committed => record,
        }
    }
}

/// The transaction behind the claim, and how MAIL is answered.
pub(crate) fn claimed(seen: &Seen) -> (Transaction, MailOutcome) {
    let mut transaction = Transaction::default();
    transaction.begin(MAIL, Some(KEY.clone())).unwrap();
    let claim = Claim::Claimed {
        generation: seen.generation,
        found: seen.found.as_ref().map(|found| Box::new(found.record())),
    };
    let reply = standard::SENDER_OK.into();
    let outcome = transaction.claim(claim, Offered::default(), seen.followed, reply);
    (transaction, outcome)
}

/// RCPT and DATA come: advice, and what the data command leads to.
pub(crate) fn envelope(transaction: &mut Transaction) -> (Option<Discard>, DataOutcome) {
    let mut advice = None;
    match transaction.rcpt(RCPT).unwrap() {
        RcptOutcome::Ask { index } => {
            advice = transaction.answer_recipient(index, standard::RECIPIENT_OK.into());
        }
        RcptOutcome::Repeat(_) => {}
        other => panic!("{other:?} to the RCPT of the same transaction"),
    }
    (advice, transaction.data(Transfer::Data))
}

/// The transaction behind the 354, with so many lines.
pub(crate) fn receiving(seen: &Seen, lines: u8) -> Transaction {
    let (mut transaction, _) = claimed(seen);
    let _ = envelope(&mut transaction);
    transaction.confirm(Confirmation::Current);
    transaction.progress(octets(lines), Default::default());
    transaction
}

/// Advice that waits to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Advice(pub(crate) Discard);

impl Hash for Advice {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Part of it is private.
        format!("{:?}", self.0).hash(hasher);
    }
}

pub(crate) static SETTINGS: LazyLock<ServerSettings> =
    LazyLock::new(|| ServerSettings::new(1).unwrap().deta(true));

/// A time; none of the runs looks at it.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

/// RDLV in a session whose decision runs, `open` with a 120 out, `held` with the decision made.
pub(crate) fn delaying(open: bool, held: Option<rdlv::Decision>) -> rdlv::Server {
    let mut server = rdlv::Server::new(*SETTINGS);
    let _ = server.request(Rdlv { maxtimer: 60 }, Within::Transaction);
    let _ = server.submission(Submission::Data);
    server.end_of_data(at(0));
    if open {
        assert_eq!(server.due(at(60), Following::Nothing), rdlv::Due::Send);
        server.transmitted(at(60));
    }
    if let Some(held) = held {
        let _ = server.decided(held);
    }
    server
}

/// RDLV in a client that was sent a 120.
pub(crate) fn asked() -> rdlv::Client {
    let settings = rdlv::ClientSettings {
        reset_aborts: true,
        ..rdlv::ClientSettings::new(60)
    };
    let mut client = rdlv::Client::new(settings, &OFFERED).unwrap();
    client.requested();
    let _ = client.handle_reply(at(0), &standard::OK.into());
    client.submitted(rdlv::EndingVerb::Data);
    let _ = client.handle_reply(at(0), &standard::START_MAIL_INPUT.into());
    client.end_written(at(0));
    let interim = client.handle_reply(at(1), &standard::IN_PROGRESS.into());
    assert_eq!(interim, rdlv::ReplyOutcome::Interim);
    client
}
