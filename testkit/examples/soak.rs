//! Runs of the simulation on the model store, as many as you like.
//!
//! ```sh
//! cargo run --release -p smtp-checkpoint-testkit --example soak -- --runs 100000
//! cargo run --release -p smtp-checkpoint-testkit --example soak -- --seed 7
//! cargo run --release -p smtp-checkpoint-testkit --example soak -- --mutants 2000
//! ```
//!
//! `--mutants` breaks each rule on purpose, and tells the least seed, of so many, whose run notices
//! it. `--seed` alone makes one run; with `--runs`, that many from this seed on. A run that fails ends
//! it all: its seed is printed, and what happened.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use smtp_checkpoint_testkit::{ModelStore, Mutant, Simulation, Tally};

fn main() -> ExitCode {
    let (mut runs, mut seed, mut mutants) = (None, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (&*name, value) {
            ("--runs", Some(value)) => runs = Some(value),
            ("--seed", Some(value)) => seed = Some(value),
            ("--mutants", Some(value)) => mutants = Some(value),
            _ => {
                eprintln!("usage: soak [--runs N] [--seed S] [--mutants N]");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(seeds) = mutants {
        return break_all(seeds);
    }
    let runs = runs.unwrap_or(if seed.is_some() { 1 } else { 10_000 });
    let from = seed.unwrap_or(0);
    let mut tally = Tally::default();
    let mut told = Instant::now();
    for seed in (0..runs).map(|run| from.wrapping_add(run)) {
        match Simulation::new(seed).run(ModelStore::new) {
            Ok(run) => tally.add(&run),
            Err(failure) => {
                println!("{failure}");
                println!("after {tally}");
                return ExitCode::FAILURE;
            }
        }
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!("up to seed {seed}: {tally}\n");
        }
    }
    println!(
        "seeds {from} to {}: {tally}",
        from.wrapping_add(runs).wrapping_sub(1)
    );
    ExitCode::SUCCESS
}

/// Breaks each rule, and tells which seed notices.
fn break_all(seeds: u64) -> ExitCode {
    let mut missed = 0;
    for mutant in Mutant::ALL {
        let fails = |seed: &u64| {
            let run = Simulation::new(*seed).breaking(mutant);
            run.run(|| ModelStore::breaking(mutant)).err()
        };
        let noticed = (0..seeds).find_map(|seed| Some((seed, fails(&seed)?)));
        match noticed {
            Some((seed, failure)) => println!("{mutant:?}: seed {seed}, {}", failure.violation),
            None => {
                println!("{mutant:?}: not noticed in {seeds} runs");
                missed += 1;
            }
        }
    }
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
