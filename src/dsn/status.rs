//! The `message/delivery-status` part, octet by octet.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::BytesMut;

use super::{FailedRecipient, Report, Reporting};
use crate::command::{ForwardPath, Orcpt, XText};
use crate::reply::Reply;

/// Octets of a line without CRLF above which it is folded, where that is possible
/// (RFC 5322 §2.1.1).
const FOLD: usize = 76;
/// Octets of what cannot be folded: with the field name it stays below 998.
const LONGEST: usize = 900;
/// Octets of a diagnostic; what comes after them is left out.
const DIAGNOSTIC: usize = 2000;

pub(super) fn write(report: &Report<'_>, reporting: &Reporting<'_>) -> Vec<u8> {
    let mut out = String::new();
    if let Some(envid) = report.envid {
        whole(&mut out, "Original-Envelope-Id", &plain(envid));
    }
    whole(
        &mut out,
        "Reporting-MTA",
        &format!("dns; {}", reporting.mta),
    );
    if let Some(date) = reporting.arrival_date {
        whole(&mut out, "Arrival-Date", date.trim());
    }
    for failed in &report.failed {
        out.push_str("\r\n");
        recipient(&mut out, failed);
    }
    out.into_bytes()
}

fn recipient(out: &mut String, failed: &FailedRecipient<'_>) {
    let rcpt = failed.recipient.rcpt();
    if let Some(orcpt) = rcpt.orcpt {
        whole(out, "Original-Recipient", &original(orcpt));
    }
    let address = match rcpt.forward_path {
        ForwardPath::Postmaster => "rfc822; Postmaster".to_string(),
        ForwardPath::Mailbox(mailbox) => {
            let local = String::from_utf8_lossy(mailbox.local_part().as_bytes());
            let domain = String::from_utf8_lossy(mailbox.domain().as_bytes());
            let address = format!("{local}@{domain}");
            if is_printable(address.as_bytes()) {
                format!("rfc822; {address}")
            } else {
                let encoded = |part: &str| utf8_addr_xtext(part, Backslash::Encode);
                let (local, domain) = (encoded(&local), encoded(&domain));
                // It has to be there (RFC 3464 §2.3.2): what is too long for a line takes two.
                let long = local.len() + domain.len() > LONGEST - "utf-8; @".len();
                let fold = if long { "\r\n " } else { "" };
                format!("utf-8; {local}{fold}@{domain}")
            }
        }
    };
    field(out, "Final-Recipient", &address);
    whole(out, "Action", "failed");
    let failure = failed.failure;
    whole(out, "Status", &failure.status().to_string());
    if let Some(mta) = failure.remote_mta() {
        let name: String = clean(mta.as_bytes()).split(' ').collect();
        if !name.is_empty() {
            whole(out, "Remote-MTA", &format!("dns; {name}"));
        }
    }
    diagnostic(out, failure.diagnostic());
}

/// A field whose value is not to be changed: one line, or left out where it is too long for one.
fn whole(out: &mut String, name: &str, value: &str) {
    if value.len() <= LONGEST {
        field(out, name, value);
    }
}

fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    out.push_str(value);
    out.push_str("\r\n");
}

/// The reply as it stood on the wire, one folded line for each of its lines.
fn diagnostic(out: &mut String, reply: &Reply) {
    let mut wire = BytesMut::new();
    reply.encode(true, &mut wire);
    let mut line = String::from("Diagnostic-Code: smtp;");
    let mut left = DIAGNOSTIC;
    for (index, said) in wire
        .trim_ascii_end()
        .split(|octet| *octet == b'\n')
        .enumerate()
    {
        if index > 0 {
            end_line(out, &mut line);
        }
        let said = clean(said.strip_suffix(b"\r").unwrap_or(said));
        for word in said.split(' ').filter(|word| !word.is_empty()) {
            let mut word = word.get(..word.len().min(left)).unwrap_or_default();
            left -= word.len();
            while !word.is_empty() {
                let (piece, rest) = word
                    .split_at_checked(LONGEST.min(word.len()))
                    .unwrap_or((word, ""));
                if line.len() + 1 + piece.len() > FOLD && line.len() > 1 {
                    end_line(out, &mut line);
                }
                line.push(' ');
                line.push_str(piece);
                word = rest;
            }
        }
        if left == 0 {
            break;
        }
    }
    end_line(out, &mut line);
}

/// Writes the line, unless there is nothing on it.
fn end_line(out: &mut String, line: &mut String) {
    if !line.is_empty() {
        out.push_str(line);
        out.push_str("\r\n");
        line.clear();
    }
}

/// Printable ASCII and SPACE; TAB becomes SPACE, everything else "?".
fn clean(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|octet| match octet {
            b' '..=b'~' => char::from(*octet),
            b'\t' => ' ',
            _ => '?',
        })
        .collect()
}

fn is_printable(octets: &[u8]) -> bool {
    octets.iter().all(|octet| (b' '..=b'~').contains(octet))
}

/// What an xtext means, or the xtext itself where that is not printable ASCII.
fn plain(text: XText<'_>) -> String {
    let decoded: Vec<u8> = text.decoded().collect();
    // SPACE at either end would not survive.
    if is_printable(&decoded) && decoded.trim_ascii().len() == decoded.len() {
        clean(&decoded)
    } else {
        clean(text.as_bytes())
    }
}

fn original(orcpt: Orcpt<'_>) -> String {
    let kind = clean(orcpt.addr_type);
    let address = if orcpt.addr_type.eq_ignore_ascii_case(b"utf-8") {
        let decoded: Vec<u8> = orcpt.address.decoded().collect();
        utf8_addr_xtext(&String::from_utf8_lossy(&decoded), Backslash::Keep)
    } else {
        plain(orcpt.address)
    };
    format!("{kind}; {address}")
}

/// What a backslash in an address is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// Part of the address.
    Encode,
    /// The start of a character that is encoded already.
    Keep,
}

/// An address in ASCII as RFC 6533 §3 writes it.
///
/// ```text
/// utf-8-addr-xtext    = 1*( QCHAR / EmbeddedUnicodeChar )
/// QCHAR               = any ASCII CHAR from "!" to "~", except "+", "=" and "\"
/// EmbeddedUnicodeChar = "\x{" HEXPOINT "}"
/// ```
fn utf8_addr_xtext(address: &str, backslash: Backslash) -> String {
    let mut out = String::with_capacity(address.len());
    for character in address.chars() {
        match character {
            '\\' if backslash == Backslash::Keep => out.push('\\'),
            '+' | '=' | '\\' => out.push_str(&format!("\\x{{{:02X}}}", u32::from(character))),
            '!'..='~' => out.push(character),
            _ => out.push_str(&format!("\\x{{{:02X}}}", u32::from(character))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{envelope, failure};
    use super::super::{Failure, Owed, RecipientResult, Reporting};
    use super::*;
    use crate::envelope::Envelope;
    use crate::limits::Limits;
    use crate::reply::{ReplyCode, ReplyReader, standard};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::vec;

    fn status(envelope: &Envelope, results: &[RecipientResult]) -> String {
        let Owed::Report(report) = Owed::by(envelope, results).unwrap() else {
            panic!("nothing owed");
        };
        let date = "Thu, 7 Jul 1994 17:15:49 -0400";
        let reporting = Reporting::new("mx.example").unwrap().arrival_date(date);
        String::from_utf8(report.delivery_status(&reporting.unwrap())).unwrap()
    }

    /// What RFC 3464 and RFC 5322 allow, unfolded to fields, one list for each block.
    fn blocks(part: &str) -> Vec<Vec<(String, String)>> {
        assert!(part.ends_with("\r\n") && !part.ends_with("\r\n\r\n"));
        let mut blocks = vec![Vec::new()];
        for line in part.strip_suffix("\r\n").unwrap().split("\r\n") {
            assert!(is_printable(line.as_bytes()), "{line:?}");
            assert!(line.len() <= 998, "{} octets", line.len());
            let block: &mut Vec<(String, String)> = blocks.last_mut().unwrap();
            if line.is_empty() {
                blocks.push(Vec::new());
            } else if line.starts_with(' ') {
                assert!(!line.trim().is_empty(), "a line of white space");
                block.last_mut().unwrap().1.push_str(line);
            } else {
                let (name, value) = line.split_once(": ").unwrap();
                block.push((name.into(), value.into()));
            }
        }
        blocks
    }

    fn names(block: &[(String, String)]) -> Vec<&str> {
        block.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn all_fields_in_their_order() {
        let envelope = envelope(
            "<ned@a.example> ENVID=A+2Bb",
            &[
                "<jones@b.example> ORCPT=rfc822;first+2Blast@c.example",
                "<postmaster>",
            ],
        );
        let lines = ["5.1.1 no such", "5.1.1 mailbox"];
        let remote = Reply::with_lines(ReplyCode::MAILBOX_UNAVAILABLE, None, lines).unwrap();
        let first = failure(554, "failed").with_remote("mx.b.example", Some(remote));
        let second = Failure::new(standard::LOCAL_ERROR.into()).unwrap();
        assert_eq!(
            status(&envelope, &[first.into(), second.into()]),
            "Original-Envelope-Id: A+b\r\n\
             Reporting-MTA: dns; mx.example\r\n\
             Arrival-Date: Thu, 7 Jul 1994 17:15:49 -0400\r\n\
             \r\n\
             Original-Recipient: rfc822; first+last@c.example\r\n\
             Final-Recipient: rfc822; jones@b.example\r\n\
             Action: failed\r\n\
             Status: 5.1.1\r\n\
             Remote-MTA: dns; mx.b.example\r\n\
             Diagnostic-Code: smtp; 550-5.1.1 no such\r\n \
             550 5.1.1 mailbox\r\n\
             \r\n\
             Final-Recipient: rfc822; Postmaster\r\n\
             Action: failed\r\n\
             Status: 4.3.0\r\n\
             Diagnostic-Code: smtp; 451 4.3.0 Local error in processing\r\n"
        );
    }

    #[test]
    fn nothing_a_peer_sends_adds_a_field() {
        // read from the wire, with octets that are neither ASCII nor UTF-8
        let mut input = Bytes::from_static(b"550-5.1.1 caf\xe9\tno\r\n550 Action: delivered\r\n");
        let mut reader = ReplyReader::new();
        let reply = reader
            .read(&mut input, &Limits::default())
            .unwrap()
            .unwrap();
        let failure = Failure::new(reply).unwrap();
        let failure = failure.with_remote("mx\r\nAction: delivered", None);
        let envelope = envelope(
            "<ned@a.example>",
            &["<jones@b.example> ORCPT=rfc822;a+20b+C3+A9"],
        );
        let blocks = blocks(&status(&envelope, &[failure.into()]));
        assert_eq!(
            names(&blocks[1]),
            [
                "Original-Recipient",
                "Final-Recipient",
                "Action",
                "Status",
                "Remote-MTA",
                "Diagnostic-Code"
            ]
        );
        let values: Vec<&str> = blocks[1].iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values[0], "rfc822; a+20b+C3+A9", "as it came");
        assert_eq!(values[4], "dns; mx??Action:delivered");
        assert_eq!(values[5], "smtp; 550-5.1.1 caf? no 550 Action: delivered");
    }

    #[test]
    fn addresses_beyond_ascii_are_encoded() {
        let envelope = envelope(
            "<ned@a.example> SMTPUTF8",
            &["<jös+x@bücher.example> ORCPT=utf-8;jos\\x{E9}ü@c"],
        );
        let blocks = blocks(&status(&envelope, &[failure(550, "no").into()]));
        assert_eq!(blocks[1][0].1, "utf-8; jos\\x{E9}\\x{FC}@c");
        assert_eq!(
            blocks[1][1].1,
            "utf-8; j\\x{F6}s\\x{2B}x@b\\x{FC}cher.example"
        );
    }

    #[test]
    fn long_values_are_folded_or_left_out() {
        let long = "x".repeat(1500);
        let rcpt = format!("<jones@b.example> ORCPT=rfc822;{long}");
        let envelope = envelope("<ned@a.example>", &[rcpt.as_str()]);
        let text = format!("5.1.1 {} {long} {long}", "word ".repeat(40));
        let reply = Reply::with_text(ReplyCode::MAILBOX_UNAVAILABLE, None, text).unwrap();
        let part = status(&envelope, &[Failure::new(reply).unwrap().into()]);
        let blocks = blocks(&part);
        assert_eq!(
            names(&blocks[1]),
            ["Final-Recipient", "Action", "Status", "Diagnostic-Code"]
        );
        assert!(part.len() < 3000, "{} octets", part.len());
    }

    #[test]
    fn the_longest_recipient_is_there_in_two_lines() {
        for (domain, lines) in [(94, 2), (60, 1)] {
            let (local, domain) = ("+".repeat(64), "\u{3b1}".repeat(domain));
            let rcpt = format!("<{local}@{domain}>");
            let envelope = envelope("<ned@a.example> SMTPUTF8", &[rcpt.as_str()]);
            let part = status(&envelope, &[failure(550, "no").into()]);
            let blocks = blocks(&part);
            assert_eq!(
                names(&blocks[1]),
                ["Final-Recipient", "Action", "Status", "Diagnostic-Code"]
            );
            let address = format!("{local}@{domain}");
            let encoded = utf8_addr_xtext(&address, Backslash::Encode);
            let folded = encoded.replace('@', " @");
            let expected = if lines == 2 { folded } else { encoded };
            assert_eq!(blocks[1][0].1, format!("utf-8; {expected}"));
        }
    }

    proptest! {
        #[test]
        fn never_invalid(
            envid in proptest::collection::vec(b' '..=b'~', 0..60),
            original in proptest::collection::vec(0x20u8..=0xff, 1..60),
            local in "[a-zéü中]{1,20}",
            text in "[ -~\té中]{0,300}",
            mta in "\\PC{0,40}",
            lines in 1usize..4,
        ) {
            let envid = String::from_utf8(XText::encode(&envid)).unwrap();
            let original: Vec<u8> = original.into_iter().filter(|octet| *octet != 0x7f).collect();
            prop_assume!(!original.is_empty());
            let original = String::from_utf8(XText::encode(&original)).unwrap();
            let mail = if envid.is_empty() {
                "<ned@a.example>".to_string()
            } else {
                format!("<ned@a.example> ENVID={envid}")
            };
            let rcpt = format!("<{local}@b.example> ORCPT=rfc822;{original}");
            let utf8 = format!("<{local}@b.example> ORCPT=utf-8;{original}");
            let envelope = envelope(&mail, &[rcpt.as_str(), utf8.as_str()]);
            let reply = Reply::with_lines(
                ReplyCode::MAILBOX_UNAVAILABLE,
                None,
                core::iter::repeat_n(text.as_str(), lines),
            ).unwrap();
            let failure = Failure::new(reply).unwrap().with_remote(&mta, None);
            let results = [failure.clone().into(), failure.into()];
            let blocks = blocks(&status(&envelope, &results));
            prop_assert_eq!(blocks.len(), 3);
            for block in &blocks[1..] {
                let mut names = names(block);
                names.retain(|name| *name != "Remote-MTA");
                prop_assert_eq!(
                    names,
                    ["Original-Recipient", "Final-Recipient", "Action", "Status", "Diagnostic-Code"]
                );
            }
        }
    }
}
