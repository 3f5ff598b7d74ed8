//! The kernel for x86-64 machines with AVX2, chosen when the program runs.
//!
//! Layer 2, private, feature `simd`. The dependency asks the processor and the operating system,
//! and hands out the instructions only with the proof that they are there.
//!
//! ```
//! // The same octets, whatever the machine.
//! let (mut wire, mut octets) = (&b"x\r\n".repeat(100)[..], 0);
//! smtp_checkpoint::dot::DotDecoder::new().decode_with(&mut wire, |content| octets += content.len());
//! assert_eq!(octets, 300);
//! ```

use core::arch::x86_64::__m256i;
use core::ops::ControlFlow;

use pulp::x86::V3;
use pulp::{NullaryFnOnce, cast};

use super::scan::{BLOCK, Job, Kernel, LAST, NEAR, Window, bits_from, window};
use super::{CR, LF};

/// Octets in a vector register.
const LANES: usize = 32;

/// Events and least octets, lane by lane.
type Found = (__m256i, __m256i);

/// AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide(V3);

impl Wide {
    #[inline(always)]
    pub(super) fn detect() -> Option<Self> {
        V3::try_new().map(Self)
    }

    /// Compiles `job` for this kernel and runs it.
    #[inline(always)]
    pub(super) fn run<J: Job>(self, job: J) -> J::Output {
        self.0.vectorize(With { kernel: self, job })
    }
}

struct With<J> {
    kernel: Wide,
    job: J,
}

impl<J: Job> NullaryFnOnce for With<J> {
    type Output = J::Output;

    #[inline(always)]
    fn call(self) -> J::Output {
        self.job.run(self.kernel)
    }
}

impl Wide {
    #[inline(always)]
    fn splat(self, octet: u8) -> __m256i {
        cast([octet; LANES])
    }

    /// The octets from `at` on.
    #[inline(always)]
    fn load(self, window: &Window, at: usize) -> __m256i {
        let octets: Option<&[u8; LANES]> = window.get(at..).and_then(<[u8]>::first_chunk);
        cast(octets.copied().unwrap_or_default())
    }

    /// Ones where the octet at `at + 1` is part of a bare CR or a bare LF; where it is an LF before
    /// "."; and the octets.
    #[inline(always)]
    fn look<const DOTS: bool>(self, window: &Window, at: usize) -> (__m256i, __m256i, __m256i) {
        let avx2 = self.0.avx2;
        let octets = self.load(window, at + 1);
        let cr = avx2._mm256_cmpeq_epi8(self.load(window, at), self.splat(CR));
        let lf = avx2._mm256_cmpeq_epi8(octets, self.splat(LF));
        let bare = avx2._mm256_xor_si256(cr, lf);
        if !DOTS {
            return (bare, self.splat(0), octets);
        }
        let dot = avx2._mm256_cmpeq_epi8(self.load(window, at + 2), self.splat(b'.'));
        (bare, avx2._mm256_and_si256(lf, dot), octets)
    }

    /// Ones where there is an event, NUL apart; and the octets.
    #[inline(always)]
    fn events_at<const DOTS: bool>(self, window: &Window, at: usize) -> Found {
        let (bare, dots, octets) = self.look::<DOTS>(window, at);
        (self.0.avx2._mm256_or_si256(bare, dots), octets)
    }

    /// What [`any`](Self::any) finds events in: ones where there is one, NUL apart, and the least
    /// octet of each lane.
    #[inline(always)]
    fn events<const DOTS: bool>(self, window: &Window) -> Found {
        let (mut found, mut least) = self.events_at::<DOTS>(window, 0);
        for at in (LANES..BLOCK).step_by(LANES) {
            let (more, octets) = self.events_at::<DOTS>(window, at);
            (found, least) = self.either((found, least), (more, octets));
        }
        (found, least)
    }

    #[inline(always)]
    fn either(self, one: Found, other: Found) -> Found {
        let avx2 = self.0.avx2;
        (
            avx2._mm256_or_si256(one.0, other.0),
            avx2._mm256_min_epu8(one.1, other.1),
        )
    }

    #[inline(always)]
    fn any(self, (found, least): Found) -> bool {
        let avx2 = self.0.avx2;
        let nul = avx2._mm256_cmpeq_epi8(least, self.splat(0));
        avx2._mm256_movemask_epi8(avx2._mm256_or_si256(found, nul)) != 0
    }

    #[inline(always)]
    fn holds_event<const DOTS: bool>(self, window: &Window) -> bool {
        self.any(self.events::<DOTS>(window))
    }

    /// One bit for each octet from `at + 1` on.
    #[inline(always)]
    fn bits<const DOTS: bool>(self, window: &Window, at: usize) -> u64 {
        let avx2 = self.0.avx2;
        let (found, octets) = self.events_at::<DOTS>(window, at);
        let nul = avx2._mm256_cmpeq_epi8(octets, self.splat(0));
        let bits = avx2._mm256_movemask_epi8(avx2._mm256_or_si256(found, nul));
        u64::from(bits as u32)
    }

    /// Ones where there is an event other than CRLF "." with something else than CR behind it.
    #[inline(always)]
    fn others_at(self, window: &Window, at: usize) -> __m256i {
        let avx2 = self.0.avx2;
        let (bare, dots, octets) = self.look::<true>(window, at);
        let cr = avx2._mm256_cmpeq_epi8(self.load(window, at + 3), self.splat(CR));
        let nul = avx2._mm256_cmpeq_epi8(octets, self.splat(0));
        let end = avx2._mm256_and_si256(dots, cr);
        avx2._mm256_or_si256(avx2._mm256_or_si256(bare, nul), end)
    }

    /// Whether all events of the block are CRLF "." with something else than CR behind it.
    #[inline(always)]
    fn only_stuffed(self, window: &Window) -> bool {
        let avx2 = self.0.avx2;
        let mut others = self.others_at(window, 0);
        for at in (LANES..BLOCK).step_by(LANES) {
            others = avx2._mm256_or_si256(others, self.others_at(window, at));
        }
        avx2._mm256_movemask_epi8(others) == 0
    }
}

/// [`Kernel::skip`], a function by itself: within another the compiler loads its constants anew for
/// each block.
struct Skip<'o, const DOTS: bool> {
    kernel: Wide,
    octets: &'o [u8],
    at: usize,
    last: usize,
}

impl<const DOTS: bool> NullaryFnOnce for Skip<'_, DOTS> {
    type Output = usize;

    #[inline(always)]
    fn call(self) -> usize {
        let Self {
            kernel,
            octets,
            mut at,
            last,
        } = self;
        if let Some(near) = window(octets, at) {
            if kernel.holds_event::<DOTS>(near) {
                return at;
            }
            // The second block overlaps the first, so that from then on a third of the loads never
            // crosses a cache line.
            at += BLOCK - octets.as_ptr().addr().wrapping_add(at + 1) % LANES;
        }
        // Two blocks with one branch, then what is left of them one by one.
        while let Some(near) = window::<{ BLOCK + NEAR }>(octets, at) {
            let (first, second) = (window(near, 0), window(near, BLOCK));
            let (Some(first), Some(second)) = (first, second) else {
                break;
            };
            let found = kernel.events::<DOTS>(first);
            if kernel.any(kernel.either(found, kernel.events::<DOTS>(second))) {
                break;
            }
            at += 2 * BLOCK;
        }
        while let Some(near) = window(octets, at) {
            if kernel.holds_event::<DOTS>(near) {
                return at;
            }
            at += BLOCK;
        }
        match window(octets, last) {
            Some(near) if !kernel.holds_event::<DOTS>(near) => last + BLOCK,
            _ => at,
        }
    }
}

impl Kernel for Wide {
    #[inline(always)]
    fn skip<const DOTS: bool>(self, octets: &[u8], at: usize, last: usize) -> usize {
        self.0.vectorize(Skip::<DOTS> {
            kernel: self,
            octets,
            at,
            last,
        })
    }

    #[inline(always)]
    fn visit<const DOTS: bool, B>(
        self,
        window: &Window,
        from: usize,
        mut row: impl FnMut(usize, u64, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B, bool> {
        // Written out: a closure would be compiled for the least machine.
        let first = self.bits::<DOTS>(window, 0);
        let second = self.bits::<DOTS>(window, LANES);
        let third = self.bits::<DOTS>(window, 2 * LANES);
        let last = self.bits::<DOTS>(window, 3 * LANES);
        // Where there are many, to ask about all of them at once costs less than one by one.
        let many = first != 0 && second != 0 && third != 0 && last != 0;
        let stuffed = DOTS && many && self.only_stuffed(window);
        let (mut bits, mut later) = (first | second << LANES, third | last << LANES);
        let (any, mut place) = (bits | later != 0, 0);
        if from > 0 {
            bits &= bits_from(from);
            later &= bits_from(from.saturating_sub(BLOCK / 2));
        }
        loop {
            row(place, bits, stuffed)?;
            if later == 0 {
                return ControlFlow::Continue(any);
            }
            (bits, later, place) = (later, 0, BLOCK / 2);
        }
    }

    #[inline(always)]
    fn last_lf(self, octets: &[u8; LAST]) -> Option<usize> {
        let avx2 = self.0.avx2;
        let (low, high): (&[u8; LANES], &[u8; LANES]) =
            (octets.first_chunk()?, octets.last_chunk()?);
        let low = avx2._mm256_cmpeq_epi8(cast(*low), self.splat(LF));
        let high = avx2._mm256_cmpeq_epi8(cast(*high), self.splat(LF));
        let low = avx2._mm256_movemask_epi8(low) as u32;
        let high = avx2._mm256_movemask_epi8(high) as u32;
        (u64::from(high) << LANES | u64::from(low))
            .checked_ilog2()
            .map(|at| at as usize)
    }
}
