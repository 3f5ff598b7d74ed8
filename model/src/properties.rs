//! What has to hold in every state, and what has to be possible.

use stateright::Property;

use crate::client::Told;
use crate::fixture::Stands;
use crate::rules::Setup;
use crate::server::Stage;
use crate::world::{Restart, State};

/// Never a second copy.
pub const AT_MOST_ONCE: &str = "delivered at most once";
/// Never other octets than the client's.
pub const UNALTERED: &str = "delivered as it was sent";
/// HD-06.
pub const ACCEPTED_IS_DURABLE: &str = "told accepted only of what is committed";
/// CP-09, HD-06.
pub const OFFSET_IS_DURABLE: &str = "no 355 beyond what is durable";
/// CP-18.
pub const ONE_COMMIT: &str = "one commit a key";
/// 4yz, 5yz, 250 to RSET in answer to 120, and "start over".
pub const FAILED_IS_FAILED: &str = "told failed only where nothing is or will be delivered";
/// The client's caller is told something, and what the server took by DETA is dealt with.
pub const ENDS: &str = "every run ends, and a detached message is delivered or reported";

/// Where the attempts outnumber the faults as [`Setup::decides`] says.
pub const DECIDES: &str = "with so many attempts the outcome is known";

pub(crate) fn all(setup: &Setup) -> Vec<Property<Restart>> {
    use Told as T;
    let mut properties = vec![
        Property::always(AT_MOST_ONCE, |_, state: &State| {
            state.stores.shared.delivered <= 1
        }),
        Property::always(UNALTERED, |_, state: &State| !state.stores.shared.altered),
        Property::always(ACCEPTED_IS_DURABLE, |_, state: &State| {
            let shared = &state.stores.shared;
            !state.told(&[T::Accepted]) || shared.delivered + shared.reports > 0
        }),
        Property::always(OFFSET_IS_DURABLE, |_, state: &State| !state.beyond),
        Property::always(ONE_COMMIT, |_, state: &State| {
            state.stores.shared.commits <= 1
        }),
        Property::always(FAILED_IS_FAILED, |_, state: &State| {
            let shared = &state.stores.shared;
            !state.told(&[T::Deferred, T::Refused, T::StartOver, T::Aborted])
                || shared.delivered + shared.reports == 0
        }),
        Property::eventually(ENDS, |_, state: &State| {
            let shared = &state.stores.shared;
            state.client.told.is_some()
                && (!state.told(&[T::Detached]) || shared.delivered + shared.reports > 0)
        }),
        Property::sometimes("delivered once, and told so", |_, state: &State| {
            state.told(&[T::Accepted]) && state.stores.shared.delivered == 1
        }),
        Property::sometimes("told refused, and nothing delivered", |_, state: &State| {
            state.told(&[T::Refused])
        }),
    ];
    if setup.decides {
        properties.push(Property::always(DECIDES, |_, state: &State| {
            !state.told(&[T::Unknown, T::StartOver])
        }));
    }
    if setup.losses > 0 && setup.attempts > 1 {
        properties.extend([
            Property::sometimes("a retained reply is given again", |_, state: &State| {
                state.session(|conn, session| {
                    let found = session.found();
                    session.stage == Stage::Receiving
                        && conn.here
                        && found.is_some_and(|found| found.state == Stands::Committed)
                })
            }),
            Property::sometimes("a decision outlives its session", |_, state: &State| {
                state.session(|_, session| session.stage == Stage::Awaiting)
                    && !state.session(|_, session| matches!(session.stage, Stage::Deciding(_)))
            }),
        ]);
    }
    if setup.lines > 1 && setup.losses > 0 {
        properties.push(Property::sometimes(
            "content goes on from an offset",
            |_, state: &State| {
                state.session(|_, session| {
                    let found = session.found();
                    session.stage == Stage::Receiving
                        && found.is_some_and(|found| (1..session.length).contains(&found.lines))
                })
            },
        ));
    }
    if setup.crashes > 0 && setup.attempts > 1 {
        properties.push(Property::sometimes(
            "an empty data command decides anew after a crash",
            |_, state: &State| {
                state.session(|_, session| {
                    let found = session.found();
                    matches!(session.stage, Stage::Deciding(_))
                        && found.is_some_and(|found| {
                            found.state == Stands::Partial && found.lines == session.length
                        })
                })
            },
        ));
    }
    if setup.failures > 0 {
        properties.push(Property::sometimes(
            "content cannot be stored, and its client is told",
            |_, state: &State| state.session(|conn, it| conn.here && it.stage == Stage::Failed),
        ));
    }
    if setup.interims > 0 {
        properties.extend([
            Property::sometimes("detached, then delivered", |_, state: &State| {
                state.told(&[T::Detached]) && state.stores.shared.delivered == 1
            }),
            Property::sometimes("detached, then reported by DSN", |_, state: &State| {
                state.told(&[T::Detached]) && state.stores.shared.reports == 1
            }),
            Property::sometimes("aborted in answer to 120", |_, state: &State| {
                state.told(&[T::Aborted])
            }),
        ]);
    }
    properties
}
