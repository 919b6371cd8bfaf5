//! `fw_config`: settings as keys and values, as in a file.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, PoisonError};

use farwatch_client::Acl;

use crate::acl::{fw_acl, optional_list};
use crate::bytes::{text, wipe};
use crate::error::{Failure, fw_error};
use crate::event::Handler;
use crate::guard::{Opaque, borrow, free, give, out};
use crate::status::fw_status;

/// Most settings that one configuration takes.
pub const SETTINGS_MAX: usize = 1000;

/// Settings for what is opened with it. Keys that `zoo.cfg` has too mean the same. Which keys there
/// are, each `_open` function says; an unknown one is refused there, by name.
pub struct fw_config {
    _private: [u8; 0],
}

impl Opaque for fw_config {
    type Body = ConfigBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_confg");
}

/// The settings, behind a lock: a configuration may be shared.
#[derive(Default)]
pub struct ConfigBody {
    settings: Mutex<BTreeMap<String, String>>,
    handler: Mutex<Option<Handler>>,
    acl: Mutex<Option<Vec<Acl>>>,
}

impl ConfigBody {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, key: &str, value: String) -> Result<(), Failure> {
        let mut settings = self.lock();
        if SETTINGS_MAX <= settings.len() && !settings.contains_key(key) {
            let text = format!("a configuration takes {SETTINGS_MAX} settings");
            return Err(Failure::new(fw_status::FW_TOO_LARGE, text));
        }
        if let Some(replaced) = settings.insert(key.to_owned(), value) {
            wipe(replaced); // it may be a session's text
        }
        Ok(())
    }

    /// Where the events of clients go that are opened with this.
    pub fn set_handler(&self, handler: Handler) {
        let replaced = self.lock_handler().replace(handler);
        drop(replaced); // outside of the lock: it may call back
    }

    /// What was set with `set_handler`.
    pub fn handler(&self) -> Option<Handler> {
        self.lock_handler().clone()
    }

    /// What recipes create with where they are told no rights, if that was set.
    pub fn acl(&self) -> Option<Vec<Acl>> {
        self.acl.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock_handler(&self) -> MutexGuard<'_, Option<Handler>> {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails with the first key that is not in `known`.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<(), Failure> {
        let settings = self.lock();
        match settings.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                Err(bad(format!("unknown setting {key:?}; there are: {}", known.join(", "))))
            }
        }
    }

    /// The value of `key`, if it is set.
    pub fn get(&self, key: &str) -> Option<String> {
        self.lock().get(key).cloned()
    }

    /// The value of `key` as a number in `range`, if it is set.
    pub fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.trim().parse().ok().filter(|number| range.contains(number));
        let (first, last) = (range.start(), range.end());
        number.map(Some).ok_or_else(|| {
            bad(format!("{key} must be a number from {first} to {last}, and is {value:?}"))
        })
    }

    /// The value of `key` as true or false, if it is set.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.get(key).as_deref().map(str::trim) {
            None => Ok(None),
            Some("true" | "yes" | "1") => Ok(Some(true)),
            Some("false" | "no" | "0") => Ok(Some(false)),
            Some(value) => Err(bad(format!("{key} must be true or false, and is {value:?}"))),
        }
    }
}

impl Drop for ConfigBody {
    /// A value may be a session's text, which is a secret.
    fn drop(&mut self) {
        for value in self.lock().values_mut() {
            wipe(std::mem::take(value));
        }
    }
}

fn bad(text: String) -> Failure {
    Failure::new(fw_status::FW_BAD_ARGUMENT, text)
}

/// Makes an empty configuration. Free it with `fw_config_free`; what was opened with it does not
/// need it any more. Any thread, never blocks. Fails with `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_new(
    config: *mut *mut fw_config,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        out(config)?.set(give(ConfigBody::default()));
        Ok(())
    })
}

/// Sets `key` to `value`; the last one counts. Both are copied. Any thread, never blocks. Fails with
/// `FW_NULL`, `FW_BAD_ARGUMENT` (not UTF-8), `FW_TOO_LARGE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_set(
    config: *mut fw_config,
    key: *const c_char,
    key_len: usize,
    value: *const c_char,
    value_len: usize,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let value = text("value", value, value_len)?.to_owned();
        borrow(config.cast_const())?.set(text("key", key, key_len)?, value)
    })
}

/// Sets `key` to a number. As `fw_config_set`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_set_number(
    config: *mut fw_config,
    key: *const c_char,
    key_len: usize,
    value: u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        borrow(config.cast_const())?.set(text("key", key, key_len)?, value.to_string())
    })
}

/// Sets `key` to true or false. As `fw_config_set`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_set_bool(
    config: *mut fw_config,
    key: *const c_char,
    key_len: usize,
    value: bool,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        borrow(config.cast_const())?.set(text("key", key, key_len)?, value.to_string())
    })
}

/// What locks, elections and all other recipes of clients opened with `config` create has the rights of
/// `acl`, which is copied, where a recipe is given none of its own; null is everything for everyone, as
/// without this call. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_HANDLE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_acl(
    config: *mut fw_config,
    acl: *const fw_acl,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (config, acl) = (borrow(config.cast_const())?, optional_list(acl)?);
        *config.acl.lock().unwrap_or_else(PoisonError::into_inner) = acl;
        Ok(())
    })
}

/// Frees `config`, and overwrites its values before, of which one may be a secret. Null is allowed. Any thread,
/// never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_free(config: *mut fw_config) -> fw_status {
    accessor!(free(config))
}
