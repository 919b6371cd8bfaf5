//! Bytes and text as they cross the border: a pointer and a length.

use std::ffi::c_char;

use crate::error::Failure;
use crate::status::fw_status;

/// As a length of text: the text ends with a zero byte. `FW_CSTR` in the header.
pub const CSTR: usize = usize::MAX;

/// Longest text that is taken, bytes: a path can be as long as a frame of a server, and no longer.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Most bytes that are taken in one argument. A server takes far fewer; this is what the library
/// looks at before it believes a length.
pub const BYTES_MAX: usize = 1 << 30;

/// Text that C can read: it ends with a zero byte.
#[derive(Clone, Debug)]
pub struct Text(Box<str>);

impl Text {
    /// A copy of `text`. What stands behind a zero byte is invisible to who does not ask for the
    /// length.
    pub fn new(text: &str) -> Self {
        let mut owned = String::with_capacity(text.len() + 1);
        owned.push_str(text);
        owned.push('\0');
        Self(owned.into_boxed_str())
    }

    /// Overwrites it with zeros, before it is dropped.
    pub fn wipe(&mut self) {
        wipe(std::mem::replace(&mut self.0, "\0".into()).into_string());
    }

    /// Valid as long as this is.
    pub fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Bytes, without the zero at the end.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Without the zero at the end.
    pub fn as_str(&self) -> &str {
        &self.0[..self.len()]
    }
}

/// Overwrites a secret with zeros, and drops it: what is freed may be handed to anybody in this process.
#[inline(never)]
pub fn wipe(secret: String) {
    let mut bytes = secret.into_bytes();
    bytes.fill(0);
    std::hint::black_box(&bytes);
}

/// The `len` bytes at `data`; null is no bytes when `len` is 0.
///
/// # Safety
/// `data` is null, or points to `len` bytes that stay as they are for `'a`.
pub unsafe fn bytes<'a>(data: *const u8, len: usize) -> Result<&'a [u8], Failure> {
    // SAFETY: the caller's promise is the same.
    Ok(unsafe { optional_bytes(data, len) }?.unwrap_or_default())
}

/// As [`bytes`], and null is `None`.
///
/// # Safety
/// As for [`bytes`].
pub unsafe fn optional_bytes<'a>(data: *const u8, len: usize) -> Result<Option<&'a [u8]>, Failure> {
    if BYTES_MAX < len {
        let text = format!("a length of {len} bytes is beyond the limit of {BYTES_MAX}");
        return Err(Failure::new(fw_status::FW_TOO_LARGE, text));
    }
    match (data.is_null(), len) {
        (true, 0) => Ok(None),
        (true, len) => {
            let text = format!("a null pointer with a length of {len}");
            Err(Failure::new(fw_status::FW_NULL, text))
        }
        // SAFETY: not null, and the caller promises the rest; the length fits an isize.
        (false, len) => Ok(Some(unsafe { std::slice::from_raw_parts(data, len) })),
    }
}

/// How long a text is, or one more than the limit, beyond which nothing is read.
///
/// # Safety
/// `data` points to text that ends with a zero byte.
unsafe fn length(data: *const c_char) -> usize {
    if cfg!(miri) {
        // It does not know the function.
        // SAFETY: the caller's promise; nothing behind the first zero is read.
        let is_end = |&at: &usize| unsafe { *data.add(at) == 0 };
        return (0..=TEXT_BYTES_MAX).find(is_end).unwrap_or(TEXT_BYTES_MAX + 1);
    }
    // SAFETY: the caller's promise is the same.
    unsafe { libc::strnlen(data, TEXT_BYTES_MAX + 1) }
}

/// The text of `len` bytes at `data`, or up to its zero byte when `len` is [`CSTR`]. `what` names
/// the argument in errors.
///
/// # Safety
/// `data` is null, or points to text of that length that stays as it is for `'a`.
pub unsafe fn text<'a>(
    what: &'static str,
    data: *const c_char,
    len: usize,
) -> Result<&'a str, Failure> {
    if data.is_null() {
        return Err(Failure::new(fw_status::FW_NULL, format!("{what} is null")));
    }
    let len = if len == CSTR {
        // SAFETY: the text ends with a zero byte, says the caller.
        unsafe { length(data) }
    } else {
        len
    };
    if TEXT_BYTES_MAX < len {
        let text = format!("{what} is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Failure::new(fw_status::FW_TOO_LARGE, text));
    }
    // SAFETY: not null, and the caller promises `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) };
    std::str::from_utf8(bytes).map_err(|_not_utf8| {
        Failure::new(fw_status::FW_BAD_ARGUMENT, format!("{what} is not valid UTF-8"))
    })
}

/// As [`text`], and null is `None`.
///
/// # Safety
/// As for [`text`].
pub unsafe fn optional_text<'a>(
    what: &'static str,
    data: *const c_char,
    len: usize,
) -> Result<Option<&'a str>, Failure> {
    if data.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is the same.
    unsafe { text(what, data, len) }.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_null_are_looked_at_before_bytes_are() {
        let data = *b"some text\0 and more";
        let (bytes_at, text_at) = (data.as_ptr(), data.as_ptr().cast::<c_char>());
        // SAFETY: null, or as long as it is said to be, or refused before it is looked at.
        unsafe {
            assert_eq!(bytes(bytes_at, 4).ok(), Some(&b"some"[..]));
            assert_eq!(optional_bytes(std::ptr::null(), 0).ok(), Some(None));
            assert_eq!(optional_bytes(bytes_at, 0).ok(), Some(Some(&b""[..])));
            let status =
                |got: Result<&'static [u8], Failure>| got.map_err(|failure| failure.status);
            assert_eq!(status(bytes(std::ptr::null(), 1)), Err(fw_status::FW_NULL));
            assert_eq!(status(bytes(bytes_at, BYTES_MAX + 1)), Err(fw_status::FW_TOO_LARGE));
            let status = |got: Result<&'static str, Failure>| got.map_err(|failure| failure.status);
            assert_eq!(text("it", text_at, CSTR).ok(), Some("some text"));
            assert_eq!(text("it", text_at, 4).ok(), Some("some"));
            assert_eq!(status(text("it", std::ptr::null(), 4)), Err(fw_status::FW_NULL));
            assert_eq!(status(text("it", text_at, 1 << 40)), Err(fw_status::FW_TOO_LARGE));
            assert_eq!(status(text("it", c"\xff".as_ptr(), CSTR)), Err(fw_status::FW_BAD_ARGUMENT));
        }
    }

    #[test]
    fn text_for_c_ends_with_a_zero_and_can_be_wiped() {
        let mut text = Text::new("a\u{e9}");
        assert_eq!((text.as_str(), text.len()), ("a\u{e9}", 3));
        // SAFETY: the text is there, and one byte more.
        let seen = unsafe { std::ffi::CStr::from_ptr(text.as_ptr()) };
        assert_eq!(seen.to_bytes(), "a\u{e9}".as_bytes());
        text.wipe();
        assert!(text.is_empty());
    }
}
