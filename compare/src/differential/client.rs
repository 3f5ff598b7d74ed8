//! What clients understand: replies with their text, or what a server offers; "refused" where they
//! go no further.

use std::borrow::Cow;

use bytes::Bytes;
use smtp_checkpoint::ehlo::{Capabilities, SizeOffer};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::reply::{Reply, ReplyReader};
use smtp_proto::response::parser::ResponseReceiver;
use smtp_proto::{EhloResponse, Error};

use super::escape::escape;
use super::wires::{State, Wire};
use crate::peers::lettre;

fn text(code: u16, lines: &[Cow<'_, [u8]>]) -> String {
    format!("{code} {}", escape(&lines.join(&b'\n')))
}

/// Our readers of replies and of what is offered.
#[must_use]
pub fn ours(wire: &Wire) -> String {
    let (mut reader, limits) = (ReplyReader::new(), Limits::default());
    let mut input = Bytes::copy_from_slice(&wire.octets);
    let mut understood = Vec::new();
    while let Some(reply) = reader.read(&mut input, &limits) {
        let Ok(reply) = reply else {
            understood.push("refused".into());
            break;
        };
        if wire.state == State::Ehlo {
            return our_offer(&reply, &limits);
        }
        let lines: Vec<_> = reply.lines().map(Cow::from).collect();
        understood.push(text(reply.code().get(), &lines));
    }
    understood.join(" | ")
}

fn our_offer(reply: &Reply, limits: &Limits) -> String {
    let Ok(offered) = Capabilities::from_reply(reply, limits) else {
        return "refused".into();
    };
    let mut words = vec![escape(offered.server_name())];
    let mechanisms: Vec<_> = offered.auth().map(escape).collect();
    for (name, is_offered) in [
        ("8BITMIME", offered.eight_bit_mime()),
        ("BINARYMIME", offered.binary_mime()),
        ("CHECKPOINT", offered.checkpoint()),
        ("CHUNKING", offered.chunking()),
        ("DSN", offered.dsn()),
        ("ENHANCEDSTATUSCODES", offered.enhanced_status_codes()),
        ("PIPELINING", offered.pipelining()),
        ("SMTPUTF8", offered.smtputf8()),
        ("STARTTLS", offered.starttls()),
    ] {
        words.extend(is_offered.then(|| name.into()));
    }
    words.extend(offered.size().map(|size| match size {
        SizeOffer::Limit(octets) => format!("SIZE={octets}"),
        SizeOffer::NoFixedLimit | SizeOffer::Unstated => "SIZE".into(),
    }));
    words.extend((!mechanisms.is_empty()).then(|| format!("AUTH={}", mechanisms.join(","))));
    words.join(" ")
}

/// smtp-proto's, which are mail-send's.
#[must_use]
pub fn smtp_proto(wire: &Wire) -> String {
    let mut octets = wire.octets.iter();
    if wire.state == State::Ehlo {
        return match EhloResponse::parse(&mut octets) {
            Ok(offered) => smtp_proto_offer(&offered),
            Err(Error::NeedsMoreData { .. }) => String::new(),
            Err(_) => "refused".into(),
        };
    }
    let mut receiver = ResponseReceiver::default();
    let mut understood = Vec::new();
    loop {
        match receiver.parse(&mut octets) {
            Ok(reply) => {
                // Enhanced codes are taken out of the text of each line.
                let [class, subject, detail] = reply.esc;
                let enhanced = format!("{class}.{subject}.{detail}");
                let line = |line: &str| match (reply.esc, line) {
                    ([0, 0, 0], line) => line.into(),
                    (_, "") => enhanced.clone(),
                    (_, line) => format!("{enhanced} {line}"),
                };
                let lines = reply.message.split('\n').map(line);
                let lines: Vec<_> = lines
                    .map(|line: String| Cow::from(line.into_bytes()))
                    .collect();
                understood.push(text(reply.code, &lines));
                receiver.reset();
            }
            Err(Error::NeedsMoreData { .. }) => break,
            Err(_) => {
                understood.push("refused".into());
                break;
            }
        }
    }
    understood.join(" | ")
}

fn smtp_proto_offer(offered: &EhloResponse<String>) -> String {
    let mut words = vec![escape(offered.hostname().as_bytes())];
    for (name, flag) in [
        ("8BITMIME", smtp_proto::EXT_8BIT_MIME),
        ("BINARYMIME", smtp_proto::EXT_BINARY_MIME),
        ("CHECKPOINT", smtp_proto::EXT_CHECKPOINT),
        ("CHUNKING", smtp_proto::EXT_CHUNKING),
        ("DSN", smtp_proto::EXT_DSN),
        ("ENHANCEDSTATUSCODES", smtp_proto::EXT_ENHANCED_STATUS_CODES),
        ("PIPELINING", smtp_proto::EXT_PIPELINING),
        ("SMTPUTF8", smtp_proto::EXT_SMTP_UTF8),
        ("STARTTLS", smtp_proto::EXT_START_TLS),
    ] {
        words.extend(offered.has_capability(flag).then(|| name.into()));
    }
    if offered.has_capability(smtp_proto::EXT_SIZE) {
        words.push(match offered.size {
            0 => "SIZE".into(),
            octets => format!("SIZE={octets}"),
        });
    }
    if offered.has_capability(smtp_proto::EXT_AUTH) {
        let named = [
            ("PLAIN", smtp_proto::AUTH_PLAIN),
            ("LOGIN", smtp_proto::AUTH_LOGIN),
        ];
        let named = named
            .into_iter()
            .filter(|(_, flag)| offered.auth() & flag != 0);
        let names: Vec<_> = named.map(|(name, _)| name).collect();
        words.push(format!("AUTH={}", names.join(",")));
    }
    words.join(" ")
}

/// lettre's parser, which reads the first reply.
#[must_use]
pub fn lettre(wire: &Wire) -> String {
    match lettre::reply(&wire.octets) {
        Some(reply) => {
            let lines: Vec<_> = (reply.message())
                .map(|line| Cow::from(line.as_bytes()))
                .collect();
            text(reply.code().into(), &lines)
        }
        None => "refused".into(),
    }
}
