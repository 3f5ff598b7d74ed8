//! The dot codec.

use std::hint::black_box;

use bytes::Bytes;
use smtp_checkpoint::dot::{DotDecoder, DotEncoder};

/// Content as DATA carries it, with the end.
pub fn wire(content: &[u8]) -> Vec<u8> {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    let mut content = content;
    (encoder.encode_with(&mut content, |octets| wire.extend_from_slice(octets))).unwrap();
    wire.extend_from_slice(encoder.finish().unwrap());
    wire
}

/// Octets decoded, in chunks of a usual read.
pub fn decode(wire: &[u8]) -> usize {
    let (mut decoder, mut total) = (DotDecoder::new(), 0);
    for mut chunk in wire.chunks(16 * 1024) {
        decoder.decode_with(&mut chunk, |octets| total += octets.len());
    }
    black_box(total)
}

/// The same as the server session does it.
pub fn decode_batch(wire: &Bytes) -> usize {
    let (mut decoder, mut out, mut wire) = (DotDecoder::new(), Vec::new(), wire.clone());
    let mut total = 0;
    while !wire.is_empty() {
        let mut chunk = wire.split_to(wire.len().min(16 * 1024));
        decoder.decode_batch(&mut chunk, &mut out, 64 * 1024);
        total += black_box(&out).iter().map(Bytes::len).sum::<usize>();
        out.clear();
    }
    black_box(total)
}

/// Octets encoded.
pub fn encode(mut content: &[u8]) -> usize {
    let (mut encoder, mut total) = (DotEncoder::new(), 0);
    (encoder.encode_with(&mut content, |octets| total += octets.len())).unwrap();
    black_box(total + encoder.finish().unwrap().len())
}
