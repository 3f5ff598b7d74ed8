//! RDLV, CONT and DETA bolted onto an SMTP engine of one's own, with the leaf modules alone.
//!
//! The engine is as small as an engine can be: blocking sockets, a thread for each connection and
//! one for each decision. What it takes from the crate: the command grammar, the line reader, the
//! dot decoder, the replies, `rdlv` and `dsn`. What it does not take: the sessions. So it builds
//! with `--no-default-features`.
//!
//! ```text
//! cargo run --example bolt_on_rdlv -- --self-test          four dialogues over loopback
//! cargo run --example bolt_on_rdlv -- 127.0.0.1:2525       a server to talk to
//! ```
//!
//! The "scan" of a message takes as many milliseconds as its first line says, and every recipient
//! whose address begins with `bad` fails.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::command::{Command, CommandLine};
use smtp_checkpoint::dot::{DecodeStatus, DotDecoder};
use smtp_checkpoint::dsn::{Failure, Owed, RecipientResult, Reporting};
use smtp_checkpoint::ehlo::{Capabilities, EhloBuilder};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::line::LineReader;
use smtp_checkpoint::rdlv::{
    Choice, Client, ClientSettings, CommandOutcome, DecidedOutcome, Decision, DetaOutcome,
    DetachAnswer, Due, EndingVerb, Following, Gone, Limiter, LimiterBounds, Outcome, Policy,
    Progress, Reading, ReplyOutcome, RequestOutcome, ResetAnswer, Server, ServerSettings, Settled,
    Submission, SubmissionOutcome, Then, Verb, Within,
};
use smtp_checkpoint::reply::{EnhancedCode, Reply, ReplyCode, ReplyReader, standard};
use smtp_checkpoint::time::Timestamp;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const HOST: &str = "mx.example.net";

// ---- what all connections share ----

struct Shared {
    limiter: Mutex<Limiter>,
    spool: PathBuf,
    /// DSNs that are owed, as they would be sent.
    reports: Mutex<Vec<String>>,
    /// Messages that went out to one recipient at least.
    delivered: Mutex<usize>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message whose decision runs in a thread of its own.
struct Job {
    id: String,
    envelope: Envelope,
    state: Mutex<JobState>,
}

struct JobState {
    stage: Stage,
    /// The client has left by DETA: the outcome is ours to report.
    detached: bool,
}

enum Stage {
    Scanning,
    Cancelled,
    Decided(Vec<RecipientResult>),
}

impl Job {
    /// Scans, decides, delivers.
    fn run(&self, scan: Duration, shared: &Shared, tell: &mpsc::Sender<Reply>) {
        thread::sleep(scan);
        let results: Vec<RecipientResult> = self.envelope.accepted().map(deliver).collect();
        let mut state = lock(&self.state);
        if matches!(state.stage, Stage::Cancelled) {
            return;
        }
        // From here on it is too late to abort.
        let accepted = results.contains(&RecipientResult::Delivered);
        if accepted {
            *lock(&shared.delivered) += 1;
        }
        state.stage = Stage::Decided(results);
        if state.detached {
            self.report(&state, shared);
        }
        let reply = if accepted {
            standard::MESSAGE_ACCEPTED
        } else {
            standard::TRANSACTION_FAILED
        };
        // The session may be gone: then nobody waits for it.
        let _ = tell.send(reply.into());
    }

    /// Stops the decision, where that is still possible.
    fn cancel(&self) -> ResetAnswer {
        let mut state = lock(&self.state);
        if let Stage::Scanning = state.stage {
            state.stage = Stage::Cancelled;
            return ResetAnswer::Aborted;
        }
        ResetAnswer::TooLate
    }

    /// Makes the message ours, durably, within the limit for its sender.
    fn own(&self, sender: &[u8], shared: &Shared) -> DetachAnswer {
        let mut limiter = lock(&shared.limiter);
        if !limiter.detach(sender, self.id.as_bytes()).is_granted() {
            return DetachAnswer::OverLimit;
        }
        // One write for both: what the limiter counts and what the queue knows. A real queue has
        // the message there too.
        let stored = File::create(shared.spool.join("detached")).and_then(|mut file| {
            file.write_all(&limiter.encode())?;
            file.sync_all()
        });
        if stored.is_err() {
            limiter.finish(self.id.as_bytes());
            return DetachAnswer::Failed;
        }
        drop(limiter);
        let mut state = lock(&self.state);
        state.detached = true;
        if let Stage::Decided(_) = state.stage {
            self.report(&state, shared);
        }
        DetachAnswer::Owned
    }

    /// The end of a detached message: a DSN where one is owed.
    fn report(&self, state: &JobState, shared: &Shared) {
        lock(&shared.limiter).finish(self.id.as_bytes());
        let Stage::Decided(results) = &state.stage else {
            return;
        };
        let (Ok(Owed::Report(report)), Ok(reporting)) =
            (Owed::by(&self.envelope, results), Reporting::new(HOST))
        else {
            return;
        };
        let part = report.delivery_status(&reporting);
        lock(&shared.reports).push(String::from_utf8_lossy(&part).into_owned());
    }
}

fn deliver(recipient: smtp_checkpoint::envelope::Recipient<'_>) -> RecipientResult {
    let path = recipient.rcpt().forward_path;
    let bad = path
        .mailbox()
        .is_some_and(|mailbox| mailbox.local_part().as_bytes().starts_with(b"bad"));
    let no = Reply::cleaned(
        ReplyCode::MAILBOX_UNAVAILABLE,
        EnhancedCode::new(5, 1, 1),
        b"No such mailbox",
    );
    match Failure::new(no) {
        Ok(failure) if bad => failure.into(),
        _ => RecipientResult::Delivered,
    }
}

// ---- the engine ----

struct Engine {
    stream: TcpStream,
    sender: Vec<u8>,
    shared: Arc<Shared>,
    began: Instant,
    input: Bytes,
    lines: LineReader,
    extended: bool,
    envelope: Option<Envelope>,
    data: Option<(DotDecoder, Vec<u8>)>,
    rdlv: Server,
    job: Option<Arc<Job>>,
    decision: Option<mpsc::Receiver<Reply>>,
    held: Option<Reply>,
    jobs: usize,
}

enum Next {
    GoOn,
    Close,
}

impl Engine {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Result<Self> {
        let sender = stream.peer_addr()?.ip().to_string().into_bytes();
        Ok(Self {
            stream,
            sender,
            shared,
            began: Instant::now(),
            input: Bytes::new(),
            lines: LineReader::new(),
            extended: false,
            envelope: None,
            data: None,
            rdlv: Server::new(ServerSettings::new(1)?.deta(true)),
            job: None,
            decision: None,
            held: None,
            jobs: 0,
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_origin(self.began.elapsed())
    }

    fn write(&mut self, reply: impl Into<Reply>) -> Result<()> {
        let mut octets = BytesMut::new();
        reply.into().encode(self.extended, &mut octets);
        self.stream.write_all(&octets)?;
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        self.write(Reply::cleaned(
            ReplyCode::SERVICE_READY,
            None,
            HOST.as_bytes(),
        ))?;
        let ended = self.run();
        // However it ended: what becomes of a decision under way.
        self.client_gone();
        ended
    }

    fn run(&mut self) -> Result<()> {
        loop {
            // 1. The decision, from its thread.
            let decided = self.decision.as_ref().and_then(|rx| rx.try_recv().ok());
            if let Some(reply) = decided {
                self.decision = None;
                self.decided(reply)?;
            }
            // 2. Time.
            let following = if self.input.is_empty() && !self.lines.is_mid_line() {
                Following::Nothing
            } else {
                Following::Input
            };
            match self.rdlv.due(self.now(), following) {
                Due::Nothing | Due::Suppressed => {}
                Due::Send => {
                    self.write(standard::IN_PROGRESS)?;
                    self.rdlv.transmitted(self.now()); // the socket has taken it
                }
                // Close without a reply; the outcome is not told to anybody.
                Due::ClientGone(gone) => return self.gone(gone),
            }
            // 3. Input, as far as it may be read.
            while self.data.is_some() || self.rdlv.reading() != Reading::None {
                let next = if self.data.is_some() {
                    self.content()?
                } else {
                    match self.lines.read(&mut self.input, 2048) {
                        None => break,
                        Some(Ok(line)) => self.command(&line)?,
                        Some(Err(_)) => {
                            self.write(standard::BAD_OCTET)?;
                            Next::GoOn
                        }
                    }
                };
                if let Next::Close = next {
                    return Ok(());
                }
                if self.input.is_empty() {
                    break;
                }
            }
            // 4. More of it, for a short time, as the decision may come any moment.
            let mut buffer = vec![0; 4096];
            self.stream
                .set_read_timeout(Some(Duration::from_millis(10)))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(octets) => {
                    let mut input = BytesMut::from(&self.input[..]);
                    input.extend_from_slice(&buffer[..octets]);
                    self.input = input.freeze();
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> Result<Next> {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                self.write(error.reply())?;
                return Ok(Next::GoOn);
            }
        };
        // RDLV first: it knows whether a 120 is open.
        match self.rdlv.command(self.now(), Verb::from(&command)) {
            CommandOutcome::Pass => return self.plain_command(line, &command),
            CommandOutcome::Continue => {}
            CommandOutcome::GiveHeld => {
                let reply = self.held.take().ok_or("nothing held")?;
                self.write(reply)?;
                self.transaction_over();
            }
            CommandOutcome::AskDetach(progress) => return self.detach(progress),
            CommandOutcome::AskAbort => {
                let answer = match &self.job {
                    Some(job) => job.cancel(),
                    None => ResetAnswer::TooLate,
                };
                if let Some(settled) = self.rdlv.reset(answer) {
                    self.settle(settled)?;
                }
            }
            CommandOutcome::Settled(settled) => self.settle(settled)?,
            CommandOutcome::Quit(gone) => {
                self.write(standard::CLOSING)?;
                self.gone(gone)?;
                return Ok(Next::Close);
            }
            CommandOutcome::OutOfTurn => self.write(standard::BAD_SEQUENCE)?,
            CommandOutcome::NotOffered => self.write(standard::NOT_IMPLEMENTED)?,
            CommandOutcome::NotNow => return Err("a command was read out of turn".into()),
        }
        Ok(Next::GoOn)
    }

    fn detach(&mut self, _progress: Progress) -> Result<Next> {
        let answer = match &self.job {
            Some(job) => job.own(&self.sender, &self.shared),
            None => DetachAnswer::Failed,
        };
        match self.rdlv.detach(self.now(), answer) {
            DetaOutcome::Detached(_) => {
                self.job = None; // it reports for itself
                self.write(standard::DETACHED)?;
                Ok(Next::Close)
            }
            DetaOutcome::Refused(reply) => {
                self.write(reply)?;
                Ok(Next::GoOn)
            }
            DetaOutcome::Outdated | DetaOutcome::Stale => Ok(Next::Close),
        }
    }

    /// A reset in answer to 120 is answered. (EHLO comes with its own reply.)
    fn settle(&mut self, settled: Settled) -> Result<()> {
        match settled.reply(self.rdlv.settings()) {
            Some(reply) => self.write(reply)?,
            None => self.ehlo()?,
        }
        self.transaction_over();
        Ok(())
    }

    fn decided(&mut self, reply: Reply) -> Result<()> {
        let decision = if reply.code() == ReplyCode::OK {
            Decision::Stands
        } else {
            Decision::Refused
        };
        match self.rdlv.decided(decision) {
            DecidedOutcome::Give => {
                self.write(reply)?;
                self.transaction_over();
            }
            DecidedOutcome::Hold => self.held = Some(reply),
            DecidedOutcome::Settled(settled) => self.settle(settled)?,
            DecidedOutcome::NotAwaited => {}
        }
        Ok(())
    }

    fn transaction_over(&mut self) {
        self.envelope = None;
        self.job = None;
        self.decision = None;
        self.held = None;
    }

    fn client_gone(&mut self) {
        let gone = self.rdlv.gone();
        let _ = self.gone(gone);
    }

    fn gone(&mut self, gone: Gone) -> Result<()> {
        // Without CHECKPOINT nobody can ask for the outcome: stop it if that is still possible.
        if let (Gone::Running, Some(job)) = (gone, &self.job) {
            job.cancel();
        }
        Ok(())
    }

    fn ehlo(&mut self) -> Result<()> {
        self.extended = true;
        let mintimer = self.rdlv.settings().mintimer();
        let reply = EhloBuilder::new(HOST)?
            .enhanced_status_codes()
            .dsn()
            .rdlv(mintimer)?
            .deta() // refused by build() without RDLV and DSN
            .build()?;
        self.write(reply)
    }

    /// The engine that was there before.
    fn plain_command(&mut self, line: &[u8], command: &Command<'_>) -> Result<Next> {
        match (command, &mut self.envelope) {
            (Command::Ehlo(_), _) => {
                self.ehlo()?;
                self.transaction_over();
            }
            (Command::Mail(_), None) => {
                self.envelope = Some(Envelope::new(line, standard::SENDER_OK.into())?);
                self.write(standard::SENDER_OK)?;
            }
            (Command::Rcpt(_), Some(envelope)) => {
                envelope.push_recipient(line, standard::RECIPIENT_OK.into())?;
                self.write(standard::RECIPIENT_OK)?;
            }
            (Command::Rdlv(rdlv), envelope) => {
                let within = match envelope {
                    Some(_) => Within::Transaction,
                    None => Within::NoTransaction,
                };
                let reply = match self.rdlv.request(*rdlv, within) {
                    RequestOutcome::Accepted => self.rdlv.settings().accepted(),
                    RequestOutcome::BelowMinimum => standard::BAD_ARGUMENT,
                    RequestOutcome::OutOfTurn => standard::BAD_SEQUENCE,
                };
                self.write(reply)?;
            }
            (Command::Data, Some(envelope)) if envelope.accepted().next().is_some() => {
                match self.rdlv.submission(Submission::Data) {
                    SubmissionOutcome::Proceed => {
                        self.data = Some((DotDecoder::new(), Vec::new()));
                        self.write(standard::START_MAIL_INPUT)?;
                    }
                    SubmissionOutcome::Rejected => self.write(standard::CANNOT_DELAY)?,
                }
            }
            (Command::Rset, _) => {
                self.transaction_over();
                self.write(standard::OK)?;
            }
            (Command::Noop(_), _) => self.write(standard::OK)?,
            (Command::Quit, _) => {
                self.write(standard::CLOSING)?;
                return Ok(Next::Close);
            }
            (Command::Unknown(_), _) => self.write(standard::UNKNOWN_COMMAND)?,
            _ => self.write(standard::BAD_SEQUENCE)?,
        }
        Ok(Next::GoOn)
    }

    fn content(&mut self) -> Result<Next> {
        let Some((decoder, message)) = &mut self.data else {
            return Ok(Next::GoOn);
        };
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        let status = decoder.decode_with(&mut rest, |octets| message.extend_from_slice(octets));
        self.input = input.slice_ref(rest);
        if status != DecodeStatus::End {
            return Ok(Next::GoOn);
        }
        let (Some((_, message)), Some(envelope)) = (self.data.take(), self.envelope.clone()) else {
            return Ok(Next::Close);
        };
        // The end of the data: the interval runs from here.
        self.rdlv.end_of_data(self.now());
        let first = message
            .split(|octet| *octet == b'\r')
            .next()
            .unwrap_or_default();
        let millis = String::from_utf8_lossy(first).trim().parse().unwrap_or(0);
        self.jobs += 1;
        let job = Arc::new(Job {
            id: format!("{:?}-{}", thread::current().id(), self.jobs),
            envelope,
            state: Mutex::new(JobState {
                stage: Stage::Scanning,
                detached: false,
            }),
        });
        let (tell, decision) = mpsc::channel();
        self.decision = Some(decision);
        self.job = Some(Arc::clone(&job));
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || job.run(Duration::from_millis(millis), &shared, &tell));
        Ok(Next::GoOn)
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>) {
    for stream in listener.incoming().map_while(std::result::Result::ok) {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let served = Engine::new(stream, shared).and_then(|mut engine| engine.serve());
            if let Err(error) = served {
                eprintln!("connection: {error}");
            }
        });
    }
}

// ---- a client, for the self-test ----

struct Line {
    stream: BufReader<TcpStream>,
    replies: ReplyReader,
}

impl Line {
    fn say(&mut self, line: &str) -> Result<()> {
        println!("C: {line}");
        self.stream
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())?;
        Ok(())
    }

    fn hear(&mut self) -> Result<Reply> {
        loop {
            let octets = self.stream.fill_buf()?.to_vec();
            if octets.is_empty() {
                return Err("connection lost".into());
            }
            let mut input = Bytes::from(octets.clone());
            let reply = self.replies.read(&mut input, &Limits::default());
            self.stream.consume(octets.len() - input.len());
            if let Some(reply) = reply {
                let reply = reply?;
                for line in reply.lines() {
                    println!("S: {} {}", reply.code(), line.escape_ascii());
                }
                return Ok(reply);
            }
        }
    }

    fn ask(&mut self, line: &str) -> Result<Reply> {
        self.say(line)?;
        self.hear()
    }
}

/// What a dialogue came to.
struct Told {
    outcome: Outcome,
    interims: usize,
    refusals: usize,
}

fn submit(
    address: &str,
    scan: u64,
    recipients: &[&str],
    choose: impl Fn(&Client, Timestamp) -> Choice,
) -> Result<Told> {
    let began = Instant::now();
    let now = || Timestamp::from_origin(began.elapsed());
    let mut line = Line {
        stream: BufReader::new(TcpStream::connect(address)?),
        replies: ReplyReader::new(),
    };
    line.hear()?;
    let ehlo = line.ask("EHLO client.example")?;
    let offered = Capabilities::from_reply(&ehlo, &Limits::default())?;
    let settings = ClientSettings {
        reset_aborts: true, // this server is known to follow the draft
        ..ClientSettings::new(1)
    };
    let mut rdlv = Client::new(settings, &offered)?;
    line.ask("MAIL FROM:<ned@client.example> RET=HDRS ENVID=A123bzq")?;
    for recipient in recipients {
        line.ask(&format!("RCPT TO:<{recipient}> NOTIFY=FAILURE"))?;
    }
    let request = CommandLine::rdlv(rdlv.rdlv())?;
    rdlv.requested();
    let reply = line.ask(&String::from_utf8_lossy(request.as_bytes()))?;
    let _ = rdlv.handle_reply(now(), &reply);
    rdlv.submitted(EndingVerb::Data);
    let reply = line.ask("DATA")?;
    let _ = rdlv.handle_reply(now(), &reply);
    line.say(&scan.to_string())?;
    line.say(".")?;
    rdlv.end_written(now());
    rdlv.transmitted(now());
    let mut told = Told {
        outcome: rdlv.outcome(),
        interims: 0,
        refusals: 0,
    };
    loop {
        // A real loop waits for the socket and for poll_timeout().
        let reply = line.hear()?;
        match rdlv.handle_reply(now(), &reply) {
            ReplyOutcome::Interim => told.interims += 1,
            ReplyOutcome::DetachRefused => told.refusals += 1,
            ReplyOutcome::Over(outcome) => {
                told.outcome = outcome;
                break;
            }
            other => return Err(format!("{other:?}").into()),
        }
        let command = rdlv.choose(now(), choose(&rdlv, now()))?;
        line.say(&String::from_utf8_lossy(command.as_bytes()))?;
        rdlv.transmitted(now());
    }
    if told.outcome != Outcome::Detached {
        line.ask("QUIT")?;
    }
    println!("   outcome: {:?}\n", told.outcome);
    Ok(told)
}

fn self_test(address: &str, shared: &Shared) -> Result<()> {
    let jones = ["jones@example.net"];

    println!("-- the client carries on --");
    let told = submit(address, 1300, &jones, |_, _| Choice::CarryOn)?;
    assert_eq!(told.outcome, Outcome::Delivered);
    assert!(told.interims >= 1);

    println!("-- the client aborts --");
    let before = *lock(&shared.delivered);
    let told = submit(address, 1000, &jones, |_, _| Choice::Abort)?;
    assert_eq!(told.outcome, Outcome::Aborted);

    println!("-- the client carries on for a second, then detaches; one recipient fails --");
    let policy = Policy {
        carry_on_for: Duration::from_millis(900),
        then: Then::Detach,
    };
    let recipients = ["jones@example.net", "bad@example.net"];
    let told = submit(address, 3500, &recipients, |rdlv, now| {
        policy.choose(rdlv, now)
    })?;
    assert_eq!(told.outcome, Outcome::Detached);

    println!("-- meanwhile a second one is over the limit: DETA is refused, CONT still works --");
    let at_once = Policy {
        carry_on_for: Duration::ZERO,
        then: Then::Detach,
    };
    let told = submit(address, 800, &jones, |rdlv, now| at_once.choose(rdlv, now))?;
    assert_eq!((told.outcome, told.refusals), (Outcome::Delivered, 1));

    println!("-- the detached one is finished --");
    let deadline = Instant::now() + Duration::from_secs(20);
    while lock(&shared.reports).is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let reports = lock(&shared.reports);
    println!("{}", reports.join("--\n"));
    assert_eq!(reports.len(), 1, "one DSN is owed");
    assert!(reports[0].contains("Final-Recipient: rfc822; bad@example.net"));
    assert!(reports[0].contains("Original-Envelope-Id: A123bzq"));
    assert!(!reports[0].contains("jones"));
    assert_eq!(lock(&shared.limiter).total(), 0, "the slot is free again");
    // The one that was aborted was not delivered, the other two were.
    assert_eq!(*lock(&shared.delivered), before + 2);
    println!("all as it should be");
    Ok(())
}

fn main() -> Result<()> {
    let argument = std::env::args().nth(1);
    let self_testing = argument.as_deref() == Some("--self-test");
    let address = match &argument {
        Some(address) if !self_testing => address.as_str(),
        _ => "127.0.0.1:0",
    };
    let spool = std::env::temp_dir().join(format!("bolt_on_rdlv-{}", std::process::id()));
    fs::create_dir_all(&spool)?;
    let shared = Arc::new(Shared {
        limiter: Mutex::new(Limiter::new(LimiterBounds {
            per_sender: 1,
            ..LimiterBounds::default()
        })),
        spool: spool.clone(),
        reports: Mutex::default(),
        delivered: Mutex::default(),
    });
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?.to_string();
    if !self_testing {
        println!("listening on {address}; with --self-test it talks to itself");
        serve(listener, shared);
        return Ok(());
    }
    let server = Arc::clone(&shared);
    thread::spawn(move || serve(listener, server));
    let tested = self_test(&address, &shared);
    fs::remove_dir_all(&spool)?;
    tested
}
