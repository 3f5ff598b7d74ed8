//! Decisions whose session is gone.

use std::rc::Rc;

use super::Suite;
use crate::client::{Caller, Who};
use crate::host::Offer;
use crate::host::manner::{Manner, When};
use crate::log::Log;
use crate::message::{How, Message};
use crate::store::{Store, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut, LOSSES, Loss, World};

/// What happens to a decision whose session is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Finished,
    Withdrawn,
    Crash,
    /// Its deadline passes, if a session still waits for it.
    Deadline,
    Nothing,
}

const FATES: [Fate; 5] = [
    Fate::Finished,
    Fate::Withdrawn,
    Fate::Crash,
    Fate::Deadline,
    Fate::Nothing,
];

/// One way of it.
#[derive(Debug, Clone)]
struct Tale {
    message: Rc<Message>,
    verdict: Vec<u16>,
    who: Who,
    loss: Loss,
    before: Fate,
    during: Fate,
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// The session is lost while the decision runs; then something befalls the decision, before
    /// the restart and again while the restarted session awaits it.
    pub(super) fn outliving_decisions(&mut self, lmtp: bool) -> Result<(), Failure> {
        let verdicts: Vec<Vec<u16>> = if lmtp {
            vec![
                vec![250, 450, 550],
                vec![450, 450],
                vec![550, 250],
                vec![250],
            ]
        } else {
            vec![vec![250], vec![450], vec![550]]
        };
        let clients = [
            (Who::Simple, false),
            (Who::Simple, true),
            (Who::Library(6), false),
        ];
        for verdict in &verdicts {
            for (how, (who, terse)) in [How::Data, How::Bdat(6)]
                .into_iter()
                .flat_map(|how| clients.map(|client| (how, client)))
            {
                let mut message = Message::new("m", b"S: x\r\n\r\n.\r\nend\r\n");
                message.how = how;
                message.lmtp = lmtp;
                message.terse = terse;
                if lmtp {
                    let to = ["b@example.net", "no@example.net", "c@example.net"];
                    message.recipients = to.map(str::to_string).to_vec();
                }
                let message = Rc::new(message);
                for (loss, before) in LOSSES
                    .into_iter()
                    .flat_map(|loss| FATES.map(|before| (loss, before)))
                {
                    for during in FATES {
                        let tale = Tale {
                            message: Rc::clone(&message),
                            verdict: verdict.clone(),
                            who,
                            loss,
                            before,
                            during,
                        };
                        self.case(|| format!("{tale:?}"), |suite, log| suite.tell(&tale, log))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, tale: &Tale, log: &Log) -> Held {
        let message = &tale.message;
        let manner = Manner {
            verdict: tale.verdict.clone(),
            when: When::Later,
            ..Manner::default()
        };
        let offer = Offer {
            lmtp: message.lmtp,
            checkpoint_every: None,
            ..Offer::default()
        };
        // All that the client sends up to the end of the data.
        let mut alone = self.world(offer, &manner, &Log::default())?;
        let caller = Caller::new(tale.who, message)?;
        let (clean, _) = alone.run(0, caller, &[], Unsynced::Lost, 1)?;
        let up = clean.traffic.first().map_or(0, |traffic| traffic.up.len());
        let cut = Some(Cut {
            up: true,
            at: up - b"QUIT\r\n".len(),
            loss: tale.loss,
        });

        let mut world = self.world(offer, &manner, log)?;
        let caller = Caller::new(tale.who, message)?.breaking(self.mutant);
        let mut course = Course::default();
        let caller = world.try_once(0, caller, cut, Unsynced::Lost, &mut course)?;
        befall(&mut world, tale.before)?;
        let caller = restart_and_wait(&mut world, caller, tale.during)?;
        // Two more attempts at most: one may meet the other session's 421.
        let (last, _) = world.run(0, caller, &[], Unsynced::Lost, 2)?;
        self.count(&course);
        self.count(&last);
        self.count_world(&world);
        let accepted = message.recipients.iter().filter(|to| !to.starts_with("no"));
        let owed = if message.lmtp {
            accepted.clone().count()
        } else {
            1
        };
        let code = |at: usize| tale.verdict[at % tale.verdict.len()];
        let codes: Vec<u16> = (0..owed).map(code).collect();
        if last.codes != codes {
            let what = format!("told {:?}, decided {codes:?}", last.codes);
            return Err(Violation::new(Rule::OutcomeIsTrue, what));
        }
        let served: Vec<&str> = accepted
            .enumerate()
            .filter(|(at, _)| code(if message.lmtp { *at } else { 0 }) == 250)
            .map(|(_, to)| to.as_str())
            .collect();
        world.check_delivered(message, &served)
    }
}

fn befall<S: Store>(world: &mut World<S>, fate: Fate) -> Held {
    let host = &mut world.hosts[0];
    match fate {
        Fate::Finished => host.finish(),
        Fate::Withdrawn => host.withdraw_all(None),
        Fate::Crash => {
            host.kill(Unsynced::Lost);
            Ok(())
        }
        Fate::Deadline => {
            host.pass_time()?;
            host.pass_time()
        }
        Fate::Nothing => Ok(()),
    }
}

/// The restart asks for the reply, and is left waiting where a decision runs.
fn restart_and_wait<S: Store>(world: &mut World<S>, caller: Caller, during: Fate) -> Held<Caller> {
    let peer = caller.message.peer.clone();
    let mut attempt = caller.begin()?;
    let id = world.hosts[0].connect(peer);
    world.hosts[0].pump(id)?;
    loop {
        let host = &mut world.hosts[0];
        let now = host.now;
        let output = attempt.client().output(now, usize::MAX)?;
        world.log.event(format_args!("C {id}"), "", &output);
        host.input(id, &output);
        host.pump(id)?;
        let Some(connection) = host.connection(id) else {
            break;
        };
        let reply = std::mem::take(&mut connection.output);
        if output.is_empty() && reply.is_empty() {
            break;
        }
        world.log.event(format_args!("S {id}"), "", &reply);
        attempt.client().input(now, &reply)?;
    }
    befall(world, during)?;
    let host = &mut world.hosts[0];
    let now = host.now;
    if let Some(connection) = host.connection(id) {
        let reply = std::mem::take(&mut connection.output);
        world.log.event(format_args!("S {id}"), "", &reply);
        attempt.client().input(now, &reply)?;
    }
    attempt.client().lost(now)?;
    host.end(id, true)?;
    Ok(attempt.into_caller())
}
