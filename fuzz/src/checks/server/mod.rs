//! The server session: octets, splits, and a caller who answers, or does not, as it likes.
//!
//! An octet 254 in the input cuts the connection; what follows comes on a new one, with the same
//! store. The first choice picks the [settings](settings).
//!
//! What is promised:
//!
//! * the same events, content and output however the input is split, as long as the answers fall
//!   at the same octets;
//! * whatever the caller does and whenever: no panic, whole replies and no more of them than
//!   commands, no final 2yz that the caller has not given, no 355 but for a record that was held,
//!   records at a line start and within what was handed over, content without gap or overlap;
//! * memory within a bound that does not depend on the input, work in proportion to it;
//! * the session comes to its end once the connection does.

mod driver;
mod settings;
mod store;

use bytes::Bytes;
use smtp_checkpoint::reply::{ParsedReply, ReplyRef, Severity};

use self::driver::{Driver, Mode};
use self::store::Store;
use super::{input, memory};

pub fn check(data: &[u8]) {
    let (octets, mut choices) = input::parse(data);
    let pick = choices.next();
    let connections: Vec<&[u8]> = octets.split(|octet| *octet == 0xfe).take(8).collect();
    splits(&connections, pick, &choices);
    anything(&connections, pick, choices);
}

/// The same run octet by octet, whole, and in pieces.
fn splits(connections: &[&[u8]], pick: u8, choices: &input::Choices<'_>) {
    let config = settings::config(pick, Mode::Prompt);
    let mut stores = [Store::default(), Store::default(), Store::default()];
    let mut answers = [choices.clone(), choices.clone(), choices.clone()];
    let mut cuts = choices.clone();
    for wire in connections {
        // Octet by octet first: it tells where what is behind a command matters.
        let [one, two, three] = &mut stores;
        let [first, second, third] = &mut answers;
        let single = Driver::new(&config, Mode::Prompt, one, first).run(input::octets(wire));
        let mut whole = Vec::new();
        let mut start = 0;
        for stop in single.stops.iter().copied().chain([wire.len()]) {
            whole.push(&wire[start..stop]);
            start = stop;
        }
        let pieces = whole.iter().flat_map(|part| cuts.pieces(part)).collect();
        let whole = Driver::new(&config, Mode::Prompt, two, second).run(whole);
        let pieces = Driver::new(&config, Mode::Prompt, three, third).run(pieces);
        assert_eq!(whole.trace, single.trace, "whole against octet by octet");
        assert_eq!(
            pieces.trace, single.trace,
            "in pieces against octet by octet"
        );
        replies(&single.output, wire, &single, settings::is_lmtp(pick));
    }
    let [one, two, three] = stores;
    assert!(one == two && two == three);
}

/// One run in which the choices decide everything.
fn anything(connections: &[&[u8]], pick: u8, mut choices: input::Choices<'_>) {
    /// No buffer, envelope or list of a session with these settings comes near it.
    const MEMORY: u64 = 192 * 1024;
    const WORK_AN_OCTET: u64 = 4096;
    const WORK: u64 = 512 * 1024;

    let config = settings::config(pick, Mode::Free);
    let mut store = Store::default();
    for wire in connections {
        let wire = repeated(wire, &mut choices);
        let (before, taken) = (memory::in_use(), memory::ever_taken());
        let run =
            Driver::new(&config, Mode::Free, &mut store, &mut choices).run_freely(&wire, before);
        let work = memory::ever_taken() - taken;
        assert!(
            run.most_memory <= MEMORY,
            "{} octets of memory",
            run.most_memory
        );
        assert!(
            work <= WORK + WORK_AN_OCTET * wire.len() as u64,
            "{work} octets allocated for {} octets of input",
            wire.len()
        );
        assert!(run.events <= 64 + 4 * wire.len(), "{} events", run.events);
        replies(&run.output, &wire, &run, settings::is_lmtp(pick));
    }
}

/// The wire several times over, so that what grows with it is seen.
fn repeated(wire: &[u8], choices: &mut input::Choices<'_>) -> Bytes {
    const LONGEST: usize = 32 * 1024;
    let times = match choices.next() {
        times @ 240.. => usize::from(times - 239) * 64,
        _ => 1,
    };
    let times = times.min(LONGEST / wire.len().max(1)).max(1);
    wire.repeat(times).into()
}

/// What may stand in the output, seen from outside.
fn replies(mut output: &[u8], wire: &[u8], run: &driver::Run, lmtp: bool) {
    let lines = wire.iter().filter(|octet| **octet == b'\n').count();
    let (mut count, mut verdicts, mut chunks) = (0, 0, 0);
    let mut after_354 = false;
    loop {
        let (reply, consumed) = match ReplyRef::parse(output) {
            ParsedReply::Complete { reply, consumed } => (reply, consumed),
            ParsedReply::Incomplete => break,
            ParsedReply::Malformed(error) => panic!("{error} in {output:?}"),
        };
        output = &output[consumed..];
        count += 1;
        let text = reply.first_line();
        let says = |said: &[u8]| text.windows(said.len()).any(|word| word == said);
        let from_caller = says(b"verdict") || says(b"reported by delivery status notification");
        verdicts += usize::from(from_caller);
        chunks += usize::from(text.ends_with(b"Chunk received"));
        if after_354 && reply.severity() == Severity::Completion {
            assert!(from_caller, "2yz that nobody gave: {reply:?}");
        }
        after_354 = reply.code().get() == 354;
        if reply.code().get() == 355 {
            let offset = smtp_checkpoint::offset::OctetOffset::from_reply_text(text);
            let offset = offset.expect("355 with an offset").get();
            assert!(
                run.offered.contains(&offset),
                "355 {offset}, offered {:?}",
                run.offered
            );
        }
    }
    assert!(output.is_empty() || run.lost, "half a reply: {output:?}");
    assert!(
        verdicts <= run.verdicts,
        "{verdicts} final replies, {} given",
        run.verdicts
    );
    assert!(chunks <= parts(wire), "more chunks received than were sent");
    if !lmtp {
        assert!(count <= lines + 2, "{count} replies to {lines} lines");
    }
}

/// An upper bound of the BDAT and BURL commands that are not the last.
fn parts(wire: &[u8]) -> usize {
    wire.windows(4)
        .filter(|verb| verb.eq_ignore_ascii_case(b"BDAT") || verb.eq_ignore_ascii_case(b"BURL"))
        .count()
}
