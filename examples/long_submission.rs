//! A server whose decision takes seconds, and a client that does not have to wait for it.
//!
//! ```text
//! cargo run --example long_submission                    carries on twice, then hangs up
//! cargo run --example long_submission -- --abort         carries on once, then gives up
//! cargo run --example long_submission -- --kill-client   the connection dies, twice
//! cargo run --example long_submission -- --restart       ... and the client comes back
//! ```
//!
//! Client and server talk over TCP; the server scans each message for a few seconds and has its
//! store in a directory, the client has a journal. What they say is printed as it passes between
//! them, in the manner of draft-burger-smtp-rdlv-01 §6.1 and draft-burger-smtp-deta-00 §4.1, whose
//! texts the server is set up to use. Deliberate differences: RDLV is answered with 250, as the
//! normative text has it, not with the 200 of the examples; the times are seconds, not minutes;
//! and the client asks for a notification of failure (`NOTIFY=FAILURE`), which matters when it
//! hangs up. Behind the dialogue stand what both sides know then, and what is checked; if
//! something is not as it should be, the exit code is 1.
//!
//! * **Without a flag**: two 120 are answered with CONT, the third with DETA. The server owns the
//!   message from then on. It delivers it to one of two recipients and reports the other one by a
//!   delivery status notification, for the client is not there to be told.
//! * **`--abort`**: RSET in answer to a 120. Nothing is delivered.
//! * **`--kill-client`**: without CHECKPOINT. The connection dies while a 120 is open: the server
//!   stops its decision, and nothing is delivered. Then it dies when the decision is made already
//!   and its reply waits for CONT: the message stands. In both cases all that the client knows is
//!   that it does not know, and it will send the message again: the second one arrives twice
//!   (RFC 1047).
//! * **`--restart`**: the same with CHECKPOINT. The client is cut off while a 120 is open, comes
//!   back, leaves by DETA and is cut off before the 221, so that it does not know whether it has
//!   left. It comes back once more and gets the final reply. Delivered once.

use std::error::Error;
use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use smtp_checkpoint::client::{ClientConfig, RdlvRequest, TlsPolicy};
use smtp_checkpoint::rdlv::{Choice, ClientSettings, ServerSettings};
use smtp_checkpoint::server::ServerConfig;

use self::support::courier::{Courier, Letter, Patience, Standing};
use self::support::cutter::{self, Cut, Wire};
use self::support::dialogue::Dialogue;
use self::support::journal::Fate;
use self::support::message::Message;
use self::support::ruling::Rules;
use self::support::service::{Options, Service};
use self::support::store::{FileStore, Settings};

mod support;

const USAGE: &str = "usage: long_submission [--abort | --kill-client | --restart]\n";

/// The shortest time between two 120 that the server offers, in seconds.
const MINTIMER: u32 = 1;
/// How long the client asks not to be left without a reply. The margin for transit is half of so
/// short a time: a 120 comes after one second.
const MAXTIMER: u32 = 2;

const SENDER: &str = "smith@example.com";
const GOOD: &str = "jones@example.net";
/// Accepted at RCPT; the delivery fails.
const BAD: &str = "kim@example.net";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let show = match arguments.as_slice() {
        [] => detach,
        ["--abort"] => abort,
        ["--kill-client"] => kill_client,
        ["--restart"] => restart,
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(64);
        }
    };
    let folder = std::env::temp_dir().join(format!("smtp-long-{}", std::process::id()));
    let shown = fs::create_dir(&folder)
        .map_err(Box::from)
        .and_then(|()| show(&folder));
    match shown {
        Ok(()) => {
            println!("\nAll as it should be.");
            let _ = fs::remove_dir_all(&folder);
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\nNOT AS IT SHOULD BE: {error}");
            println!("Everything is left in {}.", folder.display());
            ExitCode::FAILURE
        }
    }
}

// ---- the endings ----

/// CONT, CONT, DETA.
fn detach(folder: &Path) -> Outcome {
    let stage = Stage::new(folder, Duration::from_millis(4400), Checkpoint::No)?;
    let patience = Patience {
        carry_on: 2,
        then: Choice::Detach,
    };
    let standing = stage.attempt(patience, Cut::Nowhere, Duration::ZERO)?;
    stage.wait()?;
    stage.tell()?;
    check(
        standing == Standing::Detached,
        "the client knows that the message is the server's, neither delivered nor failed",
    )?;
    check(!stage.is_anything_to_send()?, "it never sends it again")?;
    stage.check_delivered(1)?;
    stage.check_report(1)
}

/// CONT, RSET.
fn abort(folder: &Path) -> Outcome {
    let stage = Stage::new(folder, Duration::from_millis(3400), Checkpoint::No)?;
    let patience = Patience {
        carry_on: 1,
        then: Choice::Abort,
    };
    let standing = stage.attempt(patience, Cut::Nowhere, Duration::ZERO)?;
    stage.wait()?; // until the scan would have been over
    stage.tell()?;
    check(
        standing == Standing::Aborted,
        "the client knows that it has given the message up",
    )?;
    check(!stage.is_anything_to_send()?, "it never sends it again")?;
    stage.check_delivered(0)?;
    stage.check_report(0)
}

/// Connections that die while a 120 is open, without CHECKPOINT.
fn kill_client(folder: &Path) -> Outcome {
    let patience = Patience::default();

    println!("While the server is deciding:\n");
    let first = folder.join("deciding");
    fs::create_dir(&first)?;
    let stage = Stage::new(&first, Duration::from_millis(2500), Checkpoint::No)?;
    let standing = stage.attempt(patience, Cut::InProgress(1), Duration::ZERO)?;
    stage.wait()?;
    stage.tell()?;
    let pending = standing == Standing::Pending && stage.is_anything_to_send()?;
    check(
        pending,
        "the client does not know whether it was taken, and will send it again",
    )?;
    stage.check_delivered(0)?;
    println!("  (the server has given it up, for nobody could ask for the outcome)");

    println!("\nWhile the reply waits for CONT, which does not arrive:\n");
    let second = folder.join("decided");
    fs::create_dir(&second)?;
    let stage = Stage::new(&second, Duration::from_millis(1800), Checkpoint::No)?;
    let silence = Duration::from_millis(1600);
    let standing = stage.attempt(patience, Cut::InProgress(1), silence)?;
    stage.wait()?;
    stage.tell()?;
    let pending = standing == Standing::Pending && stage.is_anything_to_send()?;
    check(pending, "the client knows no more than before")?;
    stage.check_delivered(1)?;
    stage.check_report(1)?;
    println!("  (the message stands and will arrive twice; --restart shows the remedy)");
    Ok(())
}

/// The same and worse, with CHECKPOINT.
fn restart(folder: &Path) -> Outcome {
    let stage = Stage::new(folder, Duration::from_millis(4400), Checkpoint::Yes)?;
    let standing = stage.attempt(Patience::default(), Cut::InProgress(1), Duration::ZERO)?;
    check(
        standing == Standing::Pending,
        "the client does not know what became of it",
    )?;
    let leave = Patience {
        carry_on: 0,
        then: Choice::Detach,
    };
    let standing = stage.attempt(leave, Cut::Detached, Duration::ZERO)?;
    check(
        standing == Standing::Pending,
        "it does not know either whether it has left",
    )?;
    stage.wait()?;
    let standing = stage.attempt(Patience::default(), Cut::Nowhere, Duration::ZERO)?;
    stage.wait()?;
    stage.tell()?;
    check(
        standing == Standing::Delivered,
        "the client has the final reply",
    )?;
    check(!stage.is_anything_to_send()?, "it never sends it again")?;
    stage.check_delivered(1)?;
    stage.check_report(1)
}

// ---- the stage ----

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    No,
    Yes,
}

struct Stage {
    service: Arc<Service>,
    server: SocketAddr,
    /// Where the client connects to.
    listener: TcpListener,
    store: PathBuf,
    journal: PathBuf,
    message: Message,
    letter: Letter,
    client: Arc<ClientConfig>,
}

impl Stage {
    fn new(folder: &Path, scan: Duration, checkpoint: Checkpoint) -> Outcome<Self> {
        let config = ServerConfig::builder("example.net")
            .greeting("SMTP XYZ Ready")
            .hello("greets example.com")
            .in_progress("DATA processing in progress")
            .quit("example.net Service closing transmission channel")
            .dsn(true)
            .rdlv(ServerSettings::new(MINTIMER)?.deta(true))
            .dsn(true)
            .checkpoint(checkpoint == Checkpoint::Yes)
            // No more than the server of the drafts offers.
            .pipelining(false)
            .size(false)
            .enhanced_status_codes(false)
            .chunking(false)
            .build()?;
        let options = Options {
            hostname: "example.net".into(),
            decision: scan,
            rules: Rules {
                refuse: false,
                reject: vec![BAD.into()],
            },
            ..Options::default()
        };
        let store = folder.join("store");
        let service = Service::new(
            config,
            FileStore::open(&store, Settings::default())?,
            options,
        );
        let accepting = TcpListener::bind(("127.0.0.1", 0))?;
        let server = accepting.local_addr()?;
        thread::spawn({
            let service = Arc::clone(&service);
            move || accept(&accepting, &service)
        });

        let file = folder.join("message.eml");
        fs::write(&file, lots_of_data())?;
        let settings = ClientSettings {
            reset_aborts: true, // this server is known to follow the draft
            ..ClientSettings::new(MAXTIMER)
        };
        let request = RdlvRequest {
            settings,
            ..RdlvRequest::new(MAXTIMER)
        };
        let client = ClientConfig::builder("example.com", TlsPolicy::Never)
            .rdlv(request)
            .build()?;
        Ok(Self {
            service,
            server,
            listener: TcpListener::bind(("127.0.0.1", 0))?,
            store,
            journal: folder.join("journal"),
            message: Message::open(&file)?,
            letter: Letter {
                from: SENDER.into(),
                to: vec![GOOD.into(), BAD.into()],
                bdat: false,
            },
            client: Arc::new(client),
        })
    }

    /// As after a crash: the journal is all that is left of the attempts before.
    fn courier(&self) -> io::Result<Courier<'_>> {
        let (letter, client) = (self.letter.clone(), Arc::clone(&self.client));
        Courier::new(letter, &self.message, &self.journal, client)
    }

    fn is_anything_to_send(&self) -> Outcome<bool> {
        Ok(self.courier()?.next_transaction()?.is_some())
    }

    /// One connection of the client. It is cut as asked, after nothing has passed for so long.
    fn attempt(&self, patience: Patience, cut: Cut, silence: Duration) -> Outcome<Standing> {
        let mut courier = self.courier()?;
        courier.patience(patience);
        let transaction = courier.next_transaction()?.ok_or("nothing to send")?;
        let mut last = Instant::now();
        let dialogue = Dialogue::new(Box::new(move |line| {
            let passed = last.elapsed().as_secs_f64().round();
            if passed >= 1.0 {
                let seconds = if passed < 2.0 {
                    "second passes"
                } else {
                    "seconds pass"
                };
                println!("[about {passed} {seconds}]");
            }
            last = Instant::now();
            println!("{line}");
        }));
        let wire = Wire::new(dialogue, cut, move || thread::sleep(silence), |_| {});
        println!("C: <open connection to server>");
        let (attempt, wire) = thread::scope(|scope| {
            let passing = scope.spawn(|| cutter::pass(&self.listener, self.server, wire));
            let proxy = self.listener.local_addr();
            let attempt =
                proxy.and_then(|proxy| courier.attempt(&transaction, "example.net", &[proxy]));
            (attempt, passing.join())
        });
        attempt?;
        let mut wire = wire.map_err(|_| "the connection was not passed on")??;
        if wire.is_cut() {
            wire.dialogue.broken();
        }
        println!();
        Ok(courier.standing())
    }

    /// Until no session and no decision is left.
    fn wait(&self) -> Outcome {
        let idle = self.service.wait_until_idle(Duration::from_secs(20));
        idle.then_some(())
            .ok_or("the server does not come to rest".into())
    }

    /// What both sides know.
    fn tell(&self) -> Outcome {
        println!("The client's journal:");
        let courier = self.courier()?;
        for (address, fate) in courier.fates() {
            match fate {
                Fate::Pending => println!("  {address}: to be tried again"),
                Fate::Delivered(reply) => println!("  {address}: delivered: {reply}"),
                Fate::Detached(reply) => println!("  {address}: left with the server: {reply}"),
                Fate::Aborted(reply) => println!("  {address}: given up: {reply}"),
                Fate::Refused(reply) => println!("  {address}: refused: {reply}"),
            }
        }
        println!("The server's store:");
        let mut is_empty = true;
        for folder in ["incoming", "partial", "delivered", "refused", "dsn"] {
            for file in files(&self.store.join(folder))? {
                is_empty = false;
                let content = fs::read(&file)?;
                let extension = file.extension().unwrap_or_default().to_string_lossy();
                println!("  {folder}: .{extension}, {} octets", content.len());
                let text = String::from_utf8_lossy(&content);
                for line in text.lines() {
                    // The store's own notes stand in the envelope too.
                    let is_command = line.starts_with("MAIL ") || line.starts_with("RCPT ");
                    if is_command || folder == "dsn" {
                        println!("    | {line}");
                    }
                }
            }
        }
        if is_empty {
            println!("  nothing");
        }
        println!();
        Ok(())
    }

    fn with_extension(&self, folder: &str, extension: &str) -> io::Result<Vec<PathBuf>> {
        let mut files = files(&self.store.join(folder))?;
        files.retain(|file| file.extension().is_some_and(|it| it == extension));
        Ok(files)
    }

    /// So many times, as it was sent, for those who get it.
    fn check_delivered(&self, times: usize) -> Outcome {
        let messages = self.with_extension("delivered", "eml")?;
        check(messages.len() == times, &format!("delivered: {times}"))?;
        let mut sent = Vec::new();
        self.message.read_from(0)?.read_to_end(&mut sent)?;
        for message in messages {
            check(
                fs::read(&message)? == sent,
                "octet for octet as it was sent",
            )?;
            let envelope = fs::read_to_string(message.with_extension("envelope"))?;
            let is_for = |address: &str| envelope.contains(&format!("RCPT TO:<{address}>"));
            check(
                is_for(GOOD) && !is_for(BAD),
                "for one of the two recipients",
            )?;
        }
        // Nothing half done is left of it.
        for folder in ["incoming", "partial"] {
            let left = files(&self.store.join(folder))?.len();
            check(left == 0, &format!("nothing is left in {folder}"))?;
        }
        Ok(())
    }

    fn check_report(&self, times: usize) -> Outcome {
        let reports = self.with_extension("dsn", "eml")?;
        check(
            reports.len() == times,
            &format!("failures reported: {times}"),
        )?;
        for report in reports {
            let report = fs::read_to_string(report)?;
            let (_, status) = report
                .split_once("Content-Type: message/delivery-status\r\n\r\n")
                .ok_or("no delivery status in the report")?;
            let is_right = report.contains(&format!("\r\nTo: <{SENDER}>\r\n"))
                && status.contains(&format!("\r\nFinal-Recipient: rfc822; {BAD}\r\n"))
                && status.contains("\r\nAction: failed\r\n")
                && !report.contains(GOOD);
            check(
                is_right,
                "the failed recipient, to the sender, and nobody else",
            )?;
        }
        Ok(())
    }
}

fn accept(listener: &TcpListener, service: &Arc<Service>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let service = Arc::clone(service);
        thread::spawn(move || {
            if let Err(error) = service.serve(stream) {
                eprintln!("server: {error}");
            }
        });
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn check(holds: bool, what: &str) -> Outcome {
    if !holds {
        return Err(what.into());
    }
    println!("  as it should be: {what}");
    Ok(())
}

fn lots_of_data() -> String {
    let mut message =
        format!("From: {SENDER}\r\nTo: {GOOD}, {BAD}\r\nSubject: Lots of data\r\n\r\n");
    for line in 0..2000 {
        message.push_str(&format!(
            "{line} lots and lots of data, to be scanned for long\r\n.\r\n"
        ));
    }
    message
}
