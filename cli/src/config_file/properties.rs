//! The text of a `zoo.cfg`: Java's `Properties` format, exactly.
//!
//! ```text
//! bytes (ISO-8859-1) ─► natural lines ─► logical lines (\ continues) ─► key, value (\ escapes)
//! ```
//!
//! Source: `java.util.Properties.load`, which ZooKeeper reads its file with.

/// One `key=value`, and the line that it starts on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// The key, trimmed.
    pub key: String,
    /// The value, trimmed, as ZooKeeper trims it.
    pub value: String,
    /// The line that it starts on, from 1.
    pub line: usize,
}

/// A `\u` that four hexadecimal digits do not follow: the only text that the format refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedEscape {
    /// The line that the property starts on, from 1.
    pub line: usize,
}

/// Reads every property, in the order of the text.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, MalformedEscape> {
    logical_lines(bytes).iter().map(|(line, text)| property(text, *line)).collect()
}

/// Lines without comments and blank lines, joined where a backslash continues them, each with the
/// number of its first. Characters are bytes: the format is ISO-8859-1.
fn logical_lines(bytes: &[u8]) -> Vec<(usize, Vec<char>)> {
    let mut lines = Vec::new();
    let mut continued: Option<(usize, Vec<char>)> = None;
    for (index, natural) in natural_lines(bytes).into_iter().enumerate() {
        let start = natural.iter().position(|byte| !is_blank(char::from(*byte)));
        let text = start.map_or(&[][..], |start| &natural[start..]);
        // A comment or a blank line cannot begin a property, but it can continue one.
        if continued.is_none() && matches!(text.first(), None | Some(b'#' | b'!')) {
            continue;
        }
        let (first, mut line) = continued.take().unwrap_or((index + 1, Vec::new()));
        line.extend(text.iter().map(|&byte| char::from(byte)));
        // An even number of backslashes are escaped ones.
        let backslashes = text.iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 {
            line.pop();
            continued = Some((first, line));
        } else {
            lines.push((first, line));
        }
    }
    lines.extend(continued.filter(|(_, line)| !line.is_empty()));
    lines
}

/// Lines as the file has them: ended by `\n`, `\r` or `\r\n`.
fn natural_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        lines.push(&rest[..end]);
        let end_bytes = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + end_bytes..];
    }
    lines.push(rest);
    lines
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Splits a logical line: the key ends at the first `=`, `:` or blank that no backslash protects;
/// blanks around one `=` or `:` are skipped.
fn property(text: &[char], line: usize) -> Result<Property, MalformedEscape> {
    let mut key_end = text.len();
    let mut escaped = false;
    for (index, &c) in text.iter().enumerate() {
        if !escaped && (matches!(c, '=' | ':') || is_blank(c)) {
            key_end = index;
            break;
        }
        escaped = c == '\\' && !escaped;
    }
    let (key, mut value) = text.split_at(key_end);
    value = skip_blanks(value);
    if let ['=' | ':', rest @ ..] = value {
        value = skip_blanks(rest);
    }
    let unescape = |text| unescape(text).ok_or(MalformedEscape { line });
    let (key, value) = (unescape(key)?, unescape(value)?);
    Ok(Property { key: key.trim().to_owned(), value: value.trim().to_owned(), line })
}

fn skip_blanks(text: &[char]) -> &[char] {
    let start = text.iter().position(|c| !is_blank(*c)).unwrap_or(text.len());
    &text[start..]
}

/// Resolves escapes. `None` for a `\u` without four digits.
fn unescape(text: &[char]) -> Option<String> {
    // Java's strings are UTF-16: two escapes may make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(c) = rest.next() {
        let unit = if c == '\\' {
            match rest.next() {
                None => break, // the last character of the file: Java drops it too
                Some('t') => u16::from(b'\t'),
                Some('n') => u16::from(b'\n'),
                Some('r') => u16::from(b'\r'),
                Some('f') => 0x0c,
                Some('u') => {
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code << 4 | rest.next()?.to_digit(16)? as u16;
                    }
                    code
                }
                Some(other) => other as u16,
            }
        } else {
            c as u16 // a byte, so never above 255
        };
        units.push(unit);
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::{MalformedEscape, parse};

    fn pairs(text: &[u8]) -> Vec<(usize, String, String)> {
        let found = parse(text).unwrap();
        found.into_iter().map(|found| (found.line, found.key, found.value)).collect()
    }

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let owned = |(line, key, value): &(usize, &str, &str)| {
            (*line, (*key).to_owned(), (*value).to_owned())
        };
        assert_eq!(pairs(text.as_bytes()), expected.iter().map(owned).collect::<Vec<_>>());
    }

    #[test]
    fn an_equals_sign_a_colon_or_a_blank_ends_the_key() {
        let expected = [(1, "a", "1"), (2, "b", "2"), (3, "c", "3"), (4, "d", "=4"), (5, "e", "")];
        check("a=1\nb : 2\nc\t3\nd = =4\ne", &expected);
        check(r"a\=b\:c\ d=1", &[(1, "a=b:c d", "1")]);
        check("=v", &[(1, "", "v")]);
    }

    #[test]
    fn comments_and_blank_lines_count_as_lines_but_hold_nothing() {
        check("# a=1\r\n\r\n  ! b=2\r  c=3\\\\\n#d=4", &[(4, "c", "3\\")]);
    }

    #[test]
    fn a_backslash_continues_a_line_even_into_a_comment_sign() {
        check("a=1,\\\n   2,\\\n#3\nb=4", &[(1, "a", "1,2,#3"), (4, "b", "4")]);
        check("a=1\\", &[(1, "a", "1")]);
    }

    #[test]
    fn escapes_are_javas() {
        check(r"k=\u0041\t\q\u00e4\ud83d\ude00", &[(1, "k", "A\tqä😀")]);
        assert_eq!(pairs(b"k=\xe4"), [(1, "k".to_owned(), "ä".to_owned())]);
        assert_eq!(parse(b"a=1\n\nk=\\u12"), Err(MalformedEscape { line: 3 }));
        assert_eq!(parse(b"k=\\u12g4"), Err(MalformedEscape { line: 1 }));
    }
}
