//! What is read, and how the choices decide the rest.

/// Splits an input into what is read and the choices; see the [module above](super).
pub fn parse(data: &[u8]) -> (&[u8], Choices<'_>) {
    match data.iter().rposition(|octet| *octet == 0xff) {
        Some(at) => (&data[..at], Choices(&data[at + 1..])),
        None => (data, Choices(&[])),
    }
}

/// Choices, one octet each. Where they are used up, 0: the ordinary.
#[derive(Debug, Clone)]
pub struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    pub fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `bound`, 0 where the choices are used up.
    pub fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next piece of `rest`: all of it for a choice of 0.
    pub fn piece<'w>(&mut self, rest: &mut &'w [u8]) -> &'w [u8] {
        let length = match self.next() {
            0 => rest.len(),
            some => usize::from(some).min(rest.len()),
        };
        let (piece, later) = rest.split_at(length);
        *rest = later;
        piece
    }

    /// All of `wire` in pieces.
    pub fn pieces<'w>(&mut self, mut wire: &'w [u8]) -> Vec<&'w [u8]> {
        let mut pieces = Vec::new();
        while !wire.is_empty() {
            pieces.push(self.piece(&mut wire));
        }
        pieces
    }
}

/// `wire` octet by octet.
pub fn octets(wire: &[u8]) -> Vec<&[u8]> {
    wire.chunks(1).collect()
}
