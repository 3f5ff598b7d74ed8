//! A CHECKPOINT client that can be killed at any time and run again.
//!
//! ```text
//! cargo run --example send -- --to 127.0.0.1:2525 --from ned@ymir.example \
//!     --rcpt mrose@example.net --journal /tmp/journal message.eml
//! ```
//!
//! Exit codes, after sysexits.h:
//!
//! * 0: every recipient has the message;
//! * 3: nobody is left to be served, and the message was left with the server (`--on-120 deta`): it
//!   is neither delivered nor failed, the server reports a failure, and it is never sent again;
//! * 4: it was given up while the server was deciding (`--on-120 rset`), and nothing was delivered;
//! * 5: nobody can tell any more whether it was delivered. Nothing is sent again before somebody has
//!   looked (`--allow-doubling`);
//! * 75: somebody is still to be served: run it again with the same journal, and the transaction
//!   is restarted where it was interrupted;
//! * 69: somebody was refused for good; everybody else has the message;
//! * 65: bad input: command line, address, or a message that SMTP cannot carry.
//!
//! Nobody gets the message twice: the journal knows who has it, also when everybody does.
//! A restart reads nothing of the message below the offset but 64 KiB at most, also where its lines
//! end in LF: what is known of it (`support/measure.rs`) is kept beside the journal.
//! `support/courier.rs` shows what the outcome of an attempt means for the journal,
//! `support/journal.rs` what has to be durable when, and `support/client_driver.rs` how a session
//! is driven on a blocking socket.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use smtp_checkpoint::checkpoint::{After, Outcome, Waiting};
use smtp_checkpoint::client::{ClientConfig, Ending, RdlvRequest, TlsPolicy};
use smtp_checkpoint::command::Mailbox;
use smtp_checkpoint::rdlv::{Choice, ClientSettings};

use self::support::client_driver::Attempt;
use self::support::courier::{Courier, Letter, Patience, Standing, explain};
use self::support::dialogue::Dialogue;
use self::support::journal::Fate;
use self::support::measure::Measure;
use self::support::message::Message;

mod support;

const USAGE: &str = "\
usage: send --to ADDR --from A --rcpt B [--rcpt C ...] --journal DIR [options] FILE

  --to ADDR          host and port of the server
  --from A           the sender; empty for none
  --rcpt B           a recipient, once for each
  --journal DIR      where the state of unfinished messages is kept
  --bdat             use BDAT where it is offered
  --retries N        further attempts before giving up for now (0)
  --hostname NAME    the name of this client (localhost)
  --allow-doubling   go on although the message may then be delivered twice; without CHECKPOINT
                     that is what a lost reply leads to in any case, as with every other client
  --rdlv SECONDS     ask the server to say so where its decision takes longer than this (RDLV)
  --carry-on N       answer so many of these 120 with CONT before the next one is answered
  --on-120 WHAT      ... with cont (wait on; the default), deta (leave the message with the server)
                     or rset (give it up)
  --reset-aborts     the server is known to give a message up when it answers that RSET with 250
  --trace            print the dialogue to standard error
";

const DETACHED: u8 = 3;
const ABORTED: u8 = 4;
const UNKNOWN: u8 = 5;
const TRY_AGAIN: u8 = 75;
const REFUSED: u8 = 69;
const BAD_INPUT: u8 = 65;

/// How often a transaction that leads nowhere is begun anew in one run.
const NEW_BEGINNINGS: u32 = 3;

#[derive(Default)]
struct Arguments {
    to: String,
    letter: Letter,
    journal: PathBuf,
    file: PathBuf,
    hostname: String,
    retries: u32,
    allow_doubling: bool,
    rdlv: Option<u32>,
    patience: Patience,
    reset_aborts: bool,
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("send: {error}\n\n{USAGE}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let bad_input = |error: Box<dyn Error>| {
        eprintln!("send: {error}");
        ExitCode::from(BAD_INPUT)
    };
    let (message, config) = match check(&arguments) {
        Ok(checked) => checked,
        Err(error) => return bad_input(error),
    };
    let (letter, journal) = (arguments.letter.clone(), &arguments.journal);
    let mut courier = match Courier::new(letter, &message, journal, config) {
        Ok(courier) => courier,
        Err(error) => {
            match error.kind() {
                io::ErrorKind::WouldBlock => eprintln!("send: already being sent"),
                io::ErrorKind::InvalidData => eprintln!("send: the journal is damaged"),
                _ => eprintln!("send: {}: {error}", journal.display()),
            }
            return ExitCode::from(TRY_AGAIN);
        }
    };
    if let Err(error) = run(&arguments, &mut courier) {
        eprintln!("send: {error}");
    }
    if courier.standing() != Standing::Pending {
        let _ = fs::remove_file(kept(&arguments));
    }
    report(&courier)
}

/// What is known of the message, for a restart after this program has died.
fn kept(arguments: &Arguments) -> PathBuf {
    Measure::path(&arguments.journal, &arguments.file)
}

/// Everything that is wrong for good is found before anything is sent.
fn check(arguments: &Arguments) -> Result<(Message, Arc<ClientConfig>), Box<dyn Error>> {
    let Letter { from, to, .. } = &arguments.letter;
    for address in to.iter().chain(Some(from).filter(|from| !from.is_empty())) {
        Mailbox::parse(address.as_bytes()).map_err(|error| format!("{address:?}: {error}"))?;
    }
    let file = arguments.file.display();
    let kept = kept(arguments);
    // Where this fails, the journal will say so.
    let _ = fs::create_dir_all(&arguments.journal);
    let message = Message::open_keeping(&arguments.file, Some(&kept));
    let message = message.map_err(|error| format!("{file}: {error}"))?;
    if let Some(fault) = message.fault() {
        let at = fault.at.get();
        return Err(format!("{file}: {:?} at octet {at} cannot be sent", fault.kind).into());
    }
    // The example has no TLS to hand over to.
    let mut config = ClientConfig::builder(&arguments.hostname, TlsPolicy::Never);
    if let Some(seconds) = arguments.rdlv {
        config = config.rdlv(RdlvRequest {
            settings: ClientSettings {
                reset_aborts: arguments.reset_aborts,
                ..ClientSettings::new(seconds)
            },
            ..RdlvRequest::new(seconds)
        });
    }
    Ok((message, Arc::new(config.build()?)))
}

fn run(arguments: &Arguments, courier: &mut Courier<'_>) -> Result<(), Box<dyn Error>> {
    if arguments.allow_doubling {
        courier.allow_doubling();
    }
    courier.patience(arguments.patience);
    let addresses: Vec<SocketAddr> = arguments.to.to_socket_addrs()?.collect();
    let host = arguments.to.rsplit_once(':').map_or("", |(host, _)| host);
    // A queue would wait for half an hour and more (RFC 1123 §5.3.1.1); somebody who asks for
    // retries on a command line is waiting.
    let waiting = Waiting {
        backoff: Duration::from_secs(1),
        at_once_after_loss: false,
    };
    let (mut retries, mut new_beginnings) = (arguments.retries, NEW_BEGINNINGS);
    while let Some(transaction) = courier.next_transaction()? {
        if arguments.trace {
            courier.trace(Dialogue::new(Box::new(|line| eprintln!("{line}"))));
        }
        let attempt = courier.attempt(&transaction, host, &addresses);
        if let Ok(attempt) = &attempt {
            if matches!(attempt.outcome, Some(Outcome::StartOver { .. })) && new_beginnings > 0 {
                new_beginnings -= 1;
                continue;
            }
            tell(attempt);
        }
        if courier.standing() != Standing::Pending {
            break;
        }
        if retries == 0 {
            attempt?;
            break;
        }
        retries -= 1;
        let closed = attempt.is_ok_and(|attempt| attempt.ending == Ending::Closed);
        let after = if closed { After::Closed } else { After::Loss };
        thread::sleep(waiting.before_next(after));
    }
    Ok(())
}

/// Why an attempt did not get through.
fn tell(attempt: &Attempt) {
    let told = match &attempt.outcome {
        Some(Outcome::Interrupted { cause, .. }) => Some(explain(cause)),
        Some(Outcome::Deferred { reply } | Outcome::Declined { reply, .. }) => {
            Some(format!("the server said {}", reply.code().get()))
        }
        Some(Outcome::Unknown { cause, .. }) => Some(format!(
            "{}, and whether the message was taken is not known",
            explain(cause)
        )),
        Some(_) => None,
        None => Some(match (&attempt.rejected, &attempt.not_here) {
            (Some(reply), _) => format!("rejected with {}", reply.code().get()),
            (None, Some(error)) => error.to_string(),
            (None, None) => format!("no transaction: {:?}", attempt.ending),
        }),
    };
    if let Some(told) = told {
        eprintln!("send: {told}");
    }
}

fn report(courier: &Courier<'_>) -> ExitCode {
    let is_unknown = courier.standing() == Standing::Unknown;
    for (address, fate) in courier.fates() {
        match fate {
            Fate::Delivered(reply) => println!("{address}: delivered: {reply}"),
            Fate::Detached(reply) => println!("{address}: left with the server: {reply}"),
            Fate::Aborted(reply) => println!("{address}: given up: {reply}"),
            Fate::Refused(reply) => println!("{address}: refused: {reply}"),
            Fate::Pending if is_unknown => println!("{address}: not known"),
            Fate::Pending => println!("{address}: to be tried again"),
        }
    }
    match courier.standing() {
        Standing::Delivered => ExitCode::SUCCESS,
        Standing::Detached => ExitCode::from(DETACHED),
        Standing::Aborted => ExitCode::from(ABORTED),
        Standing::Refused => ExitCode::from(REFUSED),
        Standing::Pending => ExitCode::from(TRY_AGAIN),
        Standing::Unknown => {
            let cause = courier.unknown().unwrap_or_default();
            eprintln!("send: nobody can tell any more whether it was delivered ({cause});");
            eprintln!("send: ask the recipient, or send it again with --allow-doubling");
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Reads the command line; `None` where only the usage is asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut read = Arguments {
        hostname: "localhost".into(),
        ..Arguments::default()
    };
    let (mut from, mut file) = (None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || format!("{argument} needs a value");
            arguments.next().ok_or_else(missing)
        };
        match argument.as_str() {
            "--to" => read.to = value()?,
            "--from" => from = Some(value()?),
            "--rcpt" => read.letter.to.push(value()?),
            "--journal" => read.journal = value()?.into(),
            "--hostname" => read.hostname = value()?,
            "--retries" => read.retries = number(&argument, &value()?)?,
            "--bdat" => read.letter.bdat = true,
            "--allow-doubling" => read.allow_doubling = true,
            "--rdlv" => read.rdlv = Some(number(&argument, &value()?)?),
            "--carry-on" => read.patience.carry_on = number(&argument, &value()?)?,
            "--on-120" => read.patience.then = choice(&value()?)?,
            "--reset-aborts" => read.reset_aborts = true,
            "--trace" => read.trace = true,
            "--help" | "-h" => return Ok(None),
            option if option.starts_with("--") => return Err(format!("unknown option {option}")),
            _ if file.is_some() => return Err("more than one message".into()),
            _ => file = Some(argument.into()),
        }
    }
    read.letter.from = from.ok_or("--from is missing")?;
    read.file = file.ok_or("no message")?;
    for (is_missing, name) in [
        (read.to.is_empty(), "--to"),
        (read.letter.to.is_empty(), "--rcpt"),
        (read.journal.as_os_str().is_empty(), "--journal"),
    ] {
        if is_missing {
            return Err(format!("{name} is missing"));
        }
    }
    Ok(Some(read))
}

fn number(name: &str, value: &str) -> Result<u32, String> {
    let number = value.parse();
    number.map_err(|_| format!("{name} does not take {value:?}"))
}

fn choice(value: &str) -> Result<Choice, String> {
    match value {
        "cont" => Ok(Choice::CarryOn),
        "deta" => Ok(Choice::Detach),
        "rset" => Ok(Choice::Abort),
        _ => Err(format!("--on-120 does not take {value:?}")),
    }
}
