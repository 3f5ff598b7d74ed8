//! The dot codec against published vectors: end-of-data look-alikes and restart offsets.
#![allow(missing_docs, clippy::expect_used)]

use smtp_checkpoint::dot::{DecodeStatus, DotDecoder, DotEncoder};

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    (table.lines().filter(|line| !line.starts_with('#'))).map(|line| line.split('\t').collect())
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hex"))
        .collect()
}

fn encode(encoder: &mut DotEncoder, mut content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    (encoder.encode_with(&mut content, |octets| wire.extend_from_slice(octets)))
        .expect("clean content");
    wire.extend_from_slice(encoder.finish().expect("clean content"));
    wire
}

/// Of all sequences that some server took for the end, only those with CRLF "." CRLF end it; the
/// others are content, and the message goes on to its true end.
#[test]
fn published_end_of_data_look_alikes() {
    let mut seen = 0;
    for row in rows(include_str!("data/eod_published.tsv")) {
        let (name, sequence, real) = (row[0], unhex(row[2]), row[3] == "1");
        let mut wire = b"Subject: x\r\n\r\nsome text".to_vec();
        wire.extend(&sequence);
        wire.extend(b"MAIL FROM:<admin@bank.example>\r\n.\r\n");
        for cut in 0..=wire.len() {
            let mut decoder = DotDecoder::new();
            let (mut first, mut second) = wire.split_at(cut);
            let mut content = Vec::new();
            decoder.decode_with(&mut first, |octets| content.extend_from_slice(octets));
            decoder.decode_with(&mut second, |octets| content.extend_from_slice(octets));
            assert!(decoder.is_ended(), "{name}");
            let smuggled = (content.windows(4)).any(|octets| octets == b"MAIL");
            assert_eq!(smuggled, !real, "{name} cut at {cut}");
            let left = first.len() + second.len();
            assert_eq!(left > 0, real, "{name} cut at {cut}");
        }
        seen += 1;
    }
    assert_eq!(seen, 20);
}

/// A connection cut after every octet of the wire: the offset that the server announces, and the
/// wire of the client that goes on from there.
#[test]
fn restart_offsets() {
    let mut seen = 0;
    for row in rows(include_str!("data/offset_vectors.tsv")) {
        let (canonical, wire) = (unhex(row[1]), unhex(row[2]));
        let cut: usize = row[3].parse().expect("number");
        let at: usize = row[5].parse().expect("number");
        assert_eq!(encode(&mut DotEncoder::new(), &canonical), wire, "{row:?}");

        let mut decoder = DotDecoder::new();
        let mut stored = Vec::new();
        let status = decoder.decode_with(&mut &wire[..cut], |octets| {
            stored.extend_from_slice(octets);
        });
        assert_eq!(status == DecodeStatus::End, row[4] == "complete", "{row:?}");
        assert_eq!(decoder.line_start_offset().get(), at as u64, "{row:?}");
        stored.truncate(at);

        let offset = decoder.line_start_offset();
        let before = &canonical[at.saturating_sub(2)..at];
        let mut encoder =
            DotEncoder::resume(offset, before, canonical.get(at).copied()).expect("a line start");
        let resumed = encode(&mut encoder, &canonical[at..]);
        assert_eq!(resumed, unhex(row[6]), "{row:?}");
        assert_eq!(encoder.canonical_len(), canonical.len() as u64);

        let status = DotDecoder::starting_at(offset).decode_with(&mut &resumed[..], |octets| {
            stored.extend_from_slice(octets);
        });
        assert_eq!(status, DecodeStatus::End);
        assert_eq!(stored, canonical, "{row:?}");
        seen += 1;
    }
    assert_eq!(seen, 87);
}
