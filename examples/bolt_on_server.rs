//! An SMTP engine of its own that takes CHECKPOINT from the leaf modules: no session of the crate,
//! no `session` feature.
//!
//! ```text
//! cargo run --no-default-features --example bolt_on_server -- [--listen ADDR]
//! cargo run --no-default-features --example bolt_on_server -- --self-test
//! ```
//!
//! One thread a connection, blocking sockets, DATA only. What RFC 1845 wants decided is decided by
//! [`Transaction`]; the engine tells it what came, and does what it says. CHECKPOINT costs it the
//! second `impl Engine` and an arm or a line where that is used, about 100 lines in all.
//!
//! The store is in memory and forgets everything at the end; what a store for real mail has to do
//! is in its first lines.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/self_test.rs"]
mod self_test;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::checkpoint::{
    Claim, Completion, Confirmation, DataOutcome, Discard, EndOutcome, Generation, Identity,
    MailOutcome, Offered, RcptOutcome, Scope, Transaction, TransactionKey, Transfer, Verdict,
};
use smtp_checkpoint::command::{Body, Command, DomainOrLiteral, Mail, Rcpt};
use smtp_checkpoint::dot::{DecodeStatus, DotDecoder, FaultPolicy};
use smtp_checkpoint::line::{Following, LineReader};
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{Reply, StaticReply, standard as reply};

use crate::memory::{Awaited, Store};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const SIZE_LIMIT: u64 = 50 << 20;
/// A client is often back before the server knows that its connection is lost: what it can go on
/// from then is the last record, made whenever so many octets have come.
const RECORD_EVERY: u64 = 64 * 1024;

/// Why a connection is left.
enum Over {
    /// By the client, or by the network.
    Lost,
    /// Another connection has taken the key: 421, and never a final 2yz.
    Fenced,
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// The engine's end of the wire.
struct Wire {
    stream: Arc<TcpStream>,
    input: Bytes,
    lines: LineReader,
}

impl Wire {
    fn fill(&mut self) -> Result<(), Over> {
        let mut buffer = BytesMut::zeroed(16 * 1024);
        let octets = self.stream.as_ref().read(&mut buffer)?;
        buffer.truncate(octets);
        self.input = buffer.freeze();
        if octets == 0 { Err(Over::Lost) } else { Ok(()) }
    }

    /// The next line; an empty one, which is no command, for what is none.
    fn line(&mut self) -> Result<Bytes, Over> {
        loop {
            match self.lines.read(&mut self.input, 2048) {
                Some(line) => return Ok(line.unwrap_or_default()),
                None => self.fill()?,
            }
        }
    }

    fn say(&mut self, line: &str) -> Result<(), Over> {
        let line = format!("{line}\r\n");
        Ok(self.stream.as_ref().write_all(line.as_bytes())?)
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), Over> {
        let mut octets = BytesMut::new();
        reply.encode(false, &mut octets);
        Ok(self.stream.as_ref().write_all(&octets)?)
    }

    fn fixed(&mut self, reply: StaticReply) -> Result<(), Over> {
        self.reply(&reply.into())
    }
}

/// One connection.
struct Engine {
    wire: Wire,
    store: Arc<Store>,
    peer: String,
    hello: Option<Bytes>,
    /// Between the reply to MAIL and the final reply.
    in_mail: bool,
    transaction: Transaction,
    /// The content of a message that no record is kept of.
    spool: Vec<u8>,
    /// The generation of the claim that this connection has.
    claimed: Arc<AtomicU64>,
}

impl Engine {
    fn new(stream: TcpStream, from: SocketAddr, store: Arc<Store>) -> Self {
        let wire = Wire {
            stream: Arc::new(stream),
            input: Bytes::new(),
            lines: LineReader::new(),
        };
        Self {
            wire,
            store,
            peer: from.ip().to_string(),
            hello: None,
            in_mail: false,
            transaction: Transaction::default(),
            spool: Vec::new(),
            claimed: Arc::default(),
        }
    }

    fn serve(mut self) -> Result<(), Over> {
        let patience = Some(Duration::from_secs(300));
        self.wire.stream.set_read_timeout(patience)?;
        self.wire.say("220 bolt-on.example.net ready")?;
        let over = self.commands();
        self.keep();
        if matches!(over, Err(Over::Fenced)) || self.is_fenced() {
            self.wire.fixed(reply::FENCED)?;
        }
        over
    }

    /// Commands up to QUIT.
    fn commands(&mut self) -> Result<(), Over> {
        loop {
            let line = self.wire.line()?;
            match Command::parse(&line) {
                Ok(Command::Ehlo(name)) => {
                    self.reset();
                    self.hello = Some(line.slice_ref(name));
                    self.wire.say("250-bolt-on.example.net")?;
                    self.wire.say("250-CHECKPOINT")?;
                    self.wire.say("250-8BITMIME")?;
                    self.wire.say("250-PIPELINING")?;
                    self.wire.say(&format!("250 SIZE {SIZE_LIMIT}"))?;
                }
                Ok(Command::Mail(mail)) => self.mail(&line, &mail)?,
                Ok(Command::Rcpt(rcpt)) => self.rcpt(&line, &rcpt)?,
                Ok(Command::Data) => self.data()?,
                Ok(Command::Rset) => {
                    self.reset();
                    self.wire.fixed(reply::OK)?;
                }
                Ok(Command::Noop(_)) => self.wire.fixed(reply::OK)?,
                Ok(Command::Quit) => return self.wire.fixed(reply::CLOSING),
                Ok(_) => self.wire.fixed(reply::UNKNOWN_COMMAND)?,
                Err(error) => self.wire.reply(&error.reply())?,
            }
        }
    }

    /// RSET, EHLO: what is left of the transaction is given up.
    fn reset(&mut self) {
        let discard = self.transaction.reset();
        self.discard(discard);
        self.over();
    }

    fn over(&mut self) {
        self.in_mail = false;
        self.transaction.clear();
        self.spool.clear();
        self.claimed.store(0, Ordering::SeqCst);
    }

    fn mail(&mut self, line: &[u8], mail: &Mail<'_>) -> Result<(), Over> {
        let Some(hello) = self.hello.clone().filter(|_| !self.in_mail) else {
            return self.wire.fixed(reply::BAD_SEQUENCE);
        };
        // What this engine does not offer. A TRANSID it does; TRANSOFF is another extension's.
        let beyond = mail.smtputf8 || mail.ret.is_some() || mail.envid.is_some();
        let beyond = beyond || mail.auth.is_some() || mail.body == Some(Body::BinaryMime);
        let beyond = beyond || mail.transoff.is_some();
        if beyond || mail.unknown_parameters().next().is_some() {
            return self.wire.fixed(reply::UNKNOWN_PARAMETER);
        }
        if mail.size.is_some_and(|size| size > SIZE_LIMIT) {
            return self.wire.fixed(reply::MESSAGE_TOO_BIG);
        }
        let (name, address, tls) = (hello.as_ref(), self.peer.as_bytes(), false);
        let identity = Identity::Host { name, address };
        let scope = Scope { identity, tls };
        let key = mail.transid.map(|id| TransactionKey::new(&scope, id));
        let claim = self.claim(key.as_ref());
        if self.transaction.begin(line, key).is_err() {
            return self.wire.fixed(reply::BAD_ARGUMENT);
        }
        self.in_mail = true;
        // A client that sends on without waiting cannot use a 355.
        let following = if self.wire.input.is_empty() && !self.wire.lines.is_mid_line() {
            Following::Nothing
        } else {
            Following::Input
        };
        let accepted = reply::SENDER_OK;
        let (offered, reply) = (Offered::default(), accepted.into());
        match self.transaction.claim(claim, offered, following, reply) {
            MailOutcome::Fresh => self.wire.fixed(accepted),
            MailOutcome::Restart(offset) => self.wire.reply(&Reply::checkpoint_offset(offset)),
            MailOutcome::SequenceError => {
                self.over();
                self.wire.fixed(reply::BAD_SEQUENCE)
            }
        }
    }

    fn rcpt(&mut self, line: &[u8], rcpt: &Rcpt<'_>) -> Result<(), Over> {
        if !self.in_mail {
            return self.wire.fixed(reply::BAD_SEQUENCE);
        }
        if rcpt.has_parameters() {
            return self.wire.fixed(reply::UNKNOWN_PARAMETER);
        }
        match self.transaction.rcpt(line) {
            Ok(RcptOutcome::Ask { index }) => {
                let own = DomainOrLiteral::Domain(b"example.net");
                let mailbox = rcpt.forward_path.mailbox();
                let reply = if mailbox.is_none_or(|it| it.domain().same_domain(own)) {
                    reply::RECIPIENT_OK
                } else {
                    reply::NO_SUCH_MAILBOX
                };
                let discard = self.transaction.answer_recipient(index, reply.into());
                self.discard(discard);
                self.wire.fixed(reply)
            }
            Ok(RcptOutcome::Repeat(reply)) => self.wire.reply(&reply),
            Ok(RcptOutcome::Unknown) => self.wire.fixed(reply::UNKNOWN_RECIPIENT_ON_RESTART),
            Ok(RcptOutcome::OutOfOrder) => self.wire.fixed(reply::BAD_SEQUENCE),
            Err(_) => self.wire.fixed(reply::BAD_ARGUMENT),
        }
    }

    fn data(&mut self) -> Result<(), Over> {
        if !self.in_mail {
            return self.wire.fixed(reply::BAD_SEQUENCE);
        }
        let start = match self.transaction.data(Transfer::Data) {
            DataOutcome::Begin(start) => start,
            DataOutcome::NoRecipients => return self.wire.fixed(reply::NO_VALID_RECIPIENTS),
            DataOutcome::Mixed => return self.wire.fixed(reply::BAD_SEQUENCE),
            DataOutcome::Confirm {
                generation,
                length,
                fresh,
            } => match self.confirm(generation, length, fresh)? {
                Confirmation::WrongLength => return self.wire.fixed(reply::LOCAL_ERROR),
                _ => length,
            },
        };
        self.wire.fixed(reply::START_MAIL_INPUT)?;
        let decoder = self.content(start)?;
        let replies = match self.refusal(&decoder) {
            Some(refusal) => {
                let discard = self.transaction.refuse();
                self.discard(discard);
                vec![refusal.into()]
            }
            None => self.end(decoder.offset())?,
        };
        // The decision stands, but a connection that has lost the key says nothing of it.
        if self.is_fenced() {
            return Err(Over::Fenced);
        }
        self.over();
        replies.iter().try_for_each(|reply| self.wire.reply(reply))
    }

    /// The content, up to the final dot.
    fn content(&mut self, start: OctetOffset) -> Result<DotDecoder, Over> {
        let mut decoder = DotDecoder::starting_at(start);
        let mut recorded = start.get();
        loop {
            let (at, mut batch) = (decoder.offset(), Vec::new());
            let status = decoder.decode_batch(&mut self.wire.input, &mut batch, 64 * 1024);
            // What stands behind the end of a complete message is only counted: end() judges it.
            let complete = self.transaction.is_complete();
            let claim = self.transaction.key().zip(self.transaction.generation());
            match claim {
                _ if complete => {}
                _ if decoder.offset().get() > SIZE_LIMIT => {}
                Some((key, generation)) => {
                    let stored = self.store.append(key, generation, at, &batch);
                    stored.map_err(|_| Over::Fenced)?;
                    let length = decoder.line_start_offset();
                    let faults = decoder.faults_before(length);
                    self.transaction.progress(length, faults);
                    if length.get() - recorded >= RECORD_EVERY {
                        recorded = length.get();
                        self.keep();
                    }
                }
                None => batch.iter().for_each(|it| self.spool.extend_from_slice(it)),
            }
            match status {
                DecodeStatus::End => return Ok(decoder),
                DecodeStatus::BatchFull => {}
                DecodeStatus::NeedInput => self.wire.fill()?,
            }
        }
    }

    /// Why the content cannot be taken, whatever is in it. Faults of earlier attempts count too.
    fn refusal(&mut self, decoder: &DotDecoder) -> Option<StaticReply> {
        if self.transaction.is_complete() {
            return None;
        }
        if decoder.offset().get() > SIZE_LIMIT {
            return Some(reply::MESSAGE_TOO_BIG);
        }
        self.transaction
            .progress(decoder.offset(), decoder.faults());
        let fault = self.transaction.faults().refused_by(FaultPolicy::KEEP_NUL);
        fault.map(|_| reply::BAD_CONTENT)
    }

    /// All data is in: the final reply.
    fn end(&mut self, total: OctetOffset) -> Result<Vec<Reply>, Over> {
        match self.transaction.end(total) {
            EndOutcome::Decide => self.decide(),
            EndOutcome::Await => self.await_decision(),
            EndOutcome::Retained {
                completion,
                discard,
            } => {
                self.discard(discard);
                Ok(completion.replies)
            }
            EndOutcome::ContentAfterEnd => Ok(vec![reply::TRANSACTION_FAILED.into()]),
        }
    }

    fn decide(&mut self) -> Result<Vec<Reply>, Over> {
        let record = self.transaction.snapshot();
        let decision = match self.transaction.key().zip(record) {
            Some((key, record)) => self.store.begin(key, &record).map_err(|_| Over::Fenced)?,
            None => {
                let content = std::mem::take(&mut self.spool);
                let envelope = self.transaction.envelope();
                self.store.begin_unrecorded(envelope, content)
            }
        };
        let verdict = scan(decision.content());
        // The decision belongs to the record: it is committed whoever has the key by now.
        decision.commit(&verdict).map_err(|_| Over::Lost)?;
        Ok(verdict.replies().to_vec())
    }
}

/// In the place of a generation: another connection has the key.
const FENCED: u64 = u64::MAX;

/// What CHECKPOINT needs of the engine.
impl Engine {
    /// Claims the key. Whoever takes it away later wakes this thread, which then finds the end of
    /// its input; unless it has gone on to another transaction.
    fn claim(&self, key: Option<&TransactionKey>) -> Claim {
        let Some(key) = key else {
            return Claim::Unrecorded;
        };
        let (claimed, stream) = (self.claimed.clone(), Arc::downgrade(&self.wire.stream));
        let fenced = move |Generation(lost)| {
            let order = Ordering::SeqCst;
            let lost = claimed.compare_exchange(lost, FENCED, order, order);
            if let (Ok(_), Some(stream)) = (lost, stream.upgrade()) {
                let _ = stream.shutdown(Shutdown::Read);
            }
        };
        let claim = self.store.claim(key, Box::new(fenced));
        if let Claim::Claimed { generation, .. } = &claim {
            self.claimed.store(generation.0, Ordering::SeqCst);
        }
        claim
    }

    fn is_fenced(&self) -> bool {
        self.claimed.load(Ordering::SeqCst) == FENCED
    }

    /// Whether the claim still stands, when content is about to come.
    fn confirm(
        &mut self,
        generation: Generation,
        length: OctetOffset,
        fresh: bool,
    ) -> Result<Confirmation, Over> {
        let key = self.transaction.key().ok_or(Over::Lost)?;
        let confirmation = self.store.confirm(key, generation, length, fresh);
        let discard = self.transaction.confirm(confirmation);
        self.discard(discard);
        match confirmation {
            Confirmation::Outdated => Err(Over::Fenced),
            current_or_wrong => Ok(current_or_wrong),
        }
    }

    /// Keeps what there is of an unfinished transaction.
    fn keep(&mut self) {
        let record = self.transaction.snapshot();
        if let Some((key, record)) = self.transaction.key().zip(record) {
            // Refused where another connection has the key: then it is of no use.
            let _ = self.store.save(key, &record);
        }
    }

    fn discard(&self, discard: Option<Discard>) {
        discard
            .iter()
            .for_each(|discard| self.store.discard(discard));
    }

    /// Another connection began the decision and was lost; this one gives the reply.
    fn await_decision(&mut self) -> Result<Vec<Reply>, Over> {
        let key = self.transaction.key().ok_or(Over::Lost)?;
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |outcome| drop(tell.send(outcome)));
        self.store.wait(key, self.transaction.generation(), tell);
        match told.recv_timeout(Duration::from_secs(540)) {
            Ok(Awaited::Decided(Completion { replies, .. })) => Ok(replies),
            Ok(Awaited::Withdrawn) => {
                self.transaction.decide_anew();
                self.decide()
            }
            Ok(Awaited::Outdated) => Err(Over::Fenced),
            // While a decision runs no reply promises less than any.
            Err(_) => Err(Over::Lost),
        }
    }
}

/// Stands for what takes a scanner minutes.
fn scan(_content: &[u8]) -> Verdict {
    thread::sleep(Duration::from_millis(300));
    reply::MESSAGE_ACCEPTED.into()
}

/// Accepts connections for ever.
fn run(listener: &TcpListener, store: &Arc<Store>) {
    for stream in listener.incoming() {
        store.sweep(Duration::from_secs(48 * 3600));
        let Ok(stream) = stream else {
            // Out of file descriptors, mostly: others will be closed.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let store = Arc::clone(store);
        thread::spawn(move || {
            let from = stream.peer_addr()?;
            let _ = Engine::new(stream, from, store).serve();
            io::Result::Ok(())
        });
    }
}

/// The script of `support/self_test.rs` against this server.
fn self_test() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let store = Arc::new(Store::default());
    let shared = Arc::clone(&store);
    thread::spawn(move || run(&listener, &shared));
    self_test::run(address, &store)
}

fn listen(address: &str) -> Outcome {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    run(&listener, &Arc::default());
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--self-test"] => self_test(),
        [] => listen("127.0.0.1:2525"),
        ["--listen", address] => listen(address),
        _ => Err("usage: bolt_on_server [--listen ADDR] | --self-test".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
