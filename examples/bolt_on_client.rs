//! An SMTP client of its own that takes CHECKPOINT from the leaf modules: no session of the crate,
//! no `session` feature.
//!
//! ```text
//! cargo run --no-default-features --example bolt_on_client -- \
//!     ADDR FROM RCPT QUEUE-FILE MESSAGE
//! cargo run --no-default-features --example bolt_on_client -- --self-test
//! ```
//!
//! One message, one recipient, blocking socket, DATA, no pipelining. What such an engine needs for
//! restarts are [`UnfinishedTransaction`] in its queue, stored before MAIL and before DATA; an arm
//! for 355 behind MAIL; and content from an offset on. The arms marked `CHECKPOINT` are all there
//! is to it.
//!
//! Run it again with the same queue file until it says what became of the message.

#[path = "support/breaking_server.rs"]
mod breaking_server;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::checkpoint::{
    ClientScope, Content, ContentCommand, NextStep, Reconnect, RestartPolicy, Sent, Server, Stage,
    UnfinishedTransaction, Used, is_decisive,
};
use smtp_checkpoint::command::{ClientName, CommandLine, MailLine, RcptLine};
use smtp_checkpoint::dot::DotEncoder;
use smtp_checkpoint::ehlo::Capabilities;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{Reply, ReplyReader, Severity};
use smtp_checkpoint::transid::TransId;

use self::breaking_server::Break;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NAME: &str = "ymir.claremont.example";

/// What became of a message, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Delivered(Reply),
    /// 5yz: it goes back to its sender.
    Refused(Reply),
    /// Not decided: again later, from the same queue entry.
    Later(String),
    /// Under this TRANSID nothing will become of it, and nothing was delivered: again with a new
    /// one.
    Anew,
    /// It may have been delivered or not, and no server will tell.
    Unknown,
}

/// A message in the queue. The transaction is what RFC 1845 §4 wants remembered.
struct Entry {
    file: PathBuf,
    message: Vec<u8>,
    transaction: UnfinishedTransaction,
}

impl Entry {
    /// Takes the entry from the queue, or enters it.
    fn open(file: &Path, from: &str, to: &str, message: Vec<u8>) -> Outcome<Self> {
        let transaction = match fs::read(file) {
            Ok(octets) => UnfinishedTransaction::decode(&octets)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mail = MailLine::parse(format!("MAIL FROM:<{from}>").into_bytes())?;
                UnfinishedTransaction::builder(mail, Content::measure(&message), unix_time())
                    .recipient(RcptLine::parse(format!("RCPT TO:<{to}>").into_bytes())?)
                    .transid(new_transid()?)
                    .build()?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            file: file.to_owned(),
            message,
            transaction,
        })
    }

    /// Makes the transaction durable: written aside, synced, renamed, the directory synced.
    fn store(&self) -> io::Result<()> {
        let aside = self.file.with_extension("tmp");
        let mut file = File::create(&aside)?;
        file.write_all(&self.transaction.encode())?;
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    /// One attempt, and what it means for the queue.
    fn attempt(&mut self, server: SocketAddr) -> Outcome<Fate> {
        let content = Content::measure(&self.message);
        let policy = RestartPolicy::default();
        let fate = match self.transaction.next_step(unix_time(), &policy, &content) {
            NextStep::Send => Client::deliver(self, server)?,
            NextStep::StartOver => Fate::Anew,
            NextStep::Unknown => Fate::Unknown,
        };
        match &fate {
            Fate::Later(_) | Fate::Unknown => {}
            Fate::Anew => {
                let transid = Some(new_transid()?);
                self.transaction = self.transaction.start_over(transid, content, unix_time());
                self.store()?;
            }
            // A crash before this is harmless: the server tells the same once more.
            Fate::Delivered(_) | Fate::Refused(_) => fs::remove_file(&self.file)?,
        }
        Ok(fate)
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    input: Bytes,
    replies: ReplyReader,
}

impl Client {
    /// Delivers what is in the entry, as far as it gets. A connection that breaks ends it early;
    /// what is stored then is on the safe side.
    fn deliver(entry: &mut Entry, server: SocketAddr) -> Outcome<Fate> {
        match Self::converse(entry, server) {
            Err(error) if error.is::<io::Error>() => Ok(Fate::Later(error.to_string())),
            other => other,
        }
    }

    fn converse(entry: &mut Entry, server: SocketAddr) -> Outcome<Fate> {
        let mut smtp = Self {
            stream: TcpStream::connect(server)?,
            input: Bytes::new(),
            replies: ReplyReader::new(),
        };
        smtp.stream.set_nodelay(true)?;
        smtp.stream
            .set_read_timeout(Some(Duration::from_secs(300)))?;
        let greeting = smtp.reply()?;
        if greeting.severity() != Severity::Completion {
            return Ok(later(&greeting));
        }
        let name = ClientName::parse(NAME)?;
        let hello = smtp.say(CommandLine::ehlo(&name).as_bytes())?;
        let offered = match hello.severity() {
            Severity::Completion => Capabilities::from_reply(&hello, &Limits::default())?,
            _ => return Ok(later(&hello)), // here an engine for all servers would say HELO
        };
        let fate = smtp.transact(entry, &offered, server)?;
        // RSET would make the server forget what a restart needs; QUIT does not.
        let _ = smtp.say(CommandLine::quit().as_bytes());
        Ok(fate)
    }

    fn transact(
        &mut self,
        entry: &mut Entry,
        offered: &Capabilities,
        address: SocketAddr,
    ) -> Outcome<Fate> {
        // CHECKPOINT: a restart is sent as the first attempt was, from where that came from.
        let restart = entry.transaction.is_restart() && offered.checkpoint();
        let used = match entry.transaction.used() {
            Some(used) if restart => used.again(&entry.transaction, offered)?,
            _ => Used::first(&entry.transaction, offered)?,
        };
        let scope = ClientScope {
            name: NAME.into(),
            local_address: self.stream.local_addr()?.ip().to_string().into_bytes(),
            ..ClientScope::default()
        };
        Reconnect::new(&entry.transaction).check(&scope)?;
        if entry.transaction.sent() == Sent::EndOfData && !restart {
            return Ok(Fate::Later(
                "this server cannot tell what became of it".into(),
            ));
        }

        // CHECKPOINT: the TRANSID is durable before a server sees it.
        entry.transaction.begin_attempt();
        entry.store()?;
        let size = entry.transaction.content().size(ContentCommand::Data);
        let size = offered.size().map(|_| size);
        let reply = self.say(&used.mail_line(&entry.transaction, size)?)?;
        let mut encoder = DotEncoder::new();
        let mut rest = &entry.message[..];
        let mut leave_out_recipients = false;
        match reply.code().get() {
            250 => entry.transaction.mail_accepted(&reply),
            // CHECKPOINT: the server has the octets before the offset.
            355 if restart => {
                let offset = OctetOffset::from_reply_text(reply.first_line())?;
                match resume(&entry.message, offset) {
                    Some(resumed) => (encoder, rest) = resumed,
                    None => return self.give_up_transid(&entry.transaction),
                }
                leave_out_recipients = entry.transaction.may_leave_out_recipients();
            }
            // CHECKPOINT: somebody else's, as nothing was ever sent under this one.
            355 if used.transid => return self.give_up_transid(&entry.transaction),
            _ => return Ok(declined(&entry.transaction, reply)),
        }
        if !leave_out_recipients {
            let reply = self.say(&used.rcpt_line(&entry.transaction, 0)?)?;
            entry.transaction.recipient_answered(0, &reply);
            if entry.transaction.envelope().accepted().next().is_none() {
                return Ok(declined(&entry.transaction, reply));
            }
        }

        // CHECKPOINT: from here on a crash leaves a restart. The mark says that all was sent: an
        // engine that stores again after a loss may say less.
        let server = Server {
            host: Vec::new(),
            address: address.to_string().into_bytes(),
        };
        let unsent = entry.transaction.clone();
        entry.transaction.will_send(used, scope, server);
        entry.transaction.may_have_sent(Sent::EndOfData);
        entry.store()?;
        let reply = self.say(CommandLine::data().as_bytes())?;
        if reply.severity() != Severity::Intermediate {
            entry.transaction = unsent;
            entry.store()?;
            return Ok(declined(&entry.transaction, reply));
        }
        let mut wire = BytesMut::new();
        while !rest.is_empty() {
            encoder.encode(&mut rest, &mut wire, 16 * 1024)?;
            self.stream.write_all(&wire)?;
            wire.clear();
        }
        self.stream.write_all(encoder.finish()?)?;
        let reply = self.reply()?;
        Ok(match reply.severity() {
            // CHECKPOINT: anything but a final reply to the end of the data decides nothing.
            _ if !is_decisive(Stage::EndOfData, &reply) => later(&reply),
            Severity::Completion => Fate::Delivered(reply),
            Severity::PermanentFailure => Fate::Refused(reply),
            // Decided: the TRANSID is spent, and nothing was delivered.
            _ => Fate::Anew,
        })
    }

    /// To go on under this TRANSID would corrupt the message, or add to somebody else's.
    fn give_up_transid(&mut self, transaction: &UnfinishedTransaction) -> Outcome<Fate> {
        self.say(CommandLine::rset().as_bytes())?;
        Ok(match transaction.sent() {
            Sent::EndOfData => Fate::Unknown,
            Sent::Nothing | Sent::Data => Fate::Anew,
        })
    }

    fn say(&mut self, line: &[u8]) -> Outcome<Reply> {
        self.stream.write_all(&[line, b"\r\n"].concat())?;
        self.reply()
    }

    fn reply(&mut self) -> Outcome<Reply> {
        let limits = Limits::default();
        loop {
            if let Some(reply) = self.replies.read(&mut self.input, &limits) {
                return Ok(reply?);
            }
            let mut buffer = BytesMut::zeroed(4096);
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            buffer.truncate(count);
            self.input = buffer.freeze();
        }
    }
}

/// Where to go on after a 355. `None` where that would corrupt the message.
fn resume(message: &[u8], offset: OctetOffset) -> Option<(DotEncoder, &[u8])> {
    let at = usize::try_from(offset.get()).ok()?;
    let (before, rest) = message.split_at_checked(at)?;
    let encoder = DotEncoder::resume(offset, before, rest.first().copied()).ok()?;
    Some((encoder, rest))
}

/// The server said no before the end of the data. That decides the message only if no attempt has
/// sent that end.
fn declined(transaction: &UnfinishedTransaction, reply: Reply) -> Fate {
    let is_final = transaction.sent() < Sent::EndOfData;
    match reply.severity() {
        Severity::PermanentFailure if is_final => Fate::Refused(reply),
        _ => later(&reply),
    }
}

fn later(reply: &Reply) -> Fate {
    Fate::Later(format!("the server said {}", reply.code().get()))
}

/// 128 bits that nobody can guess.
fn new_transid() -> Outcome<TransId> {
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(TransId::from_random(random, NAME.as_bytes())?)
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// A server whose connections break, one after the other, in all places that matter.
fn self_test() -> Outcome {
    let mut message = b"Subject: pieces\r\n\r\n".to_vec();
    for line in 0..2000 {
        message.extend_from_slice(format!("{}line {line}\r\n", ".".repeat(line % 3)).as_bytes());
    }
    let breaks = vec![
        Break::Mail,
        Break::Data,
        Break::Content(0),
        Break::Content(1),
        Break::Content(4321),
        Break::Mail,
        Break::Content(9876),
        Break::FinalReply,
        Break::Data,
        Break::FinalReply,
        Break::Never,
    ];
    let attempts = breaks.len();
    let (server, mailbox) = breaking_server::start(breaks)?;
    let queue = std::env::temp_dir().join(format!("bolt-on-client-{}", std::process::id()));
    let mut fates = Vec::new();
    for _ in 0..attempts {
        println!("--- the client starts");
        // As after a crash: nothing is known but what is in the queue.
        let (from, to) = ("ned@claremont.example", "mrose@example.net");
        let mut entry = Entry::open(&queue, from, to, message.clone())?;
        let fate = entry.attempt(server)?;
        println!("--- {fate:?}");
        fates.push(fate);
    }
    let mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
    let (last, before) = fates.split_last().ok_or("no attempt was made")?;
    for (is_so, claim) in [
        (
            before.iter().all(|fate| matches!(fate, Fate::Later(_))),
            "broken attempts are repeated",
        ),
        (matches!(last, Fate::Delivered(_)), "the last one delivers"),
        (
            mailbox.delivered == [message.clone()],
            "the message arrives once, and as it was sent",
        ),
        (
            mailbox
                .offsets
                .iter()
                .any(|at| (1..message.len() as u64).contains(at)),
            "it goes on in the middle",
        ),
        (mailbox.offsets.is_sorted(), "it never goes back"),
        (!queue.exists(), "the queue is empty"),
    ] {
        println!("{}: {claim}", if is_so { "ok" } else { "FAILED" });
        if !is_so {
            return Err(claim.into());
        }
    }
    Ok(())
}

fn send(server: &str, from: &str, to: &str, queue: &str, message: &str) -> Outcome {
    let mut message = fs::read(message)?;
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        message.extend_from_slice(b"\r\n");
    }
    let fate = Entry::open(Path::new(queue), from, to, message)?.attempt(server.parse()?)?;
    match fate {
        Fate::Delivered(_) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--self-test"] => self_test(),
        [server, from, to, queue, message] => send(server, from, to, queue, message),
        _ => Err("usage: bolt_on_client ADDR FROM RCPT QUEUE-FILE MESSAGE | --self-test".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
