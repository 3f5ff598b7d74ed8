//! The shortest counter-example, as text.

use stateright::{Checker, HasDiscoveries, Model};

use crate::fixture::LINE;
use crate::rules::Setup;
use crate::world::{Action, Restart};

/// What was found.
#[derive(Debug)]
pub struct CounterExample {
    /// The property that is broken.
    pub property: &'static str,
    /// The steps that break it.
    pub actions: Vec<Action>,
    /// States that were looked at.
    pub states: usize,
}

fn search(setup: Setup, depth: Option<usize>) -> Option<CounterExample> {
    let mut checker = Restart(setup)
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = depth {
        checker = checker.target_max_depth(depth);
    }
    let checker = checker.spawn_bfs().join();
    let model = checker.model();
    let failures = model
        .properties()
        .into_iter()
        .filter(|property| property.expectation.discovery_is_failure());
    failures
        .filter_map(|property| {
            Some(CounterExample {
                property: property.name,
                actions: checker.discovery(property.name)?.into_actions(),
                states: checker.unique_state_count(),
            })
        })
        .min_by_key(|found| found.actions.len())
}

/// The shortest counter-example, if there is one within the bounds.
#[must_use]
pub fn counter_example(setup: Setup) -> Option<CounterExample> {
    let mut found = search(setup, None)?;
    // The checker tells the last that it came upon, which may be a step or two longer.
    while let Some(shorter) = search(setup, Some(found.actions.len() + 1)) {
        found = CounterExample {
            states: found.states,
            ..shorter
        };
    }
    Some(found)
}

/// The steps in words, one a line.
#[must_use]
pub fn steps(setup: Setup, actions: &[Action]) -> String {
    let model = Restart(setup);
    let mut state = model.init_states().remove(0);
    let mut text = match setup.lines {
        1 => format!("message: 1 line of {LINE} octets\n"),
        lines => format!("message: {lines} lines of {LINE} octets\n"),
    };
    for (number, action) in (1..).zip(actions) {
        let who = match action {
            Action::Serve(id)
            | Action::Fail(id)
            | Action::Keep(id)
            | Action::End(id)
            | Action::Answer(id)
            | Action::Due(id) => {
                let mut conns = state.conns.iter().filter(|conn| conn.attempt == *id);
                let host = conns.find_map(|conn| conn.session.as_ref().map(|it| it.host));
                format!("session {id} ({})", char::from(b'A' + host.unwrap_or(0)))
            }
            Action::Decide(host, ..)
            | Action::CommitLate(host, _)
            | Action::Discard(host, _)
            | Action::Crash(host)
            | Action::Recover(host) => {
                format!("host {}", char::from(b'A' + host))
            }
            Action::Expire | Action::Report => "store".into(),
            _ => "client".into(),
        };
        let (next, said) = model.step(&state, *action, true);
        let said = said.join("; ").replace("; ->", " ->");
        text += &format!("{number:>3}. {who:<13} {said}\n");
        state = next;
    }
    text
}
