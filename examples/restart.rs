//! Messages that survive their connections.
//!
//! ```text
//! cargo run --example restart
//! ```
//!
//! A CHECKPOINT server with a directory as store and a client with a journal talk over TCP, and the
//! connection between them is cut again and again: within commands, replies and data, at the end
//! of the data, within the reply to it. Every now and then the server is killed with it, and
//! another one starts on the same directory. The client remembers nothing but its journal. In the
//! end every message must have been delivered once, with the same octets.
//!
//! The first message is shown in the manner of RFC 1845 §5, the others with a line for each
//! attempt. Where the cuts fall follows from the seed; how much the server has taken when it is
//! killed depends on the moment, and so may what is sent afterwards.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use smtp_checkpoint::checkpoint::RestartPolicy;
use smtp_checkpoint::client::{ClientConfig, TlsPolicy};
use smtp_checkpoint::server::ServerConfig;

use self::support::courier::{Courier, Letter, Standing};
use self::support::cutter::{self, Cut, Wire};
use self::support::dialogue::Dialogue;
use self::support::message::Message;
use self::support::progress::Progress;
use self::support::service::{Options, Service};
use self::support::store::{FileStore, Settings};

mod support;

const USAGE: &str = "\
usage: restart [FILE ...] [--cuts N] [--seed S] [--trace]

  FILE      messages to send; without any, those in examples/messages and a large one
  --cuts N  how often the connection is cut for each message (20)
  --seed S  decides where; printed, so that a run can be repeated
  --trace   show the dialogue of all messages
";

/// Octets of the attachment of the message that is made up.
const ATTACHMENT: usize = 4 << 20;

/// Attempts in good order that a message is given after the cuts.
const UNDISTURBED: u64 = 5;

/// What the server is willing to lose in a crash, in octets.
const CHECKPOINT_EVERY: u64 = 128 * 1024;

const CLIENT: &str = "ymir.claremont.example";

fn main() -> ExitCode {
    let result = match parse(std::env::args().skip(1)) {
        Ok(Task::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Task::Serve(store)) => serve(&store).map(|()| true),
        Ok(Task::Show(settings)) => show(&settings),
        Err(error) => {
            eprint!("restart: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Task {
    Show(Show),
    /// The server, in a process of its own that can be killed.
    Serve(PathBuf),
    Help,
}

struct Show {
    files: Vec<PathBuf>,
    cuts: u64,
    seed: u64,
    trace: bool,
}

// ---- the server ----

fn serve(store: &Path) -> Result<(), Box<dyn Error>> {
    let config = ServerConfig::builder("dbc.mtview.example")
        .checkpoint_every(CHECKPOINT_EVERY)
        .build()?;
    let store = FileStore::open(store, Settings::default())?;
    let service = Service::new(config, store, Options::default());
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    // Should the client's process die, this one has nobody left to serve.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    for stream in listener.incoming() {
        let (stream, service) = (stream?, Arc::clone(&service));
        thread::spawn(move || service.serve(stream));
    }
    Ok(())
}

struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(store: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().parse();
        let address = address.map_err(|_| "the server does not start")?;
        Ok(Self { child, address })
    }

    /// SIGKILL: it stores nothing more and says nothing more.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

// ---- the show ----

fn show(settings: &Show) -> Result<bool, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("smtp-restart-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let mut random = Random::new(settings.seed);
    let mut files = settings.files.clone();
    if files.is_empty() {
        files = messages()?;
        let large = folder.join("attachment.eml");
        write_large_message(&large, &mut random)?;
        files.push(large);
    }
    println!(
        "seed {}, {} cuts for each of {} messages, files in {}",
        settings.seed,
        settings.cuts,
        files.len(),
        folder.display(),
    );

    let mut stage = Stage {
        store: folder.join("store"),
        server: Mutex::new(ServerProcess::start(&folder.join("store"))?),
        listener: TcpListener::bind(("127.0.0.1", 0))?,
        random,
        cuts: settings.cuts,
    };
    let mut tallies = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let journal = folder.join(format!("journal-{index}"));
        let in_full = index == 0 || settings.trace;
        // Both ways of sending content are restarted in the same way.
        let bdat = index % 3 == 1;
        tallies.push(stage.send(file, &journal, bdat, in_full)?);
    }
    // Nothing may have been delivered since, either.
    let in_all = delivered(&stage.store)?.len();
    drop(stage);

    print_table(&tallies);
    let good = in_all == files.len() && tallies.iter().all(|tally| tally.verdict.is_ok());
    if good {
        fs::remove_dir_all(&folder)?;
        println!("\nEvery message was delivered once, octet for octet.");
    } else {
        println!(
            "\n{in_all} files for {} messages: NOT AS SENT, or not once.",
            files.len()
        );
        println!(
            "Everything is left in {}; repeat with --seed {}.",
            folder.display(),
            settings.seed
        );
    }
    Ok(good)
}

struct Stage {
    store: PathBuf,
    server: Mutex<ServerProcess>,
    /// Where the client connects to.
    listener: TcpListener,
    random: Random,
    cuts: u64,
}

/// What it took to deliver a message.
struct Tally {
    name: String,
    command: &'static str,
    size: u64,
    attempts: u64,
    cuts: u64,
    kills: u64,
    /// Octets of the message that were sent.
    sent: u64,
    /// Octets of the message that would have been sent if every attempt began at the beginning.
    whole: u64,
    elapsed: Duration,
    verdict: Result<(), String>,
}

impl Stage {
    fn send(
        &mut self,
        file: &Path,
        journal: &Path,
        bdat: bool,
        in_full: bool,
    ) -> Result<Tally, Box<dyn Error>> {
        let message =
            Message::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
        if let Some(fault) = message.fault() {
            return Err(format!("{}: SMTP cannot carry {:?}", file.display(), fault.kind).into());
        }
        let size = message.content().octets;
        let mut tally = Tally {
            name: file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            command: if bdat { "BDAT" } else { "DATA" },
            size,
            attempts: 0,
            cuts: 0,
            kills: 0,
            sent: 0,
            whole: 0,
            elapsed: Duration::ZERO,
            verdict: Ok(()),
        };
        println!("\n{}: {size} octets, {}\n", tally.name, tally.command);
        let letter = Letter {
            from: "ned@claremont.example".into(),
            to: vec!["mrose@example.net".into()],
            bdat,
        };
        let most = u32::try_from(self.cuts + UNDISTURBED)?;
        let policy = RestartPolicy {
            attempts: most,
            ..RestartPolicy::default()
        };
        let config = ClientConfig::builder(CLIENT, TlsPolicy::Never)
            .restart_policy(policy)
            .build()?;
        let config = Arc::new(config);

        let before = delivered(&self.store)?;
        let start = Instant::now();
        let mut plan = Plan::new(self.cuts, &mut self.random);
        let mut progress = Progress::new(size);
        let mut position = 0;
        let standing = loop {
            // As after a crash: the journal is all that is left of the attempts before.
            let mut courier = Courier::new(letter.clone(), &message, journal, Arc::clone(&config))?;
            let Some(transaction) = courier.next_transaction()? else {
                break courier.standing();
            };
            if tally.attempts == u64::from(most) {
                break courier.standing();
            }
            let (cut, kills) = plan.next(size - position, &mut self.random);
            tally.attempts += 1;
            if in_full {
                println!("\nC: <open connection to server>");
            }
            let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
            let address = server.address;
            drop(server);
            let first = tally.attempts == 1;
            let dialogue = Dialogue::new(Box::new(move |line| {
                // What the server offers is told once.
                if in_full && (first || !line.starts_with("S: 250-")) {
                    println!("{line}");
                }
            }));
            let server = &self.server;
            let kill = move || {
                if kills {
                    server.lock().unwrap_or_else(PoisonError::into_inner).kill();
                }
            };
            let wire = Wire::new(dialogue, cut, kill, |octets| progress.show(octets));
            let (attempt, wire) = thread::scope(|scope| {
                let listener = &self.listener;
                let passing = scope.spawn(move || cutter::pass(listener, address, wire));
                let proxy = listener.local_addr();
                let attempt =
                    proxy.and_then(|proxy| courier.attempt(&transaction, "mx.example", &[proxy]));
                (attempt, passing.join())
            });
            attempt?;
            let mut wire = wire.map_err(|_| "the connection was not passed on")??;

            let (start, data) = (wire.dialogue.start(), wire.dialogue.data());
            let (begun, is_cut) = (wire.dialogue.is_begun(), wire.is_cut());
            if is_cut {
                wire.dialogue.broken();
            }
            drop(wire);
            progress.clear();
            if begun {
                position = start + data;
                tally.sent += data;
                tally.whole += start + data;
            }
            tally.cuts += u64::from(is_cut);
            if is_cut && kills {
                tally.kills += 1;
                *self.server.lock().unwrap_or_else(PoisonError::into_inner) =
                    ServerProcess::start(&self.store)?;
            }
            let end = Ended { cut, is_cut, kills };
            if in_full {
                if is_cut && kills {
                    println!("<the server is killed and started again>");
                }
            } else {
                println!(
                    "{:4}  {:44}  {}",
                    tally.attempts,
                    end.to_string(),
                    if begun {
                        format!("from {start}: {data}")
                    } else {
                        String::new()
                    }
                );
            }
        };
        tally.elapsed = start.elapsed();
        tally.verdict = verdict(&self.store, &before, &message, bdat, standing)?;
        match &tally.verdict {
            Ok(()) => println!("\ndelivered once, identical"),
            Err(difference) => println!("\nNOT AS IT SHOULD BE: {difference}"),
        }
        Ok(tally)
    }
}

/// Compares what was delivered with what was sent.
fn verdict(
    store: &Path,
    before: &HashSet<PathBuf>,
    message: &Message,
    bdat: bool,
    standing: Standing,
) -> io::Result<Result<(), String>> {
    if standing != Standing::Delivered {
        return Ok(Err(format!("the client says {standing:?}")));
    }
    let after = delivered(store)?;
    let new: Vec<&PathBuf> = after.difference(before).collect();
    let [file] = new[..] else {
        return Ok(Err(format!("delivered {} times", new.len())));
    };
    let mut sent = Vec::new();
    message.read_from(0)?.read_to_end(&mut sent)?;
    if message.content().unfinished_last_line && !bdat {
        sent.extend_from_slice(b"\r\n"); // DATA cannot do without (RFC 5321 §4.1.1.4)
    }
    let arrived = fs::read(file)?;
    if arrived == sent {
        return Ok(Ok(()));
    }
    let same = arrived
        .iter()
        .zip(&sent)
        .take_while(|(a, b)| a == b)
        .count();
    let (was, is) = (sent.len(), arrived.len());
    Ok(Err(format!(
        "{} of {is} octets, sent {was}, differs from octet {same} on",
        file.display()
    )))
}

fn delivered(store: &Path) -> io::Result<HashSet<PathBuf>> {
    let mut messages = HashSet::new();
    for file in fs::read_dir(store.join("delivered"))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            messages.insert(path);
        }
    }
    Ok(messages)
}

struct Ended {
    cut: Cut,
    is_cut: bool,
    kills: bool,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cut {
            _ if !self.is_cut => return f.write_str("not cut"),
            Cut::Nowhere => {}
            Cut::Client(octets) => write!(f, "cut after {octets} octets of commands")?,
            Cut::Server(octets) => write!(f, "cut after {octets} octets of replies")?,
            Cut::Data(octets) => write!(f, "cut after {octets} octets of data")?,
            Cut::EndOfData => f.write_str("cut behind the end of the data")?,
            Cut::FinalReply(octets) => write!(f, "cut after {octets} octets of the last reply")?,
            Cut::InProgress(_) | Cut::Detached => f.write_str("cut within a long decision")?,
        }
        f.write_str(if self.kills { ", killed" } else { "" })
    }
}

fn print_table(tallies: &[Tally]) {
    println!(
        "\n{:<18} {:>8} {:>5} {:>5} {:>5} {:>9} {:>10} {:>10} {:>7}  delivered",
        "message", "octets", "by", "cuts", "kills", "sent", "else", "saved", "time"
    );
    for tally in tallies {
        println!(
            "{:<18} {:>8} {:>5} {:>5} {:>5} {:>9} {:>10} {:>10} {:>5.1} s  {}",
            tally.name,
            tally.size,
            tally.command,
            tally.cuts,
            tally.kills,
            tally.sent,
            tally.whole,
            tally.whole - tally.sent,
            tally.elapsed.as_secs_f64(),
            if tally.verdict.is_ok() {
                "once, identical"
            } else {
                "DIFFERS"
            },
        );
    }
    println!(
        "\nsent: octets of the message that passed; else: those that would have passed if every"
    );
    println!("attempt had begun at the first octet; saved: the difference");
}

// ---- where to cut ----

/// What is to be hit.
#[derive(Clone, Copy)]
enum Target {
    Command,
    Reply,
    Data,
    End,
    FinalReply,
}

struct Plan {
    /// The next one is the last.
    targets: Vec<Target>,
}

impl Plan {
    /// Half of the cuts are for the data, and a few for its end, where it is most delicate: what
    /// the client does not know any more then is whether the message was delivered.
    fn new(cuts: u64, random: &mut Random) -> Self {
        let at_the_end = (cuts / 4).max(1).min(cuts);
        let mut late: Vec<Target> = (0..at_the_end)
            .map(|index| match index % 4 {
                0 => Target::FinalReply,
                1 => Target::End,
                2 => Target::Command,
                _ => Target::Reply,
            })
            .collect();
        let mut early: Vec<Target> = (at_the_end..cuts)
            .map(|index| match index % 4 {
                0 => Target::Command,
                1 => Target::Reply,
                _ => Target::Data,
            })
            .collect();
        random.shuffle(&mut late);
        random.shuffle(&mut early);
        late.append(&mut early);
        Self { targets: late }
    }

    /// The next cut, with `left` octets of the message to come, and whether the server is killed.
    ///
    /// The bounds are such that the client never has the whole of the last reply.
    fn next(&mut self, left: u64, random: &mut Random) -> (Cut, bool) {
        let Some(target) = self.targets.pop() else {
            return (Cut::Nowhere, false);
        };
        let later = self.targets.iter();
        let data_cuts = later
            .filter(|target| matches!(target, Target::Data))
            .count() as u64;
        let cut = match target {
            Target::Command => Cut::Client(random.below(120)),
            Target::Reply => Cut::Server(random.below(235)),
            // All that is left is the question whether it was delivered.
            Target::Data if left == 0 => Cut::Client(random.below(120)),
            // So that something is left for the other cuts.
            Target::Data => Cut::Data(random.below(left * 2 / (data_cuts + 2) + 1)),
            Target::End => Cut::EndOfData,
            Target::FinalReply => Cut::FinalReply(random.below(20)),
        };
        (cut, random.below(4) == 0)
    }
}

/// xorshift64*: good enough to choose where to cut, and the same on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.0 |= u64::from(random.0 == 0);
        random.next(); // seeds that are near each other begin alike
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = usize::try_from(self.below(index as u64 + 1)).unwrap_or(0);
            items.swap(index, other);
        }
    }
}

// ---- messages ----

/// The messages that come with the crate, the plain one first.
fn messages() -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/messages");
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            files.push(path);
        }
    }
    files.sort_by_key(|path| (!path.ends_with("plain.eml"), path.clone()));
    Ok(files)
}

/// A message with an attachment of several MB, as base64 (RFC 2045 §6.8).
fn write_large_message(path: &Path, random: &mut Random) -> io::Result<()> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const HEADER: &str = "\
        Date: Thu, 21 Sep 1995 12:00:00 -0700\r\n\
        From: Ned <ned@claremont.example>\r\n\
        To: Marshall <mrose@example.net>\r\n\
        Subject: The plans\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: application/octet-stream; name=\"plans.bin\"\r\n\
        Content-Transfer-Encoding: base64\r\n\
        \r\n";
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(HEADER.as_bytes())?;
    for _ in 0..ATTACHMENT / 57 {
        let mut line = [0; 78];
        for digits in line[..76].chunks_mut(4) {
            let bits = random.next();
            for (place, digit) in digits.iter_mut().enumerate() {
                *digit = ALPHABET[(bits >> (20 + 6 * place)) as usize % 64];
            }
        }
        line[76..].copy_from_slice(b"\r\n");
        file.write_all(&line)?;
    }
    file.into_inner()?.sync_all()
}

// ---- the command line ----

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut show = Show {
        files: Vec::new(),
        cuts: 20,
        seed: since.map_or(1, |since| u64::from(since.subsec_nanos())),
        trace: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || format!("{argument} needs a value");
            arguments.next().ok_or_else(missing)
        };
        let number = |value: String| {
            let wrong = |_| format!("{value:?} is not a number");
            value.parse::<u64>().map_err(wrong)
        };
        match argument.as_str() {
            "--cuts" => show.cuts = number(value()?)?,
            "--seed" => show.seed = number(value()?)?,
            "--trace" => show.trace = true,
            "--serve" => return Ok(Task::Serve(value()?.into())),
            "--help" | "-h" => return Ok(Task::Help),
            option if option.starts_with("--") => return Err(format!("unknown option {option}")),
            _ => show.files.push(argument.into()),
        }
    }
    Ok(Task::Show(show))
}
