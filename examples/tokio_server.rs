//! The server session on tokio: one task a connection, answers from other tasks.
//!
//! ```text
//! cargo run --example tokio_server -- [--listen ADDR]
//! cargo run --example tokio_server -- --self-test
//! ```
//!
//! It takes mail for example.net. The store is in memory and forgets everything at the end; what
//! a store for real mail has to do is in its first lines. A client may ask to be told when its
//! message takes long (RDLV), but not hang up then: a message that is the server's (DETA) has to
//! survive a crash, as in `support/service.rs`. `--self-test` connects to the server
//! over real sockets, breaks the connections, prints the dialogue and exits with 0 or 1.

#[path = "support/memory.rs"]
mod memory;
#[path = "support/self_test.rs"]
mod self_test;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::checkpoint::{Claim, Generation, TransactionKey, Verdict};
use smtp_checkpoint::command::{DomainOrLiteral, ForwardPath};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::{ResetAnswer, ServerSettings};
use smtp_checkpoint::reply::{Reply, standard as reply};
use smtp_checkpoint::server::{
    AbandonAnswer, AwaitAnswer, AwaitQuestion, DataAnswer, EndOfDataAnswer, EndOfDataQuestion,
    Ending, Event, MailAnswer, Peer, RcptQuestion, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use crate::memory::{Awaited, Decision, Store};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What other tasks tell a session.
enum Given {
    Rcpt(RcptQuestion, Reply),
    EndOfData(EndOfDataQuestion, EndOfDataAnswer),
    Await(AwaitQuestion, AwaitAnswer),
    /// Another session has claimed the key of this transaction.
    Fenced(TransactionKey, Generation),
}

impl Given {
    /// A late answer is stale and harms nothing; an error is a mistake in this program.
    fn apply(self, smtp: &mut ServerSession, now: Timestamp) -> Outcome {
        match self {
            Self::Rcpt(question, reply) => drop(smtp.answer_rcpt(now, question, reply)?),
            Self::EndOfData(question, answer) => {
                smtp.answer_end_of_data(now, question, answer)?;
            }
            Self::Await(question, answer) => drop(smtp.answer_await(now, question, answer)?),
            Self::Fenced(key, generation) => {
                smtp.supersede(now, &key, generation);
            }
        }
        Ok(())
    }
}

/// What all sessions share.
struct Server {
    config: Arc<ServerConfig>,
    store: Arc<Store>,
}

/// One connection, to its end. The task may be dropped at any await: that is a cut connection, of
/// which the last record stays that was due.
///
/// `busy` is held by everything that a shutdown has to wait for.
async fn serve(
    mut io: TcpStream,
    from: SocketAddr,
    server: Arc<Server>,
    mut down: watch::Receiver<()>,
    busy: mpsc::Sender<()>,
) -> Outcome<Ending> {
    let origin = Instant::now();
    let now = || Timestamp::from_origin(origin.elapsed());
    let peer = Peer::from(from.ip());
    let mut smtp = ServerSession::new(Arc::clone(&server.config), peer, now());
    let (answer, mut answers) = mpsc::channel(8);
    let (mut reader, mut writer) = io.split();
    let (mut input, mut output) = (BytesMut::new(), Bytes::new());
    // The content of a message that no record is kept of, and the decision under way.
    let (mut spool, mut deciding) = (Vec::new(), None);
    loop {
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Mail(question) => {
                    spool.clear();
                    let claim = match question.key() {
                        Some(key) => claim(key, &server.store, &answer),
                        None => Claim::Unrecorded,
                    };
                    smtp.answer_mail(now(), question, MailAnswer::accept(claim))?;
                }
                Event::Rcpt(question) => {
                    // As many of these tasks as the client pipelines, up to a limit: the replies
                    // keep the order of the commands.
                    let recipient = smtp.transaction().envelope().recipient(question.index());
                    let local = recipient.is_some_and(|it| is_local(&it.rcpt().forward_path));
                    let answer = answer.clone();
                    tokio::spawn(async move {
                        let reply = look_up(local).await;
                        let _ = answer.send(Given::Rcpt(question, reply)).await;
                    });
                }
                Event::Data(question) => {
                    let confirmation = question.claim().map(|claim| {
                        let store = &server.store;
                        store.confirm(&claim.key, claim.generation, claim.length, claim.fresh)
                    });
                    let answer = confirmation.map_or(DataAnswer::Proceed, DataAnswer::from);
                    smtp.answer_data(now(), question, answer)?;
                }
                Event::Content => {
                    // A store on disk is awaited here: until then no more is read.
                    let mut content = Vec::new();
                    let Some(range) = smtp.poll_content(&mut content) else {
                        continue;
                    };
                    let transaction = smtp.transaction();
                    let claim = transaction.key().cloned().zip(transaction.generation());
                    if let Some((key, generation)) = claim {
                        let (store, at) = (&server.store, range.start);
                        if store.append(&key, generation, at, &content).is_err() {
                            smtp.supersede(now(), &key, generation);
                        }
                    } else {
                        content.iter().for_each(|it| spool.extend_from_slice(it));
                    }
                }
                Event::CheckpointDue { key, record } | Event::Interrupted { key, record } => {
                    // Refused where another session has the key by now: then it is of no use.
                    let _ = server.store.save(&key, &record);
                }
                Event::EndOfData(question) => {
                    let decision = match question.key().zip(question.record()) {
                        Some((key, record)) => server.store.begin(key, record),
                        None => {
                            let content = std::mem::take(&mut spool);
                            Ok(server.store.begin_unrecorded(question.envelope(), content))
                        }
                    };
                    let Ok(decision) = decision else {
                        smtp.answer_end_of_data(now(), question, EndOfDataAnswer::Outdated)?;
                        continue;
                    };
                    deciding = Some(decision.number);
                    tokio::spawn(decide(question, decision, answer.clone(), busy.clone()));
                }
                Event::AwaitDecision(question) => await_decision(question, &smtp, &server, &answer),
                Event::Abandon(question) => {
                    let withdrawn = deciding.is_some_and(|number| server.store.withdraw(number));
                    let answer = if withdrawn {
                        AbandonAnswer::Abandoned
                    } else {
                        AbandonAnswer::TooLate
                    };
                    smtp.answer_abandon(now(), question, answer)?;
                }
                Event::Abort(question) => {
                    let store = &server.store;
                    let answer = match question.key().zip(question.generation()) {
                        Some((key, generation)) => store.abort(key, generation),
                        None if deciding.is_some_and(|it| store.withdraw(it)) => {
                            ResetAnswer::Aborted
                        }
                        None => ResetAnswer::TooLate,
                    };
                    smtp.answer_abort(now(), question, answer)?;
                }
                Event::Discard(discard) => server.store.discard(&discard),
                Event::PeerFault(fault) => eprintln!("{from}: {fault}"),
                Event::Finished(ending) => {
                    // Octets that nobody read would turn the close into a reset, which can eat
                    // the last reply: say that this is the end, and let the client close first.
                    let _ = writer.shutdown().await;
                    let mut rest = tokio::io::sink();
                    let drained = tokio::io::copy(&mut reader, &mut rest);
                    let _ = timeout(Duration::from_secs(2), drained).await;
                    return Ok(ending);
                }
                // Acknowledged (keep the record for a shorter time), and news that needs nothing.
                // None of them is a question: those not handled here have to be switched on.
                _ => {}
            }
        }
        if output.is_empty() {
            output = smtp.take_output().unwrap_or_default();
        }
        // No deadline: only when it is over, and then the loop has been left.
        let deadline = smtp.poll_timeout().unwrap_or_default().elapsed();
        input.reserve(16 * 1024);
        // Every branch can be dropped without loss, and every one can be ready while the
        // others wait.
        select! {
            written = writer.write_buf(&mut output), if !output.is_empty() => match written {
                Ok(octets) => smtp.transmitted(now(), octets)?,
                Err(_) => smtp.handle_disconnect(now()),
            },
            // False while the session has enough to do: the client's TCP window fills up.
            read = reader.read_buf(&mut input), if smtp.wants_input() => match read {
                Ok(0) => smtp.handle_eof(now()),
                Ok(_) => smtp.handle_input(now(), &mut input.split().freeze()),
                Err(_) => smtp.handle_disconnect(now()),
            },
            Some(given) = answers.recv() => given.apply(&mut smtp, now())?,
            () = sleep_until(origin + deadline) => smtp.handle_timeout(now()),
            Ok(()) = down.changed() => smtp.shutdown(now()),
        }
    }
}

/// The session that has the key now is told when it loses it.
fn claim(key: &TransactionKey, store: &Store, answer: &mpsc::Sender<Given>) -> Claim {
    let (own, session) = (key.clone(), answer.downgrade());
    // Where there is no room the news is lost, and the store's refusals tell it.
    let fenced = move |generation| {
        if let Some(session) = session.upgrade() {
            let _ = session.try_send(Given::Fenced(own, generation));
        }
    };
    store.claim(key, Box::new(fenced))
}

fn is_local(path: &ForwardPath<'_>) -> bool {
    let own = DomainOrLiteral::Domain(b"example.net");
    path.mailbox().is_none_or(|it| it.domain().same_domain(own))
}

/// Stands for a directory on the network.
async fn look_up(local: bool) -> Reply {
    sleep(Duration::from_millis(if local { 20 } else { 1 })).await;
    if local {
        reply::RECIPIENT_OK.into()
    } else {
        reply::NO_SUCH_MAILBOX.into()
    }
}

/// Decides on a message and commits the decision, whether or not its session is still there.
async fn decide(
    question: EndOfDataQuestion,
    decision: Decision,
    answer: mpsc::Sender<Given>,
    _busy: mpsc::Sender<()>,
) {
    let verdict = scan(decision.content()).await;
    // Without a record nobody can learn of the decision once the session is gone: the client will
    // send the message again.
    if question.record().is_none() && answer.is_closed() {
        return;
    }
    let answered = match decision.commit(&verdict) {
        Ok(()) => EndOfDataAnswer::Decided(verdict),
        Err(_) => EndOfDataAnswer::Outdated,
    };
    let _ = answer.send(Given::EndOfData(question, answered)).await;
}

/// Stands for what takes a scanner minutes.
async fn scan(content: &[u8]) -> Verdict {
    let long = content.starts_with(b"Subject: To be scanned for long");
    sleep(Duration::from_millis(if long { 1300 } else { 300 })).await;
    reply::MESSAGE_ACCEPTED.into()
}

/// Another session began the decision; this one gives the reply.
fn await_decision(
    question: AwaitQuestion,
    smtp: &ServerSession,
    server: &Server,
    answer: &mpsc::Sender<Given>,
) {
    let key = question.key().clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = |awaited| drop(tell.send(awaited));
    let generation = smtp.transaction().generation();
    server.store.wait(&key, generation, Box::new(tell));
    let answer = answer.clone();
    tokio::spawn(async move {
        let awaited = match told.await {
            Ok(Awaited::Decided(completion)) => AwaitAnswer::Decided(completion),
            Ok(Awaited::Withdrawn) => AwaitAnswer::Withdrawn,
            Ok(Awaited::Outdated) | Err(_) => AwaitAnswer::Outdated,
        };
        let _ = answer.send(Given::Await(question, awaited)).await;
    });
}

/// Accepts connections until `stop`, then lets every session say 421 and every decision finish.
async fn run(listener: TcpListener, store: Arc<Store>, stop: impl Future<Output = ()>) -> Outcome {
    let limits = Limits {
        message_size: Some(50 << 20),
        ..Limits::default()
    };
    let config = ServerConfig::builder("mx.example.net")
        .limits(limits)
        // A client that lost its connection is often back before the server knows of the loss:
        // what it can go on from then is the last record that was due.
        .checkpoint_every(64 * 1024)
        // Shorter times than these are for the self-test.
        .rdlv(ServerSettings::new(30)?.honour_shorter(true))
        .build()?;
    let server = Arc::new(Server {
        config: Arc::new(config),
        store,
    });
    let (down, _) = watch::channel(());
    let (busy, mut idle) = mpsc::channel(1);
    let mut sweep = interval(Duration::from_secs(60));
    let mut stop = std::pin::pin!(stop);
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((io, from)) => {
                    let session = serve(io, from, server.clone(), down.subscribe(), busy.clone());
                    let busy = busy.clone();
                    tokio::spawn(async move {
                        if let Err(error) = session.await {
                            eprintln!("{from}: {error}");
                        }
                        drop(busy);
                    });
                }
                // Out of file descriptors, mostly: others will be closed.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            _ = sweep.tick() => server.store.sweep(Duration::from_secs(48 * 3600)),
            () = &mut stop => break,
        }
    }
    drop((listener, busy));
    let _ = down.send(());
    // Nothing is ever sent: this ends when the last session and the last decision are through.
    let _ = idle.recv().await;
    Ok(())
}

/// Ctrl-C, or the TERM signal.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The script of `support/self_test.rs` against this server, shutdown included.
async fn self_test() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let store = Arc::new(Store::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(run(listener, store.clone(), async {
        let _ = stopped.await;
    }));
    let script = move || {
        self_test::run(address, &store)?;
        self_test::long_decisions(address, &store)
    };
    let script = tokio::task::spawn_blocking(script).await?;
    drop(stop);
    server.await??;
    script
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--self-test"] => self_test().await,
        [] => listen("127.0.0.1:2525").await,
        ["--listen", address] => listen(address).await,
        _ => Err("usage: tokio_server [--listen ADDR] | --self-test".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(address: &str) -> Outcome {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    run(listener, Arc::default(), stop_signal()).await
}
