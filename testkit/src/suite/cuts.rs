//! Cuts at every octet, in both directions.

use std::rc::Rc;

use super::{Report, Suite};
use crate::client::{Caller, Who};
use crate::host::{Manner, Offer};
use crate::log::Log;
use crate::message::{How, Message, contents, faulty_contents, ways};
use crate::store::{Store, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut, LOSSES, Loss, Traffic};

/// How a message gets through.
struct Way<'a> {
    who: Who,
    message: &'a Rc<Message>,
    checkpoint_every: Option<u64>,
    manner: &'a Manner,
    /// The session refuses the content by itself.
    refused: bool,
    cuts: &'a [Option<Cut>],
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// The connection is cut at every octet, in both directions and three ways: with an end, with
    /// a reset, and so that the server hears nothing of it. Then the restart is cut too. Every
    /// final reply is lost at each of its octets, once and twice.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn cuts(&mut self) -> Result<Report, Failure> {
        self.begin("cuts");
        for who in [Who::Simple, Who::Library(5)] {
            self.every_cut(who, &contents(), false)?;
            // Faults count over all attempts.
            self.every_cut(who, &faulty_contents(), true)?;
        }
        self.every_cut_of_the_restart()?;
        for content in [&b"S: x\r\n\r\nHello\r\n"[..], b""] {
            for (code, how) in [250, 450, 550]
                .into_iter()
                .flat_map(|code| [(code, How::Data), (code, How::Bdat(7))])
            {
                let mut message = Message::new("m", content);
                message.how = how;
                self.lost_final_replies(&Rc::new(message), &[code])?;
            }
        }
        Ok(self.end())
    }

    fn deliver(&mut self, log: &Log, way: &Way<'_>) -> Held<Course> {
        let Way { message, cuts, .. } = *way;
        let offer = Offer {
            lmtp: message.lmtp,
            checkpoint_every: way.checkpoint_every,
            ..Offer::default()
        };
        let mut world = self.world(offer, way.manner, log)?;
        let caller = Caller::new(way.who, message)?.breaking(self.mutant);
        let limit = u32::try_from(cuts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let (course, _) = world.run(0, caller, cuts, Unsynced::Lost, limit)?;
        let owed = if message.lmtp {
            message
                .recipients
                .iter()
                .filter(|it| !it.starts_with("no"))
                .count()
        } else {
            1
        };
        let code = |at: usize| {
            if way.refused {
                550
            } else {
                way.manner.verdict[at % way.manner.verdict.len()]
            }
        };
        let codes: Vec<u16> = (0..owed).map(code).collect();
        if course.codes != codes {
            let what = format!("told {:?}, decided {codes:?}", course.codes);
            return Err(Violation::new(Rule::OutcomeIsTrue, what));
        }
        let accepted = message.recipients.iter().filter(|it| !it.starts_with("no"));
        let served: Vec<&str> = accepted
            .enumerate()
            .filter(|(at, _)| code(if message.lmtp { *at } else { 0 }) / 100 == 2)
            .map(|(_, to)| to.as_str())
            .collect();
        world.check_delivered(message, &served)?;
        self.count(&course);
        self.count_world(&world);
        Ok(course)
    }

    fn every_cut(
        &mut self,
        who: Who,
        contents: &[(&str, Vec<u8>)],
        refused: bool,
    ) -> Result<(), Failure> {
        let manner = Manner::default();
        for (name, content) in contents {
            for (way, message) in ways("m", content) {
                let whole = *name == "simple" && way == "DATA, pipelined";
                let message = Rc::new(message);
                let named = |what: &str| format!("{name}, {way}, {who:?}, {what}");
                let clean = self.must(
                    || named("uncut"),
                    |suite, log| {
                        suite.deliver(
                            log,
                            &Way {
                                who,
                                message: &message,
                                checkpoint_every: None,
                                manner: &manner,
                                refused,
                                cuts: &[],
                            },
                        )
                    },
                )?;
                for turn in 0..LOSSES.len() {
                    for cut in cuts_of(&clean, !whole, turn) {
                        self.case(
                            || named(&format!("{cut:?}")),
                            |suite, log| {
                                suite.deliver(
                                    log,
                                    &Way {
                                        who,
                                        message: &message,
                                        checkpoint_every: Some(8),
                                        manner: &manner,
                                        refused,
                                        cuts: &[Some(cut)],
                                    },
                                )
                            },
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The second attempt is cut too, wherever it can be.
    fn every_cut_of_the_restart(&mut self) -> Result<(), Failure> {
        let manner = Manner::default();
        for who in [Who::Simple, Who::Library(5)] {
            for (name, message) in ways("m", b"S: x\r\n\r\n.\r\n..a\r\nend") {
                if !message.pipelining {
                    continue;
                }
                let message = Rc::new(message);
                let way = |cuts: &'_ [Option<Cut>], suite: &mut Self, log: &Log| {
                    suite.deliver(
                        log,
                        &Way {
                            who,
                            message: &message,
                            checkpoint_every: Some(4),
                            manner: &manner,
                            refused: false,
                            cuts,
                        },
                    )
                };
                let clean = self.must(|| name.clone(), |suite, log| way(&[], suite, log))?;
                for first in cuts_of(&clean, true, 0).step_by(3) {
                    let what = || format!("{name}, {who:?}, {first:?}");
                    let second = self.case(what, |suite, log| way(&[Some(first)], suite, log))?;
                    let Some(second) = second else { continue };
                    for again in cuts_of(&second, true, first.at).step_by(3) {
                        self.case(
                            || format!("{name}, {who:?}, {first:?}, {again:?}"),
                            |suite, log| way(&[Some(first), Some(again)], suite, log),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The final reply is lost at each of its octets, once and twice: the stored one comes again,
    /// and nothing is delivered twice. A 4yz is given once more, then the transaction begins
    /// afresh.
    pub(super) fn lost_final_replies(
        &mut self,
        message: &Rc<Message>,
        verdict: &[u16],
    ) -> Result<(), Failure> {
        let manner = Manner {
            verdict: verdict.to_vec(),
            ..Manner::default()
        };
        let transient = verdict.iter().all(|code| code / 100 == 4);
        for who in [Who::Simple, Who::Library(5)] {
            let way = |cuts: &'_ [Option<Cut>], suite: &mut Self, log: &Log| {
                let course = suite.deliver(
                    log,
                    &Way {
                        who,
                        message,
                        checkpoint_every: None,
                        manner: &manner,
                        refused: false,
                        cuts,
                    },
                )?;
                check_retained(message, &course, transient).map(|()| course)
            };
            let named = |cuts: &[Cut]| format!("final replies {verdict:?}, {who:?}, {cuts:?}");
            let clean = self.must(|| named(&[]), |suite, log| way(&[], suite, log))?;
            let Some(begin) = final_replies(&clean) else {
                continue;
            };
            let (up, down) = clean.traffic.first().map_or((0, 0), |traffic| {
                (traffic.up.len() - b"QUIT\r\n".len(), traffic.down.len())
            });
            for loss in LOSSES {
                for at in begin..down {
                    // The reply does not come at all, or some octets of it.
                    let cut = match (at == begin, loss) {
                        (true, Loss::End) => continue,
                        (true, loss) => Cut {
                            up: true,
                            at: up,
                            loss,
                        },
                        (false, loss) => Cut {
                            up: false,
                            at,
                            loss,
                        },
                    };
                    let once =
                        self.case(|| named(&[cut]), |suite, log| way(&[Some(cut)], suite, log))?;
                    let Some(once) = once.filter(|once| once.attempts > 1) else {
                        continue;
                    };
                    let Some(from) = final_replies(&once) else {
                        continue;
                    };
                    let to = once.traffic.last().map_or(0, |traffic| traffic.down.len());
                    for at in (from + 1..to).step_by(3) {
                        let again = Cut {
                            up: false,
                            at,
                            loss,
                        };
                        self.case(
                            || named(&[cut, again]),
                            |suite, log| way(&[Some(cut), Some(again)], suite, log),
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A final reply that was lost comes from the record: the whole message was there.
fn check_retained(message: &Message, course: &Course, transient: bool) -> Held {
    let size = Some(message.canonical().len() as u64);
    let expected = |at: usize| match at {
        0 => None,
        // Given once more, then forgotten.
        at if transient && at % 2 == 0 => None,
        _ => size,
    };
    let wrong = course
        .offsets
        .iter()
        .enumerate()
        .find(|(at, offset)| **offset != expected(*at));
    match wrong {
        None => Ok(()),
        Some((at, offset)) => {
            let what = format!(
                "attempt {at} begins at {offset:?}, not at {:?}",
                expected(at)
            );
            Err(Violation::new(Rule::OutcomeIsTrue, what))
        }
    }
}

/// Where the final replies begin in what the server said in the last attempt.
fn final_replies(course: &Course) -> Option<usize> {
    let down = &course.traffic.last()?.down;
    let quit = down.windows(5).rposition(|some| some == b"\n221 ")? + 1;
    let mut begin = quit;
    for _ in &course.codes {
        begin = down[..begin - 1]
            .iter()
            .rposition(|octet| *octet == b'\n')?
            + 1;
    }
    Some(begin)
}

/// Where MAIL begins, and where its reply does.
fn mail_begins(traffic: &Traffic) -> (usize, usize) {
    let find = |all: &[u8], what: &[u8]| all.windows(what.len()).position(|some| some == what);
    let up = find(&traffic.up, b"MAIL").unwrap_or(0);
    // The last line of the EHLO reply.
    let last = find(&traffic.down, b"\n250 ").map_or(0, |at| at + 1);
    let end = find(&traffic.down[last..], b"\n").map_or(0, |at| at + 1);
    (up, last + end)
}

/// Every octet from the beginning, or from MAIL on; each with one kind of loss, in turn.
pub(super) fn cuts_of(clean: &Course, from_mail: bool, turn: usize) -> impl Iterator<Item = Cut> {
    let traffic = clean.traffic.last().cloned().unwrap_or_default();
    let (up, down) = if from_mail {
        mail_begins(&traffic)
    } else {
        (0, 0)
    };
    let up = (up..traffic.up.len()).map(|at| (true, at));
    let down = (down..traffic.down.len()).map(|at| (false, at));
    up.chain(down).map(move |(up, at)| {
        let loss = LOSSES[(at + turn) % LOSSES.len()];
        Cut { up, at, loss }
    })
}
