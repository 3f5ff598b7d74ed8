//! Message content on the wire of DATA and BDAT: dot stuffing, offsets, faults.
//!
//! Layer 2. Offsets count octets of the message in SMTP canonical form: CRLF line ends, no
//! stuffing dots, no final "." line (RFC 1845 §4). Two decoders that do not read the same wire
//! into the same canonical octets cannot understand each other's offsets, so this one is strict:
//!
//! - The end of the data is exactly CRLF "." CRLF, or "." CRLF as the first octets (an empty
//!   message, or nothing left after a restart). The CRLF before the dot is content.
//! - A dot that begins a line and is not the end is removed, whatever follows it.
//! - Bare CR, bare LF and NUL end neither a line nor the message and are never mended. They are
//!   content, and [`Faults`] tells where the first of each was.
//! - No octet is handed out that may have to be taken back.
//!
//! [`DotDecoder`] reads DATA, [`ContentChecker`] looks at the chunks of BDAT, [`DotEncoder`]
//! writes DATA, [`CanonicalLength`] computes the size that a client declares. All are streaming
//! and take constant memory; none allocates but for the batch and buffer forms, whose bound the
//! caller gives.
//!
//! ```
//! use smtp_checkpoint::dot::{DecodeStatus, DotDecoder, DotEncoder};
//!
//! let mut wire = Vec::new();
//! let mut encoder = DotEncoder::new();
//! let mut content = &b"Subject: dots\r\n\r\n.\r\n"[..];
//! encoder.encode_with(&mut content, |octets| wire.extend_from_slice(octets))?;
//! wire.extend_from_slice(encoder.finish()?);
//! assert_eq!(wire, b"Subject: dots\r\n\r\n..\r\n.\r\n");
//!
//! let mut decoder = DotDecoder::new();
//! let mut back = Vec::new();
//! let status = decoder.decode_with(&mut &wire[..], |octets| back.extend_from_slice(octets));
//! assert_eq!(status, DecodeStatus::End);
//! assert_eq!(back, b"Subject: dots\r\n\r\n.\r\n");
//! assert_eq!(decoder.offset(), encoder.offset());
//! # Ok::<(), smtp_checkpoint::dot::EncodeError>(())
//! ```

mod batch;
mod check;
mod decode;
mod encode;
mod faults;
#[cfg(test)]
mod naive;
mod resume;
mod scan;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod wide;

pub use check::{CanonicalLength, ContentChecker, canonical_size};
pub use decode::{DecodeStatus, Decoded, DotDecoder};
pub use encode::{DotEncoder, EncodeError, EncodeStatus};
pub use faults::{Fault, FaultKind, FaultPolicy, Faults, Octets};
pub use resume::ResumeError;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
