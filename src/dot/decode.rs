//! The decoder of DATA: wire octets in, canonical octets out.
//!
//! Layer 2. What is handed out are slices of what came in; no octet is copied but in the batch
//! form, and there only the short ones.
//!
//! ```
//! use smtp_checkpoint::dot::{Decoded, DotDecoder};
//!
//! let mut decoder = DotDecoder::new();
//! let mut input = &b"a\r\n..b\r\n.\r\nQUIT\r\n"[..];
//! assert_eq!(decoder.decode(&mut input), Decoded::Content(b"a\r\n"));
//! assert_eq!(decoder.decode(&mut input), Decoded::Content(b".b\r\n"));
//! assert_eq!(decoder.decode(&mut input), Decoded::End);
//! assert_eq!(input, b"QUIT\r\n");
//! ```

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::{Buf, Bytes};

use super::batch::{Batch, Piece};
use super::faults::{FaultKind, Faults};
use super::scan::{Events, Job, Kernel, LAST, SMALL, dispatch, ends_line, is_dot_line, scan};
use super::{CR, LF};
use crate::offset::OctetOffset;

/// One step of [`DotDecoder::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'i> {
    /// The next canonical octets; never empty.
    Content(&'i [u8]),
    /// All input is used up and the end has not come.
    NeedInput,
    /// The end of the data was read. What is left of the input comes after it.
    End,
}

/// What [`DotDecoder::decode_with`] and [`DotDecoder::decode_batch`] stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeStatus {
    /// All input is used up and the end has not come.
    NeedInput,
    /// The batch took as much as it may; input is left. Only from the batch form.
    BatchFull,
    /// The end of the data was read. What is left of the input comes after it.
    End,
}

/// Where the wire stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// After CRLF, or at the start: a dot here is not content.
    LineStart,
    /// A line began with a dot, which is withheld.
    Dot,
    /// A line began with a dot and CR, which are withheld.
    DotCr,
    /// Within a line, or after a dot that was removed.
    Text,
    /// Within a line, and the last octet handed out is CR.
    Cr,
    /// After the end of the data.
    Ended,
}

/// Reads the content of DATA (RFC 5321 §4.5.2), counting canonical octets (RFC 1845 §4).
///
/// The three forms of decoding read the same octets and can be mixed: one slice a call
/// ([`decode`](Self::decode)), a callback for each slice ([`decode_with`](Self::decode_with),
/// the fastest), and a list of [`Bytes`] ([`decode_batch`](Self::decode_batch)). It does not
/// matter how the wire is cut into inputs.
///
/// ```
/// use smtp_checkpoint::dot::{DecodeStatus, DotDecoder};
///
/// let mut decoder = DotDecoder::new();
/// let mut input = &b"Subject: x\r\n\r\nhalf a li"[..];
/// let status = decoder.decode_with(&mut input, |octets| { /* store them */ });
/// assert_eq!(status, DecodeStatus::NeedInput);
/// // The connection is lost. The server may announce the start of the line.
/// assert_eq!(decoder.offset().get(), 23);
/// assert_eq!(decoder.line_start_offset().get(), 14);
///
/// let mut decoder = DotDecoder::starting_at(14.into());
/// let status = decoder.decode_with(&mut &b"half a line\r\n.\r\n"[..], |octets| {});
/// assert_eq!(status, DecodeStatus::End);
/// assert_eq!(decoder.offset().get(), 27);
/// ```
#[derive(Debug, Clone)]
pub struct DotDecoder {
    state: State,
    offset: u64,
    line_start: u64,
    faults: Faults,
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DotDecoder {
    /// A decoder for a whole message.
    pub const fn new() -> Self {
        Self {
            state: State::LineStart,
            offset: 0,
            line_start: 0,
            faults: Faults {
                bare_cr: None,
                bare_lf: None,
                nul: None,
            },
        }
    }

    /// A decoder for what a client sends after a 355 with this offset: the wire begins at the
    /// start of a line (CP-12). The faults of what was stored before are the record's to keep.
    pub fn starting_at(offset: OctetOffset) -> Self {
        Self {
            offset: offset.get(),
            line_start: offset.get(),
            ..Self::new()
        }
    }

    /// Decodes up to the next removed dot, the end of the data or the end of the input, and
    /// advances `input` over what it read.
    pub fn decode<'i>(&mut self, input: &mut &'i [u8]) -> Decoded<'i> {
        let octets = *input;
        let mut content = None;
        let read = self.run(octets, |piece| {
            content = Some(piece);
            ControlFlow::Break(())
        });
        *input = octets.get(read..).unwrap_or_default();
        match content {
            Some(piece) => Decoded::Content(Piece::octets(piece)),
            None if self.is_ended() => Decoded::End,
            None => Decoded::NeedInput,
        }
    }

    /// Decodes all of the input, or up to the end of the data, and advances `input` over what it
    /// read. `sink` gets the canonical octets in order, in slices that are never empty.
    #[inline]
    pub fn decode_with(&mut self, input: &mut &[u8], mut sink: impl FnMut(&[u8])) -> DecodeStatus {
        if self.take_one(input) {
            sink(input);
            *input = &[];
            return DecodeStatus::NeedInput;
        }
        self.decode_more(input, sink)
    }

    /// [`decode_with`](Self::decode_with) for all but the commonest single octets. By itself, so
    /// that those do not pay for the registers that this takes.
    #[inline(never)]
    fn decode_more(&mut self, input: &mut &[u8], mut sink: impl FnMut(&[u8])) -> DecodeStatus {
        let octets = *input;
        let read = self.run(octets, move |piece| {
            sink(piece.octets());
            ControlFlow::Continue(())
        });
        *input = octets.get(read..).unwrap_or_default();
        self.status(input.is_empty())
    }

    /// Decodes up to `max_octets` canonical octets, or up to the end of the data, appends them to
    /// `out` and advances `input` over what it read.
    ///
    /// Long runs are slices that share the memory of `input`, short neighbours are copied
    /// together; the copies take no more than `max_octets`. With 0 nothing is handed out.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use smtp_checkpoint::dot::{DecodeStatus, DotDecoder};
    ///
    /// let (mut decoder, mut out) = (DotDecoder::new(), Vec::new());
    /// let mut input = Bytes::from_static(b"0123456789\r\n.\r\n");
    /// assert_eq!(decoder.decode_batch(&mut input, &mut out, 8), DecodeStatus::BatchFull);
    /// assert_eq!(decoder.decode_batch(&mut input, &mut out, 8), DecodeStatus::End);
    /// assert_eq!(out, [&b"01234567"[..], b"89\r\n"]);
    /// ```
    pub fn decode_batch(
        &mut self,
        input: &mut Bytes,
        out: &mut Vec<Bytes>,
        max_octets: usize,
    ) -> DecodeStatus {
        if max_octets == 0 {
            return self.status(input.is_empty());
        }
        // A withheld CR is the only content that the input does not pay for with an octet of its
        // own. What decides over it is looked at even where there is no room for more.
        let withheld = usize::from(self.state == State::DotCr);
        let room = max_octets - withheld;
        let octets = input.get(..room.max(1)).unwrap_or(input);
        let mut batch = Batch::new(input, out, octets.len() + withheld);
        let read = self.run(octets, |piece| {
            batch.push(piece);
            if room == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        batch.flush();
        input.advance(read);
        self.status(input.is_empty())
    }

    /// Canonical octets handed out so far, those before a restart included.
    pub fn offset(&self) -> OctetOffset {
        self.offset.into()
    }

    /// The offset right after the last CRLF handed out, or the start if there was none: what a
    /// server may announce once it is durable (CP-10).
    pub fn line_start_offset(&self) -> OctetOffset {
        self.line_start.into()
    }

    /// Whether nothing of the current line has been handed out.
    pub fn at_line_start(&self) -> bool {
        self.offset == self.line_start
    }

    /// What was found wrong in the octets handed out since the start or the restart.
    ///
    /// Whether a CR is bare is known with the octet after it: a CR that is the last octet so far
    /// is no fault yet.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// [`faults`](Self::faults) at offsets below `cut`: those that belong to a record whose
    /// content is cut there. The others will come again with their octets.
    pub fn faults_before(&self, cut: OctetOffset) -> Faults {
        self.faults.before(cut)
    }

    /// Whether the end of the data was read. From then on no input is taken.
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    fn status(&self, input_is_empty: bool) -> DecodeStatus {
        match (self.is_ended(), input_is_empty) {
            (true, _) => DecodeStatus::End,
            (false, true) => DecodeStatus::NeedInput,
            (false, false) => DecodeStatus::BatchFull,
        }
    }

    /// Reads what was withheld together with the first octet after it. Returns octets read and
    /// whether a withheld CR turned out to be content.
    fn begin(&mut self, wire: &[u8]) -> (usize, bool) {
        let mut read = 0;
        while let Some(&octet) = wire.get(read) {
            self.state = match (self.state, octet) {
                (State::LineStart, b'.') => State::Dot,
                (State::Dot, CR) => State::DotCr,
                (State::Dot, _) => State::Text,
                (State::DotCr, LF) => State::Ended,
                (State::DotCr, _) => {
                    self.give_back_cr();
                    return (read, true);
                }
                (State::LineStart | State::Text | State::Cr | State::Ended, _) => break,
            };
            if self.state == State::Text {
                break;
            }
            read += 1;
        }
        (read, false)
    }

    /// Decodes `wire`, until `emit` breaks or the data ends; returns octets read.
    #[inline(always)]
    fn run<'w>(
        &mut self,
        wire: &'w [u8],
        mut emit: impl FnMut(Piece<'w>) -> ControlFlow<()>,
    ) -> usize {
        if self.take_one(wire) {
            let _ = emit(Piece::Input(wire));
            return 1;
        }
        if wire.len() <= FEW {
            return self.run_few(wire, emit);
        }
        let decoder = self;
        dispatch(
            Run {
                decoder,
                wire,
                emit,
            },
            wire.len(),
        )
    }

    /// [`run`](Self::run) octet by octet: less work than what it takes to look at blocks.
    #[inline(always)]
    fn run_few<'w>(
        &mut self,
        wire: &'w [u8],
        mut emit: impl FnMut(Piece<'w>) -> ControlFlow<()>,
    ) -> usize {
        let (mut start, mut next) = (0, 0);
        while let Some(&octet) = wire.get(next) {
            let at = next;
            if self.state == State::Text {
                // No octet from SPACE on means anything here.
                let text = wire.get(at..).unwrap_or_default();
                let plain = text.iter().take_while(|octet| **octet >= b' ').count();
                if plain > 0 {
                    self.offset = self.offset.saturating_add(plain as u64);
                    next += plain;
                    continue;
                }
            }
            next += 1;
            match (self.state, octet) {
                (State::LineStart, b'.') => {
                    let before = wire.get(start..at).filter(|before| !before.is_empty());
                    if before.is_some_and(|before| emit(Piece::Input(before)).is_break()) {
                        return at;
                    }
                    (self.state, start) = (State::Dot, at + 1);
                    continue;
                }
                (State::Dot, CR) => {
                    (self.state, start) = (State::DotCr, at + 1);
                    continue;
                }
                (State::DotCr, LF) => {
                    self.state = State::Ended;
                    return at + 1;
                }
                (State::DotCr, _) => {
                    self.give_back_cr();
                    if emit(Piece::Static(b"\r")).is_break() {
                        return at;
                    }
                }
                (State::Ended, _) => return at,
                _ => {}
            }
            self.take(octet);
        }
        if let Some(rest) = wire.get(start..).filter(|rest| !rest.is_empty()) {
            let _ = emit(Piece::Input(rest));
        }
        wire.len()
    }

    /// Takes an input of one octet that is content, as clients send it that write octet by octet.
    #[inline(always)]
    fn take_one(&mut self, wire: &[u8]) -> bool {
        let &[octet] = wire else {
            return false;
        };
        let content = match self.state {
            State::Text | State::Cr => true,
            State::LineStart => octet != b'.',
            State::Dot | State::DotCr | State::Ended => false,
        };
        if content {
            self.take(octet);
        }
        content
    }

    /// An octet of content.
    #[inline(always)]
    fn take(&mut self, octet: u8) {
        let after_cr = self.state == State::Cr;
        if after_cr != (octet == LF) || octet == 0 {
            self.faults.note(after_cr, octet, self.offset);
        }
        self.offset = self.offset.saturating_add(1);
        self.state = match octet {
            CR => State::Cr,
            LF if after_cr => {
                self.line_start = self.offset;
                State::LineStart
            }
            _ => State::Text,
        };
    }

    /// A CR that was withheld turned out to be content, and bare.
    fn give_back_cr(&mut self) {
        self.faults.record(FaultKind::BareCr, self.offset.into());
        self.offset = self.offset.saturating_add(1);
        self.state = State::Cr;
    }
}

/// The most octets that are looked at one by one.
const FEW: usize = SMALL + 1;

/// Decoding with the kernel that the machine has.
struct Run<'d, 'w, E> {
    decoder: &'d mut DotDecoder,
    wire: &'w [u8],
    emit: E,
}

impl<'w, E: FnMut(Piece<'w>) -> ControlFlow<()>> Job for Run<'_, 'w, E> {
    type Output = usize;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> usize {
        let (decoder, wire, mut emit) = (self.decoder, self.wire, self.emit);
        let (begun, cr) = match decoder.state {
            State::Text | State::Cr => (0, false),
            _ => decoder.begin(wire),
        };
        if cr && emit(Piece::Static(b"\r")).is_break() {
            return begun;
        }
        let octets = wire.get(begun..).unwrap_or_default();
        let Some(&first) = octets.first().filter(|_| !decoder.is_ended()) else {
            return begun;
        };

        let after_cr = decoder.state == State::Cr;
        let mut cut = Cut {
            wire: octets,
            after_cr,
            base: decoder.offset,
            start: 0,
            removed: 0,
        };
        let begins = after_cr || first == LF || first == 0;
        let stop = scan::<K, true, _>(
            kernel,
            octets,
            begins,
            #[inline(always)]
            |events| {
                // A copy of its own can stay in registers.
                let mut here = cut;
                let flow = here.at(events, &mut decoder.faults, &mut emit);
                cut = here;
                flow
            },
        );
        let start = cut.start;
        let offset = cut.offset_of(start);
        if let ControlFlow::Break((read, state)) = stop {
            (decoder.state, decoder.offset, decoder.line_start) = (state, offset, offset);
            return begun + read;
        }

        if start > 0 {
            decoder.line_start = offset;
        }
        decoder.offset = offset.saturating_add((octets.len() - start) as u64);
        let lines = lines_len(kernel, octets, start, after_cr);
        if let Some(lines) = lines {
            decoder.line_start = offset.saturating_add(lines as u64);
        }
        decoder.state = match octets.last() {
            Some(&CR) => State::Cr,
            _ if lines == Some(octets.len() - start) => State::LineStart,
            _ => State::Text,
        };
        let _ = emit(Piece::Input(octets.get(start..).unwrap_or_default()));
        wire.len()
    }
}

/// Cuts the wire into slices of content, at the dots.
#[derive(Clone, Copy)]
struct Cut<'w> {
    wire: &'w [u8],
    /// Whether a CR came before it.
    after_cr: bool,
    /// The offset of its first octet.
    base: u64,
    /// Before it all is handed out,
    start: usize,
    /// and of that so many dots were not content.
    removed: usize,
}

/// Goes on, or stops: octets read, and what comes then.
type Flow = ControlFlow<(usize, State)>;

impl<'w> Cut<'w> {
    /// Cuts at these events, until `emit` breaks or the data ends.
    #[inline(always)]
    fn at(
        &mut self,
        mut events: Events<'_>,
        faults: &mut Faults,
        emit: &mut impl FnMut(Piece<'w>) -> ControlFlow<()>,
    ) -> Flow {
        while let Some(at) = events.next() {
            if events.are_stuffed || events.is_before_stuffed(at) {
                self.at_stuffed(at, emit)?;
            } else if is_dot_line(self.wire, at, self.after_cr) {
                self.at_dot(at, emit)?;
            } else {
                let cr_before = match at.checked_sub(1) {
                    Some(before) => self.wire.get(before) == Some(&CR),
                    None => self.after_cr,
                };
                let octet = self.wire.get(at).copied().unwrap_or(b' ');
                faults.note(cr_before, octet, self.offset_of(at));
            }
        }
        ControlFlow::Continue(())
    }

    /// Cuts behind the LF at `at`, which has a dot and content behind it.
    #[inline(always)]
    fn at_stuffed(
        &mut self,
        at: usize,
        emit: &mut impl FnMut(Piece<'w>) -> ControlFlow<()>,
    ) -> Flow {
        let line = self.wire.get(self.start..at + 1).unwrap_or_default();
        (self.start, self.removed) = (at + 2, self.removed + 1);
        match emit(Piece::Input(line)) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break((at + 2, State::Text)),
        }
    }

    /// Cuts behind the LF at `at`, which has a dot behind it and perhaps the end of the data.
    #[inline(always)]
    fn at_dot(&mut self, at: usize, emit: &mut impl FnMut(Piece<'w>) -> ControlFlow<()>) -> Flow {
        let line = self.wire.get(self.start..=at).unwrap_or_default();
        if emit(Piece::Input(line)).is_break() {
            self.start = at + 1;
            return ControlFlow::Break((at + 1, State::LineStart));
        }
        (self.start, self.removed) = (at + 2, self.removed + 1);
        match self.wire.get(self.start..) {
            Some([CR, LF, ..]) => ControlFlow::Break((at + 4, State::Ended)),
            Some([CR]) => ControlFlow::Break((at + 3, State::DotCr)),
            Some([]) => ControlFlow::Break((at + 2, State::Dot)),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The offset of the octet at `at`, which is not before `start`.
    #[inline(always)]
    fn offset_of(&self, at: usize) -> u64 {
        self.base.saturating_add((at - self.removed) as u64)
    }
}

/// Octets from `start` to right after the last CRLF; `None` without one.
#[inline(always)]
fn lines_len<K: Kernel>(kernel: K, octets: &[u8], start: usize, after_cr: bool) -> Option<usize> {
    // Within the last lines there mostly is one, and then no more has to be looked at.
    let at = octets.last_chunk().and_then(|last| kernel.last_lf(last));
    match at.map(|at| octets.len() - LAST + at) {
        Some(at) if at >= start && ends_line(octets, at, after_cr) => Some(at + 1 - start),
        _ => lines_len_of(octets, start, after_cr),
    }
}

#[inline(never)]
fn lines_len_of(octets: &[u8], start: usize, after_cr: bool) -> Option<usize> {
    let mut tail = octets.get(start..)?;
    loop {
        let at = memchr::memrchr(LF, tail)?;
        if ends_line(octets, start + at, after_cr) {
            return Some(at + 1);
        }
        tail = tail.get(..at)?;
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
