//! smtp-message: parsers, a reader that finds the end of the data, an unescaper, a writer.

use futures::io::{AsyncReadExt, AsyncWriteExt};
pub use smtp_message::{Command, Reply, nom};
use smtp_message::{DataUnescaper, EscapedDataReader, EscapingDataWriter};

use super::stream::run;

/// Buffers that its caller provides.
#[derive(Debug)]
pub struct Buffers {
    unhandled: Vec<u8>,
    octets: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            unhandled: vec![0; 16 * 1024],
            octets: vec![0; 16 * 1024],
        }
    }
}

/// Decodes `wire`, in reads of at most 16 KiB; slices go to `sink`. Two octets stay behind where
/// the wire ends with CRLF but not with the end of the data.
pub fn decode(buffers: &mut Buffers, wire: &[u8], mut sink: impl FnMut(&[u8])) {
    let mut reader = EscapedDataReader::new(&mut buffers.unhandled, 0..0, wire);
    let mut unescaper = DataUnescaper::new(true);
    let octets = &mut buffers.octets[..];
    let (mut start, mut left) = (0, wire.len());
    while left > 0 && !reader.is_finished() {
        let read = run(reader.read(&mut octets[start..])).unwrap();
        left -= read;
        let end = start + read;
        let unescaped = unescaper.unescape(&mut octets[..end]);
        sink(&octets[..unescaped.written]);
        octets.copy_within(unescaped.unhandled_idx..end, 0);
        start = end - unescaped.unhandled_idx;
    }
}

/// Encodes into `out`, with the end of the data.
pub fn encode(content: &[u8], out: &mut Vec<u8>) {
    let mut writer = EscapingDataWriter::new(&mut *out);
    run(async {
        writer.write_all(content).await.unwrap();
        writer.finish().await.unwrap();
    });
}

/// Reads one command line, with its CRLF.
///
/// # Errors
///
/// As the crate has it.
pub fn command(line: &[u8]) -> Result<Command<&str>, nom::Err<nom::error::Error<&[u8]>>> {
    Command::parse(line).map(|(_, command)| command)
}

/// Reads a reply.
///
/// # Errors
///
/// As the crate has it.
pub fn reply(wire: &[u8]) -> Result<Reply<&str>, nom::Err<nom::error::Error<&[u8]>>> {
    Reply::parse(wire).map(|(_, reply)| reply)
}
