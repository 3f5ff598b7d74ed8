//! What the small files hold: lines that a person can read, and the encoded record in hex.

use smtp_checkpoint::checkpoint::{Record, Verdict};
use smtp_checkpoint::envelope::Envelope;

use super::content::Segment;

/// A file that is there and cannot be read: damaged, or written by a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

const SEGMENT: &[u8] = b"segment ";
const CONTENT: &[u8] = b"content ";
const REPORT: &[u8] = b"report ";
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
    let segments = segments(text).collect::<Option<Vec<_>>>();
    let segments = segments.ok_or(Unreadable)?;
    let octets: u64 = segments.iter().map(|segment| segment.octets).sum();
    if octets == record.length().get() {
        Ok((segments, record))
    } else {
        Err(Unreadable)
    }
}

fn segments(text: &[u8]) -> impl Iterator<Item = Option<Segment>> {
    text.split(|octet| *octet == b'\n')
        .filter_map(|line| line.strip_prefix(SEGMENT))
        .map(read_segment)
}

/// The files that a partial record counts on, as far as they can be read.
pub fn named_files(text: &[u8]) -> impl Iterator<Item = String> {
    segments(text).flatten().map(|segment| segment.file)
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

/// Files in `incoming` that a commit makes count, and that are moved to their places then.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The message.
    pub content: Option<String>,
    /// The notification that somebody does not get it.
    pub report: Option<String>,
}

/// Who sent the message and whom it is delivered to: those whom the verdict accepts, but for those
/// (by index) who turned out not to get it; the files; and the completion record where there is
/// one.
pub fn write_envelope(
    envelope: &Envelope,
    verdict: &Verdict,
    but: &[usize],
    files: &Files,
    completed: Option<&Record>,
) -> Vec<u8> {
    let mut text = envelope.mail_line().to_vec();
    text.push(b'\n');
    for recipient in envelope.served(verdict.replies()) {
        if !but.contains(&recipient.index()) {
            text.extend_from_slice(recipient.line());
            text.push(b'\n');
        }
    }
    write_file(&mut text, CONTENT, files.content.as_deref());
    write_file(&mut text, REPORT, files.report.as_deref());
    if let Some(record) = completed {
        write_record(&mut text, record);
    }
    text
}

fn write_file(text: &mut Vec<u8>, name: &[u8], file: Option<&str>) {
    if let Some(file) = file {
        text.extend_from_slice(name);
        text.extend_from_slice(file.as_bytes());
        text.push(b'\n');
    }
}

/// The files of an envelope.
pub fn read_files(envelope: &[u8]) -> Files {
    let read = |name| {
        let mut lines = envelope.split(|octet| *octet == b'\n');
        let file = lines.find_map(|line| line.strip_prefix(name))?;
        let file = String::from_utf8(file.to_vec()).ok()?;
        (!file.contains('/')).then_some(file)
    };
    Files {
        content: read(CONTENT),
        report: read(REPORT),
    }
}

/// The same text with another record, and another notification where one is given.
pub fn with_record(text: &[u8], report: Option<&str>, record: &Record) -> Vec<u8> {
    let mut new = Vec::new();
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let replaced = line.starts_with(REPORT) && report.is_some();
        if !replaced && !line.starts_with(RECORD) {
            new.extend_from_slice(line);
        }
    }
    write_file(&mut new, REPORT, report);
    write_record(&mut new, record);
    new
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
