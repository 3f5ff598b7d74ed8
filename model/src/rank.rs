//! Why every run ends.

use crate::client::Waits;
use crate::delay::Delay;
use crate::owner::Detached;
use crate::rules::Setup;
use crate::server::Stage;
use crate::world::{Down, State};

impl State {
    /// Falls with every step, so that no run goes on for ever.
    pub(crate) fn left_to_do(&self, setup: &Setup) -> u64 {
        let data = 100 * (u64::from(setup.lines) + 1) + 10;
        let again = data + 110;
        let attempt = again + 220 + 500;
        let attempts = u64::from(setup.attempts) + 1;
        let begun = u64::from(self.client.attempts);
        let waits = match self.client.waits {
            Waits::Mail { surprised, .. } => again + if surprised { 0 } else { 220 },
            Waits::Reset => again + 110,
            Waits::Data { .. } => data,
            Waits::Interim => 110,
            Waits::Between | Waits::End | Waits::Chosen(_) => 0,
        };
        let conns = self.conns.iter().map(|conn| {
            let down = conn.down.iter().map(|down| match down {
                Down::Code(120) => 115,
                _ => 5,
            });
            let session = conn.session.as_ref().map_or(0, |session| {
                let stage = match (&session.stage, session.delay) {
                    (_, Delay::Held(_)) => 0,
                    (Stage::Awaiting, _) => 80,
                    (Stage::Reading, _) => 20,
                    (Stage::Deciding(_), _) => 10,
                    _ => 0,
                };
                6 + stage + u64::from(session.length.saturating_sub(session.kept))
            });
            u64::from(conn.here) * 6 + conn.up.len() as u64 * 100 + down.sum::<u64>() + session
        });
        let hosts = (0..).zip(&self.stores.hosts).map(|(at, host)| {
            let decisions = host
                .decisions
                .iter()
                .map(|decision| match decision.verdict {
                    None => 50,
                    Some(_) => 25,
                });
            let forgotten = u64::from(self.stores.is_forgotten(at)) * 60;
            decisions.sum::<u64>() + host.advice.len() as u64 + forgotten
        });
        let left = &self.left;
        let faults = left.losses + left.crashes + left.expiries + left.failures;
        (attempts - begun) * attempt
            + u64::from(self.client.told.is_none())
            + waits
            + conns.sum::<u64>()
            + hosts.sum::<u64>()
            + u64::from(faults) * 200
            + u64::from(self.left.interims) * 130
            + u64::from(self.stores.shared.detached != Detached::No) * 5
    }
}
