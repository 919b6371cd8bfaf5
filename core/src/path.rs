//! Znode paths: checked once, then trusted.

use thiserror::Error;

/// Why a path is refused. Source: client-protocol rules of ZooKeeper 3.9 (`PathUtils.validatePath`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The empty string.
    #[error("path is empty")]
    Empty,
    /// Does not begin with `/`.
    #[error("path must start with / character")]
    NotAbsolute,
    /// Ends with `/` and is not the root.
    #[error("path must not end with / character")]
    TrailingSlash,
    /// Two slashes in a row.
    #[error("path has an empty node name")]
    EmptyComponent,
    /// A component is `.` or `..`.
    #[error("path has a relative component")]
    RelativeComponent,
    /// A character that ZooKeeper forbids, or bytes that are not UTF-8.
    #[error("path has an invalid character")]
    InvalidCharacter,
}

/// An absolute znode path that passed [`ZnodePath::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZnodePath<'a>(&'a str);

impl<'a> ZnodePath<'a> {
    /// The root, `/`.
    pub const ROOT: ZnodePath<'static> = ZnodePath("/");

    /// Checks `bytes` by all rules at once; this is the only way to make a path.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PathError> {
        match bytes {
            [] => return Err(PathError::Empty),
            [b'/'] => return Ok(ZnodePath::ROOT),
            [b'/', ..] => {}
            [..] => return Err(PathError::NotAbsolute),
        }
        if bytes.last() == Some(&b'/') {
            return Err(PathError::TrailingSlash);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PathError::InvalidCharacter)?;
        if !is_plain(bytes) {
            check(text)?;
        }
        Ok(Self(text))
    }

    /// The whole path.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The whole path as UTF-8.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// Whether a look at single bytes and pairs of them shows that nothing is wrong: so most paths are checked.
/// Both loops go to the end, as the compiler takes many bytes at once of those that do.
fn is_plain(path: &[u8]) -> bool {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    let may_be_bad = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    path.iter().fold(true, |plain, byte| plain & is_printable(byte))
        && !path.windows(2).fold(false, |bad, pair| bad | may_be_bad(pair))
}

/// The rules for what an absolute path consists of, one after the other.
fn check(path: &str) -> Result<(), PathError> {
    if path.chars().any(is_forbidden) {
        return Err(PathError::InvalidCharacter);
    }
    for component in path[1..].split('/') {
        match component {
            "" => return Err(PathError::EmptyComponent),
            "." | ".." => return Err(PathError::RelativeComponent),
            _named => {}
        }
    }
    Ok(())
}

/// The part before the last slash (`/` for a top-level node), or `None` when there is no slash or
/// `path` is the root. Works on paths that were not checked.
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    if path == b"/" {
        return None;
    }
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    Some(if slash == 0 { b"/" } else { &path[..slash] })
}

/// The part behind the last slash. Works on paths that were not checked.
pub fn name(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &path[slash + 1..],
        None => path,
    }
}

/// Whether `path` is `ancestor` itself or lies below it.
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    if ancestor == b"/" {
        return path.first() == Some(&b'/');
    }
    path.starts_with(ancestor) && (path.len() == ancestor.len() || path[ancestor.len()] == b'/')
}

/// The four nodes that every server has and that nobody may delete.
pub fn is_undeletable(path: &[u8]) -> bool {
    matches!(path, b"/" | b"/zookeeper" | b"/zookeeper/quota" | b"/zookeeper/config")
}

fn is_forbidden(c: char) -> bool {
    matches!(
        c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}'
    ) || c > '\u{ffff}' // a surrogate pair in UTF-16, which ZooKeeper's rule sees and refuses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_zookeepers_rules() {
        for good in
            ["/", "/a", "/a/.b", "/a/...", "/a.", "/a b", "/\u{a0}", "/\u{f900}", "/\u{ffef}"]
        {
            assert!(ZnodePath::parse(good.as_bytes()).is_ok(), "{good:?}");
        }
        let bad: [(&[u8], PathError); 12] = [
            (b"", PathError::Empty),
            (b"a", PathError::NotAbsolute),
            (b"/a/", PathError::TrailingSlash),
            (b"//", PathError::TrailingSlash),
            (b"/a//b", PathError::EmptyComponent),
            (b"/a/./b", PathError::RelativeComponent),
            (b"/..", PathError::RelativeComponent),
            (b"/a\0", PathError::InvalidCharacter),
            (b"/\x7f", PathError::InvalidCharacter),
            (b"/\xff", PathError::InvalidCharacter),
            ("/\u{e000}".as_bytes(), PathError::InvalidCharacter),
            ("/\u{1f600}".as_bytes(), PathError::InvalidCharacter),
        ];
        for (bytes, error) in bad {
            assert_eq!(ZnodePath::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn what_looks_plain_breaks_no_rule() {
        let parts = [
            "/",
            "/",
            ".",
            "a",
            " ",
            "~",
            "\u{7f}",
            "\u{1f}",
            "\u{e000}",
            "long-enough-for-a-vector",
        ];
        let mut plain = 0;
        for number in 0..parts.len().pow(5) {
            let digits = (0..5).map(|place| number / parts.len().pow(place) % parts.len());
            let path: String = std::iter::once("/").chain(digits.map(|at| parts[at])).collect();
            if is_plain(path.as_bytes()) && !path.ends_with('/') {
                plain += 1;
                assert_eq!(check(&path), Ok(()), "{path:?}");
            }
        }
        assert!(plain > 1000, "{plain}");
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
        assert_eq!(parent(b"/a"), Some(&b"/"[..]));
        assert_eq!(parent(b"/"), None);
        assert_eq!(parent(b"foo"), None);
        assert_eq!(name(b"/a/b"), b"b");
        assert!(is_within(b"/a/b", b"/a") && is_within(b"/a", b"/a") && is_within(b"/a", b"/"));
        assert!(!is_within(b"/ab", b"/a"));
    }
}
