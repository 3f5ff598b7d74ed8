//! A server in a few lines whose connections break, for the self-test of a client.
//!
//! It is a script, not a server to copy: it keeps one message in memory, trusts the client, and
//! makes nothing durable.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use smtp_checkpoint::dot::{DecodeStatus, DotDecoder};
use smtp_checkpoint::offset::OctetOffset;

/// Where a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Before the reply to MAIL.
    Mail,
    /// Before the reply to DATA.
    Data,
    /// After so many octets of the message, on this connection.
    Content(u64),
    /// With the message decided on, before the final reply.
    FinalReply,
    /// Not at all.
    Never,
}

/// What has come.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    transid: String,
    recipients: usize,
    partial: Vec<u8>,
    pub(crate) delivered: Vec<Vec<u8>>,
    decided: bool,
    /// The offsets of the restarts.
    pub(crate) offsets: Vec<u64>,
}

pub(crate) type Shared = Arc<Mutex<Mailbox>>;

/// Serves one connection after the other.
///
/// # Errors
///
/// Where it cannot listen.
pub(crate) fn start(breaks: Vec<Break>) -> io::Result<(SocketAddr, Shared)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let shared = Shared::default();
    let mailbox = Arc::clone(&shared);
    thread::spawn(move || {
        for (stream, at) in listener.incoming().zip(breaks) {
            let mut mailbox = mailbox.lock().unwrap_or_else(PoisonError::into_inner);
            // It ends with QUIT, or breaks: both are as they should be.
            let _ = stream.and_then(|stream| serve(&stream, at, &mut mailbox));
        }
    });
    Ok((address, shared))
}

fn serve(mut stream: &TcpStream, at: Break, mailbox: &mut Mailbox) -> io::Result<()> {
    let broken = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let mut input = BufReader::new(stream);
    stream.write_all(b"220 mx.example.net ready\r\n")?;
    let mut start = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        println!("C: {}", line.trim_end());
        let reply = match line.get(..4) {
            Some("EHLO") => "250-mx.example.net\r\n250-PIPELINING\r\n250 CHECKPOINT".into(),
            Some("MAIL") if at == Break::Mail => return Err(broken()),
            Some("MAIL") => {
                let (_, transid) = line.trim_end().split_once(" TRANSID=").unwrap_or_default();
                if mailbox.transid == transid && mailbox.recipients > 0 {
                    start = mailbox.partial.len() as u64;
                    mailbox.offsets.push(start);
                    format!("355 {}", OctetOffset::new(start).reply_text())
                } else {
                    *mailbox = Mailbox {
                        transid: transid.into(),
                        ..std::mem::take(mailbox)
                    };
                    "250 sender ok".into()
                }
            }
            Some("RCPT") => {
                mailbox.recipients += 1;
                "250 recipient ok".into()
            }
            Some("DATA") if at == Break::Data => return Err(broken()),
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n")?;
                if !content(&mut input, start, at, &mut mailbox.partial)? {
                    return Err(broken());
                }
                if !std::mem::replace(&mut mailbox.decided, true) {
                    let message = mailbox.partial.clone();
                    mailbox.delivered.push(message);
                }
                if at == Break::FinalReply {
                    return Err(broken());
                }
                "250 accepted".into()
            }
            Some("QUIT") => return stream.write_all(b"221 bye\r\n"),
            _ => String::from("502 what?"),
        };
        println!("S: {reply}");
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}

/// Takes content up to its end, or to where the connection breaks; then it keeps whole lines.
fn content(
    input: &mut impl BufRead,
    start: u64,
    at: Break,
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut decoder = DotDecoder::starting_at(start.into());
    loop {
        let octets = input.fill_buf()?;
        let mut rest = octets;
        let status = decoder.decode_with(&mut rest, |content| message.extend_from_slice(content));
        let (read, lost) = (octets.len() - rest.len(), octets.is_empty());
        input.consume(read);
        if status == DecodeStatus::End && !matches!(at, Break::Content(_)) {
            return Ok(true);
        }
        let so_far = message.len() as u64 - start;
        let broken = matches!(at, Break::Content(most) if so_far >= most);
        if broken || lost || status == DecodeStatus::End {
            if let Break::Content(most) = at {
                // Had it broken just there, no more would have come.
                message.truncate(usize::try_from(start + most).unwrap_or(usize::MAX));
            }
            let line_end = message.windows(2).rposition(|pair| pair == b"\r\n");
            message.truncate(line_end.map_or(0, |end| end + 2));
            return Ok(false);
        }
    }
}
