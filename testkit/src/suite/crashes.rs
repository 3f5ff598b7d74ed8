//! Crashes at every call of the store, of the client's journal, and at every step below them.

use std::rc::Rc;

use super::{Report, Suite};
use crate::client::{Caller, Who};
use crate::host::manner::{Advice, When};
use crate::host::{Manner, Offer};
use crate::log::Log;
use crate::message::{How, Message};
use crate::store::{Store, Trouble, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::watched::Blow;
use crate::wire::{Course, Cut, LOSSES, Loss, World};

pub(super) const CONTENT: &[u8] = b"S: x\r\n\r\n.\r\n..a\r\nend\r\n";

/// One message, and what happens on its way.
#[derive(Debug, Clone)]
struct Plan {
    message: Rc<Message>,
    who: Who,
    /// At these calls of the store.
    calls: Vec<(u64, Blow)>,
    /// At these steps of the storage, each counted from the start of its process.
    steps: Vec<(u64, Trouble)>,
    /// At these calls of the client's journal.
    journal: Vec<(u64, Blow)>,
    unsynced: Unsynced,
    cuts: Vec<Option<Cut>>,
    manner: Manner,
    every: Option<u64>,
}

/// How much there is to go wrong.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    calls: u64,
    steps: u64,
    journal: u64,
}

impl Plan {
    /// Where it gets interrupted, in words.
    fn name(&self) -> String {
        format!(
            "{:?}, {:?}, lmtp {}, calls {:?}, steps {:?}, journal {:?}, unsynced {:?}, cuts {:?}, \
             {:?}, {:?}, checkpoint every {:?}",
            self.message.how,
            self.who,
            self.message.lmtp,
            self.calls,
            self.steps,
            self.journal,
            self.unsynced,
            self.cuts,
            self.manner.when,
            self.manner.advice,
            self.every
        )
    }

    fn may_fail(&self) -> bool {
        let fails = self.calls.iter().any(|(_, blow)| *blow == Blow::Fails);
        fails
            || self
                .steps
                .iter()
                .any(|(_, trouble)| *trouble != Trouble::PowerCut)
    }
}

/// DATA and BDAT, the simple client and the library's.
fn messages(lmtp: bool) -> Vec<(Rc<Message>, Who)> {
    let mut messages = Vec::new();
    for how in [How::Data, How::Bdat(5)] {
        for who in [Who::Simple, Who::Library(6)] {
            let mut message = Message::new("m", CONTENT);
            message.how = how;
            message.lmtp = lmtp;
            if lmtp {
                let to = ["b@example.net", "no@example.net", "c@example.net"];
                message.recipients = to.map(str::to_string).to_vec();
            }
            messages.push((Rc::new(message), who));
        }
    }
    messages
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// The server dies before and after every call of the store, once and twice; calls fail; the
    /// client dies at every call of its journal, with and without the server. Where the store
    /// counts its [`steps`](Store::steps): the power fails at each of them, once and twice, with
    /// what was not synced lost, kept or torn; each step fails; the disk is full from each of them
    /// on.
    ///
    /// In all of these a message is interrupted in the middle of its content, and goes on.
    ///
    /// # Errors
    ///
    /// The first case that failed.
    pub fn crashes(&mut self) -> Result<Report, Failure> {
        self.begin("crashes");
        for (message, who) in messages(false) {
            let plan = self.plan(&message, who, Some(6), Manner::default())?;
            let size = self.size(&plan)?;
            self.calls(&plan, size)?;
            self.steps(&plan, size)?;
            self.pairs_of_calls(&plan, size)?;
            self.pairs_of_steps(&plan, size)?;
            self.journal(&plan, size)?;
            self.lazy(&message, who)?;
            self.failed_first_write(&message, who)?;
        }
        Ok(self.end())
    }

    /// The same with a reply for each recipient.
    pub(super) fn crashes_of_lmtp(&mut self) -> Result<(), Failure> {
        for (message, who) in messages(true) {
            let manner = Manner {
                verdict: vec![250, 550],
                ..Manner::default()
            };
            let plan = self.plan(&message, who, Some(6), manner)?;
            let size = self.size(&plan)?;
            self.calls(&plan, size)?;
            self.steps(&plan, size)?;
        }
        Ok(())
    }

    /// The first attempt is cut in the middle of the content.
    fn plan(
        &mut self,
        message: &Rc<Message>,
        who: Who,
        every: Option<u64>,
        manner: Manner,
    ) -> Result<Plan, Failure> {
        let whole = Plan {
            message: Rc::clone(message),
            who,
            calls: Vec::new(),
            steps: Vec::new(),
            journal: Vec::new(),
            unsynced: Unsynced::Lost,
            cuts: Vec::new(),
            manner,
            every,
        };
        let (course, _) = self.must(|| whole.name(), |suite, log| suite.play(&whole, log))?;
        let up = course
            .traffic
            .first()
            .map(|traffic| &traffic.up[..])
            .unwrap_or_default();
        let end = up
            .windows(4)
            .rposition(|some| some == b"QUIT")
            .unwrap_or(up.len());
        let cut = Cut {
            up: true,
            at: end.saturating_sub(10),
            loss: Loss::End,
        };
        Ok(Plan {
            cuts: vec![Some(cut)],
            ..whole
        })
    }

    fn size(&mut self, plan: &Plan) -> Result<Size, Failure> {
        let (_, size) = self.must(|| plan.name(), |suite, log| suite.play(plan, log))?;
        Ok(size)
    }

    fn try_plan(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.case(|| plan.name(), |suite, log| suite.play(plan, log))?;
        Ok(())
    }

    fn calls(&mut self, plan: &Plan, size: Size) -> Result<(), Failure> {
        for call in 0..size.calls + 4 {
            for blow in [Blow::Before, Blow::After, Blow::Fails] {
                for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(call)] {
                    self.try_plan(&Plan {
                        calls: vec![(call, blow)],
                        unsynced,
                        ..plan.clone()
                    })?;
                }
            }
        }
        Ok(())
    }

    fn steps(&mut self, plan: &Plan, size: Size) -> Result<(), Failure> {
        if size.steps == 0 {
            return Ok(());
        }
        for step in 0..size.steps + 4 {
            for trouble in [Trouble::PowerCut, Trouble::Fails, Trouble::Full] {
                for unsynced in [
                    Unsynced::Lost,
                    Unsynced::Torn(step),
                    Unsynced::Torn(step + 1),
                ] {
                    self.try_plan(&Plan {
                        steps: vec![(step, trouble)],
                        unsynced,
                        ..plan.clone()
                    })?;
                }
            }
        }
        Ok(())
    }

    fn pairs_of_calls(&mut self, plan: &Plan, size: Size) -> Result<(), Failure> {
        for first in 0..size.calls {
            for second in first + 1..size.calls + 12 {
                for blow in [Blow::Before, Blow::After] {
                    for other in [Blow::Before, Blow::After, Blow::Fails] {
                        let unsynced = match (first + second) % 3 {
                            0 => Unsynced::Lost,
                            1 => Unsynced::Kept,
                            _ => Unsynced::Torn(first * 100 + second),
                        };
                        self.try_plan(&Plan {
                            calls: vec![(first, blow), (second, other)],
                            unsynced,
                            ..plan.clone()
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pairs_of_steps(&mut self, plan: &Plan, size: Size) -> Result<(), Failure> {
        for first in 0..size.steps {
            for second in 0..size.steps + 4 {
                let unsynced = match (first + second) % 3 {
                    0 => Unsynced::Lost,
                    at => Unsynced::Torn(first * 100 + second + at),
                };
                for trouble in [Trouble::PowerCut, Trouble::Fails] {
                    self.try_plan(&Plan {
                        steps: vec![(first, Trouble::PowerCut), (second, trouble)],
                        unsynced,
                        ..plan.clone()
                    })?;
                }
            }
        }
        Ok(())
    }

    fn journal(&mut self, plan: &Plan, size: Size) -> Result<(), Failure> {
        for call in 0..size.journal + 3 {
            for blow in [Blow::Before, Blow::After] {
                // With the first attempt cut at every octet behind the greeting.
                for at in (60..190).step_by(2) {
                    let cut = Cut {
                        up: at % 4 == 0,
                        at,
                        loss: LOSSES[at % 3],
                    };
                    self.try_plan(&Plan {
                        journal: vec![(call, blow)],
                        cuts: vec![Some(cut)],
                        ..plan.clone()
                    })?;
                }
                // And with the server dying too.
                for store_call in 0..size.calls + 3 {
                    self.try_plan(&Plan {
                        journal: vec![(call, blow)],
                        calls: vec![(store_call, Blow::After)],
                        ..plan.clone()
                    })?;
                }
                for second in call + 1..size.journal + 4 {
                    self.try_plan(&Plan {
                        journal: vec![(call, blow), (second, Blow::After)],
                        ..plan.clone()
                    })?;
                }
            }
        }
        Ok(())
    }

    /// No record before the interruption, and advice that is lost or comes late.
    fn lazy(&mut self, message: &Rc<Message>, who: Who) -> Result<(), Failure> {
        for advice in [Advice::Taken, Advice::Lost, Advice::Late] {
            for when in [When::Now, When::Later] {
                let manner = Manner {
                    advice,
                    when,
                    ..Manner::default()
                };
                let plan = self.plan(message, who, None, manner)?;
                let size = self.size(&plan)?;
                for call in 0..size.calls + 4 {
                    for blow in [Blow::Before, Blow::After, Blow::Fails] {
                        self.try_plan(&Plan {
                            calls: vec![(call, blow)],
                            ..plan.clone()
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The first write fails when a record is due already: it counts octets that are not stored.
    fn failed_first_write(&mut self, message: &Rc<Message>, who: Who) -> Result<(), Failure> {
        for every in [1, 6] {
            let plan = self.plan(message, who, Some(every), Manner::default())?;
            self.try_plan(&Plan {
                calls: vec![(2, Blow::Fails)],
                cuts: Vec::new(),
                ..plan
            })?;
        }
        Ok(())
    }

    /// Runs it; gives the course, and how many calls there were.
    fn play(&mut self, plan: &Plan, log: &Log) -> Held<(Course, Size)> {
        let offer = Offer {
            lmtp: plan.message.lmtp,
            checkpoint_every: plan.every,
            ..Offer::default()
        };
        let mut world = self.world(offer, &plan.manner, log)?;
        let before = world.hosts[0].store.steps();
        let mut caller = Caller::new(plan.who, &plan.message)?.breaking(self.mutant);
        for (call, blow) in &plan.journal {
            caller.blow(*call, *blow);
        }
        world.hosts[0].store.blows.clone_from(&plan.calls);
        let (course, mut caller) = self.through(&mut world, caller, plan)?;
        let size = Size {
            calls: world.hosts[0].store.calls,
            steps: world.hosts[0].store.steps() - before,
            journal: caller.calls(),
        };
        self.report.crashes += caller.crashes();
        let failed = course.codes.iter().all(|code| *code == 451);
        if plan.may_fail() && failed {
            // A failure may be told with the final reply: nothing is delivered, and the client
            // tries under another TRANSID.
            world.check_delivered(&plan.message, &[])?;
            let mut again = Message::clone(&plan.message);
            again.transid = Some("<again@c.example>".into());
            caller = Caller::new(plan.who, &Rc::new(again))?;
            let calm = Plan {
                calls: Vec::new(),
                steps: Vec::new(),
                journal: Vec::new(),
                cuts: Vec::new(),
                ..plan.clone()
            };
            let (course, _) = self.through(&mut world, caller, &calm)?;
            check_codes(plan, &course)?;
        } else {
            check_codes(plan, &course)?;
        }
        let served: &[&str] = &["b@example.net"];
        world.check_delivered(&plan.message, served)?;
        // What was accepted is there, whatever dies now.
        world.hosts[0].kill(plan.unsynced);
        world.check_delivered(&plan.message, served)?;
        self.count_world(&world);
        Ok((course, size))
    }

    /// Tries until the message is through. Each trouble costs an attempt at most.
    fn through(
        &mut self,
        world: &mut World<S>,
        mut caller: Caller,
        plan: &Plan,
    ) -> Held<(Course, Caller)> {
        let mut course = Course::default();
        let troubles = plan.cuts.len() + plan.calls.len() + plan.steps.len() + plan.journal.len();
        let limit = u32::try_from(troubles)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let mut steps = plan.steps.iter().copied();
        let mut arm = |world: &mut World<S>| {
            if let Some((step, trouble)) = steps.next() {
                let store = &mut world.hosts[0].store;
                let at = store.steps() + step;
                store.trouble_at(at, trouble);
            }
        };
        arm(world);
        loop {
            if let Some(told) = caller.told() {
                course.codes = told.codes;
                self.count(&course);
                return Ok((course, caller));
            }
            if course.attempts >= limit {
                let what = format!("not through after {limit} attempts");
                return Err(Violation::new(Rule::Ends, what));
            }
            let cut = plan.cuts.get(course.attempts as usize).copied().flatten();
            caller = world.try_once(0, caller, cut, plan.unsynced, &mut course)?;
            let host = &mut world.hosts[0];
            if host.dead {
                host.restart(plan.unsynced);
                arm(world);
            } else if host.store.is_unclear {
                // Nothing but opening it again helps.
                host.kill(Unsynced::Kept);
                arm(world);
            } else if host.store.failures > 0 && plan.may_fail() {
                // The disk has room again.
                host.store.end_of_trouble();
            }
        }
    }
}

fn check_codes(plan: &Plan, course: &Course) -> Held {
    let owed = if plan.message.lmtp { 2 } else { 1 };
    let codes: Vec<u16> = plan
        .manner
        .verdict
        .iter()
        .copied()
        .cycle()
        .take(owed)
        .collect();
    if course.codes == codes {
        Ok(())
    } else {
        let what = format!("told {:?}, decided {codes:?}", course.codes);
        Err(Violation::new(Rule::OutcomeIsTrue, what))
    }
}
