//! Commands and replies.

use std::hint::black_box;

use smtp_checkpoint::command::Command;
use smtp_checkpoint::ehlo::CapabilitiesRef;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{ParsedReply, ReplyRef};

pub const MAIL: &[u8] = b"MAIL FROM:<alice.smith@mail.example.com> SIZE=1048576 BODY=8BITMIME \
    TRANSID=<20250314.0001@client.example.com>";
pub const RCPT: &[u8] = b"RCPT TO:<bob.jones@lists.example.net> NOTIFY=SUCCESS,FAILURE \
    ORCPT=rfc822;bob.jones@lists.example.net";

/// A group as a client sends it.
pub fn commands() {
    for line in [
        MAIL,
        RCPT,
        b"RCPT TO:<carol@example.org>",
        b"RCPT TO:<\"d a v e\"@[192.0.2.1]>",
        b"DATA",
    ] {
        assert!(black_box(Command::parse(black_box(line))).is_ok());
    }
}

pub const EHLO: &[u8] = b"250-mx.example.net greets client.example.com\r\n\
    250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n\
    250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n\
    250 CHECKPOINT\r\n";

fn reply(wire: &[u8]) -> ReplyRef<'_> {
    match ReplyRef::parse(black_box(wire)) {
        ParsedReply::Complete { reply, .. } => reply,
        other => panic!("{other:?}"),
    }
}

/// A reply of 11 lines, taken apart.
pub fn ehlo(wire: &[u8]) {
    let offered = CapabilitiesRef::from_reply(&reply(wire), &Limits::default());
    let offered = black_box(offered).unwrap();
    assert!(offered.checkpoint() && offered.size().is_some());
    assert_eq!(offered.auth().count(), 2);
}

/// The reply that tells an offset.
pub const OFFSET: &[u8] = b"355 6135 is the transaction offset\r\n";

/// It is read.
pub fn offset(wire: &[u8]) {
    let reply = reply(wire);
    let offset = OctetOffset::from_reply_text(reply.first_line());
    assert_eq!(black_box(offset).map(OctetOffset::get), Ok(6135));
}
