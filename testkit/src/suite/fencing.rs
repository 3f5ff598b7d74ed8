//! Two sessions on one key of one host.

use std::rc::Rc;

use super::explore::{SETUP, Setup};
use super::{Report, Suite};
use crate::client::{Caller, Who};
use crate::host::Offer;
use crate::host::manner::{Advice, Manner, TAKEOVERS, When};
use crate::log::Log;
use crate::message::{How, Message};
use crate::store::{Store, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut, Loss};

const ADVICE: [Advice; 3] = [Advice::Taken, Advice::Lost, Advice::Late];

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// Two live sessions on one key, in every interleaving of their store calls: with the same
    /// message; with two messages; with a client that does not know of the other; with a crash
    /// anywhere. Decisions that outlive the session that began them, finished, withdrawn or lost.
    /// Advice to discard that comes late.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn fencing(&mut self) -> Result<Report, Failure> {
        self.begin("fencing");
        for (how, held, takeover) in [How::Data, How::Bdat(7)]
            .into_iter()
            .flat_map(|how| [(how, false), (how, true)])
            .flat_map(|(how, held)| TAKEOVERS.map(|takeover| (how, held, takeover)))
        {
            let setup = Setup {
                how,
                held,
                takeover,
                ..SETUP
            };
            let name = format!("{how:?}, held {held}, {takeover:?}");
            self.explore(&name, setup)?;
            self.explore(
                &format!("{name}, records"),
                Setup {
                    every: Some(4),
                    ..setup
                },
            )?;
            self.explore(
                &format!("{name}, a crash"),
                Setup {
                    crash: true,
                    every: held.then_some(4),
                    ..setup
                },
            )?;
        }
        for takeover in TAKEOVERS {
            let setup = Setup {
                takeover,
                fine: true,
                when: When::Now,
                ..SETUP
            };
            self.explore(&format!("octets apart, {takeover:?}"), setup)?;
        }
        for (advice, takeover) in ADVICE
            .into_iter()
            .flat_map(|advice| TAKEOVERS.map(|takeover| (advice, takeover)))
        {
            for (held, innocent) in [(false, false), (true, false), (false, true), (true, true)] {
                let setup = Setup {
                    other: !innocent,
                    innocent,
                    advice,
                    held,
                    takeover,
                    every: Some(4),
                    ..SETUP
                };
                let what = if innocent {
                    "one innocent"
                } else {
                    "two messages"
                };
                let name = format!("{what}, {advice:?}, held {held}, {takeover:?}");
                self.explore(&name, setup)?;
            }
        }
        self.outliving_decisions(false)?;
        for advice in ADVICE {
            self.must(
                || format!("late advice, {advice:?}"),
                |suite, log| suite.late_advice(advice, log),
            )?;
        }
        Ok(self.end())
    }

    /// Advice to discard what another message left under the key is carried out behind the
    /// commit. The completion record must stand, or the message is doubled.
    fn late_advice(&mut self, advice: Advice, log: &Log) -> Held {
        let manner = Manner {
            advice,
            ..Manner::default()
        };
        let old = Rc::new(Message::new("old", b"S: x\r\n\r\nold\r\n"));
        let mut new = Message::new("new", b"S: x\r\n\r\nnew and longer\r\n");
        new.transid.clone_from(&old.transid);
        let new = Rc::new(new);
        // All comes in, the final reply is lost.
        let mut alone = self.world(Offer::default(), &manner, &Log::default())?;
        let caller = Caller::new(Who::Simple, &new)?;
        let (clean, _) = alone.run(0, caller, &[], Unsynced::Lost, 1)?;
        let up = clean.traffic.first().map_or(0, |traffic| traffic.up.len());

        let mut world = self.world(Offer::default(), &manner, log)?;
        let cut = |at, loss| Some(Cut { up: true, at, loss });
        let mut course = Course::default();
        let caller = Caller::new(Who::Simple, &old)?;
        let first = cut(111, Loss::End);
        world.try_once(0, caller, first, Unsynced::Lost, &mut course)?;
        let mut attempt = Caller::new(Who::Simple, &new)?.begin()?;
        let second = cut(up - b"QUIT\r\n".len(), Loss::Reset);
        world.converse(0, &mut attempt, second)?;
        world.hosts[0].settle()?;
        let caller = attempt.into_caller();
        let (course, _) = world.run(0, caller, &[], Unsynced::Lost, 1)?;
        self.count(&course);
        if course.offsets != [Some(new.canonical().len() as u64)] {
            let what = format!("a lost reply is asked for at {:?}", course.offsets);
            return Err(Violation::new(Rule::OutcomeIsTrue, what));
        }
        world.check_delivered(&new, &["b@example.net"])?;
        world.check_delivered(&old, &[])
    }
}
