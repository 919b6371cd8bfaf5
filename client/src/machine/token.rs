//! A session outside of its client: what takes it up again, as a value and as text.

use std::fmt::Write as _;

use farwatch_core::wire::handshake::Password;
use farwatch_core::zxid::SessionId;

/// What the text of a token begins with; the number is that of its form.
const TEXT_HEAD: &str = "farwatch-session-1";

/// Longer than any text of a token.
const TEXT_BYTES_MAX: usize = 128;

/// A session that can be taken up again, here or in another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionToken {
    /// Its id.
    pub id: SessionId,
    /// Its secret.
    pub password: Password,
    /// The last zxid that was seen: a server that is behind it is not accepted.
    pub last_zxid: i64,
    /// The timeout that the servers granted, milliseconds: how long the session lives without a client.
    pub timeout_ms: u64,
}

/// A text that is no [`SessionToken`]'s. It does not repeat the text, which may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a session's text: {TEXT_HEAD}:ID:PASSWORD:ZXID:TIMEOUT, as it was written at detach"
)]
pub struct TokenError;

impl SessionToken {
    /// No session.
    pub(super) const NONE: Self =
        Self { id: SessionId::NONE, password: Password::ZERO, last_zxid: 0, timeout_ms: 0 };

    /// The token as one line of text, password included: **who reads it can act as the session**, read
    /// and delete what only it may, and end it. So keep it as you keep a password.
    pub fn to_secret_text(&self) -> String {
        let Self { id, password, last_zxid, timeout_ms } = self;
        // One piece of memory, which whoever gets it can overwrite: growing would leave another behind.
        let mut text = String::with_capacity(TEXT_BYTES_MAX);
        let secret = u128::from_be_bytes(password.0);
        write!(text, "{TEXT_HEAD}:{:016x}:{secret:032x}:{last_zxid:x}:{timeout_ms}", id.0)
            .expect("a String takes every write");
        debug_assert!(text.len() <= TEXT_BYTES_MAX);
        text
    }

    /// The token that `text` was made of.
    pub fn from_secret_text(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let [TEXT_HEAD, id, password, last_zxid, timeout_ms] = parts[..] else {
            return Err(TokenError);
        };
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_bad| TokenError);
        let (id, last_zxid) = (number(id)?, number(last_zxid)?);
        let secret = u128::from_str_radix(password, 16).map_err(|_bad| TokenError)?;
        let timeout_ms = timeout_ms.parse().map_err(|_bad| TokenError)?;
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id == 0 || password.len() != 32 || !is_hex(password) || i64::MAX as u64 <= last_zxid {
            return Err(TokenError);
        }
        let (id, password) = (SessionId(id), Password(secret.to_be_bytes()));
        Ok(Self { id, password, last_zxid: last_zxid as i64, timeout_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_text_and_what_is_none_is_refused_without_being_repeated() {
        let token = SessionToken {
            id: SessionId(0x100_0000_0001),
            password: Password([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]),
            last_zxid: 0x1_0000_0009,
            timeout_ms: 30_000,
        };
        let text = token.to_secret_text();
        assert_eq!(
            text,
            "farwatch-session-1:0000010000000001:000102030405060708090a0b0c0d0eff:100000009:30000"
        );
        assert_eq!(SessionToken::from_secret_text(&text), Ok(token));
        assert_eq!(SessionToken::from_secret_text(&format!("{text}\n")), Ok(token));
        for bad in [
            "",
            "farwatch-session-1:1:2:3",
            &text.replace("session-1", "session-2"),
            &text.replace("0eff", "0ef"),
            &text.replace("000102", "+00102"),
            &text.replace("0000010000000001", "0"),
            &text.replace("100000009", "ffffffffffffffff"),
            &text.replace("30000", "x"),
        ] {
            let refused = SessionToken::from_secret_text(bad).expect_err(bad);
            assert!(!refused.to_string().contains("0eff"));
        }
    }
}
