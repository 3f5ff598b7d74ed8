//! Finds the few octets that matter to the codec among the many that do not.
//!
//! Layer 2, private. An *event* is a pair of neighbours that holds a bare CR, a bare LF, a NUL or
//! LF "."; CRLF alone is none, so that ordinary mail has next to no events. Blocks are tested
//! whole, in a loop that compilers turn into vector code; only a block with an event is resolved.
//!
//! ```
//! use smtp_checkpoint::dot::DotDecoder;
//!
//! // One event: LF ".".
//! let (mut wire, mut content) = (&b"a\r\n..b\r\n"[..], Vec::new());
//! DotDecoder::new().decode_with(&mut wire, |octets| content.extend_from_slice(octets));
//! assert_eq!(content, b"a\r\n.b\r\n");
//! ```

use core::ops::ControlFlow;

use super::{CR, LF};

/// Pairs in a block. One branch for so many octets keeps the common loop free of branches.
const BLOCK: usize = 128;
/// Octets in a vector register of every x86-64 and AArch64 machine.
const LANES: usize = 16;
/// Pairs whose events go in one mask.
const HALF: usize = 64;
/// Pairs in a block of an input that is too short for the large one.
const SMALL: usize = 32;

/// Whether two neighbours are an event. Without `DOTS` LF "." is none.
///
/// No short-circuit operators: they would be branches.
#[inline(always)]
fn is_event<const DOTS: bool>(a: u8, b: u8) -> bool {
    ((a == CR) ^ (b == LF)) | (DOTS & (a == LF) & (b == b'.')) | (b == 0)
}

#[inline(always)]
fn holds_event<const DOTS: bool, const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    let mut found = 0u8;
    for (a, b) in a.iter().zip(b) {
        found |= u8::from(is_event::<DOTS>(*a, *b));
    }
    found != 0
}

/// Whether there is an event among the pairs of `a` and `b`, or LF "." among those of `b` and `c`:
/// so LF is looked for once, not twice.
#[inline(always)]
fn holds_event_next(a: &[u8; BLOCK], b: &[u8; BLOCK], c: &[u8; BLOCK]) -> bool {
    // Lane by lane, as a vector register has them. The running minimum finds a zero for one
    // instruction less than a comparison.
    let (mut found, mut least) = ([0u8; LANES], [u8::MAX; LANES]);
    for at in (0..BLOCK).step_by(LANES) {
        for lane in 0..LANES {
            let (a, b, c) = (a[at + lane], b[at + lane], c[at + lane]);
            let lf = b == LF;
            found[lane] |= u8::from(((a == CR) ^ lf) | (lf & (c == b'.')));
            least[lane] = least[lane].min(b);
        }
    }
    let mut any = 0;
    for (found, least) in found.iter().zip(least) {
        any |= found | u8::from(least == 0);
    }
    any != 0
}

/// One bit for each pair, the first one lowest. `N` is at most 64.
#[inline(always)]
fn mask<const DOTS: bool, const N: usize>(a: &[u8; N], b: &[u8; N]) -> u64 {
    let mut flags = [0u8; N];
    for (flag, (a, b)) in flags.iter_mut().zip(a.iter().zip(b)) {
        *flag = u8::from(is_event::<DOTS>(*a, *b));
    }
    let mut mask = 0;
    for (at, eight) in flags.chunks_exact(8).enumerate() {
        let eight = eight.first_chunk().copied().unwrap_or_default();
        // The product gathers the low bits of eight octets in the top one, in their order.
        let bits = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (at * 8);
    }
    mask
}

/// The `N` pairs from `at` on: first octets and second octets.
#[inline(always)]
fn pairs<const N: usize>(octets: &[u8], at: usize) -> Option<(&[u8; N], &[u8; N])> {
    let a = octets.get(at..)?.first_chunk()?;
    let b = octets.get(at + 1..)?.first_chunk()?;
    Some((a, b))
}

/// Calls `event` with the index of the first octet of every pair that is an event, in order.
#[inline(always)]
pub(super) fn scan<const DOTS: bool>(
    octets: &[u8],
    mut event: impl FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut at = 0;
    // The test of a block leaves the dot of its first pair to the block before it; without one
    // that was tested, an LF there is enough to look closer. Where there was an event there will
    // be more: then the test only costs.
    let mut closer = octets.first() == Some(&LF);
    while let (Some((a, b)), Some((_, c))) =
        (pairs::<BLOCK>(octets, at), pairs::<BLOCK>(octets, at + 1))
    {
        let holds = || match DOTS {
            true => holds_event_next(a, b, c),
            false => holds_event::<false, BLOCK>(a, b),
        };
        if closer || holds() {
            closer = b.last() == Some(&LF);
            for half in [at, at + HALF] {
                if let Some((a, b)) = pairs::<HALF>(octets, half) {
                    let bits = mask::<DOTS, HALF>(a, b);
                    closer |= bits != 0;
                    resolve(bits, half, &mut event)?;
                }
            }
        }
        at += BLOCK;
    }
    while let Some((a, b)) = pairs::<SMALL>(octets, at) {
        if holds_event::<DOTS, SMALL>(a, b) {
            resolve(mask::<DOTS, SMALL>(a, b), at, &mut event)?;
        }
        at += SMALL;
    }
    for (index, pair) in octets.get(at..).unwrap_or_default().windows(2).enumerate() {
        if let [a, b] = pair {
            if is_event::<DOTS>(*a, *b) {
                event(at + index)?;
            }
        }
    }
    ControlFlow::Continue(())
}

#[inline(always)]
fn resolve(
    mut bits: u64,
    at: usize,
    event: &mut impl FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    while bits != 0 {
        event(at + bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn naive(octets: &[u8], dots: bool) -> Vec<usize> {
        let event = |pair: &[u8]| match (pair[0], pair[1]) {
            (_, 0) => true,
            (b'\r', b'\n') => false,
            (b'\r', _) | (_, b'\n') => true,
            (b'\n', b'.') => dots,
            _ => false,
        };
        (0..octets.len().saturating_sub(1))
            .filter(|at| event(&octets[*at..at + 2]))
            .collect()
    }

    fn found<const DOTS: bool>(octets: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let flow = scan::<DOTS>(octets, |at| {
            found.push(at);
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        found
    }

    #[test]
    fn every_pair_at_every_place_of_every_length() {
        let alphabet = [0, 1, b'\n', b'\r', b'.', b'a', 0x8a, 0x8d, 0xff];
        for length in 0..300 {
            let quiet = std::vec![b'x'; length];
            assert_eq!(found::<true>(&quiet), naive(&quiet, true));
            for at in (0..length.saturating_sub(1)).step_by(if length > 140 { 7 } else { 1 }) {
                for (a, b) in alphabet.iter().flat_map(|a| alphabet.map(|b| (*a, b))) {
                    let mut octets = quiet.clone();
                    octets[at] = a;
                    octets[at + 1] = b;
                    assert_eq!(
                        found::<true>(&octets),
                        naive(&octets, true),
                        "{length} {at}"
                    );
                    assert_eq!(
                        found::<false>(&octets),
                        naive(&octets, false),
                        "{length} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn dense_events() {
        for period in 1..9 {
            for length in 0..400 {
                let octets: Vec<u8> = (0..length)
                    .map(|at| if at % period == 0 { b'\n' } else { b'.' })
                    .collect();
                assert_eq!(found::<true>(&octets), naive(&octets, true));
                assert_eq!(found::<false>(&octets), naive(&octets, false));
            }
        }
    }

    #[test]
    fn a_break_stops_at_once() {
        let octets = [b'\n'; 200];
        let mut calls = 0;
        let flow = scan::<true>(&octets, |_| {
            calls += 1;
            if calls == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        assert!(flow.is_break());
        assert_eq!(calls, 3);
    }
}
