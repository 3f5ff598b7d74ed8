//! Drives a server session on a blocking socket, with two threads a connection.
//!
//! One thread reads, and only when it is asked to: octets that nobody has asked for stay in the
//! socket, and the client waits. The other one owns the session: it sleeps on a channel until
//! octets, an answer from elsewhere or the next deadline comes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smtp_checkpoint::server::{Event, Peer, ServerConfig, ServerSession};
use smtp_checkpoint::time::Timestamp;

/// What the mail system does with the events of one connection.
pub trait Handler {
    fn handle(&mut self, smtp: &mut ServerSession, now: Timestamp, event: Event);

    /// Octets as they are read (`C`) and written (`S`), for a trace.
    fn saw(&mut self, _side: char, _octets: &[u8]) {}
}

/// A call into a session from another thread: an answer, a shutdown, the news that it has been
/// superseded.
pub type Call = Box<dyn FnOnce(&mut ServerSession, Timestamp) + Send>;

/// Reaches a session from any thread, for as long as it lives and harmlessly afterwards.
#[derive(Clone)]
pub struct SessionHandle(Sender<Message>);

impl SessionHandle {
    pub fn call(&self, call: impl FnOnce(&mut ServerSession, Timestamp) + Send + 'static) {
        // A session that is gone does not mind: all answers may come late.
        let _ = self.0.send(Message::Call(Box::new(call)));
    }
}

enum Message {
    Input(Bytes),
    EndOfInput,
    Broken,
    Call(Call),
}

/// A connection that has been accepted and not served yet.
pub struct Connection {
    stream: TcpStream,
    handle: SessionHandle,
    messages: Receiver<Message>,
}

/// Room for what one read brings.
const READ: usize = 64 * 1024;

/// How long the client has to take what has been written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the client has to close its side of a session that is over.
const LINGER: Duration = Duration::from_secs(2);

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        let (sender, messages) = channel();
        Self {
            stream,
            handle: SessionHandle(sender),
            messages,
        }
    }

    pub fn handle(&self) -> SessionHandle {
        self.handle.clone()
    }

    /// Serves the connection to its end.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be set up. Everything later is part of the session.
    pub fn serve(
        self,
        config: Arc<ServerConfig>,
        peer: Peer,
        handler: &mut impl Handler,
    ) -> io::Result<()> {
        let Self {
            mut stream,
            handle,
            messages,
        } = self;
        stream.set_nodelay(true)?; // a reply is never worth waiting for the next one
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let reader = stream.try_clone()?;
        let (want, wanted) = channel();
        let reading = thread::spawn(move || read(reader, &wanted, &handle.0));

        let origin = Instant::now();
        let now = || Timestamp::from_origin(origin.elapsed());
        let mut smtp = ServerSession::new(config, peer, now());
        let mut input = Bytes::new();
        let mut asked = false;
        let mut ended = false;
        loop {
            smtp.handle_input(now(), &mut input);
            while let Some(event) = smtp.poll_event() {
                handler.handle(&mut smtp, now(), event);
            }
            if smtp.is_finished() {
                break; // before the wait: nothing more would come to end it
            }
            if let Some(octets) = smtp.take_output() {
                handler.saw('S', &octets);
                match stream.write_all(&octets) {
                    // Never fails: these octets were taken out.
                    Ok(()) => drop(smtp.transmitted(now(), octets.len())),
                    Err(_) => smtp.handle_disconnect(now()),
                }
                continue;
            }
            if smtp.wants_input() && input.is_empty() && !asked {
                asked = want.send(()).is_ok();
            }
            match next(&messages, smtp.poll_timeout(), now()) {
                Some(Message::Input(octets)) => {
                    asked = false;
                    handler.saw('C', &octets);
                    input = octets;
                }
                Some(Message::EndOfInput) => {
                    ended = true;
                    smtp.handle_eof(now());
                }
                Some(Message::Broken) => {
                    ended = true;
                    smtp.handle_disconnect(now());
                }
                Some(Message::Call(call)) => call(&mut smtp, now()),
                None => smtp.handle_timeout(now()),
            }
        }
        if !ended {
            close(&stream, &want, &messages);
        }
        drop(want);
        let _ = reading.join();
        Ok(())
    }
}

/// Waits for the next message, until the deadline.
fn next(
    messages: &Receiver<Message>,
    deadline: Option<Timestamp>,
    now: Timestamp,
) -> Option<Message> {
    let Some(deadline) = deadline else {
        return messages.recv().ok();
    };
    messages.recv_timeout(deadline.since(now)).ok()
}

/// Reads whenever it is asked to, until the end.
fn read(mut stream: TcpStream, wanted: &Receiver<()>, messages: &Sender<Message>) {
    while let Ok(()) = wanted.recv() {
        let mut octets = vec![0; READ];
        let read = loop {
            match stream.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let message = match read {
            Ok(0) => Message::EndOfInput,
            Ok(count) => {
                octets.truncate(count);
                Message::Input(octets.into())
            }
            Err(_) => Message::Broken,
        };
        let last = !matches!(message, Message::Input(_));
        if messages.send(message).is_err() || last {
            return;
        }
    }
}

/// Closes the socket so that the last reply arrives: a socket that is closed with octets unread
/// resets the connection, and the client may never see what was written.
fn close(stream: &TcpStream, want: &Sender<()>, messages: &Receiver<Message>) {
    let _ = stream.shutdown(Shutdown::Write);
    let deadline = Instant::now() + LINGER;
    loop {
        let _ = want.send(());
        let left = deadline.saturating_duration_since(Instant::now());
        match messages.recv_timeout(left) {
            Ok(Message::Input(_) | Message::Call(_)) => {}
            Ok(Message::EndOfInput | Message::Broken) | Err(_) => break,
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
