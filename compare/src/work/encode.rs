//! Sending: content to its wire form, with the end of the data.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};

use super::{MEMCHR2, absent};
use crate::peers::{async_smtp, io_smtp, lettre, mail_send, ours, smtp_message};
use crate::shapes::{self, Shape};
use crate::timing::Group;

/// Octets of wire in one group: enough that what lettre and async-smtp say around it is little.
const WIRE: usize = 64 * 1024;

/// How the tables name what is compared here.
pub mod name {
    /// Slices handed out, nothing copied.
    pub const OURS: &str = "ours";
    /// As the client session does it.
    pub const OURS_BATCH: &str = "ours, batch";
    /// Into one buffer.
    pub const OURS_COPY: &str = "ours, copied";
    /// All others copy.
    pub const PEERS: [&str; 5] = [
        "smtp-message",
        "lettre",
        "io-smtp",
        "async-smtp",
        "mail-send",
    ];
}

/// The work.
pub const SEND: &str = "send";

fn group(shape: Shape) -> Group<'static> {
    check(&shape);
    let content: &'static [u8] = Box::leak(shape.content.into_boxed_slice());
    let mut group = Group::new(SEND, shape.name, MEMCHR2, || absent(content));
    group.add(name::OURS, move || {
        let mut total = 0;
        ours::encode(black_box(content), |octets| total += octets.len());
        black_box(total);
    });
    let (bytes, mut out) = (Bytes::copy_from_slice(content), Vec::new());
    group.add(name::OURS_BATCH, move || {
        ours::encode_batch(black_box(&bytes), &mut out);
        black_box(&out);
        out.clear();
    });
    let mut out = BytesMut::with_capacity(2 * WIRE);
    group.add(name::OURS_COPY, move || {
        out.clear();
        ours::encode_buffer(black_box(content), &mut out);
        black_box(&out);
    });
    let mut out = Vec::with_capacity(2 * WIRE);
    group.add(name::PEERS[0], move || {
        out.clear();
        smtp_message::encode(black_box(content), &mut out);
        black_box(&out);
    });
    let mut sender = lettre::Sender::default();
    group.add(name::PEERS[1], move || sender.send(black_box(content)));
    group.add(name::PEERS[2], move || {
        black_box(io_smtp::encode(black_box(content).to_vec()));
    });
    let mut sender = async_smtp::Sender::default();
    group.add(name::PEERS[3], move || sender.send(black_box(content)));
    let mut sender = mail_send::Sender::default();
    group.add(name::PEERS[4], move || sender.send(black_box(content)));
    group
}

/// All come to the same octets, but for a CRLF too many with three of them.
fn check(shape: &Shape) {
    let Shape {
        name,
        content,
        wire,
    } = shape;
    let whole = [&wire[..], b".\r\n"].concat();
    let one_more = [&wire[..], b"\r\n.\r\n"].concat();
    let mut out = Vec::new();
    ours::encode(content, |octets| out.extend_from_slice(octets));
    assert!(out == whole, "ours, {name}");
    let mut out = Vec::new();
    ours::encode_batch(&content.clone().into(), &mut out);
    assert!(out.concat() == whole, "ours in a batch, {name}");
    let mut out = BytesMut::new();
    ours::encode_buffer(content, &mut out);
    assert!(out == whole, "ours in a buffer, {name}");
    let mut out = Vec::new();
    smtp_message::encode(content, &mut out);
    assert!(out == whole, "smtp-message, {name}");
    assert!(io_smtp::encode(content.clone()) == whole, "io-smtp, {name}");

    let mut sender = lettre::Sender::default();
    sender.send(content);
    assert!(sender.written() == one_more, "lettre, {name}");
    let mut sender = mail_send::Sender::default();
    sender.send(content);
    assert!(sender.written() == one_more, "mail-send, {name}");
    let mut sender = async_smtp::Sender::default();
    sender.send(content);
    sender.send(content);
    let written = sender.into_written();
    assert!(written.ends_with(&one_more), "async-smtp, {name}");
    let commands = &written[..written.len() - one_more.len()];
    assert!(commands.starts_with(b"MAIL FROM:<a@c.example>"));
    assert!(commands.ends_with(b"DATA\r\n"));
}

/// All groups of sending.
#[must_use]
pub fn groups() -> Vec<Group<'static>> {
    shapes::all(WIRE).into_iter().map(group).collect()
}
