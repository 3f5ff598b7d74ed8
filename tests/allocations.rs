//! What is borrowed takes no memory: each parser of the leaf modules, on what it reads and on what it
//! refuses. The file holds one test, so that nothing else allocates while it runs.

#![allow(missing_docs, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use smtp_checkpoint::command::{Command, DomainOrLiteral, Mailbox, XText};
use smtp_checkpoint::dot::{ContentChecker, DotDecoder, DotEncoder};
use smtp_checkpoint::ehlo::CapabilitiesRef;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{EnhancedCode, ParsedReply, ReplyCode, ReplyRef};
use smtp_checkpoint::transid::TransId;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `run` runs.
fn allocations(run: impl FnOnce()) -> usize {
    let before = CALLS.get();
    run();
    CALLS.get() - before
}

fn command(line: &[u8]) {
    if let Ok(command) = black_box(Command::parse(line)) {
        // What only looks again at what stands in the line.
        match command {
            Command::Mail(mail) => {
                black_box(mail.unknown_parameters().count());
                black_box(mail.same_transaction(&mail));
            }
            Command::Rcpt(rcpt) => {
                black_box(rcpt.unknown_parameters().count());
                black_box(rcpt.same_recipient(&rcpt));
            }
            _ => {}
        }
    }
}

fn reply(wire: &[u8]) {
    let ParsedReply::Complete { reply, .. } = black_box(ReplyRef::parse(wire)) else {
        return;
    };
    black_box(reply.lines().count());
    let _ = black_box(OctetOffset::from_reply_text(reply.first_line()));
    if let Ok(offered) = CapabilitiesRef::from_reply(&reply, &Limits::default()) {
        black_box((offered.size(), offered.rdlv(), offered.burl()));
        black_box((offered.auth().count(), offered.keywords().count()));
        black_box((offered.server_name(), offered.keyword(b"XCLIENT")));
    }
}

const COMMANDS: &[&[u8]] = &[
    b"EHLO [IPv6:2001:db8::1]",
    b"MAIL FROM:<alice.smith@mail.example.com> SIZE=1048576 BODY=8BITMIME RET=HDRS ENVID=a+2Bb \
      AUTH=<> TRANSID=<20250314.0001@client.example.com> X=1 Y SMTPUTF8",
    b"MAIL FROM:<@relay.example:\"a \\\"b\"@[192.0.2.1]> TRANSOFF=1",
    "MAIL FROM:<ü@bücher.example> SMTPUTF8".as_bytes(),
    b"MAIL FROM:<a@b> X=1 x=2",
    b"MAIL FROM:<a@b> TRANSID=<a@>",
    b"MAIL FROM:<a@-b>",
    b"RCPT TO:<bob@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob+40example.net Z",
    b"RCPT TO:<Postmaster>",
    b"RCPT TO:<\xff@b>",
    b"BDAT 1000 LAST",
    b"BURL imap://x/ LAST",
    b"AUTH PLAIN dGVzdAB0ZXN0",
    b"RDLV maxtimer=30",
    b"VRFY x\r\nRSET",
    b"XYZZY plugh",
];

const REPLIES: &[&[u8]] = &[
    b"250-mx.example.net greets\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
      250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-RDLV mintimer=5\r\n\
      250-AUTH PLAIN LOGIN\r\n250-AUTH=CRAM-MD5\r\n250-BURL imap\r\n250 CHECKPOINT\r\n",
    b"355 6135 is the transaction offset\r\n",
    b"355-6135\r\n355 more\r\n",
    b"250-a\r\n251 b\r\n",
    b"250 a\nb\r\n",
    b"250-half a rep",
];

const VALUES: &[&[u8]] = &[
    b"<20250314.0001@client.example.com>",
    b"bob.jones@lists.example.net",
    b"mail.example.com",
    b"5.7.1",
    b"a+2Bb",
    b"355",
    b"",
];

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.dot\r\n..\r\nbare\rand\n\0\r\n";

#[test]
fn what_is_borrowed_takes_no_memory() {
    assert_eq!(allocations(|| drop(black_box(vec![1]))), 1);
    for line in COMMANDS {
        assert_eq!(allocations(|| command(line)), 0, "{}", line.escape_ascii());
    }
    for wire in REPLIES {
        assert_eq!(allocations(|| reply(wire)), 0, "{}", wire.escape_ascii());
    }
    for value in VALUES {
        let parsed = allocations(|| {
            let _ = black_box(TransId::parse(value));
            let _ = black_box(Mailbox::parse(value));
            let _ = black_box(DomainOrLiteral::parse(value));
            let _ = black_box(EnhancedCode::parse(value));
            let _ = black_box(XText::parse(value));
            let _ = black_box(ReplyCode::parse(value));
        });
        assert_eq!(parsed, 0, "{}", value.escape_ascii());
    }
    let long = CONTENT.repeat(100);
    let codec = allocations(|| {
        let mut octets = 0;
        DotDecoder::new().decode_with(&mut &long[..], |content| octets += content.len());
        let _ = DotEncoder::new().encode_with(&mut &long[..], |wire| octets += wire.len());
        let mut checker = ContentChecker::new();
        checker.check(&long);
        black_box((octets, checker.faults()));
    });
    assert_eq!(codec, 0);
}
