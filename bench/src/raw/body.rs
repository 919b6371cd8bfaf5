//! Jute primitives: the writer and the reader.

use std::io;

use super::request::Acl;

/// Bytes under construction: a request body, or any frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(Vec<u8>);

impl Body {
    /// No bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes as they are, without a length.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte, for booleans that are neither 0 nor 1.
    #[must_use]
    pub fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    /// Appends a boolean.
    #[must_use]
    pub fn boolean(self, value: bool) -> Self {
        self.byte(u8::from(value))
    }

    /// Appends a big-endian int.
    #[must_use]
    pub fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a big-endian long.
    #[must_use]
    pub fn long(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Appends a `ustring`.
    #[must_use]
    pub fn string(self, value: &str) -> Self {
        self.buffer(Some(value.as_bytes()))
    }

    /// Appends a null `ustring`, `buffer` or `vector`.
    #[must_use]
    pub fn null(self) -> Self {
        self.int(-1)
    }

    /// Appends a `buffer`; `None` is null, which is not the same as empty.
    #[must_use]
    pub fn buffer(self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.null(),
            Some(bytes) => {
                let len = i32::try_from(bytes.len()).expect("a test buffer is below 2 GiB");
                self.int(len).raw(bytes)
            }
        }
    }

    /// Appends a vector of `ustring`s.
    #[must_use]
    pub fn strings<S: AsRef<str>>(self, values: &[S]) -> Self {
        let body = self.int(i32::try_from(values.len()).expect("a test vector is short"));
        values.iter().fold(body, |body, value| body.string(value.as_ref()))
    }

    /// Appends a vector of ACL entries.
    #[must_use]
    pub fn acls(self, acl: &[Acl]) -> Self {
        let body = self.int(i32::try_from(acl.len()).expect("a test ACL is short"));
        acl.iter()
            .fold(body, |body, entry| body.int(entry.perms).string(&entry.scheme).string(&entry.id))
    }

    /// The bytes so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads Jute primitives from a reply. Every method fails with `InvalidData` where bytes are missing.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).ok_or_else(|| {
            let left = self.0.len();
            invalid(format!("{count} bytes wanted where only {left} are left in the reply"))
        })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returned N bytes"))
    }

    /// Reads a boolean; a server writes only 0 and 1.
    pub fn boolean(&mut self) -> io::Result<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(invalid(format!("a boolean is {other}"))),
        }
    }

    /// Reads an int.
    pub fn int(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Reads a long.
    pub fn long(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Reads a `buffer`; null is `None`.
    pub fn buffer(&mut self) -> io::Result<Option<&'a [u8]>> {
        let len = self.int()?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| invalid(format!("a buffer length is {len}")))?;
        self.take(len).map(Some)
    }

    /// Reads a `ustring`; null is `None`.
    pub fn nullable_string(&mut self) -> io::Result<Option<String>> {
        let Some(bytes) = self.buffer()? else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
        Ok(Some(text.to_owned()))
    }

    /// Reads a `ustring` that is not null.
    pub fn string(&mut self) -> io::Result<String> {
        self.nullable_string()?.ok_or_else(|| invalid("a string is null".to_owned()))
    }

    /// Reads the count of a vector; a null vector is an error.
    pub fn count(&mut self) -> io::Result<usize> {
        let count = self.int()?;
        usize::try_from(count).map_err(|_| invalid(format!("a vector count is {count}")))
    }

    /// Reads a vector of `ustring`s.
    pub fn strings(&mut self) -> io::Result<Vec<String>> {
        (0..self.count()?).map(|_| self.string()).collect()
    }

    /// Reads a vector of ACL entries.
    pub fn acls(&mut self) -> io::Result<Vec<Acl>> {
        (0..self.count()?)
            .map(|_| Ok(Acl { perms: self.int()?, scheme: self.string()?, id: self.string()? }))
            .collect()
    }

    /// Fails when bytes are left: a reply ends where its last field ends.
    pub fn end(&self) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(invalid(format!("{} bytes follow the last field of a reply", self.0.len())))
    }
}

/// The error for bytes that no server should send.
pub(super) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
