//! Messages and the ways in which they are sent.

use smtp_checkpoint::server::Peer;

/// How the content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Data,
    /// In chunks of so many octets.
    Bdat(usize),
}

/// What a client wants of RDLV and DETA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// In seconds.
    pub(crate) maxtimer: u32,
    /// So many 120s are answered CONT.
    pub(crate) carries_on: u32,
    /// Then comes DETA where that can be; else RSET.
    pub(crate) detaches: bool,
    /// The server is known to abort when it says 250 to RSET.
    pub(crate) reset_aborts: bool,
    /// Where a RSET leaves it unknown what became of the message, it is sent again under the same
    /// TRANSID.
    pub(crate) insists: bool,
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The local part of its reverse-path tells it from all others.
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) content: Vec<u8>,
    pub(crate) how: How,
    pub(crate) pipelining: bool,
    /// Without one it is plain SMTP, of which no record is kept (the library's client only).
    pub(crate) transid: Option<String>,
    pub(crate) lmtp: bool,
    /// RCPTs are left out of a restart where that is allowed (the simple client only; the
    /// library's always does so).
    pub(crate) terse: bool,
    /// RCPTs are sent behind MAIL without waiting for its reply (the simple client only).
    pub(crate) grouped: bool,
    /// RDLV is asked for (the library's client only).
    pub(crate) wish: Option<Wish>,
    /// DSN is offered: recipients whose name begins with `quiet` want none.
    pub(crate) dsn: bool,
    /// What the client calls itself.
    pub(crate) name: String,
    /// As the server knows the client.
    pub(crate) peer: Peer,
}

impl Message {
    pub(crate) fn new(sender: &str, content: &[u8]) -> Self {
        Self {
            sender: sender.into(),
            recipients: vec!["b@example.net".into()],
            content: content.to_vec(),
            how: How::Data,
            pipelining: true,
            transid: Some(format!("<{sender}-1@c.example>")),
            lmtp: false,
            terse: false,
            grouped: false,
            wish: None,
            dsn: false,
            name: "c.example".into(),
            peer: Peer::at(b"192.0.2.7"),
        }
    }

    /// As it has to be delivered.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut octets = self.content.clone();
        if self.how == How::Data && !octets.is_empty() && !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        octets
    }

    /// The MAIL command, without TRANSID.
    pub(crate) fn mail(&self) -> String {
        format!("MAIL FROM:<{}@c.example>", self.sender)
    }

    /// The RCPT command for a recipient.
    pub(crate) fn rcpt(&self, recipient: &str) -> String {
        let quiet = self.dsn && recipient.starts_with("quiet");
        let notify = if quiet { " NOTIFY=NEVER" } else { "" };
        format!("RCPT TO:<{recipient}>{notify}")
    }

    /// Whether a server takes it for any recipient, sooner or later.
    pub(crate) fn is_wanted(&self) -> bool {
        let wanted = |to: &String| !to.starts_with("no") && !to.starts_with("later");
        self.recipients.iter().any(wanted)
    }

    /// Whether its content is refused by default: a bare CR or a bare LF.
    pub(crate) fn is_faulty(&self) -> bool {
        let octets = &self.content;
        let bare = |at: usize| match octets[at] {
            b'\r' => octets.get(at + 1) != Some(&b'\n'),
            b'\n' => at == 0 || octets[at - 1] != b'\r',
            _ => false,
        };
        (0..octets.len()).any(bare)
    }

    /// Whether a MAIL command is that of this message.
    pub(crate) fn is_from(&self, mail: &[u8]) -> bool {
        mail.starts_with(self.mail().as_bytes())
    }
}

/// Whether a RCPT command is for this recipient.
pub(crate) fn is_to(line: &[u8], recipient: &str) -> bool {
    line.starts_with(format!("RCPT TO:<{recipient}>").as_bytes())
}

/// Small messages, each with something in it that is easy to get wrong.
pub(crate) fn contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("simple", b"Subject: x\r\n\r\nHello\r\n".to_vec()),
        ("dots", b"S: x\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n.\r\n".to_vec()),
        ("first-line dot", b".\r\nx\r\n".to_vec()),
        ("dot and text first", b".x\r\n".to_vec()),
        ("empty", Vec::new()),
        ("one empty line", b"\r\n".to_vec()),
        ("no final CRLF", b"a: b\r\n\r\nend".to_vec()),
        ("no final CRLF, dot", b"a: b\r\n\r\n.".to_vec()),
        ("8-bit", b"S: \xc3\xa4\r\n\r\n\xff\xfe\x80\r\n".to_vec()),
        (
            "short lines",
            b"\r\na\r\n\r\nb\r\n\r\n\r\nc\r\nd\r\n.\r\n\r\n".to_vec(),
        ),
        ("one long line", [&b"x".repeat(70)[..], b"\r\n"].concat()),
    ]
}

/// Content that is refused for what is in it, and so never delivered.
pub(crate) fn faulty_contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("bare LF", b"a\nb\r\nc\r\nd\r\n".to_vec()),
        ("bare CR", b"a\r\nb\rc\r\nd\r\n".to_vec()),
    ]
}

/// DATA with and without pipelining, BDAT in chunks of 7 octets and in one.
pub(crate) fn ways(sender: &str, content: &[u8]) -> Vec<(String, Message)> {
    let mut ways = Vec::new();
    for (how, name) in [
        (How::Data, "DATA"),
        (How::Bdat(7), "BDAT 7"),
        (How::Bdat(1000), "BDAT"),
    ] {
        for pipelining in [false, true] {
            let mut message = Message::new(sender, content);
            message.how = how;
            message.pipelining = pipelining;
            let grouped = if pipelining {
                "pipelined"
            } else {
                "one by one"
            };
            ways.push((format!("{name}, {grouped}"), message));
        }
    }
    ways
}
