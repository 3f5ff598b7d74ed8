//! The lines of an EHLO reply, and what is offered in them, gathered in one pass.
//!
//! Layer 1, private.
//!
//! ```
//! use smtp_checkpoint::ehlo::CapabilitiesRef;
//!
//! assert!(!CapabilitiesRef::default().pipelining());
//! ```

use super::read::Keyword;
use super::{MAX_TIMER, RdlvOffer, SizeOffer, name, plain};
use crate::class::run_from;
use crate::syntax::parse_decimal;
use crate::word::Word;

/// How the lines stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    /// The texts with an LF between two, as a `Reply` holds them.
    #[default]
    Texts,
    /// With codes and CRLF, as a `ReplyRef` holds them.
    Wire,
}

/// Lines one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    /// What is left; `None` behind the last line.
    rest: Option<&'a [u8]>,
    form: Form,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// Octets before the first that is SPACE or a control.
    word: usize,
}

impl<'a> Lines<'a> {
    pub(super) const fn new(octets: &'a [u8], form: Form) -> Self {
        let rest = Some(octets);
        Self { rest, form }
    }

    /// Takes the next line, if [`plain`] reads it.
    #[inline(always)]
    fn next_plain(&mut self) -> Option<plain::Found> {
        let octets = self.rest?;
        let (code, ending) = match self.form {
            Form::Texts => (0, &b"\n"[..]),
            Form::Wire => (4, &b"\r\n"[..]),
        };
        let text = octets.get(code..)?;
        let found = plain::line(text, ending)?;
        self.rest = text.get(found.octets..);
        Some(found)
    }

    /// Octets that are left.
    fn left(&self) -> usize {
        self.rest.map_or(0, <[u8]>::len)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Line<'a>> {
        let octets = self.rest?;
        let (code, ending) = match self.form {
            Form::Texts => (0, 1),
            Form::Wire if octets.is_empty() => return None,
            Form::Wire => (4, 2),
        };
        let text = octets.get(code..).unwrap_or_default();
        let form = self.form;
        let ends = |len: usize| match form {
            Form::Texts => text.get(len) == Some(&b'\n'),
            Form::Wire => matches!(text.get(len..), Some([b'\r', b'\n', ..])),
        };
        // Mostly the keyword is all there is, and what follows it holds no controls.
        let word = run_from(b' ' + 1, text);
        let end = if ends(word) {
            Some(word)
        } else {
            let behind = text.get(word..).unwrap_or_default();
            let printable = word + run_from(b' ', behind);
            if ends(printable) {
                Some(printable)
            } else {
                // All lines are sound: an LF ends one. Where the code is alone, CR is behind it.
                let lf = memchr::memchr(b'\n', behind);
                lf.map(|lf| (word + lf + 1).saturating_sub(ending))
            }
        };
        let (text, rest) = match end {
            Some(end) => (text.get(..end)?, text.get(end + ending..)),
            None => (text, None),
        };
        self.rest = rest;
        Some(Line { text, word })
    }
}

impl<'a> Line<'a> {
    /// The keyword that stands there; `None` where there is none.
    #[inline(always)]
    pub(super) fn keyword(self) -> Option<Keyword<'a>> {
        if self.is_word() {
            return Some(Keyword {
                name: self.text,
                parameters: &[],
            });
        }
        match self.text.split_at_checked(self.word)? {
            (name @ [_, ..], rest @ [b' ' | b'\t', ..]) => Some(Keyword {
                name,
                parameters: rest.trim_ascii(),
            }),
            _ => Keyword::parse(self.text),
        }
    }

    /// Whether there is a word and nothing else.
    fn is_word(self) -> bool {
        self.word == self.text.len() && !self.text.is_empty()
    }
}

/// The keywords with a meaning here, for choosing.
mod word {
    use crate::word::Word;

    pub(super) const CHECKPOINT: Word = Word::new(b"CHECKPOINT");
    pub(super) const RESUME: Word = Word::new(b"RESUME");
    pub(super) const PIPELINING: Word = Word::new(b"PIPELINING");
    pub(super) const SIZE: Word = Word::new(b"SIZE");
    pub(super) const EIGHT_BIT_MIME: Word = Word::new(b"8BITMIME");
    pub(super) const SMTPUTF8: Word = Word::new(b"SMTPUTF8");
    pub(super) const DSN: Word = Word::new(b"DSN");
    pub(super) const CHUNKING: Word = Word::new(b"CHUNKING");
    pub(super) const BINARY_MIME: Word = Word::new(b"BINARYMIME");
    pub(super) const STARTTLS: Word = Word::new(b"STARTTLS");
    pub(super) const AUTH: Word = Word::new(b"AUTH");
    pub(super) const BURL: Word = Word::new(b"BURL");
    pub(super) const RDLV: Word = Word::new(b"RDLV");
    pub(super) const DETA: Word = Word::new(b"DETA");
}

/// Keywords that were seen, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known(u16);

impl Known {
    const NONE: Self = Self(0);
    pub(super) const CHECKPOINT: Self = Self(1);
    pub(super) const RESUME: Self = Self(1 << 1);
    pub(super) const PIPELINING: Self = Self(1 << 2);
    pub(super) const SIZE: Self = Self(1 << 3);
    pub(super) const EIGHT_BIT_MIME: Self = Self(1 << 4);
    pub(super) const SMTPUTF8: Self = Self(1 << 5);
    pub(super) const DSN: Self = Self(1 << 6);
    pub(super) const ENHANCED_STATUS_CODES: Self = Self(1 << 7);
    pub(super) const CHUNKING: Self = Self(1 << 8);
    pub(super) const BINARY_MIME: Self = Self(1 << 9);
    pub(super) const STARTTLS: Self = Self(1 << 10);
    const AUTH: Self = Self(1 << 11);
    pub(super) const BURL: Self = Self(1 << 12);
    const RDLV: Self = Self(1 << 13);
    pub(super) const DETA: Self = Self(1 << 14);

    /// Which one `keyword` is; `NONE` where it is another.
    #[inline(always)]
    fn of(keyword: &Keyword<'_>) -> Self {
        match Word::new(keyword.name) {
            word::CHECKPOINT => Self::CHECKPOINT,
            word::RESUME => Self::RESUME,
            word::PIPELINING => Self::PIPELINING,
            word::SIZE => Self::SIZE,
            // A control may pass for the digit in them.
            word::EIGHT_BIT_MIME if keyword.name.starts_with(b"8") => Self::EIGHT_BIT_MIME,
            word::SMTPUTF8 if keyword.name.ends_with(b"8") => Self::SMTPUTF8,
            word::DSN => Self::DSN,
            word::CHUNKING => Self::CHUNKING,
            word::BINARY_MIME => Self::BINARY_MIME,
            word::STARTTLS => Self::STARTTLS,
            word::AUTH => Self::AUTH,
            word::BURL => Self::BURL,
            word::RDLV => Self::RDLV,
            word::DETA => Self::DETA,
            _ if keyword.is(name::ENHANCED_STATUS_CODES.as_bytes()) => Self::ENHANCED_STATUS_CODES,
            _ if old_auth(keyword).is_some() => Self::AUTH,
            _ => Self::NONE,
        }
    }
}

/// What follows `AUTH=` of the old form.
fn old_auth<'a>(keyword: &Keyword<'a>) -> Option<&'a [u8]> {
    match keyword.name.split_at_checked(name::AUTH.len())? {
        (auth, [b'=', first @ ..]) if auth.eq_ignore_ascii_case(name::AUTH.as_bytes()) => {
            Some(first)
        }
        _ => None,
    }
}

/// What is offered, in one pass over the lines; where a keyword is given twice the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offers {
    known: Known,
    pub(super) size: Option<SizeOffer>,
    pub(super) rdlv: Option<RdlvOffer>,
    /// Where the lines of AUTH stand: octets before the first, and behind the last.
    auth: (usize, usize),
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            known: Known::NONE,
            size: None,
            rdlv: None,
            auth: (0, 0),
        }
    }
}

impl Offers {
    /// Reads the first `limit` lines of `rest`, which is what follows the line of `octets` that
    /// names the server. Returns the octets that they all take, too.
    #[inline(always)]
    pub(super) fn read(
        octets: &[u8],
        rest: Option<&[u8]>,
        form: Form,
        limit: usize,
    ) -> (Self, usize) {
        let mut offers = Self::default();
        let mut lines = Lines { rest, form };
        for _ in 0..limit {
            if let Some(found) = lines.next_plain() {
                if let Some(limit) = found.size {
                    offers.size.get_or_insert(size_offer(limit));
                }
                offers.known.0 |= found.known.0;
                continue;
            }
            let start = octets.len() - lines.left();
            let Some(line) = lines.next() else {
                break;
            };
            let Some(keyword) = line.keyword() else {
                continue;
            };
            let known = Known::of(&keyword);
            let is_first = !offers.offers(known);
            offers.known.0 |= known.0;
            match known {
                Known::SIZE if is_first => offers.size = Some(size(&keyword)),
                Known::RDLV if is_first => offers.rdlv = rdlv(&keyword),
                Known::AUTH => {
                    let first = if is_first { start } else { offers.auth.0 };
                    offers.auth = (first, octets.len() - lines.left());
                }
                _ => {}
            }
        }
        let end = match (form, lines.rest) {
            // Without the LF that stands before the next line.
            (Form::Texts, Some(rest)) => octets.len() - rest.len() - 1,
            _ => octets.len() - lines.left(),
        };
        (offers, end)
    }

    /// Whether all of `known` were seen.
    #[inline(always)]
    pub(super) const fn offers(&self, known: Known) -> bool {
        self.known.0 & known.0 == known.0
    }

    /// The SASL mechanisms, of both forms of AUTH.
    pub(super) fn auth<'a>(
        &self,
        octets: &'a [u8],
        form: Form,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // Without AUTH the range is empty, and so would be the only line.
        // The LF behind the last may have been cut off since.
        let (start, end) = (self.auth.0, self.auth.1.min(octets.len()));
        let lines = octets.get(start..end).unwrap_or_default();
        Lines::new(lines, form)
            .filter_map(Line::keyword)
            .filter(|keyword| Word::new(keyword.name) == word::AUTH || old_auth(keyword).is_some())
            .flat_map(|keyword| {
                let first = old_auth(&keyword).filter(|first| !first.is_empty());
                first.into_iter().chain(keyword.each_parameter())
            })
    }
}

fn size(keyword: &Keyword<'_>) -> SizeOffer {
    (keyword.each_parameter().next().and_then(parse_decimal))
        .map_or(SizeOffer::Unstated, size_offer)
}

const fn size_offer(limit: u64) -> SizeOffer {
    match limit {
        0 => SizeOffer::NoFixedLimit,
        octets => SizeOffer::Limit(octets),
    }
}

/// A `mintimer` that is malformed, out of range or given twice leaves none that is safe to ask for.
fn rdlv(keyword: &Keyword<'_>) -> Option<RdlvOffer> {
    const MINTIMER: &[u8] = b"mintimer=";

    let mut mintimer = None;
    for parameter in keyword.each_parameter() {
        let parts = parameter.split_at_checked(MINTIMER.len());
        let (name, value) = parts.unwrap_or((parameter, &[]));
        if !name.eq_ignore_ascii_case(MINTIMER) {
            continue;
        }
        let seconds = u32::try_from(parse_decimal(value)?).ok()?;
        if mintimer.is_some() || !(1..=MAX_TIMER).contains(&seconds) {
            return None;
        }
        mintimer = Some(seconds);
    }
    Some(RdlvOffer { mintimer })
}
