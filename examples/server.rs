//! A CHECKPOINT server with a directory as store.
//!
//! ```text
//! cargo run --example server -- --listen 127.0.0.1:2525 --store /tmp/mail
//! ```
//!
//! It takes mail for every address at `example.net` and puts it into `DIR/delivered`, one `.eml`
//! with its `.envelope` for each message. Failure notifications that it owes are put into `DIR/dsn`.
//! `support/service.rs` shows what each event of a session
//! means for the store, `support/store` what has to be durable when, and `support/driver.rs` how a
//! session is driven on a blocking socket.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::ServerSettings;
use smtp_checkpoint::server::ServerConfig;

use self::support::service::{Options, Service};
use self::support::store::{FileStore, Settings};

mod support;

const USAGE: &str = "\
usage: server --listen ADDR --store DIR [options]

  --listen ADDR              address and port; port 0 takes any free one
  --store DIR                where messages and unfinished transactions are kept
  --hostname NAME            the name in the greeting (localhost)
  --checkpoint-every OCTETS  octets after which a growing transaction is stored (1048576)
  --decide-millis N          how long the decision on a message takes (0)
  --decide-until FILE        no decision is made before FILE is there
  --refuse                   refuse every message (554)
  --reject ADDRESS           the delivery to this recipient fails; once for each
  --rdlv SECONDS             offer RDLV with this mintimer
  --deta                     offer DETA too
  --detached-limit N         messages that a client may have left here at a time (4)
  --trace                    print the dialogues to standard error
";

/// The largest message taken.
const MESSAGE_SIZE: u64 = 1 << 30;

/// How often the store is swept of what has been kept for too long, and what could not be done for
/// the messages left here is tried again.
const SWEEP: Duration = Duration::from_secs(600);

/// How long a shutdown waits. Longer than the sessions wait for their decisions.
const SHUTDOWN: Duration = Duration::from_secs(40);

struct Arguments {
    listen: SocketAddr,
    store: PathBuf,
    checkpoint_every: u64,
    rdlv: Option<u32>,
    deta: bool,
    settings: Settings,
    options: Options,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("server: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let mut config = ServerConfig::builder(&arguments.options.hostname)
        // Messages end in this store as they came, with their parameters: nothing is handed on.
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
        .checkpoint_every(arguments.checkpoint_every)
        .limits(Limits {
            message_size: Some(MESSAGE_SIZE),
            ..Limits::default()
        });
    if let Some(mintimer) = arguments.rdlv {
        config = config.rdlv(ServerSettings::new(mintimer)?.deta(arguments.deta));
    }
    let config = config.build()?;
    let store = FileStore::open(&arguments.store, arguments.settings)
        .map_err(|error| format!("{}: {error}", arguments.store.display()))?;
    let service = Service::new(config, store, arguments.options);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let listener = TcpListener::bind(arguments.listen)
        .map_err(|error| format!("{}: {error}", arguments.listen))?;
    println!("listening on {}", listener.local_addr()?);

    thread::spawn({
        let service = Arc::clone(&service);
        move || accept(&listener, &service)
    });
    thread::spawn({
        let service = Arc::clone(&service);
        move || {
            loop {
                service.store().expire(SystemTime::now());
                service.see_to_duties();
                thread::sleep(SWEEP);
            }
        }
    });

    signals.forever().next();
    service.shut_down();
    if !service.wait_until_idle(SHUTDOWN) {
        // Everything that was promised is durable: whoever is still waiting comes back later.
        eprintln!("server: stopping although not everybody is served");
    }
    Ok(())
}

fn accept(listener: &TcpListener, service: &Arc<Service>) {
    for stream in listener.incoming() {
        let service = Arc::clone(service);
        let served = stream.and_then(|stream| {
            thread::Builder::new().spawn(move || {
                if let Err(error) = service.serve(stream) {
                    eprintln!("server: {error}");
                }
            })
        });
        if let Err(error) = served {
            // No more sockets or threads: this passes when some are given back.
            eprintln!("server: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Reads the command line; `None` where only the usage is asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let (mut listen, mut store) = (None, None);
    let (mut rdlv, mut deta) = (None, false);
    let mut settings = Settings::default();
    let mut checkpoint_every = 1 << 20;
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || format!("{argument} needs a value");
            arguments.next().ok_or_else(missing)
        };
        match argument.as_str() {
            "--listen" => listen = Some(read(&argument, &value()?)?),
            "--store" => store = Some(PathBuf::from(value()?)),
            "--hostname" => options.hostname = value()?,
            "--checkpoint-every" => checkpoint_every = read(&argument, &value()?)?,
            "--decide-until" => options.decide_until = Some(value()?.into()),
            "--decide-millis" => {
                options.decision = Duration::from_millis(read(&argument, &value()?)?);
            }
            "--refuse" => options.rules.refuse = true,
            "--reject" => options.rules.reject.push(value()?),
            "--rdlv" => rdlv = Some(read(&argument, &value()?)?),
            "--deta" => deta = true,
            "--detached-limit" => settings.detached.per_sender = read(&argument, &value()?)?,
            "--trace" => options.trace = true,
            "--help" | "-h" => return Ok(None),
            unknown => return Err(format!("unknown argument {unknown}")),
        }
    }
    if deta && rdlv.is_none() {
        return Err("--deta needs --rdlv".into());
    }
    Ok(Some(Arguments {
        listen: listen.ok_or("--listen is missing")?,
        store: store.ok_or("--store is missing")?,
        checkpoint_every,
        rdlv,
        deta,
        settings,
        options,
    }))
}

fn read<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} does not take {value:?}"))
}
