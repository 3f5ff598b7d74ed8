//! What is timed against each other comes to the same result.

#![allow(missing_docs)]

use smtp_checkpoint_compare::targets;
use smtp_checkpoint_compare::timing::time;
use smtp_checkpoint_compare::work;

/// Making the groups checks that all come to the same octets; a round runs each once more, in the
/// state that it is timed in.
#[test]
fn all_crates_do_the_same_work() {
    let measured: Vec<_> = (work::groups(&[]).into_iter())
        .map(|group| time(group, 1))
        .collect();
    assert!(measured.iter().all(|times| times.contenders.len() > 3));
    // No target names a group that is not there.
    for target in targets::all() {
        assert!(
            target.is_measured(&measured),
            "nothing measured for {target:?}"
        );
    }
}
