//! Tables in Markdown.

use crate::timing::{Timed, Times};
use crate::work::MEMCHR2;

/// All groups of one kind of work side by side: what is in the cells depends on the anchor.
#[must_use]
pub fn table(work: &str, measured: &[Times]) -> String {
    let groups: Vec<_> = measured.iter().filter(|times| times.work == work).collect();
    let Some(first) = groups.first() else {
        return String::new();
    };
    let share = first.anchor().name == MEMCHR2;
    let mut names = Vec::new();
    for timed in groups.iter().flat_map(|times| &times.contenders) {
        if !names.contains(&timed.name) {
            names.push(timed.name);
        }
    }
    let anchor = first.anchor().name;
    let meaning = match share {
        true => format!("speed, as a share of {anchor}'s"),
        false => format!("time, as a multiple of {anchor}'s [allocations]"),
    };
    let mut rows = vec![format!("### {work}: {meaning}\n")];
    let cases: Vec<_> = groups.iter().map(|times| times.case.clone()).collect();
    rows.push(row("", &cases));
    rows.push(row("---", &vec!["--:".into(); cases.len()]));
    for name in names {
        let cells: Vec<_> = (groups.iter())
            .map(|times| match times.get(name) {
                Some(timed) if name == anchor => format!("{} ns", rounded(timed.nanoseconds())),
                Some(timed) => cell(timed, times.anchor(), share),
                None => String::new(),
            })
            .collect();
        rows.push(row(name, &cells));
    }
    rows.join("\n") + "\n"
}

fn cell(timed: &Timed, anchor: &Timed, share: bool) -> String {
    if share {
        return rounded(anchor.multiple_of(timed));
    }
    let time = rounded(timed.multiple_of(anchor));
    format!("{time} [{:.0}]", timed.allocations)
}

/// A line of a table.
#[must_use]
pub fn row(name: &str, cells: &[String]) -> String {
    format!("| {name} | {} |", cells.join(" | "))
}

/// Two digits that count, or all before the point.
fn rounded(figure: f64) -> String {
    match figure {
        10.0.. => format!("{figure:.0}"),
        1.0.. => format!("{figure:.1}"),
        0.1.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
