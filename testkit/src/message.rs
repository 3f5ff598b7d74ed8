//! Messages and the ways in which they are sent.

use smtp_checkpoint::server::Peer;

/// How the content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Data,
    /// In chunks of so many octets.
    Bdat(usize),
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
    pub(crate) transid: String,
    pub(crate) lmtp: bool,
    /// RCPTs are left out of a restart where that is allowed (the simple client only; the
    /// library's always does so).
    pub(crate) terse: bool,
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
            transid: format!("<{sender}-1@c.example>"),
            lmtp: false,
            terse: false,
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

    /// Whether a MAIL command is that of this message.
    pub(crate) fn is_from(&self, mail: &[u8]) -> bool {
        mail.starts_with(self.mail().as_bytes())
    }
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
