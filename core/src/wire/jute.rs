//! Jute's primitive encodings: big-endian integers, length-prefixed bytes, counted vectors.

use thiserror::Error;

/// A body that does not decode. The request is answered MARSHALLINGERROR; the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer bytes than the field needs.
    #[error("body ends inside a field")]
    Truncated,
    /// A negative length other than -1 (null), or one that passes the frame.
    #[error("length {0} is not possible here")]
    BadLength(i32),
    /// A null where the protocol wants a value.
    #[error("null where a value is needed")]
    UnexpectedNull,
    /// An enumerated field outside its range.
    #[error("value {0} is not known")]
    UnknownValue(i32),
}

/// Reads primitives from a frame, borrowing.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes as they are.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte; any but zero is true.
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// A 32-bit integer.
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A `buffer` or `ustring`: `None` is null, which is not the same as empty.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            length if length < 0 => Err(DecodeError::BadLength(length)),
            length => {
                self.take(length as usize).map(Some).map_err(|_| DecodeError::BadLength(length))
            }
        }
    }

    /// A `buffer` or `ustring` that may not be null.
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        self.buffer()?.ok_or(DecodeError::UnexpectedNull)
    }

    /// A vector's count: `None` is null; any other count below one reads as empty.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.int()? {
            -1 => Ok(None),
            count => Ok(Some(count.max(0) as usize)),
        }
    }

    /// A vector of strings, walked once here so that iterating it cannot fail. `None` is null.
    pub fn strings(&mut self) -> Result<Option<Strings<'a>>, DecodeError> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        let start = self.rest;
        for _ in 0..count {
            self.string()?;
        }
        Ok(Some(Strings { count, rest: Reader::new(start) }))
    }
}

/// A checked vector of strings inside a frame.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    count: usize,
    rest: Reader<'a>,
}

impl Strings<'_> {
    /// How many strings are left.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether none is left.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.count == 0 {
            return None;
        }
        self.count -= 1;
        Some(self.rest.string().expect("walked when it was decoded"))
    }
}

/// Appends primitives to a buffer that the caller owns and reuses.
#[derive(Debug)]
pub struct Writer<'a> {
    /// The buffer; everything is appended.
    pub out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// One byte, 0 or 1.
    pub fn boolean(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// A 32-bit integer.
    pub fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// A 64-bit integer.
    pub fn long(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes with their length, or null.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => self.string(bytes),
        }
    }

    /// Bytes with their length.
    pub fn string(&mut self, bytes: &[u8]) {
        self.int(i32::try_from(bytes.len()).expect("a frame's part is below 2 GiB"));
        self.out.extend_from_slice(bytes);
    }

    /// A vector of strings.
    pub fn strings<'s>(&mut self, strings: impl ExactSizeIterator<Item = &'s [u8]>) {
        self.int(i32::try_from(strings.len()).expect("a vector's count is below 2^31"));
        for string in strings {
            self.string(string);
        }
    }
}

/// Starts a frame in `out`: room for the length, filled by [`end_frame`]. Returns its place.
#[must_use]
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Ends the frame that [`begin_frame`] started at `start`.
pub fn end_frame(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).expect("a frame is below 4 GiB");
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}
