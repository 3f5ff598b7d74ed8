//! This crate.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::checkpoint::Claim;
use smtp_checkpoint::dot::{DotDecoder, DotEncoder};
use smtp_checkpoint::ehlo::{Capabilities, CapabilitiesRef, SizeOffer};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{ParsedReply, ReplyReader, ReplyRef, standard as reply};
use smtp_checkpoint::server::{
    EndOfDataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

/// Decodes the chunks; slices of them go to `sink`.
pub fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, mut sink: impl FnMut(&[u8])) {
    let mut decoder = DotDecoder::new();
    for mut chunk in chunks {
        decoder.decode_with(&mut chunk, &mut sink);
    }
}

/// Decodes as the server session does.
pub fn decode_batch(wire: &Bytes, out: &mut Vec<Bytes>) {
    DotDecoder::new().decode_batch(&mut wire.clone(), out, usize::MAX);
}

/// Encodes, with the end of the data; slices go to `sink`.
pub fn encode(mut content: &[u8], mut sink: impl FnMut(&[u8])) {
    let mut encoder = DotEncoder::new();
    encoder.encode_with(&mut content, &mut sink).unwrap();
    sink(encoder.finish().unwrap());
}

/// Encodes into a buffer, with the end of the data.
pub fn encode_buffer(mut content: &[u8], out: &mut BytesMut) {
    let mut encoder = DotEncoder::new();
    encoder.encode(&mut content, out, usize::MAX).unwrap();
    out.extend_from_slice(encoder.finish().unwrap());
}

/// Encodes as the client session does.
pub fn encode_batch(content: &Bytes, out: &mut Vec<Bytes>) {
    let mut encoder = DotEncoder::new();
    (encoder.encode_batch(&mut content.clone(), out, usize::MAX)).unwrap();
    out.push(Bytes::from_static(encoder.finish().unwrap()));
}

const NOW: Timestamp = Timestamp::ORIGIN;

/// A server that says yes to everything.
#[derive(Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
    session: ServerSession,
    content: Vec<Bytes>,
}

/// What all sessions share.
#[must_use]
pub fn config() -> Arc<ServerConfig> {
    let config = ServerConfig::builder("mx.example.net")
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
        .data_rate(None);
    Arc::new(config.build().unwrap())
}

fn session(config: &Arc<ServerConfig>) -> ServerSession {
    ServerSession::new(config.clone(), Peer::at(b"192.0.2.7"), NOW)
}

impl Server {
    /// A server with a new session.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self {
            session: session(&config),
            config,
            content: Vec::new(),
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &ServerSession {
        &self.session
    }
}

impl super::Server for Server {
    fn connect(&mut self, replies: &mut Vec<u8>) {
        self.session = session(&self.config);
        self.read(&Bytes::new(), replies, &mut |_| {});
    }

    fn read(&mut self, read: &Bytes, replies: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) {
        let mut input = read.clone();
        let smtp = &mut self.session;
        smtp.handle_input(NOW, &mut input);
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Mail(question) => {
                    let answer = MailAnswer::accept(Claim::Unrecorded);
                    smtp.answer_mail(NOW, question, answer).unwrap();
                }
                Event::Rcpt(question) => {
                    (smtp.answer_rcpt(NOW, question, reply::RECIPIENT_OK)).unwrap();
                }
                Event::Content => {
                    smtp.poll_content(&mut self.content);
                    self.content.iter().for_each(|octets| sink(octets));
                    self.content.clear();
                }
                Event::EndOfData(question) => {
                    let answer = EndOfDataAnswer::Decided(reply::MESSAGE_ACCEPTED.into());
                    smtp.answer_end_of_data(NOW, question, answer).unwrap();
                }
                _ => {}
            }
        }
        let octets = smtp.output().len();
        replies.extend_from_slice(smtp.output());
        smtp.transmitted(NOW, octets).unwrap();
        while smtp.poll_event().is_some() {}
    }
}

/// What a client asks of the reply to EHLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    /// CHECKPOINT, PIPELINING, 8BITMIME, STARTTLS, CHUNKING, DSN, SMTPUTF8, ENHANCEDSTATUSCODES.
    pub flags: [bool; 8],
    /// The limit of SIZE.
    pub size: Option<u64>,
    /// How many SASL mechanisms.
    pub mechanisms: usize,
}

/// Reads the reply to EHLO as the client session does, and asks all that it may be asked.
#[must_use]
pub fn ehlo(wire: &Bytes) -> Option<Offered> {
    let limits = Limits::default();
    let reply = ReplyReader::new().read(&mut wire.clone(), &limits)?.ok()?;
    let offered = Capabilities::from_reply(&reply, &limits).ok()?;
    Some(Offered {
        flags: [
            offered.checkpoint(),
            offered.pipelining(),
            offered.eight_bit_mime(),
            offered.starttls(),
            offered.chunking(),
            offered.dsn(),
            offered.smtputf8(),
            offered.enhanced_status_codes(),
        ],
        size: limit(offered.size()),
        mechanisms: offered.auth().count(),
    })
}

/// The same without an allocation.
#[must_use]
pub fn ehlo_borrowed(wire: &[u8]) -> Option<Offered> {
    let ParsedReply::Complete { reply, .. } = ReplyRef::parse(wire) else {
        return None;
    };
    let offered = CapabilitiesRef::from_reply(&reply, &Limits::default()).ok()?;
    Some(Offered {
        flags: [
            offered.checkpoint(),
            offered.pipelining(),
            offered.eight_bit_mime(),
            offered.starttls(),
            offered.chunking(),
            offered.dsn(),
            offered.smtputf8(),
            offered.enhanced_status_codes(),
        ],
        size: limit(offered.size()),
        mechanisms: offered.auth().count(),
    })
}

fn limit(size: Option<SizeOffer>) -> Option<u64> {
    match size {
        Some(SizeOffer::Limit(octets)) => Some(octets),
        _ => None,
    }
}

/// The offset of a 355 reply.
#[must_use]
pub fn offset(wire: &[u8]) -> Option<u64> {
    let ParsedReply::Complete { reply, .. } = ReplyRef::parse(wire) else {
        return None;
    };
    let offset = OctetOffset::from_reply_text(reply.first_line()).ok()?;
    (reply.code().get() == 355).then_some(offset.get())
}
