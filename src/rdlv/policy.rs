//! A ready-made answer to each 120.

use core::time::Duration;

use super::client::Client;
use super::client_state::Choice;
use crate::time::Timestamp;

/// Carries on until a total time, then detaches or aborts.
///
/// ```
/// use core::time::Duration;
/// use smtp_checkpoint::rdlv::{Policy, Then};
///
/// // On a phone: a minute, then leave the message with the server.
/// let policy = Policy { carry_on_for: Duration::from_secs(60), then: Then::Detach };
/// # let _ = policy;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The time from the end of the data within which every 120 is answered CONT.
    pub carry_on_for: Duration,
    /// What comes then.
    pub then: Then,
}

/// What comes when a client has carried on for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Detach; where that is not possible, or was refused, carry on.
    Detach,
    /// Abort.
    Abort,
}

impl Policy {
    /// The choice for a 120 that came, or whose DETA was refused, at `now`.
    #[must_use]
    pub fn choose(&self, client: &Client, now: Timestamp) -> Choice {
        if now.since(client.submitted_at()) < self.carry_on_for {
            return Choice::CarryOn;
        }
        match self.then {
            Then::Abort => Choice::Abort,
            Then::Detach if client.can_detach() => Choice::Detach,
            Then::Detach => Choice::CarryOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::tests::{at, interim, offering};
    use super::super::{ClientSettings, ReplyOutcome};
    use super::*;
    use crate::reply::standard;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn carries_on_until_the_total_time() {
        let client = interim(offering(&["RDLV", "DETA", "DSN"]), ClientSettings::new(30));
        let detach = Policy {
            carry_on_for: MINUTE,
            then: Then::Detach,
        };
        let abort = Policy {
            carry_on_for: MINUTE,
            then: Then::Abort,
        };
        assert_eq!(detach.choose(&client, at(59)), Choice::CarryOn);
        assert_eq!(detach.choose(&client, at(60)), Choice::Detach);
        assert_eq!(abort.choose(&client, at(60)), Choice::Abort);
    }

    #[test]
    fn carries_on_where_it_cannot_detach() {
        let detach = Policy {
            carry_on_for: MINUTE,
            then: Then::Detach,
        };
        let client = interim(offering(&["RDLV", "DSN"]), ClientSettings::new(30));
        assert_eq!(detach.choose(&client, at(60)), Choice::CarryOn);

        let mut client = interim(offering(&["RDLV", "DETA", "DSN"]), ClientSettings::new(30));
        let _line = client.choose(at(60), Choice::Detach).unwrap();
        let refused = client.handle_reply(at(60), &standard::TOO_MANY_DETACHED.into());
        assert_eq!(refused, ReplyOutcome::DetachRefused);
        assert_eq!(detach.choose(&client, at(60)), Choice::CarryOn);
    }
}
