//! A progress bar, where there is somebody to see it.

use std::io::{self, IsTerminal, Write};

/// Shorter transfers are over before one could look.
const WORTH_SHOWING: u64 = 1 << 20;

const WIDTH: u64 = 50;

#[derive(Debug)]
pub struct Progress {
    total: u64,
    shown: Option<u64>,
    enabled: bool,
}

impl Progress {
    #[must_use]
    pub fn new(total: u64) -> Self {
        Self {
            total,
            shown: None,
            enabled: total >= WORTH_SHOWING && io::stdout().is_terminal(),
        }
    }

    pub fn show(&mut self, octets: u64) {
        let permille = octets.min(self.total) * 1000 / self.total.max(1);
        if !self.enabled || self.shown == Some(permille) {
            return;
        }
        self.shown = Some(permille);
        let full = permille * WIDTH / 1000;
        let bar: String = (0..WIDTH)
            .map(|at| if at < full { '#' } else { '.' })
            .collect();
        print!("\r[{bar}] {:3}.{} %", permille / 10, permille % 10);
        let _ = io::stdout().flush();
    }

    /// Makes room for other lines.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            print!("\r{:1$}\r", "", 60);
        }
    }
}
