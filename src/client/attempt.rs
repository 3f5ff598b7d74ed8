//! One attempt to send a transaction: what is known of it beyond the transaction itself.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::config::RdlvRequest;
use crate::checkpoint::{ContentCommand, Outcome, Sent, Stage, UnfinishedTransaction, Used};
use crate::dot::{ContentChecker, DotEncoder, FaultPolicy};
use crate::output::Position;
use crate::rdlv::{self, Repeat};
use crate::reply::Reply;

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) transaction: UnfinishedTransaction,
    /// What was stored last.
    pub(super) stored: Option<UnfinishedTransaction>,
    pub(super) used: Used,
    /// The content command that was planned; `used` may have another where the server has all.
    planned: ContentCommand,
    pub(super) mail: Bytes,
    pub(super) pipelining: bool,
    /// MAIL, RCPTs and DATA go in one group.
    pub(super) grouped: bool,
    /// Data may have been sent under the TRANSID before this attempt.
    pub(super) restart: bool,
    /// The most that this attempt has sent.
    pub(super) sent: Sent,
    /// 355s to a transaction that is no restart.
    pub(super) surprises: u8,
    pub(super) after_reset: AfterReset,
    /// The data mark is durable.
    pub(super) data_stored: bool,
    /// RCPTs from this index on are not written.
    pub(super) next_recipient: usize,
    pub(super) data_written: bool,
    /// A 355 is in force.
    pub(super) resumed: bool,
    /// The first octet to send.
    pub(super) from: u64,
    pub(super) lookbehind: u8,
    pub(super) look: Vec<u8>,
    /// The next octet that the caller gives.
    pub(super) given: u64,
    /// The caller was asked for content.
    pub(super) asked: bool,
    /// The caller has said that there is no more.
    pub(super) finished: bool,
    pub(super) encoder: Encoder,
    pub(super) end: Option<Position>,
    pub(super) finals: Vec<(usize, Reply)>,
    /// The refusal that ended the attempt while replies are still owed.
    pub(super) declined: Option<(Stage, Reply)>,
    /// RDLV, unless it was refused.
    pub(super) rdlv: Option<Rdlv>,
    /// The 520 after which the message is sent once more, when the replies owed have come.
    pub(super) repeat: Option<Again>,
    /// It was sent once more without RDLV: a second 520 makes no sense.
    pub(super) repeated: bool,
}

/// RDLV for an attempt.
#[derive(Debug)]
pub(super) struct Rdlv {
    pub(super) machine: rdlv::Client,
    pub(super) request: RdlvRequest,
    /// RDLV is written.
    pub(super) written: bool,
}

/// What is done again without RDLV.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) repeat: Repeat,
    pub(super) stage: Stage,
    pub(super) reply: Reply,
    /// LMTP: the recipients that were answered so, up to now.
    pub(super) answered: Vec<usize>,
    /// The caller wants no message without RDLV.
    pub(super) stop: bool,
}

/// What the reply to RSET leads to.
#[derive(Debug)]
pub(super) enum AfterReset {
    MailAgain,
    Conclude(Box<Outcome>),
}

#[derive(Debug)]
pub(super) enum Encoder {
    Dot(DotEncoder),
    Chunks {
        /// `None` for BODY=BINARYMIME, where all octets pass.
        checker: Option<ContentChecker>,
        chunk: BytesMut,
    },
}

impl Attempt {
    pub(super) fn new(
        transaction: UnfinishedTransaction,
        used: Used,
        mail: Bytes,
        pipelining: bool,
        rdlv: Option<Rdlv>,
    ) -> Self {
        // Under RDLV the verb that ends the message waits for the reply to RDLV.
        let grouped =
            pipelining && !used.transid && used.command == ContentCommand::Data && rdlv.is_none();
        let restart = transaction.is_restart() && used.transid;
        Self {
            transaction,
            stored: None,
            used,
            planned: used.command,
            mail,
            pipelining,
            grouped,
            restart,
            sent: Sent::Nothing,
            surprises: 0,
            after_reset: AfterReset::MailAgain,
            data_stored: false,
            next_recipient: 0,
            data_written: false,
            resumed: false,
            from: 0,
            lookbehind: 0,
            look: Vec::new(),
            given: 0,
            asked: false,
            finished: false,
            encoder: Encoder::Dot(DotEncoder::new()),
            end: None,
            finals: Vec::new(),
            declined: None,
            rdlv,
            repeat: None,
            repeated: false,
        }
    }

    /// RSET is answered, and the same MAIL is to be sent once more.
    pub(super) fn start_again(&mut self) {
        self.used.command = self.planned;
        // The server may hold what was sent before: discarding is advice (CP-16).
        self.restart |= self.used.transid && self.sent > Sent::Nothing;
        self.next_recipient = 0;
        self.data_written = false;
        self.resumed = false;
        self.from = 0;
        self.lookbehind = 0;
        self.look.clear();
        self.given = 0;
        self.asked = false;
        self.finished = false;
        self.encoder = Encoder::Dot(DotEncoder::new());
        self.end = None;
    }

    /// What the message was sent with from its start on: after a 355 what the first attempt used.
    pub(super) fn used_from_the_start(&self) -> Used {
        let before = self.transaction.used().filter(|_| self.resumed);
        before.unwrap_or(self.used)
    }

    /// The size of the message as it is transferred.
    pub(super) fn size(&self) -> u64 {
        self.transaction.content().size(self.used.command)
    }

    /// Octets of the content that the caller has.
    pub(super) fn octets(&self) -> u64 {
        self.transaction.content().octets
    }

    pub(super) fn is_binary(&self) -> bool {
        self.transaction.envelope().mail().body == Some(crate::command::Body::BinaryMime)
    }

    /// The server has all of the message and is asked for its reply only.
    ///
    /// What was meant for BDAT may have gone so in one attempt and by DATA in another, to servers
    /// that differ: then the CRLF that DATA adds is not missing, and to send it would be to send
    /// more than all.
    pub(super) fn is_complete(&self) -> bool {
        let went_by_chunks = self.transaction.wanted() != ContentCommand::Data;
        self.resumed && (self.from == self.size() || went_by_chunks && self.from == self.octets())
    }

    pub(super) fn accepted(&self) -> Vec<usize> {
        let accepted = self.transaction.envelope().accepted();
        accepted.map(|recipient| recipient.index()).collect()
    }

    pub(super) fn recipients(&self) -> usize {
        self.transaction.envelope().recipients().len()
    }

    /// Begins an encoder for text at its start, or for chunks at `from`.
    pub(super) fn begin_encoder(&mut self, policy: FaultPolicy) {
        self.encoder = match self.used.command {
            ContentCommand::Data => Encoder::Dot(DotEncoder::new().with_policy(policy)),
            // Nothing passes through the session with BURL.
            ContentCommand::Bdat | ContentCommand::Burl => Encoder::Chunks {
                checker: (!self.is_binary()).then(ContentChecker::new),
                chunk: BytesMut::new(),
            },
        };
    }
}
