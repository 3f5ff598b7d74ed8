//! Times this crate and its peers in turn and prints ratios, as tables in Markdown.
//!
//! ```text
//! cargo run --release -p smtp-checkpoint-compare --bin speed
//! cargo run --release -p smtp-checkpoint-compare --bin speed -- [--filter WORD]... [--rounds N]
//! ```
//!
//! With `--filter` only the groups whose name holds WORD: "receive", "send, prose", "355".
//! `--features simd` before the `--` builds this crate with its feature of that name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use smtp_checkpoint_compare::allocations::Counting;
use smtp_checkpoint_compare::report::{row, table};
use smtp_checkpoint_compare::targets::{self, SIMD};
use smtp_checkpoint_compare::timing::{Times, time};
use smtp_checkpoint_compare::work::{self, session};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Options {
    filters: Vec<String>,
    rounds: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        filters: Vec::new(),
        rounds: 400,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or("an option without its value")?;
        match &*argument {
            "--filter" => options.filters.push(value),
            "--rounds" => options.rounds = value.parse().map_err(|_| "no number of rounds")?,
            _ => return Err(format!("no option {argument}: --filter WORD, --rounds N")),
        }
    }
    Ok(options)
}

/// The processor, as Linux names it.
fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = (processors.lines())
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| {
            name.trim_start_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, {}", std::env::consts::ARCH)
}

fn main() -> Result<(), String> {
    let options = options()?;
    let simd = if SIMD { "with" } else { "without" };
    println!(
        "{}; {} rounds; {simd} the feature `simd`\n",
        machine(),
        options.rounds
    );

    let groups = work::groups(&options.filters);
    let measured: Vec<Times> = (groups.into_iter())
        .map(|group| time(group, options.rounds))
        .collect();
    let mut works: Vec<_> = measured.iter().map(|times| times.work).collect();
    works.dedup();
    for work in works {
        println!("{}", table(work, &measured));
    }

    let mut outcomes: Vec<_> = (targets::all().iter())
        .filter_map(|target| target.outcome(&measured))
        .collect();
    if options.filters.is_empty() {
        println!("### idle session after EHLO: octets, heap included\n");
        println!("{}", row("", &["octets".into()]));
        println!("{}", row("---", &["--:".into()]));
        let idle = session::idle();
        for (name, held) in &idle {
            println!("{}", row(name, &[held.to_string()]));
        }
        println!();
        outcomes.push(targets::idle(idle[0].1));
    }
    println!("### targets\n");
    println!("{}", row("target", &["reached".into(), "".into()]));
    println!("{}", row("---", &["---".into(), "---".into()]));
    for outcome in outcomes {
        let met = if outcome.met { "met" } else { "**not met**" };
        println!("{}", row(&outcome.target, &[outcome.reached, met.into()]));
    }
    Ok(())
}
