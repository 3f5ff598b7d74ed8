//! Sixteen octets judged at once, in loops that compilers turn into vector code.
//!
//! Layer 0, private. What an octet is must be said without a branch or a comparison, in numbers of
//! eight bits: comparisons make truth values, which compilers pack octet by octet.
//!
//! ```
//! use smtp_checkpoint::command::XText;
//!
//! assert!(XText::parse(b"sixteen.octets.and+2Bmore").is_some());
//! ```

/// Octets in a vector register of every x86-64 and AArch64 machine.
pub(crate) const LANES: usize = 16;

/// The octets from `base` on, with zeros behind the last.
#[inline(always)]
pub(crate) fn sixteen(octets: &[u8], base: usize) -> Option<[u8; LANES]> {
    #[inline(never)]
    fn few(octets: &[u8]) -> [u8; LANES] {
        let mut padded = [0; LANES];
        for (slot, octet) in padded.iter_mut().zip(octets) {
            *slot = *octet;
        }
        padded
    }
    let rest = octets.get(base..)?;
    Some(match (rest.first_chunk(), octets.last_chunk()) {
        (Some(sixteen), _) => *sixteen,
        (None, Some(last)) => {
            let beyond = LANES - rest.len();
            // In two steps: all may be beyond.
            (u128::from_le_bytes(*last) >> 8 >> (8 * (beyond - 1))).to_le_bytes()
        }
        (None, None) => few(rest),
    })
}

/// One bit for each octet of which `found` is above 0, that of the first lowest.
#[inline(always)]
pub(crate) fn marks(octets: &[u8; LANES], found: impl Fn(u8) -> u8) -> u32 {
    let mut marks = [0u8; LANES];
    for (mark, octet) in marks.iter_mut().zip(octets) {
        *mark = found(*octet).min(1);
    }
    // The product gathers the low bits of eight octets in the top one, in their order.
    let gathered = |marks: Option<&[u8; 8]>| {
        let marks = marks.map_or(0, |marks| u64::from_le_bytes(*marks));
        marks.wrapping_mul(0x0102_0408_1020_4080) >> 56
    };
    (gathered(marks.first_chunk()) | gathered(marks.last_chunk()) << 8) as u32
}

/// How many octets from `base` on stand before the first of which `found` is above 0, as it must be
/// of a NUL.
#[inline(always)]
pub(crate) fn run_before(octets: &[u8], base: usize, found: impl Fn(u8) -> u8) -> Option<usize> {
    let mut len = 0;
    loop {
        let marks = marks(&sixteen(octets, base + len)?, &found);
        if marks != 0 {
            return Some(len + marks.trailing_zeros() as usize);
        }
        len += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_from_anywhere_have_zeros_behind_the_last() {
        let octets: std::vec::Vec<u8> = (1..=50).collect();
        for len in 0..=octets.len() {
            for base in 0..=len {
                let mut expected = [0; LANES];
                let few = &octets[base..len.min(base + LANES)];
                expected[..few.len()].copy_from_slice(few);
                assert_eq!(
                    sixteen(&octets[..len], base),
                    Some(expected),
                    "{base} {len}"
                );
            }
            assert_eq!(sixteen(&octets[..len], len + 1), None);
        }
    }

    #[test]
    fn a_run_ends_before_what_is_looked_for() {
        for len in 0..50 {
            for at in 0..=len {
                let mut octets = std::vec![b'a'; len];
                if let Some(octet) = octets.get_mut(at) {
                    *octet = b'=';
                }
                let end = |octet: u8| (b'=' + 1).saturating_sub(octet);
                for base in 0..=at {
                    assert_eq!(run_before(&octets, base, end), Some(at - base), "{base}");
                }
            }
        }
    }

    #[test]
    fn marks_are_bits_in_order() {
        for octet in 0..=u8::MAX {
            for place in 0..LANES {
                for other in 0..LANES {
                    let mut octets = [0; LANES];
                    octets[other] = 1;
                    octets[place] = octet;
                    let mut expected = u32::from(octet > 0) << place;
                    if other != place {
                        expected |= 1 << other;
                    }
                    assert_eq!(marks(&octets, |octet| octet), expected, "{octets:?}");
                }
            }
        }
    }
}
