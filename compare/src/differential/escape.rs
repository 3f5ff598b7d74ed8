//! Octets as text: `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`, and `\{1000a}` for a thousand times "a".

/// From so many equal octets on they are written as a number.
const RUN: usize = 20;

/// The octets that `text` stands for.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        match rest.next() {
            Some(b'r') => octets.push(b'\r'),
            Some(b'n') => octets.push(b'\n'),
            Some(b't') => octets.push(b'\t'),
            Some(b'0') => octets.push(0),
            Some(b'\\') => octets.push(b'\\'),
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                octets.push(u8::from_str_radix(digits, 16).unwrap());
            }
            Some(b'{') => {
                let mut number = 0;
                let octet = loop {
                    match rest.next() {
                        Some(digit @ b'0'..=b'9') => {
                            number = number * 10 + usize::from(digit - b'0')
                        }
                        other => break other.unwrap(),
                    }
                };
                assert_eq!(rest.next(), Some(b'}'), "{text}");
                octets.resize(octets.len() + number, octet);
            }
            other => panic!("escape {other:?} in {text}"),
        }
    }
    octets
}

/// The text for `octets`.
#[must_use]
pub fn escape(octets: &[u8]) -> String {
    let mut text = String::new();
    for run in octets.chunk_by(|one, next| one == next) {
        let octet = run[0];
        if run.len() >= RUN && octet.is_ascii_alphabetic() {
            text += &format!("\\{{{}{}}}", run.len(), char::from(octet));
            continue;
        }
        for _ in run {
            match octet {
                b'\r' => text += "\\r",
                b'\n' => text += "\\n",
                b'\t' => text += "\\t",
                0 => text += "\\0",
                b'\\' => text += "\\\\",
                b' '..=b'~' => text.push(char::from(octet)),
                _ => text += &format!("\\x{octet:02x}"),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_octets_come_back() {
        let all: Vec<u8> = (0..=255).chain([b'a'; 30]).chain(*b"\\{x").collect();
        assert_eq!(unescape(&escape(&all)), all);
        assert_eq!(escape(&[b'a'; 20]), "\\{20a}");
    }
}
