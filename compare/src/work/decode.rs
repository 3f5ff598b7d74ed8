//! Receiving: the content of DATA from its wire form, without the end of the data.

use std::cell::RefCell;
use std::hint::black_box;

use bytes::Bytes;

use super::{MEMCHR2, absent};
use crate::peers::{mailin, mailrs, ours, smtp_message, smtp_proto};
use crate::shapes::{self, Shape};
use crate::timing::Group;

/// Octets of wire in one group.
const WIRE: usize = 16 * 1024;

/// How the tables name what is compared here.
pub mod name {
    /// Slices of the input handed out, nothing copied.
    pub const OURS: &str = "ours";
    /// As the server session does it: a list of long slices and gathered short ones.
    pub const OURS_BATCH: &str = "ours, batch";
    /// With a copy of the content.
    pub const OURS_COPY: &str = "ours, copied";
    /// Copies, always.
    pub const SMTP_PROTO: &str = "smtp-proto";
    /// Finds the end and nothing else.
    pub const SMTP_PROTO_DISCARD: &str = "smtp-proto, content dropped";
    /// By lines, nothing copied.
    pub const MAILRS: &str = "mailrs";
    /// The helper that copies.
    pub const MAILRS_COPY: &str = "mailrs, copied";
    /// By lines, in a session.
    pub const MAILIN: &str = "mailin";
    /// Copies within its buffer.
    pub const SMTP_MESSAGE: &str = "smtp-message";
    /// The peers that give the content.
    pub const PEERS: [&str; 5] = [SMTP_PROTO, MAILRS, MAILRS_COPY, MAILIN, SMTP_MESSAGE];
}

/// The work.
pub const RECEIVE: &str = "receive";
/// The same in chunks of 1 KiB.
pub const RECEIVE_KIB: &str = "receive, 1 KiB chunks";
/// The same octet by octet.
pub const RECEIVE_OCTETS: &str = "receive, single octets";

/// A sink that only counts.
fn count(total: &mut usize) -> impl FnMut(&[u8]) + '_ {
    |octets| *total += octets.len()
}

fn whole(shape: Shape) -> Group<'static> {
    check(&shape);
    // Kept for the whole run.
    let wire: &'static [u8] = Box::leak(shape.wire.into_boxed_slice());
    let mut group = Group::new(RECEIVE, shape.name, MEMCHR2, || absent(wire));
    group.add(name::OURS, move || {
        let mut total = 0;
        ours::decode([black_box(wire)], count(&mut total));
        black_box(total);
    });
    // Not static: its clones are counted, as those of a buffer that was read into.
    let (bytes, mut out) = (Bytes::copy_from_slice(wire), Vec::new());
    group.add(name::OURS_BATCH, move || {
        ours::decode_batch(black_box(&bytes), &mut out);
        black_box(&out);
        out.clear();
    });
    let mut out = Vec::with_capacity(WIRE);
    group.add(name::OURS_COPY, move || {
        out.clear();
        ours::decode([black_box(wire)], |octets| out.extend_from_slice(octets));
        black_box(&out);
    });
    let mut out = Vec::with_capacity(WIRE);
    group.add(name::SMTP_PROTO, move || {
        out.clear();
        smtp_proto::decode([black_box(wire)], &mut out);
        black_box(&out);
    });
    group.add(name::SMTP_PROTO_DISCARD, move || {
        black_box(smtp_proto::discard([black_box(wire)]));
    });
    group.add(name::MAILRS, move || {
        let mut total = 0;
        mailrs::decode(black_box(wire), count(&mut total));
        black_box(total);
    });
    group.add(name::MAILRS_COPY, move || {
        black_box(mailrs::unstuff_data(black_box(wire)));
    });
    let mut replies = Vec::new();
    let mut server = mailin::Server::in_data(|octets| {
        black_box(octets.len());
    });
    group.add(name::MAILIN, move || {
        server.read(black_box(wire), &mut replies);
    });
    let mut buffers = smtp_message::Buffers::default();
    group.add(name::SMTP_MESSAGE, move || {
        let mut total = 0;
        smtp_message::decode(&mut buffers, black_box(wire), count(&mut total));
        black_box(total);
    });
    group
}

/// Only crates that take a line in parts.
fn chunked(work: &'static str, shape: Shape, octets: usize) -> Group<'static> {
    let wire: &'static [u8] = Box::leak(shape.wire.into_boxed_slice());
    let chunks = move || black_box(wire).chunks(octets);
    let mut group = Group::new(work, shape.name, MEMCHR2, move || chunks().for_each(absent));
    group.add(name::OURS, move || {
        let mut total = 0;
        ours::decode(chunks(), count(&mut total));
        black_box(total);
    });
    let mut out = Vec::with_capacity(WIRE);
    group.add(name::OURS_COPY, move || {
        out.clear();
        ours::decode(chunks(), |octets| out.extend_from_slice(octets));
        black_box(&out);
    });
    let mut out = Vec::with_capacity(WIRE);
    group.add(name::SMTP_PROTO, move || {
        out.clear();
        smtp_proto::decode(chunks(), &mut out);
        black_box(&out);
    });
    group.add(name::SMTP_PROTO_DISCARD, move || {
        black_box(smtp_proto::discard(chunks()));
    });
    group
}

/// All come to the same octets.
fn check(shape: &Shape) {
    let Shape {
        name,
        content,
        wire,
    } = shape;
    let gathered = |decode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        decode(&mut out);
        out
    };
    for octets in [WIRE, 1024, 1] {
        let chunks = || wire.chunks(octets);
        let ours = gathered(&|out| ours::decode(chunks(), |octets| out.extend(octets)));
        assert!(ours == *content, "ours, {name}");
        let peer = gathered(&|out| smtp_proto::decode(chunks(), out));
        assert!(peer == *content, "smtp-proto, {name}");
    }
    let mut out = Vec::new();
    ours::decode_batch(&wire.clone().into(), &mut out);
    assert!(out.concat() == *content, "ours in a batch, {name}");
    let peer = gathered(&|out| {
        mailrs::decode(wire, |octets| out.extend(octets));
    });
    assert!(peer == *content, "mailrs, {name}");
    assert!(mailrs::unstuff_data(wire) == *content, "mailrs, {name}");
    let out = RefCell::new(Vec::new());
    let mut server = mailin::Server::in_data(|octets| out.borrow_mut().extend_from_slice(octets));
    server.read(wire, &mut Vec::new());
    assert!(*out.borrow() == *content, "mailin, {name}");
    let mut out = Vec::new();
    let buffers = &mut smtp_message::Buffers::default();
    smtp_message::decode(buffers, wire, |octets| out.extend(octets));
    // The last CRLF may yet belong to the end.
    assert!(
        content.strip_suffix(b"\r\n") == Some(&out),
        "smtp-message, {name}"
    );
}

/// All groups of receiving.
#[must_use]
pub fn groups() -> Vec<Group<'static>> {
    let shapes = || shapes::all(WIRE).into_iter();
    let mut groups: Vec<_> = shapes().map(whole).collect();
    groups.extend(shapes().map(|shape| chunked(RECEIVE_KIB, shape, 1024)));
    groups.extend(shapes().map(|shape| chunked(RECEIVE_OCTETS, shape, 1)));
    groups
}
