//! What the small files hold: lines that a person can read, and the encoded record in hex.

use smtp_checkpoint::checkpoint::{Record, Verdict};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::reply::Severity;

use super::content::Segment;

/// A file that is there and cannot be read: damaged, or written by a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

const SEGMENT: &[u8] = b"segment ";
const CONTENT: &[u8] = b"content ";
const RECORD: &[u8] = b"record ";

/// A partial record, and the segments that its content is in, in order.
pub fn write_partial(segments: &[Segment], record: &Record) -> Vec<u8> {
    let mut text = Vec::new();
    for Segment { file, octets } in segments {
        text.extend_from_slice(SEGMENT);
        text.extend_from_slice(format!("{octets} {file}\n").as_bytes());
    }
    write_record(&mut text, record);
    text
}

pub fn read_partial(text: &[u8]) -> Result<(Vec<Segment>, Record), Unreadable> {
    let record = read_record(text)?;
    let segments = text
        .split(|octet| *octet == b'\n')
        .filter_map(|line| line.strip_prefix(SEGMENT))
        .map(read_segment)
        .collect::<Option<Vec<_>>>()
        .ok_or(Unreadable)?;
    let octets: u64 = segments.iter().map(|segment| segment.octets).sum();
    if octets == record.length().get() {
        Ok((segments, record))
    } else {
        Err(Unreadable)
    }
}

fn read_segment(line: &[u8]) -> Option<Segment> {
    let (octets, file) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if file.contains('/') {
        return None;
    }
    Some(Segment {
        file: file.into(),
        octets: octets.parse().ok()?,
    })
}

/// Who sent the message and whom it is delivered to, the file that its content is in until it is
/// moved, and the completion record where there is one.
pub fn write_envelope(
    envelope: &Envelope,
    verdict: &Verdict,
    file: &str,
    completed: Option<&Record>,
) -> Vec<u8> {
    let mut text = envelope.mail_line().to_vec();
    text.push(b'\n');
    // The one reply of SMTP is that of all, in LMTP each has its own.
    let replies = verdict.replies();
    for (recipient, reply) in envelope.accepted().zip(replies.iter().cycle()) {
        if reply.severity() == Severity::Completion {
            text.extend_from_slice(recipient.line());
            text.push(b'\n');
        }
    }
    text.extend_from_slice(CONTENT);
    text.extend_from_slice(format!("{file}\n").as_bytes());
    if let Some(record) = completed {
        write_record(&mut text, record);
    }
    text
}

/// Where the content of an envelope was when it was written.
pub fn read_content_file(envelope: &[u8]) -> Option<String> {
    let file = envelope
        .split(|octet| *octet == b'\n')
        .find_map(|line| line.strip_prefix(CONTENT))?;
    let file = String::from_utf8(file.to_vec()).ok()?;
    (!file.contains('/')).then_some(file)
}

fn write_record(text: &mut Vec<u8>, record: &Record) {
    text.extend_from_slice(RECORD);
    for octet in record.encode() {
        text.extend_from_slice(format!("{octet:02x}").as_bytes());
    }
    text.push(b'\n');
}

/// The record in a file of either kind.
pub fn read_record(text: &[u8]) -> Result<Record, Unreadable> {
    let hex = text
        .split(|octet| *octet == b'\n')
        .find_map(|line| line.strip_prefix(RECORD))
        .ok_or(Unreadable)?;
    let octets = hex
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<_>>>()
        .ok_or(Unreadable)?;
    Record::decode(&octets).map_err(|_| Unreadable)
}
