//! Long decisions: messages that are left to the server, taken back, stopped.

use std::rc::Rc;

use super::{Report, Suite};
use crate::client::{Attempt, Caller, End, Who};
use crate::host::Offer;
use crate::host::manner::{Manner, When};
use crate::log::Log;
use crate::message::{How, Message, Wish};
use crate::store::{Store, Trouble, Unsynced};
use crate::truth::{Outcomes, Truth};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::watched::Blow;
use crate::wire::World;

/// What befalls a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Finished,
    Withdrawn,
    Crash,
    Nothing,
}

const FATES: [Fate; 4] = [Fate::Finished, Fate::Withdrawn, Fate::Crash, Fate::Nothing];

/// What becomes of DETA, or of RSET in answer to a 120.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// It is answered.
    Nothing,
    /// It never arrives.
    Command,
    /// Its reply never arrives.
    Reply,
    /// It arrives when the client is back, on another connection.
    Late,
}

const CONTENT: &[u8] = b"S: x\r\n\r\n.\r\nend\r\n";

const LOST: [Lost; 4] = [Lost::Nothing, Lost::Command, Lost::Reply, Lost::Late];

/// One way of it.
#[derive(Debug, Clone)]
struct Tale {
    /// With a TRANSID, and so a record.
    recorded: bool,
    content: &'static [u8],
    how: How,
    lmtp: bool,
    /// DETA, or RSET.
    detaches: bool,
    verdict: Vec<u16>,
    /// The decision is made while the 120 is open.
    held: bool,
    lost: Lost,
    /// Before the client comes back, if it does, and while it waits again.
    before: Fate,
    during: Fate,
    /// The connection is lost once more, before that is answered.
    twice: bool,
    /// Where the client comes back.
    host: usize,
    blow: Option<(u64, Blow)>,
    step: Option<(u64, Trouble)>,
    unsynced: Unsynced,
}

/// What is open on the way.
#[derive(Debug)]
struct Scene<S> {
    world: World<S>,
    truth: Truth,
    message: Rc<Message>,
    /// Octets that arrive when the client is back.
    late: Option<(usize, u64, Vec<u8>)>,
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// A server that takes long says 120, and its client leaves the message to it, or stops it. The
    /// decision is made, given up, or lost with its process, before that and after it; DETA and
    /// RSET get lost, or their replies, or arrive late; the client comes back, on the same host or
    /// another one, waits again, and is lost again; and the process dies before and after each
    /// call of the store, or the call fails, or a step below it. The same for messages without a
    /// TRANSID, whose clients do not come back. In the end what was left to the server is
    /// delivered, or reported by DSN, once.
    ///
    /// # Errors
    ///
    /// The first case that failed; also where the store does not
    /// [detach](Store::detaches).
    pub fn detached(&mut self) -> Result<Report, Failure> {
        self.begin("detached");
        let hosts = if (self.open)().another_host().is_some() {
            2
        } else {
            1
        };
        let ways = [
            (How::Data, false, vec![250]),
            (How::Bdat(6), false, vec![450]),
            (How::Data, false, vec![550]),
            (How::Data, true, vec![250, 550]),
        ];
        for (how, lmtp, verdict) in ways {
            for (detaches, held) in [(true, false), (true, true), (false, false), (false, true)] {
                for (lost, host) in LOST
                    .into_iter()
                    .flat_map(|lost| (0..hosts).map(move |host| (lost, host)))
                {
                    for (before, during) in FATES
                        .into_iter()
                        .flat_map(|before| FATES.map(|during| (before, during)))
                    {
                        let tale = Tale {
                            recorded: true,
                            content: CONTENT,
                            how,
                            lmtp,
                            detaches,
                            verdict: verdict.clone(),
                            held,
                            lost,
                            before,
                            during,
                            twice: false,
                            host,
                            blow: None,
                            step: None,
                            unsynced: Unsynced::Lost,
                        };
                        self.with_blows(&tale)?;
                        self.with_steps(&tale)?;
                        self.with_blows(&Tale {
                            twice: true,
                            ..tale
                        })?;
                    }
                }
            }
        }
        self.unrecorded()?;
        Ok(self.end())
    }

    /// Messages without a TRANSID.
    fn unrecorded(&mut self) -> Result<(), Failure> {
        let ways = [
            (How::Data, false, vec![250], CONTENT),
            (How::Data, false, vec![250], b""),
            (How::Bdat(6), false, vec![450], CONTENT),
            (How::Data, true, vec![250, 550], CONTENT),
            (How::Bdat(6), true, vec![550, 250], CONTENT),
        ];
        for (how, lmtp, verdict, content) in ways {
            for (detaches, held) in [(true, false), (true, true), (false, false), (false, true)] {
                for (lost, before) in LOST
                    .into_iter()
                    .flat_map(|lost| FATES.map(move |before| (lost, before)))
                {
                    let tale = Tale {
                        recorded: false,
                        content,
                        how,
                        lmtp,
                        detaches,
                        verdict: verdict.clone(),
                        held,
                        lost,
                        before,
                        during: Fate::Nothing,
                        twice: false,
                        host: 0,
                        blow: None,
                        step: None,
                        unsynced: Unsynced::Lost,
                    };
                    self.with_blows(&tale)?;
                    if detaches {
                        self.with_unrecorded_steps(&tale)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn with_unrecorded_steps(&mut self, tale: &Tale) -> Result<(), Failure> {
        for step in 0..30 {
            for trouble in [Trouble::Fails, Trouble::PowerCut, Trouble::Full] {
                if trouble == Trouble::Full && tale.before != Fate::Nothing {
                    continue; // it would be full for ever
                }
                let tale = Tale {
                    step: Some((step, trouble)),
                    unsynced: Unsynced::Torn(step),
                    ..tale.clone()
                };
                self.case(|| format!("{tale:?}"), |suite, log| suite.leave(&tale, log))?;
            }
        }
        Ok(())
    }

    fn with_blows(&mut self, tale: &Tale) -> Result<(), Failure> {
        let calls = self.case(|| format!("{tale:?}"), |suite, log| suite.leave(tale, log))?;
        // The calls up to the end of the data are those of other suites.
        let first = if tale.recorded { 4 } else { 0 };
        for call in first..calls.unwrap_or(24) {
            for blow in [Blow::Before, Blow::After, Blow::Fails] {
                let unsynced = match call % 3 {
                    0 => Unsynced::Kept,
                    1 => Unsynced::Lost,
                    _ => Unsynced::Torn(call),
                };
                let tale = Tale {
                    blow: Some((call, blow)),
                    unsynced,
                    ..tale.clone()
                };
                self.case(|| format!("{tale:?}"), |suite, log| suite.leave(&tale, log))?;
            }
        }
        Ok(())
    }

    /// A step of the storage fails, and the process dies at some call after that.
    fn with_steps(&mut self, tale: &Tale) -> Result<(), Failure> {
        let comes_back = tale.detaches && !tale.held && tale.lost == Lost::Reply;
        let decides_anew = tale.before == Fate::Nothing && tale.during == Fate::Withdrawn;
        if !comes_back || !decides_anew || tale.host > 0 {
            return Ok(());
        }
        for step in 4..30 {
            for trouble in [Trouble::Fails, Trouble::PowerCut] {
                for call in 8..24 {
                    let tale = Tale {
                        blow: Some((call, Blow::Before)),
                        step: Some((step, trouble)),
                        ..tale.clone()
                    };
                    self.case(|| format!("{tale:?}"), |suite, log| suite.leave(&tale, log))?;
                }
            }
        }
        Ok(())
    }

    /// Gives how many calls the first host made of its store.
    fn leave(&mut self, tale: &Tale, log: &Log) -> Held<u64> {
        let mut scene = self.scene(tale, log)?;
        let mut caller = Caller::new(Who::Library(6), &scene.message)?.breaking(self.mutant);
        let mut attempts = 0;
        while caller.outcome().is_none() {
            // One is lost on purpose, one more again; each trouble costs one, and a decision that
            // ended under another session.
            if attempts == 7 {
                let what = format!("not through after {attempts} attempts");
                return Err(Violation::new(Rule::Ends, what));
            }
            caller = scene.attempt(tale, caller, attempts)?;
            attempts += 1;
        }
        let disturbed = tale.lost != Lost::Nothing || tale.blow.is_some() || tale.step.is_some();
        if caller.outcome() == Some(End::Unknown) && tale.detaches && !disturbed {
            let what = "the client does not know what became of its message".to_string();
            return Err(Violation::new(Rule::Ends, what));
        }
        self.report.attempts += attempts;
        let calls = scene.world.hosts[0].store.calls;
        scene.settle(tale, &caller)?;
        self.count_world(&scene.world);
        Ok(calls)
    }

    fn scene(&mut self, tale: &Tale, log: &Log) -> Held<Scene<S>> {
        let mut stores = vec![(self.open)()];
        if !stores[0].detaches() {
            let what = "a store from which nobody detaches";
            return Err(Violation::new(Rule::Contract, what));
        }
        let another = stores[0].another_host();
        stores.extend(another);
        let manner = Manner {
            verdict: tale.verdict.clone(),
            when: When::Later,
            ..Manner::default()
        };
        let offer = Offer {
            lmtp: tale.lmtp,
            mintimer: Some(1),
            ..Offer::default()
        };
        let mut world = World::new(stores, offer, &manner, self.mutant, log)?;
        let store = &mut world.hosts[0].store;
        store.blows.extend(tale.blow);
        if let Some((step, trouble)) = tale.step {
            let at = store.steps() + step;
            store.trouble_at(at, trouble);
        }
        let mut message = Message::new("m", tale.content);
        message.how = tale.how;
        message.lmtp = tale.lmtp;
        message.dsn = true;
        message.recipients = vec!["b@example.net".into(), "c@example.net".into()];
        message.wish = Some(Wish {
            maxtimer: 10,
            carries_on: 0,
            detaches: tale.detaches,
            reset_aborts: true,
            insists: tale.recorded,
        });
        if !tale.recorded {
            message.transid = None;
            message.recipients.push("quiet@example.net".into());
        }
        let message = Rc::new(message);
        let mut truth = Truth::default();
        truth.is_sent(&message);
        Ok(Scene {
            world,
            truth,
            message,
            late: None,
        })
    }
}

impl<S: Store> Scene<S> {
    /// One attempt, up to its end.
    fn attempt(&mut self, tale: &Tale, caller: Caller, number: u64) -> Held<Caller> {
        let at = if number == 0 { 0 } else { tale.host };
        self.revive(tale)?;
        let mut attempt = caller.begin()?;
        let host = &mut self.world.hosts[at];
        let id = host.connect(self.message.peer.clone());
        host.pump(id)?;
        let lost = match number {
            0 => tale.lost,
            1 if tale.twice => Lost::Reply,
            _ => Lost::Nothing,
        };
        self.exchange(at, id, &mut attempt, Lost::Nothing)?;
        self.arrive_late()?;
        let fate = if number == 1 {
            tale.during
        } else {
            Fate::Nothing
        };
        self.befall(tale, fate)?;
        self.exchange(at, id, &mut attempt, lost)?;
        // A 120 is due, and then another one, or the time is over.
        for turn in 0..4 {
            if attempt.client().is_over() {
                break;
            }
            let host = &mut self.world.hosts[at];
            host.pass_time()?;
            if tale.held && number == 0 {
                host.finish()?;
            }
            host.look_again()?;
            self.exchange(at, id, &mut attempt, lost)?;
            // Who has no TRANSID has this attempt only, and waits where DETA is refused.
            let decided = number > 0 || !tale.recorded && turn > 0;
            if decided && tale.during == Fate::Nothing {
                self.befall(tale, Fate::Finished)?;
                self.world.hosts[at].look_again()?;
                self.exchange(at, id, &mut attempt, lost)?;
            }
        }
        let now = self.world.hosts[at].now;
        attempt.client().lost(now)?;
        if self.late.is_none() {
            self.world.hosts[at].end(id, true)?;
            self.world.hosts[at].forget(id)?;
        }
        if number == 0 {
            self.befall(tale, tale.before)?;
        }
        let end = attempt.client().end();
        let caller = attempt.into_caller();
        self.tell(end, &caller)?;
        Ok(caller)
    }

    /// Octets go to and fro until there are none; the way out of a 120 may get lost.
    fn exchange(&mut self, at: usize, id: u64, attempt: &mut Attempt, lost: Lost) -> Held {
        let sender = &self.message.sender;
        // Enough for any exchange.
        for _ in 0..1000 {
            let host = &mut self.world.hosts[at];
            let now = host.now;
            let Some(connection) = host.connection(id) else {
                let words = host.last_words(id);
                self.world.log.event(format_args!("S {sender}"), "", &words);
                attempt.client().input(now, &words)?;
                attempt.client().lost(now)?;
                return Ok(());
            };
            let down = std::mem::take(&mut connection.output);
            connection.saw(&down)?;
            let finished = connection.finished;
            self.world.log.event(format_args!("S {sender}"), "", &down);
            if !down.is_empty() {
                attempt.client().input(now, &down)?;
            }
            if finished {
                attempt.client().lost(now)?;
                return host.forget(id);
            }
            if attempt.client().is_over() {
                return Ok(());
            }
            let up = attempt.client().output(now, usize::MAX)?;
            self.world.log.event(format_args!("C {sender}"), "", &up);
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
            let leaves = matches!(&*up, b"DETA\r\n" | b"RSET\r\n");
            match lost {
                Lost::Nothing => {}
                _ if !leaves => {}
                Lost::Command => return attempt.client().lost(now),
                Lost::Late => {
                    self.late = Some((at, id, up));
                    return attempt.client().lost(now);
                }
                Lost::Reply => {
                    host.input(id, &up);
                    host.pump(id)?;
                    return attempt.client().lost(now);
                }
            }
            host.input(id, &up);
            host.pump(id)?;
        }
        Err(Violation::new(Rule::Ends, "going round in circles"))
    }

    /// What was under way when the connection was lost.
    fn arrive_late(&mut self) -> Held {
        let Some((host, id, octets)) = self.late.take() else {
            return Ok(());
        };
        self.world.hosts[host].input(id, &octets);
        self.world.hosts[host].pump(id)
    }

    fn befall(&mut self, tale: &Tale, fate: Fate) -> Held {
        for host in &mut self.world.hosts {
            match fate {
                Fate::Finished => host.finish()?,
                Fate::Withdrawn => host.withdraw_all(None)?,
                Fate::Crash => host.kill(tale.unsynced),
                Fate::Nothing => {}
            }
        }
        self.revive(tale)?;
        for host in &mut self.world.hosts {
            host.look_again()?;
        }
        Ok(())
    }

    /// Processes that died are started again, and see to their duties.
    fn revive(&mut self, tale: &Tale) -> Held {
        for host in &mut self.world.hosts {
            host.restart(tale.unsynced);
            if host.store.is_unclear {
                host.kill(Unsynced::Kept);
            }
            host.do_duties()?;
        }
        Ok(())
    }

    fn outcomes(&mut self) -> Outcomes {
        let store = &mut self.world.hosts[0].store;
        Outcomes {
            delivered: store.delivered(),
            reported: store.reported(),
        }
    }

    fn tell(&mut self, end: Option<End>, caller: &Caller) -> Held {
        let outcomes = self.outcomes();
        self.truth.check(&outcomes)?;
        match caller.outcome().or(end) {
            Some(End::Decided(told)) => self.truth.is_told(&self.message, &told, &outcomes),
            Some(End::Detached(accepted)) => {
                self.truth.is_detached(&self.message, &accepted);
                Ok(())
            }
            Some(End::Aborted) => self.truth.has_nothing(&self.message, "aborted", &outcomes),
            Some(End::Unknown) if self.message.transid.is_none() => {
                self.truth.is_unknown(&self.message);
                Ok(())
            }
            Some(End::Unknown | End::Declined) => Err(Violation::new(
                Rule::OutcomeIsTrue,
                "the client gives up".to_string(),
            )),
            _ => Ok(()),
        }
    }

    /// What is left to do is done, whatever dies.
    fn settle(&mut self, tale: &Tale, _caller: &Caller) -> Held {
        self.revive(tale)?;
        self.arrive_late()?;
        if matches!(tale.step, Some((_, Trouble::Full))) {
            self.world.hosts[0].store.end_of_trouble();
        }
        for round in 0..4 {
            self.befall(tale, Fate::Finished)?;
            if round == 1 {
                self.befall(tale, Fate::Crash)?;
            }
        }
        if self.world.hosts.iter_mut().any(|host| host.has_duties()) {
            let what = "a detached message is neither delivered nor reported";
            return Err(Violation::new(Rule::Ends, what));
        }
        let outcomes = self.outcomes();
        let store = &self.world.hosts[0].store;
        self.truth
            .check_in_the_end(&outcomes, |message| store.is_excused(message))
    }
}
