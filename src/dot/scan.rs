//! Finds the few octets that matter to the codec among the many that do not.
//!
//! Layer 2, private. An *event* is an octet that is part of a bare CR, a bare LF or a NUL, or an LF
//! with "." behind it; CRLF alone is none, so that ordinary mail has next to no events. Blocks are
//! tested whole, in loops that compilers turn into vector code; only a block with an event is
//! resolved. What a processor does better than the portable code is another [`Kernel`].
//!
//! ```
//! use smtp_checkpoint::dot::DotDecoder;
//!
//! // One event: the LF before "..".
//! let (mut wire, mut content) = (&b"a\r\n..b\r\n"[..], Vec::new());
//! DotDecoder::new().decode_with(&mut wire, |octets| content.extend_from_slice(octets));
//! assert_eq!(content, b"a\r\n.b\r\n");
//! ```

use core::ops::ControlFlow;

use super::{CR, LF};

/// Octets in a block. One branch for so many keeps the common loop free of branches.
pub(super) const BLOCK: usize = 128;
/// Octets in a block of an input that is too short for the large one.
pub(super) const SMALL: usize = 32;
/// Octets in a vector register of every x86-64 and AArch64 machine.
const LANES: usize = 16;
/// A block whose octet `i` is at index `i + 1`, with one octet before it and two behind it.
pub(super) type Window = [u8; NEAR];
pub(super) const NEAR: usize = BLOCK + 3;

/// How blocks are looked at. A kernel decides the speed, not what is found.
pub(super) trait Kernel: Copy {
    /// Goes on from `at` block by block, up to the first that holds an event or has less than three
    /// octets behind it. If all of those that are left are in the last block, which begins at `last`,
    /// and that holds none: to its end. Without `DOTS` LF "." is no event.
    fn skip<const DOTS: bool>(self, octets: &[u8], at: usize, last: usize) -> usize;

    /// Calls `row` with the events of the block from place `from` on, row by row in order: the place
    /// of the row's first octet; a bit for each event, the first one lowest; and whether they are
    /// known to be CRLF "." with something else than CR behind it. Gives whether the block holds any.
    fn visit<const DOTS: bool, B>(
        self,
        window: &Window,
        from: usize,
        row: impl FnMut(usize, u64, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B, bool>;

    /// The index of the last LF, if the kernel can tell in no time.
    fn last_lf(self, octets: &[u8; LAST]) -> Option<usize>;
}

/// Octets at the end of an input that are looked at for the end of the last line.
pub(super) const LAST: usize = 64;

/// Work that is done with the best kernel of the machine: compiled once for each.
pub(super) trait Job {
    type Output;

    /// To be inlined, or it is compiled for the least machine.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Runs `job` on an input of this length.
#[inline(always)]
pub(super) fn dispatch<J: Job>(job: J, octets: usize) -> J::Output {
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    if octets > BLOCK {
        if let Some(wide) = super::wide::Wide::detect() {
            return wide.run(job);
        }
    }
    let _ = octets;
    job.run(Portable)
}

/// Whether `b` is an event, between these neighbours.
///
/// No short-circuit operators: they would be branches.
#[inline(always)]
fn is_event<const DOTS: bool>(a: u8, b: u8, c: u8) -> bool {
    let lf = b == LF;
    ((a == CR) ^ lf) | (DOTS & lf & (c == b'.')) | (b == 0)
}

/// What every machine can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Kernel for Portable {
    #[inline(always)]
    fn skip<const DOTS: bool>(self, octets: &[u8], at: usize, last: usize) -> usize {
        skip_portable::<DOTS>(octets, at, last)
    }

    #[inline(always)]
    fn visit<const DOTS: bool, B>(
        self,
        window: &Window,
        from: usize,
        mut row: impl FnMut(usize, u64, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B, bool> {
        let (low, high) = lanes::<DOTS>(window);
        let mut rows = low | high;
        rows |= rows >> 32;
        rows |= rows >> 16;
        rows = (rows | rows >> 8) & 0xff;
        let any = rows != 0;
        // Where every row has some, to ask about all of them at once costs less than one by one.
        let stuffed = DOTS && rows == 0xff && only_stuffed(window);
        while rows != 0 {
            let number = rows.trailing_zeros();
            rows &= rows - 1;
            let mut bits = row_of(low, number) | row_of(high, number) << 8;
            let place = number as usize * LANES;
            if place < from {
                bits &= bits_from(from - place);
            }
            row(place, bits, stuffed)?;
        }
        ControlFlow::Continue(any)
    }

    #[inline(always)]
    fn last_lf(self, _: &[u8; LAST]) -> Option<usize> {
        None
    }
}

/// The bits from this one on.
#[inline(always)]
pub(super) fn bits_from(bit: usize) -> u64 {
    u64::MAX.checked_shl(bit as u32).unwrap_or_default()
}

/// By itself, so that it becomes the same vector code wherever it is used.
#[inline(never)]
fn skip_portable<const DOTS: bool>(octets: &[u8], mut at: usize, last: usize) -> usize {
    while let Some(near) = window::<NEAR>(octets, at) {
        if holds::<DOTS, BLOCK>(near) {
            return at;
        }
        at += BLOCK;
    }
    match window::<NEAR>(octets, last) {
        Some(near) if !holds::<DOTS, BLOCK>(near) => last + BLOCK,
        _ => at,
    }
}

/// The same for a block of an input that is too short for the large one.
#[inline(never)]
fn few_hold<const DOTS: bool>(window: &[u8; SMALL + 2]) -> bool {
    holds::<DOTS, SMALL>(window)
}

/// Whether one of the `N` octets after the first of `window` is an event.
///
/// Lane by lane, as a vector register has them: compilers see it then. The running minimum finds a
/// zero for one instruction less than a comparison.
#[inline(always)]
fn holds<const DOTS: bool, const N: usize>(window: &[u8]) -> bool {
    let Some((a, b, c)) = neighbours::<N>(window) else {
        return false;
    };
    if !DOTS {
        let mut found = 0;
        for (a, b) in a.iter().zip(b) {
            found |= u8::from(is_event::<false>(*a, *b, 0));
        }
        return found != 0;
    }
    let (mut found, mut least) = ([0u8; LANES], [u8::MAX; LANES]);
    for at in (0..N).step_by(LANES) {
        for lane in 0..LANES {
            let (a, b, c) = (a[at + lane], b[at + lane], c[at + lane]);
            let lf = b == LF;
            found[lane] |= u8::from(((a == CR) ^ lf) | (lf & (c == b'.')));
            least[lane] = least[lane].min(b);
        }
    }
    for lane in 0..LANES {
        found[lane] |= u8::from(least[lane] == 0);
    }
    u128::from_le_bytes(found) != 0
}

/// The events of a block as vector code gathers them: bit `r` of octet `l` is for the octet in lane
/// `l` of row `r`. First lanes 0 to 7, then 8 to 15.
#[inline(never)]
fn lanes<const DOTS: bool>(window: &Window) -> (u64, u64) {
    let Some((a, b, c)) = neighbours::<BLOCK>(window) else {
        return (0, 0);
    };
    let mut lanes = [0u8; LANES];
    // From the last row to the first, so that the bit need not depend on the row.
    for at in (0..BLOCK).step_by(LANES).rev() {
        for lane in 0..LANES {
            let event = is_event::<DOTS>(a[at + lane], b[at + lane], c[at + lane]);
            lanes[lane] = lanes[lane] << 1 | u8::from(event);
        }
    }
    let lanes = u128::from_le_bytes(lanes);
    (lanes as u64, (lanes >> 64) as u64)
}

/// Whether all events of a block are CRLF "." with something else than CR behind it.
#[inline(never)]
fn only_stuffed(window: &Window) -> bool {
    let (Some((a, b, c)), Some(d)) = (neighbours::<BLOCK>(window), window.last_chunk::<BLOCK>())
    else {
        return false;
    };
    let mut others = [0u8; LANES];
    for at in (0..BLOCK).step_by(LANES) {
        for lane in 0..LANES {
            let (a, b, c, d) = (a[at + lane], b[at + lane], c[at + lane], d[at + lane]);
            let end = (b == LF) & (c == b'.') & (d == CR);
            others[lane] |= u8::from(((a == CR) ^ (b == LF)) | (b == 0) | end);
        }
    }
    u128::from_le_bytes(others) == 0
}

/// The bits of one row in eight lanes, the first one lowest.
#[inline(always)]
fn row_of(lanes: u64, row: u32) -> u64 {
    // The product gathers the low bits of eight octets in the top one, in their order.
    (lanes >> row & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The `N` octets after the first of `window`, with those before and those behind them.
#[inline(always)]
fn neighbours<const N: usize>(window: &[u8]) -> Option<(&[u8; N], &[u8; N], &[u8; N])> {
    let b = window.get(1..)?;
    Some((
        window.first_chunk()?,
        b.first_chunk()?,
        b.get(1..)?.first_chunk()?,
    ))
}

/// Events that lie near each other, in order.
pub(super) struct Events<'o> {
    /// The index of the octet that the lowest bit is for.
    at: usize,
    /// A bit for each event.
    bits: u64,
    /// The block, and where in it that octet lies; `None` where the neighbours are not at hand.
    block: Option<(&'o Window, usize)>,
    /// All of them are known to be the LF of CRLF "." with something else than CR behind it.
    pub(super) are_stuffed: bool,
}

impl Events<'_> {
    fn one(at: usize) -> Self {
        Self {
            at,
            bits: 1,
            block: None,
            are_stuffed: false,
        }
    }

    /// The index of the next event.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.bits == 0 {
            return None;
        }
        let bit = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(self.at + bit)
    }

    /// Whether the event at `at` is seen to be the LF of CRLF ".".
    #[inline(always)]
    pub(super) fn is_before_dot(&self, at: usize) -> bool {
        self.near(at) << 8 == Self::CRLF_DOT_CR << 8
    }

    /// Whether it is seen to be the LF of CRLF "." with another octet than CR behind it.
    #[inline(always)]
    pub(super) fn is_before_stuffed(&self, at: usize) -> bool {
        // What differs from CRLF "." CR must be the last octet and nothing else: one comparison.
        let other = (self.near(at) ^ Self::CRLF_DOT_CR).rotate_left(8);
        other.wrapping_sub(1) < 0xff
    }

    /// CRLF ".", and a CR, as such a number.
    const CRLF_DOT_CR: u32 = u32::from_le_bytes([CR, LF, b'.', CR]);

    /// The octet before the event at `at`, itself and the two behind it as a little-endian number;
    /// 0 where they are not at hand.
    #[inline(always)]
    fn near(&self, at: usize) -> u32 {
        self.block.map_or(0, |(block, place)| {
            let here = (place + at - self.at) % BLOCK;
            let near = [
                block[here],
                block[here + 1],
                block[here + 2],
                block[here + 3],
            ];
            u32::from_le_bytes(near)
        })
    }
}

/// Calls `found` with all octets that are events, in order.
///
/// What comes before the first octet is not known here: whether that one is an event is said.
/// Without `DOTS` LF "." is no event.
#[inline(always)]
pub(super) fn scan<K: Kernel, const DOTS: bool, B>(
    kernel: K,
    octets: &[u8],
    first: bool,
    mut found: impl FnMut(Events<'_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    if first {
        found(Events::one(0))?;
    }
    // The index of the octet before the next one to look at.
    let mut at = 0;
    if let Some(last) = octets.len().checked_sub(NEAR) {
        // Where there was an event there will be more: then the test only costs.
        let mut closer = false;
        while at < last + BLOCK {
            if !closer {
                at = kernel.skip::<DOTS>(octets, at, last);
            }
            // The last block ends with the input and overlaps the one before it.
            let base = at.min(last);
            let Some(near) = window::<NEAR>(octets, base).filter(|_| at < last + BLOCK) else {
                break;
            };
            closer = kernel.visit::<DOTS, B>(
                near,
                at - base,
                #[inline(always)]
                |place, bits, stuffed| {
                    found(Events {
                        at: base + 1 + place,
                        bits,
                        block: Some((near, place)),
                        are_stuffed: stuffed,
                    })
                },
            )?;
            at = base + BLOCK;
        }
    }
    // What is left: less than a block, or the last two octets.
    while at + 1 < octets.len() {
        let mut end = octets.len() - 1;
        let last = octets.len().checked_sub(SMALL + 2);
        // For one or two a block would be too much.
        if let Some(last) = last.filter(|last| at + 2 < last + SMALL) {
            let base = at.min(last);
            end = base + SMALL;
            if window(octets, base).is_some_and(|few| !few_hold::<DOTS>(few)) {
                at = end;
            }
        }
        while at < end {
            if let Some([a, b]) = window(octets, at) {
                // The last octet has none behind it.
                let c = octets.get(at + 2).copied().unwrap_or_default();
                if is_event::<DOTS>(*a, *b, c) {
                    found(Events::one(at + 1))?;
                }
            }
            at += 1;
        }
    }
    ControlFlow::Continue(())
}

/// Whether CRLF "." stands around the LF at `at`; `after_cr` tells of what came before `octets`.
pub(super) fn is_dot_line(octets: &[u8], at: usize, after_cr: bool) -> bool {
    octets.get(at) == Some(&LF)
        && octets.get(at + 1) == Some(&b'.')
        && ends_line(octets, at, after_cr)
}

/// Whether the LF at `at` ends a line; `after_cr` tells of what came before `octets`.
#[inline(always)]
pub(super) fn ends_line(octets: &[u8], at: usize, after_cr: bool) -> bool {
    match at.checked_sub(1) {
        Some(before) => octets.get(before) == Some(&CR),
        None => after_cr,
    }
}

#[inline(always)]
pub(super) fn window<const N: usize>(octets: &[u8], at: usize) -> Option<&[u8; N]> {
    octets.get(at..)?.first_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn naive(octets: &[u8], dots: bool) -> Vec<usize> {
        (1..octets.len())
            .filter(|at| match (octets[at - 1], octets[*at]) {
                (_, 0) => true,
                (b'\r', b'\n') => dots && octets.get(at + 1) == Some(&b'.'),
                (b'\r', _) | (_, b'\n') => true,
                _ => false,
            })
            .collect()
    }

    struct Find<'o>(&'o [u8], bool, bool);

    impl Job for Find<'_> {
        type Output = Vec<usize>;

        fn run<K: Kernel>(self, kernel: K) -> Vec<usize> {
            let Self(octets, dots, first) = self;
            let mut found = Vec::new();
            let mut event = |mut events: Events<'_>| {
                while let Some(at) = events.next() {
                    found.push(at);
                    let around = at.checked_sub(1).and_then(|at| window::<4>(octets, at));
                    let dot = around.is_some_and(|near| near.starts_with(b"\r\n."));
                    let cr = around.is_some_and(|near| near[3] == CR);
                    let is_at_hand = events.block.is_some();
                    assert_eq!(events.is_before_dot(at), dot && is_at_hand);
                    assert_eq!(events.is_before_stuffed(at), dot && !cr && is_at_hand);
                    assert!(!events.are_stuffed || dot && !cr);
                }
                ControlFlow::<()>::Continue(())
            };
            let flow = match dots {
                true => scan::<K, true, _>(kernel, octets, first, &mut event),
                false => scan::<K, false, _>(kernel, octets, first, &mut event),
            };
            assert!(flow.is_continue());
            found
        }
    }

    fn check(octets: &[u8]) {
        for dots in [true, false] {
            let expected = naive(octets, dots);
            let portable = Find(octets, dots, false).run(Portable);
            assert_eq!(portable, expected, "{} {dots}", octets.len());
            let best = dispatch(Find(octets, dots, false), octets.len());
            assert_eq!(best, expected, "{} {dots}", octets.len());
        }
    }

    #[test]
    fn every_pair_at_every_place_of_every_length() {
        let alphabet = [0, 1, b'\n', b'\r', b'.', b'a', 0x8a, 0x8d, 0xff];
        for length in 0..300 {
            let quiet = std::vec![b'x'; length];
            check(&quiet);
            for at in (0..length.saturating_sub(1)).step_by(if length > 140 { 7 } else { 1 }) {
                for (a, b) in alphabet.iter().flat_map(|a| alphabet.map(|b| (*a, b))) {
                    let mut octets = quiet.clone();
                    octets[at] = a;
                    octets[at + 1] = b;
                    check(&octets);
                }
            }
        }
    }

    /// Kernels may choose their blocks by where the octets lie.
    #[test]
    fn wherever_the_octets_lie_in_memory() {
        for start in 0..34 {
            let mut memory = std::vec![b'x'; start + 700];
            for at in start..memory.len() - 2 {
                memory[at..at + 3].copy_from_slice(b"\r\n.");
                check(&memory[start..]);
                memory[at..at + 3].copy_from_slice(b"xxx");
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
                check(&octets);
                let mut crlf = octets.clone();
                crlf.iter_mut()
                    .skip(period - 1)
                    .step_by(period)
                    .for_each(|octet| *octet = b'\r');
                check(&crlf);
            }
        }
    }

    /// Where every row of a block has dots to be removed, they are asked about all at once: what
    /// else is among them must not be taken for one.
    #[test]
    fn one_thing_else_among_stuffed_lines() {
        let lines = b"..\r\n".repeat(100);
        for other in [
            &b"\r\n.\r"[..],
            b"\n.\r",
            b"\n.x",
            b"\x0c\n.\r",
            b"\x0f\n.\r",
            b"\r\0",
            b"\0",
            b"\r",
            b"\n",
        ] {
            for at in 0..lines.len() - other.len() {
                let mut octets = lines.clone();
                octets[at..at + other.len()].copy_from_slice(other);
                check(&octets);
            }
        }
    }

    /// Every lane of a register has one then.
    #[test]
    fn nothing_but_nul() {
        for length in 0..400 {
            check(&std::vec![0; length]);
        }
    }

    #[test]
    fn the_first_octet_is_what_it_is_said_to_be() {
        for length in [1, 2, 3, 40, 200] {
            let quiet = std::vec![b'x'; length];
            assert_eq!(dispatch(Find(&quiet, true, true), length), [0]);
            let mut octets = quiet;
            octets[length - 1] = 0;
            let expected: Vec<_> = [0]
                .into_iter()
                .chain((length > 1).then_some(length - 1))
                .collect();
            assert_eq!(dispatch(Find(&octets, true, true), length), expected);
        }
        assert_eq!(Find(b"", true, false).run(Portable), []);
    }
}
