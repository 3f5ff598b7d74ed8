//! Drives a client session on a blocking socket: one attempt to send one transaction.
//!
//! A thread of its own reads, so that what the server says is heard while the client writes; a
//! server that takes no more data until its replies are read would otherwise wait for ever. The
//! caller's thread owns the session.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Outcome, Server, UnfinishedTransaction};
use smtp_checkpoint::client::{
    ChoiceError, ChoiceQuestion, ClientConfig, ClientSession, Connection, Ending, Event,
    RecipientVerdict, SendError,
};
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::reply::Reply;
use smtp_checkpoint::time::Timestamp;

/// The replies to RCPT, with the place of each recipient in the transaction.
pub type Recipients = Vec<(usize, RecipientVerdict, Reply)>;

/// What the mail system does for an attempt.
pub trait Delivery {
    /// Makes the transaction durable.
    ///
    /// # Errors
    ///
    /// Then the attempt ends, and what was stored before holds.
    fn store(&mut self, transaction: &UnfinishedTransaction) -> io::Result<()>;

    /// The content from this octet on.
    ///
    /// # Errors
    ///
    /// Then the attempt ends.
    fn content(&mut self, start: u64) -> io::Result<Box<dyn Read>>;

    /// Makes the outcome durable.
    ///
    /// # Errors
    ///
    /// As for [`store`](Self::store).
    fn done(&mut self, outcome: &Outcome, recipients: &Recipients) -> io::Result<()>;

    /// The server is still deciding on the message: what to do. Somebody who has to be asked
    /// first is asked on another thread, and the answer brought here; [`ChoiceQuestion::until`]
    /// says how long there is.
    fn still_deciding(&mut self, question: &ChoiceQuestion) -> Choice;

    /// Octets as they are written (`C`) and read (`S`), for a trace.
    fn saw(&mut self, _side: char, _octets: &[u8]) {}
}

/// How an attempt ended.
#[derive(Debug)]
pub struct Attempt {
    pub ending: Ending,
    /// `None` where it did not come to a transaction.
    pub outcome: Option<Outcome>,
    /// The server refused the client.
    pub rejected: Option<Reply>,
    /// The transaction cannot be sent to this server.
    pub not_here: Option<SendError>,
}

/// How long one write may take before replies are looked for.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long the server has to say why it takes no more.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Makes one attempt over a connection that has just been opened.
///
/// # Errors
///
/// Where the socket cannot be set up, and what `delivery` fails with.
pub fn attempt(
    mut stream: TcpStream,
    config: &Arc<ClientConfig>,
    server: Server,
    transaction: &UnfinishedTransaction,
    delivery: &mut impl Delivery,
) -> io::Result<Attempt> {
    stream.set_nodelay(true)?; // a command is never worth waiting for the next one
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let connection = Connection {
        server,
        local_address: stream.local_addr()?.ip().to_string().into_bytes(),
        ..Connection::default()
    };
    let input = Input::new(&stream)?;

    let origin = Instant::now();
    let now = || Timestamp::from_origin(origin.elapsed());
    let mut smtp = ClientSession::connected(Arc::clone(config), connection, now());
    let mut source = Source::default();
    let mut recipients = Recipients::new();
    let mut attempt = Attempt {
        ending: Ending::Lost,
        outcome: None,
        rejected: None,
        not_here: None,
    };
    let mut failed_to_write = None;
    let mut failure = None;
    loop {
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Ready if attempt.outcome.is_some() => smtp.quit(now()).map_err(misuse)?,
                Event::Ready => {
                    if let Err(error) = smtp.send(now(), transaction) {
                        attempt.not_here = Some(error);
                        smtp.quit(now()).map_err(misuse)?;
                    }
                }
                Event::Store(question) => {
                    delivery.store(question.transaction())?;
                    smtp.stored(now(), question).map_err(misuse)?;
                }
                Event::Recipient {
                    index,
                    reply,
                    verdict,
                } => {
                    // Where the transaction is begun again, so are its recipients.
                    let before = recipients.partition_point(|(known, ..)| *known < index);
                    recipients.truncate(before);
                    recipients.push((index, verdict, reply));
                }
                Event::SendContent { start, .. } => match delivery.content(start.get()) {
                    Ok(reader) => source = Source::new(reader),
                    Err(error) => {
                        failure = Some(error);
                        smtp.abandon(now());
                    }
                },
                Event::StillDeciding(question) => {
                    let choice = delivery.still_deciding(&question);
                    choose(&mut smtp, now(), question, choice)?;
                }
                Event::StopContent => source = Source::default(),
                Event::Done(outcome) => {
                    delivery.done(&outcome, &recipients)?;
                    attempt.outcome = Some(outcome);
                    smtp.outcome_stored(now()).map_err(misuse)?;
                }
                Event::Rejected(reply) => attempt.rejected = Some(reply),
                Event::Finished(ending) => {
                    attempt.ending = ending;
                    return failure.map_or(Ok(attempt), Err);
                }
                // Not asked for by the configuration, or only worth a log.
                _ => {}
            }
        }
        // Content may bring events: they must not wait for what the server says next.
        let is_fed = smtp.wants_content();
        while smtp.wants_content() {
            match source.fill() {
                // A message that is not the one that was measured ends the session by itself.
                Ok([]) => drop(smtp.finish_content(now())),
                Ok(mut octets) => {
                    let before = octets.len();
                    let _ = smtp.send_content(now(), &mut octets);
                    let taken = before - octets.len();
                    source.consume(taken);
                }
                Err(error) => {
                    // The message must not be ended as if it were whole.
                    failure = Some(error);
                    smtp.abandon(now());
                }
            }
        }
        let can_write = !smtp.output().is_empty() && failed_to_write.is_none();
        if can_write {
            match stream.write(smtp.output()) {
                Ok(count) => {
                    delivery.saw('C', smtp.output().get(..count).unwrap_or_default());
                    smtp.transmitted(now(), count).map_err(misuse)?;
                }
                Err(error) if is_temporary(&error) => {}
                Err(_) => failed_to_write = Some(Instant::now() + LAST_WORDS),
            }
        }
        let wait = match failed_to_write {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None if is_fed || !smtp.output().is_empty() => Duration::ZERO,
            None => smtp
                .poll_timeout()
                .map_or(LAST_WORDS, |deadline| deadline.since(now())),
        };
        match input.next(wait) {
            Ok(Some(mut octets)) => {
                delivery.saw('S', &octets);
                smtp.handle_input(now(), &mut octets);
            }
            Ok(None) => smtp.handle_eof(now()),
            Err(RecvTimeoutError::Timeout) if failed_to_write.is_none() => {
                smtp.handle_timeout(now());
            }
            Err(_) => smtp.handle_eof(now()),
        }
    }
}

/// Answers a 120. Where DETA is not possible, the client waits on.
fn choose(
    smtp: &mut ClientSession,
    now: Timestamp,
    question: ChoiceQuestion,
    choice: Choice,
) -> io::Result<()> {
    let chosen = match smtp.choose(now, question, choice) {
        Err(ChoiceError::NoDetach(question)) => smtp.choose(now, question, Choice::CarryOn),
        chosen => chosen,
    };
    chosen.map(drop).map_err(io::Error::other)
}

/// The loop above is out of step with the session: never seen.
fn misuse(error: smtp_checkpoint::error::UsageError) -> io::Error {
    io::Error::other(error)
}

fn is_temporary(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Content on its way to the session.
struct Source {
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    read: usize,
}

impl Default for Source {
    fn default() -> Self {
        Self::new(Box::new(io::empty()))
    }
}

impl Source {
    fn new(reader: Box<dyn Read>) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            read: 0,
        }
    }

    /// The next octets; none at the end.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.read == self.buffer.len() {
            self.buffer.resize(64 * 1024, 0);
            let count = self.reader.read(&mut self.buffer);
            self.buffer.truncate(*count.as_ref().unwrap_or(&0));
            self.read = 0;
            count?;
        }
        Ok(self.buffer.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, octets: usize) {
        self.read += octets;
    }
}

/// The thread that reads. It ends with the connection, which ends with this value.
struct Input {
    stream: TcpStream,
    /// `None` is the end.
    octets: Option<Receiver<Option<Bytes>>>,
    reader: Option<JoinHandle<()>>,
}

impl Input {
    fn new(stream: &TcpStream) -> io::Result<Self> {
        // Few pieces only: a server that talks too much has to wait.
        let (sender, octets) = sync_channel(4);
        let reader = stream.try_clone()?;
        Ok(Self {
            stream: stream.try_clone()?,
            octets: Some(octets),
            reader: Some(thread::spawn(move || read(reader, &sender))),
        })
    }

    fn next(&self, wait: Duration) -> Result<Option<Bytes>, RecvTimeoutError> {
        match &self.octets {
            Some(octets) => octets.recv_timeout(wait),
            None => Err(RecvTimeoutError::Disconnected),
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.octets = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read(mut stream: TcpStream, octets: &SyncSender<Option<Bytes>>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let message = match stream.read(&mut buffer) {
            Ok(count @ 1..) => buffer.get(..count).map(Bytes::copy_from_slice),
            Err(error) if is_temporary(&error) => continue,
            Ok(0) | Err(_) => None,
        };
        let last = message.is_none();
        if octets.send(message).is_err() || last {
            return;
        }
    }
}
