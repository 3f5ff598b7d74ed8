//! Commands and replies, each given whole and with its CRLF.

use std::hint::black_box;

use bytes::Bytes;
use smtp_checkpoint::command::Command;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::line::LineReader;

use super::LOOKUP;
use crate::peers::{
    async_smtp, io_smtp, lettre, mailrs, ours, smtp_codec, smtp_message, smtp_proto,
};
use crate::timing::Group;

/// How the tables name what is compared here.
pub mod name {
    /// The parser alone: the line was found before.
    pub const OURS: &str = "ours";
    /// With the search for the end of the line.
    pub const OURS_FRAMED: &str = "ours, line found first";
    /// As the client session reads.
    pub const OURS_SESSION: &str = "ours, as the session reads";
    /// smtp-proto, which is mail-send's parser too.
    pub const SMTP_PROTO: &str = "smtp-proto";
    /// Those that read commands.
    pub const COMMANDS: [&str; 4] = [SMTP_PROTO, "mailrs", "smtp-message", "smtp-codec"];
    /// Those that read replies.
    pub const REPLIES: [&str; 6] = [
        SMTP_PROTO,
        "smtp-message",
        "smtp-codec",
        "io-smtp",
        "lettre",
        "async-smtp",
    ];
}

/// Reading a command.
pub const COMMAND: &str = "parse command";
/// Reading a reply.
pub const REPLY: &str = "parse reply";

/// The command lines: a name, the line, its path.
pub const LINES: [(&str, &[u8], &str); 5] = [
    (
        "MAIL, SIZE BODY TRANSID",
        b"MAIL FROM:<alice.smith@mail.example.com> SIZE=1048576 BODY=8BITMIME \
          TRANSID=<20250314.0001@client.example.com>\r\n",
        "alice.smith@mail.example.com",
    ),
    (
        "RCPT, NOTIFY ORCPT",
        b"RCPT TO:<bob.jones@lists.example.net> NOTIFY=SUCCESS,FAILURE \
          ORCPT=rfc822;bob.jones@lists.example.net\r\n",
        "bob.jones@lists.example.net",
    ),
    // A "+" in the address has to be written as xtext.
    (
        "RCPT, NOTIFY ORCPT with +",
        b"RCPT TO:<bob.jones+news@lists.example.net> NOTIFY=SUCCESS,FAILURE \
          ORCPT=rfc822;bob.jones+2Bnews@lists.example.net\r\n",
        "bob.jones+news@lists.example.net",
    ),
    (
        "MAIL",
        b"MAIL FROM:<alice.smith@mail.example.com>\r\n",
        "alice.smith@mail.example.com",
    ),
    (
        "RCPT",
        b"RCPT TO:<bob.jones@lists.example.net>\r\n",
        "bob.jones@lists.example.net",
    ),
];

/// The reply to EHLO.
pub const EHLO_REPLY: &[u8] = b"250-mx.example.net greets client.example.com\r\n\
    250-PIPELINING\r\n\
    250-SIZE 52428800\r\n\
    250-8BITMIME\r\n\
    250-SMTPUTF8\r\n\
    250-DSN\r\n\
    250-ENHANCEDSTATUSCODES\r\n\
    250-CHUNKING\r\n\
    250-STARTTLS\r\n\
    250-AUTH PLAIN LOGIN\r\n\
    250 CHECKPOINT\r\n";

/// The reply that tells an offset.
pub const OFFSET_REPLY: &[u8] = b"355 6135 is the transaction offset\r\n";

/// One look-up an octet, the results folded so that none can be left out.
fn look_up(octets: &[u8]) -> u8 {
    static CLASSES: [u8; 256] = {
        let mut classes = [0; 256];
        let mut octet = 0;
        while octet < classes.len() {
            classes[octet] = (octet as u8).wrapping_mul(167) ^ 29;
            octet += 1;
        }
        classes
    };
    (octets.iter()).fold(0, |sum, octet| sum ^ CLASSES[usize::from(*octet)])
}

fn anchored(work: &'static str, case: &'static str, wire: &'static [u8]) -> Group<'static> {
    Group::new(work, case, LOOKUP, move || {
        black_box(look_up(black_box(wire)));
    })
}

/// Times one call on `wire`.
fn parsing<T>(wire: &'static [u8], parse: impl Fn(&'static [u8]) -> T) -> impl FnMut() {
    move || {
        black_box(parse(black_box(wire)));
    }
}

fn command(case: &'static str, line: &'static [u8]) -> Group<'static> {
    let mut group = anchored(COMMAND, case, line);
    let bare = line.strip_suffix(b"\r\n").unwrap();
    group.add(name::OURS, parsing(bare, Command::parse));
    let (bytes, limit) = (Bytes::from_static(line), Limits::default().command_line);
    let mut lines = LineReader::new();
    group.add(name::OURS_FRAMED, move || {
        let line = lines.read(&mut black_box(&bytes).clone(), limit);
        let line = line.unwrap().unwrap();
        let _ = black_box(Command::parse(&line));
    });
    group.add(name::COMMANDS[0], parsing(line, smtp_proto::command));
    group.add(name::COMMANDS[1], parsing(line, mailrs::command));
    group.add(name::COMMANDS[2], parsing(line, smtp_message::command));
    group.add(name::COMMANDS[3], parsing(line, smtp_codec::command));
    group
}

fn ehlo_reply() -> Group<'static> {
    let wire = EHLO_REPLY;
    let mut group = anchored(REPLY, "EHLO, 11 lines", wire);
    group.add(name::OURS, parsing(wire, ours::ehlo_borrowed));
    let bytes = Bytes::from_static(wire);
    group.add(name::OURS_SESSION, move || {
        black_box(ours::ehlo(black_box(&bytes)));
    });
    group.add(name::REPLIES[0], parsing(wire, smtp_proto::ehlo));
    group.add(name::REPLIES[1], parsing(wire, smtp_message::reply));
    group.add(name::REPLIES[2], parsing(wire, smtp_codec::ehlo));
    group.add(name::REPLIES[3], parsing(wire, io_smtp::ehlo));
    group.add(name::REPLIES[4], parsing(wire, lettre::ehlo));
    group.add(name::REPLIES[5], parsing(wire, async_smtp::reply));
    group
}

/// The number that the text of a reply begins with, for crates that know no offset.
fn leading_number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

fn offset_by_smtp_proto(wire: &[u8]) -> Option<u64> {
    leading_number(&smtp_proto::reply(wire).ok()?.message)
}

fn offset_by_smtp_message(wire: &[u8]) -> Option<u64> {
    leading_number(smtp_message::reply(wire).ok()?.text.first()?.as_str())
}

fn offset_by_io_smtp(wire: &[u8]) -> Option<u64> {
    leading_number(io_smtp::reply(wire)?.text().as_ref())
}

fn offset_by_lettre(wire: &[u8]) -> Option<u64> {
    lettre::reply(wire)?.first_word()?.parse().ok()
}

fn offset_by_async_smtp(wire: &[u8]) -> Option<u64> {
    async_smtp::reply(wire)?.first_word()?.parse().ok()
}

fn offset_reply() -> Group<'static> {
    let wire = OFFSET_REPLY;
    for offset in [
        ours::offset,
        offset_by_smtp_proto,
        offset_by_smtp_message,
        offset_by_io_smtp,
        offset_by_lettre,
        offset_by_async_smtp,
    ] {
        assert_eq!(offset(wire), Some(6135));
    }
    let mut group = anchored(REPLY, "355", wire);
    group.add(name::OURS, parsing(wire, ours::offset));
    group.add(name::REPLIES[0], parsing(wire, offset_by_smtp_proto));
    group.add(name::REPLIES[1], parsing(wire, offset_by_smtp_message));
    group.add(name::REPLIES[3], parsing(wire, offset_by_io_smtp));
    group.add(name::REPLIES[4], parsing(wire, offset_by_lettre));
    group.add(name::REPLIES[5], parsing(wire, offset_by_async_smtp));
    group
}

/// All read the path, and the parameters that they know.
fn check_command(line: &[u8], path: &str) {
    let bare = line.strip_suffix(b"\r\n").unwrap();
    let parameters = bare.windows(6).any(|octets| octets == b"TRANSI");
    let ours = Command::parse(bare).unwrap();
    let peer = smtp_proto::command(line).unwrap();
    match (ours, peer) {
        (Command::Mail(mail), smtp_proto::Request::Mail { from }) => {
            assert_eq!(from.address, path);
            assert_eq!(mail.transid.is_some(), parameters);
            assert_eq!(from.trans_id.is_some(), parameters);
            assert_eq!(mail.size.unwrap_or(0), from.size as u64);
        }
        (Command::Rcpt(rcpt), smtp_proto::Request::Rcpt { to }) => {
            assert_eq!(to.address, path);
            let orcpt = rcpt.orcpt.map(|orcpt| orcpt.address.decoded().collect());
            assert_eq!(orcpt, to.orcpt.map(|orcpt| orcpt.into_owned().into_bytes()));
        }
        other => panic!("{other:?}"),
    }
    let shown = [
        format!("{:?}", mailrs::command(line).unwrap()),
        format!("{:?}", smtp_codec::command(line).unwrap()),
    ];
    assert!(shown.iter().all(|shown| shown.contains(path)), "{shown:?}");
    let (local, domain) = path.split_once('@').unwrap();
    let shown = format!("{:?}", smtp_message::command(line).unwrap());
    assert!(shown.contains(local) && shown.contains(domain), "{shown}");
}

/// All read the last keyword.
fn check_ehlo() {
    let offered = ours::ehlo_borrowed(EHLO_REPLY).unwrap();
    assert_eq!(ours::ehlo(&Bytes::from_static(EHLO_REPLY)), Some(offered));
    assert!(offered.flags == [true; 8] && offered.size == Some(52_428_800));
    assert_eq!(offered.mechanisms, 2);
    let peer = smtp_proto::ehlo(EHLO_REPLY).unwrap();
    assert_eq!(peer.capabilities().count_ones(), 10);
    let shown = [
        format!("{:?}", smtp_message::reply(EHLO_REPLY).unwrap()),
        format!("{:?}", smtp_codec::ehlo(EHLO_REPLY).unwrap()),
        format!("{:?}", io_smtp::ehlo(EHLO_REPLY).unwrap()),
        format!("{:?}", async_smtp::reply(EHLO_REPLY).unwrap()),
    ];
    for shown in shown {
        assert!(shown.to_ascii_uppercase().contains("CHECKPOINT"), "{shown}");
    }
    // It keeps the keywords that it knows.
    let shown = format!("{:?}", lettre::ehlo(EHLO_REPLY).unwrap());
    assert!(shown.contains("EightBitMime"), "{shown}");
}

/// All groups of parsing.
#[must_use]
pub fn groups() -> Vec<Group<'static>> {
    let mut groups = Vec::new();
    for (case, line, path) in LINES {
        check_command(line, path);
        groups.push(command(case, line));
    }
    check_ehlo();
    groups.push(ehlo_reply());
    groups.push(offset_reply());
    groups
}
