//! Helps to keep the table of disagreements.
//!
//! ```text
//! differential            the table anew, with who is right as far as it is known
//! differential --summary  how often each disagrees
//! ```

use smtp_checkpoint_compare::differential::table::{head, outcomes, summary, table};

fn main() {
    let known = table();
    if std::env::args().any(|argument| argument == "--summary") {
        print!("{}", summary(&known));
        return;
    }
    println!("{}", head());
    for outcome in outcomes().iter().filter(|outcome| !outcome.is_unanimous()) {
        let row = known.iter().find(|row| row.cells[0] == outcome.id);
        let (right, by) = row.map_or(("?", "?"), |row| (&row.right, &row.by));
        println!("{}\t{right}\t{by}", outcome.cells().join("\t"));
    }
}
