//! The simulation: everyday runs on the model store, and what it notices.
#![allow(missing_docs)]

use smtp_checkpoint_testkit::{Failure, ModelStore, Mutant, Simulation, Tally};

/// How often the everyday run is made; more with `TESTKIT_RUNS`, or with the example `soak`.
fn runs() -> u64 {
    let said = std::env::var("TESTKIT_RUNS").ok();
    said.and_then(|runs| runs.parse().ok()).unwrap_or(2000)
}

#[test]
fn everyday_run() -> Result<(), Failure> {
    let mut tally = Tally::default();
    for seed in 0..runs() {
        tally.add(&Simulation::new(seed).run(ModelStore::new)?);
    }
    println!("{tally}");
    assert!(tally.restarts > tally.runs, "{tally}");
    Ok(())
}

#[test]
fn a_seed_says_it_all() -> Result<(), Failure> {
    let mut digests = Vec::new();
    for seed in 0..50 {
        let once = Simulation::new(seed).run(ModelStore::new)?;
        let again = Simulation::new(seed).run(ModelStore::new)?;
        assert_eq!(once, again, "seed {seed}");
        digests.push(once.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 50, "all different");
    Ok(())
}

#[test]
fn every_mutant_is_caught_by_the_simulation() {
    const MOST: u64 = 2000;
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let caught = (0..MOST).find_map(|seed| {
            let run = Simulation::new(seed).breaking(mutant);
            run.run(|| ModelStore::breaking(mutant)).err()
        });
        match caught {
            Some(failure) => println!("{mutant:?}: {}, in {}", failure.violation, failure.case),
            None => survivors.push(mutant),
        }
    }
    assert!(
        survivors.is_empty(),
        "not caught in {MOST} runs: {survivors:?}"
    );
}
