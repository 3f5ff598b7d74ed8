//! Message content of different shapes, the same at every run.

/// Content of one shape.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How the tables name it.
    pub name: &'static str,
    /// In canonical form: CRLF line ends, nothing stuffed. The first line begins without a dot,
    /// which one of the peers cannot read.
    pub content: Vec<u8>,
    /// The same as DATA carries it, without the final "." line.
    pub wire: Vec<u8>,
}

impl Shape {
    fn new(name: &'static str, octets: usize, mut line: impl FnMut(&mut Vec<u8>)) -> Self {
        let (mut content, mut wire) = (b"x\r\n".to_vec(), b"x\r\n".to_vec());
        let mut next = Vec::new();
        loop {
            line(&mut next);
            next.extend_from_slice(b"\r\n");
            let dot = if next.starts_with(b".") {
                &b"."[..]
            } else {
                b""
            };
            if wire.len() + dot.len() + next.len() > octets {
                break;
            }
            wire.extend_from_slice(dot);
            wire.extend_from_slice(&next);
            content.append(&mut next);
        }
        Self {
            name,
            content,
            wire,
        }
    }
}

/// A fixed sequence of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        // Constants of Knuth's MMIX.
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const LETTERS: &[u8; 26] = b"etaoinshrdlcumwfgypbvkjxqz";

fn base64(numbers: &mut Numbers, length: usize, line: &mut Vec<u8>) {
    line.extend((0..length).map(|_| BASE64[numbers.below(64) as usize]));
}

fn prose(numbers: &mut Numbers, line: &mut Vec<u8>) {
    if numbers.below(200) == 0 {
        line.push(b'.');
    }
    let length = 50 + numbers.below(25) as usize;
    while line.len() < length {
        for _ in 0..=numbers.below(9) {
            line.push(LETTERS[numbers.below(26).min(numbers.below(26)) as usize]);
        }
        line.push(if numbers.below(12) == 0 { b'.' } else { b' ' });
    }
}

/// The shapes in which mail comes, and those that are hard to read, of at most so many octets on
/// the wire.
#[must_use]
pub fn all(octets: usize) -> Vec<Shape> {
    let numbers = &mut Numbers(1845);
    vec![
        Shape::new("base64, 76", octets, |line| base64(numbers, 76, line)),
        Shape::new("prose", octets, |line| prose(numbers, line)),
        Shape::new("lines of 20", octets, |line| base64(numbers, 20, line)),
        Shape::new("lines of 998", octets, |line| base64(numbers, 998, line)),
        Shape::new("lines of 1", octets, |line| base64(numbers, 1, line)),
        Shape::new("every line dotted", octets, |line| {
            line.push(b'.');
            base64(numbers, 76, line);
        }),
        Shape::new("every line \"..\"", octets, |line| line.push(b'.')),
    ]
}

/// The shapes that no one makes to be hard.
pub const ORDINARY: [&str; 5] = [
    "base64, 76",
    "prose",
    "lines of 20",
    "lines of 998",
    "lines of 1",
];
