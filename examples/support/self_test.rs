//! A client in a few lines, and a script in which connections break: run against either server,
//! over real sockets.
//!
//! It is a script, not a client to copy: it knows the messages by heart and trusts the replies.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use smtp_checkpoint::dot::DotEncoder;
use smtp_checkpoint::offset::OctetOffset;

use crate::memory::Store;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// One connection.
struct Client {
    name: &'static str,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and says EHLO.
    fn greet(name: &'static str, server: SocketAddr) -> Outcome<Self> {
        println!("--- {name} connects");
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let stream = BufReader::new(stream);
        let mut client = Self { name, stream };
        client.expect("220")?;
        client.say("EHLO ymir.claremont.edu", "250")?;
        Ok(client)
    }

    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    /// Reads one reply and shows its last line.
    fn reply(&mut self) -> Outcome<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(format!("{}: connection closed", self.name).into());
            }
            let line = line.trim_end();
            if line.as_bytes().get(3) != Some(&b'-') {
                println!("{} S: {line}", self.name);
                return Ok(line.to_owned());
            }
        }
    }

    fn expect(&mut self, code: &str) -> Outcome<String> {
        let reply = self.reply()?;
        if reply.starts_with(code) {
            return Ok(reply);
        }
        Err(format!("{}: {code} expected, not {reply}", self.name).into())
    }

    fn say(&mut self, line: &str, code: &str) -> Outcome<String> {
        println!("{} C: {line}", self.name);
        self.send(format!("{line}\r\n").as_bytes())?;
        self.expect(code)
    }

    /// MAIL, and where it is answered 250 the recipients. Tells where the content goes on.
    fn envelope(&mut self, transid: &str) -> Outcome<usize> {
        let mail = format!("MAIL FROM:<ned@ymir.claremont.edu> TRANSID={transid}");
        println!("{} C: {mail}", self.name);
        self.send(format!("{mail}\r\n").as_bytes())?;
        let reply = self.reply()?;
        let at = match reply.split_at_checked(4) {
            Some(("250 ", _)) => 0,
            Some(("355 ", text)) => {
                let offset = OctetOffset::from_reply_text(text.as_bytes())?;
                return Ok(usize::try_from(offset.get())?);
            }
            _ => return Err(format!("{}: unexpected {reply}", self.name).into()),
        };
        // One group: the replies have to come in this order, whoever was looked up first.
        let recipients = ["one@example.net", "nobody@example.com", "two@example.net"];
        let mut group = String::new();
        for recipient in recipients {
            println!("{} C: RCPT TO:<{recipient}>", self.name);
            group.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        self.send(group.as_bytes())?;
        for code in ["250", "550", "250"] {
            self.expect(code)?;
        }
        Ok(at)
    }

    /// DATA, and the octets of `message` from `at` up to `until`; to the end, then with the dot.
    fn data(&mut self, message: &[u8], at: usize, until: usize) -> Outcome {
        self.say("DATA", "354")?;
        let until = until.min(message.len());
        let part = message.get(at..until).ok_or("offset beyond the message")?;
        println!(
            "{} C: (octets {at} to {until} of {})",
            self.name,
            message.len()
        );
        let before = message.get(at.saturating_sub(2)..at).unwrap_or_default();
        let offset = OctetOffset::from(at as u64);
        let mut encoder = DotEncoder::resume(offset, before, message.get(at).copied())?;
        let mut wire = Vec::new();
        encoder.encode_with(&mut &*part, |octets| wire.extend_from_slice(octets))?;
        if until == message.len() {
            println!("{} C: .", self.name);
            wire.extend_from_slice(encoder.finish()?);
        }
        Ok(self.send(&wire)?)
    }

    /// Ends the connection as a broken network does, and waits until the server has noticed.
    fn cut(self) -> io::Result<()> {
        println!("--- {} is cut off", self.name);
        self.stream.get_ref().shutdown(Shutdown::Write)?;
        io::copy(&mut { self.stream }, &mut io::sink()).map(drop)
    }

    fn quit(mut self) -> Outcome {
        self.say("QUIT", "221").map(drop)
    }
}

/// Decisions that take long, against a server that offers RDLV: one is waited for, one is stopped.
#[allow(dead_code)] // a bolt-on has none
pub(crate) fn long_decisions(server: SocketAddr, store: &Store) -> Outcome {
    let long = message("To be scanned for long", 3);
    let before = store.delivered().len();

    let mut client = Client::greet("I", server)?;
    client.say("MAIL FROM:<>", "250")?;
    client.say("RCPT TO:<one@example.net>", "250")?;
    client.say("RDLV maxtimer=1", "250")?;
    client.data(&long, 0, long.len())?;
    client.expect("120")?;
    println!("I C: CONT");
    client.send(b"CONT\r\n")?;
    while client
        .expect("")
        .is_ok_and(|reply| reply.starts_with("120"))
    {
        println!("I C: CONT");
        client.send(b"CONT\r\n")?;
    }
    client.quit()?;
    let waited_for = store.delivered().len() == before + 1;
    check(waited_for, "what is waited for is delivered")?;

    for transid in [None, Some("<4@ymir.claremont.edu>")] {
        let mut client = Client::greet("J", server)?;
        match transid {
            Some(transid) => drop(client.envelope(transid)?),
            None => {
                client.say("MAIL FROM:<>", "250")?;
                client.say("RCPT TO:<one@example.net>", "250")?;
            }
        }
        client.say("RDLV maxtimer=1", "250")?;
        client.data(&long, 0, long.len())?;
        client.expect("120")?;
        client.say("RSET", "250")?;
        client.quit()?;
    }
    // What was not stopped would have been decided on by now.
    thread::sleep(Duration::from_millis(1500));
    let stopped = store.delivered().len() == before + 1;
    check(stopped, "what is stopped is not delivered")
}

/// Runs it all against the server at this address, which delivers into this store.
pub(crate) fn run(server: SocketAddr, store: &Store) -> Outcome {
    let long = message("The one that is cut", 20_000);
    let short = message("The one that is decided slowly", 3);

    // Cut again and again; what has arrived is not sent again.
    let (mut sent, mut last) = (0, 0);
    for until in [700_000, 1_000_001, 1_000_123, 1_300_017] {
        let mut client = Client::greet("A", server)?;
        let at = client.envelope("<1@ymir.claremont.edu>")?;
        let announced = last <= at && at <= sent && line_start(&long, at);
        check(announced, "an offset that is stored, and a line start")?;
        client.data(&long, at, until)?;
        (sent, last) = (until, at);
        client.cut()?;
    }
    let mut client = Client::greet("B", server)?;
    let at = client.envelope("<1@ymir.claremont.edu>")?;
    check(at > 1_299_000, "nearly all of it is stored")?;
    client.data(&long, at, long.len())?;
    client.expect("250")?;
    client.quit()?;

    // As if the last reply had been lost: it is given again, and nothing is delivered again.
    let mut client = Client::greet("C", server)?;
    let at = client.envelope("<1@ymir.claremont.edu>")?;
    check(at == long.len(), "all of it is stored")?;
    client.data(&long, at, long.len())?;
    client.expect("250")?;
    client.quit()?;

    // The connection is lost while the server decides: the decision goes on, another session
    // waits for it.
    let mut client = Client::greet("D", server)?;
    let at = client.envelope("<2@ymir.claremont.edu>")?;
    client.data(&short, at, short.len())?;
    drop(client);
    println!("--- D is cut off");
    thread::sleep(Duration::from_millis(100));
    let mut client = Client::greet("E", server)?;
    let at = client.envelope("<2@ymir.claremont.edu>")?;
    client.data(&short, at, short.len())?;
    client.expect("250")?;
    client.quit()?;

    // The client is back before the server knows that the old connection is dead.
    let mut old = Client::greet("F", server)?;
    let at = old.envelope("<3@ymir.claremont.edu>")?;
    old.data(&long, at, 900_000)?;
    thread::sleep(Duration::from_millis(100));
    let mut new = Client::greet("G", server)?;
    let at = new.envelope("<3@ymir.claremont.edu>")?;
    check(at > 0, "what the old session has stored is not lost")?;
    new.data(&long, at, long.len())?;
    old.expect("421")?;
    new.expect("250")?;
    new.quit()?;

    // A plain client.
    let mut client = Client::greet("H", server)?;
    client.say("MAIL FROM:<>", "250")?;
    client.say("RCPT TO:<one@example.net>", "250")?;
    client.data(&short, 0, short.len())?;
    client.expect("250")?;
    client.quit()?;

    let delivered = store.delivered();
    let expected = [(&long, 2), (&short, 2), (&long, 2), (&short, 1)];
    check(delivered.len() == expected.len(), "each message once")?;
    for (mail, (content, recipients)) in delivered.iter().zip(expected) {
        check(*mail.content == *content, "octet for octet")?;
        let accepted = mail.envelope.accepted().count();
        check(accepted == recipients, "for all its recipients")?;
    }
    println!("--- delivered: {} messages, each once", delivered.len());
    Ok(())
}

fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        println!("--- as it should be: {what}");
        return Ok(());
    }
    Err(format!("not so: {what}").into())
}

fn line_start(message: &[u8], at: usize) -> bool {
    at == 0
        || message
            .get(..at)
            .is_some_and(|stored| stored.ends_with(b"\r\n"))
}

/// A message with dots where they hurt.
fn message(subject: &str, lines: usize) -> Vec<u8> {
    let mut message = format!("Subject: {subject}\r\n\r\n").into_bytes();
    for line in 0..lines {
        let text = format!("Line {line} of the message, as long as lines are in letters.\r\n");
        message.extend_from_slice(text.as_bytes());
        message.extend_from_slice(if line % 3 == 0 {
            b".\r\n"
        } else {
            b"..two\r\n"
        });
    }
    message
}
