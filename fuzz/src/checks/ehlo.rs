//! EHLO: any reply can be asked for capabilities, and what is built reads back.

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::ehlo::{Capabilities, CapabilitiesRef, EhloBuilder, SizeOffer};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::reply::{ParsedReply, Reply, ReplyReader, ReplyRef};

use super::input;

pub fn check(data: &[u8]) {
    let (wire, mut choices) = input::parse(data);
    let keywords = match choices.below(4) {
        0 => Limits::default().ehlo_keywords,
        few => usize::from(few - 1),
    };
    let limits = Limits {
        ehlo_keywords: keywords,
        ..Limits::default()
    };
    let mut input = Bytes::copy_from_slice(wire);
    if let Some(Ok(reply)) = ReplyReader::new().read(&mut input, &limits) {
        if let Ok(capabilities) = Capabilities::from_reply(&reply, &limits) {
            ask(&capabilities, keywords);
            same(&capabilities, wire, &limits);
        }
    }
    build(wire, &mut choices);
}

/// What is borrowed says the same.
fn same(capabilities: &Capabilities, wire: &[u8], limits: &Limits) {
    let ParsedReply::Complete { reply, .. } = ReplyRef::parse(wire) else {
        panic!("a reply that the reader has read");
    };
    let borrowed = CapabilitiesRef::from_reply(&reply, limits).expect("250");
    assert_eq!(borrowed.greeting(), capabilities.greeting());
    assert!(borrowed.keywords().eq(capabilities.keywords()));
    assert!(borrowed.auth().eq(capabilities.auth()));
    assert_eq!(borrowed.size(), capabilities.size());
    assert_eq!(borrowed.rdlv(), capabilities.rdlv());
    assert_eq!(borrowed.burl(), capabilities.burl());
    assert_eq!(borrowed.checkpoint(), capabilities.checkpoint());
    assert_eq!(borrowed.eight_bit_mime(), capabilities.eight_bit_mime());
}

fn ask(capabilities: &Capabilities, keywords: usize) {
    assert!(capabilities.keywords().count() <= keywords);
    for keyword in capabilities.keywords() {
        let first = capabilities
            .keyword(keyword.name)
            .expect("a keyword that is there");
        assert!(first.is(keyword.name));
        assert!(!keyword.name.is_empty());
        for parameter in keyword.each_parameter() {
            assert!(!parameter.is_empty());
        }
    }
    assert!(
        capabilities
            .greeting()
            .starts_with(capabilities.server_name())
            || capabilities
                .greeting()
                .trim_ascii_start()
                .starts_with(capabilities.server_name())
    );
    let _ = (
        capabilities.size(),
        capabilities.burl(),
        capabilities.auth().count(),
    );
    if let Some(offer) = capabilities.rdlv() {
        assert!(
            offer
                .mintimer
                .is_none_or(|timer| (1..1 << 31).contains(&timer))
        );
    }
    let flags = [
        (capabilities.checkpoint(), &b"CHECKPOINT"[..]),
        (capabilities.resume(), b"RESUME"),
        (capabilities.pipelining(), b"PIPELINING"),
        (capabilities.eight_bit_mime(), b"8BITMIME"),
        (capabilities.smtputf8(), b"SMTPUTF8"),
        (capabilities.dsn(), b"DSN"),
        (capabilities.enhanced_status_codes(), b"ENHANCEDSTATUSCODES"),
        (capabilities.chunking(), b"CHUNKING"),
        (capabilities.binary_mime(), b"BINARYMIME"),
        (capabilities.starttls(), b"STARTTLS"),
        (capabilities.deta(), b"DETA"),
    ];
    for (offered, name) in flags {
        assert_eq!(offered, capabilities.keyword(name).is_some());
    }
}

/// Text of the input as what a server says of itself.
fn build(octets: &[u8], choices: &mut input::Choices<'_>) {
    let text = String::from_utf8_lossy(octets);
    let mut words = text.split('|');
    let mut word = || words.next().unwrap_or("x.example");
    let (name, greeting, keyword, parameters) = (word(), word(), word(), word());
    let size = match choices.below(3) {
        0 => SizeOffer::NoFixedLimit,
        1 => SizeOffer::Limit(1 + u64::from(choices.next())),
        _ => SizeOffer::Unstated,
    };
    let built = EhloBuilder::new(name)
        .and_then(|ehlo| ehlo.greeting(greeting))
        .map(|ehlo| ehlo.size(size).checkpoint().pipelining())
        .and_then(|ehlo| ehlo.keyword(keyword, parameters))
        .and_then(EhloBuilder::build);
    let Ok(reply) = built else {
        return;
    };
    let mut wire = BytesMut::new();
    reply.encode(false, &mut wire);
    let limits = Limits {
        reply_line: usize::MAX,
        ..Limits::default()
    };
    let mut wire = wire.freeze();
    let read: Reply = ReplyReader::new()
        .read(&mut wire, &limits)
        .expect("a whole reply")
        .expect("a reply");
    assert!(wire.is_empty());
    let capabilities = Capabilities::from_reply(&read, &limits).expect("250");
    assert_eq!(capabilities.server_name(), name.as_bytes());
    assert!(capabilities.checkpoint() && capabilities.pipelining());
    assert_eq!(capabilities.size(), Some(size));
    assert!(capabilities.keyword(keyword.as_bytes()).is_some());
    ask(&capabilities, limits.ehlo_keywords);
}
