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
                format!("utf-8; {}", utf8_addr_xtext(&address, Backslash::Encode))
            }
        }
    };
    whole(out, "Final-Recipient", &address);
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
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
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
