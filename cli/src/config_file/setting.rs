//! Settings on their way from text to [`ServerConfig`]: each is taken once, with its place.
//!
//! [`ServerConfig`]: farwatch_observer::config::ServerConfig

use std::collections::BTreeMap;
use std::fmt;

use super::{ConfigError, Fault, names};

/// Where a setting was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, or what stands for one.
    pub source: String,
    /// The line, from 1, where there are lines.
    pub line: Option<usize>,
    /// The key as it was written; empty where the fault is about no key.
    pub key: String,
}

impl Place {
    /// A whole source.
    pub fn source(source: &str) -> Self {
        Self { source: source.to_owned(), line: None, key: String::new() }
    }

    /// `key` of the same source, on no line: a setting that is missing.
    pub fn missing(source: &str, key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::source(source) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.key.is_empty() { Ok(()) } else { write!(f, ": {}", self.key) }
    }
}

/// A value and where it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The value, trimmed.
    pub value: String,
    /// Where it was written.
    pub place: Place,
}

impl Setting {
    /// An error about this setting.
    pub fn fault(&self, fault: Fault) -> ConfigError {
        ConfigError { place: self.place.clone(), fault }
    }
}

/// Something that the operator should know, and that does not stop the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// What it is about.
    pub place: Place,
    /// What is to be known, and done.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Settings by the name that the server knows them by.
#[derive(Debug, Default)]
pub struct Settings {
    by_name: BTreeMap<String, Setting>,
    /// What the operator should know.
    pub notices: Vec<Notice>,
}

impl Settings {
    /// Adds one from a file. The last of several with one key wins, as in Java, and is noticed;
    /// the two names of one setting with different values contradict each other, and so do two lines of
    /// one server, of which ZooKeeper takes the last without a word.
    pub fn add(&mut self, setting: Setting) -> Result<(), ConfigError> {
        let name = names::effective(&setting.place.key);
        if let Some(earlier) = self.by_name.get(name) {
            let different = earlier.value != setting.value;
            // Two servers by one number: whichever line were dropped, somebody would not be there.
            if different && name.starts_with("server.") {
                let other = earlier.place.to_string();
                return Err(setting.fault(Fault::SameNumber { other }));
            }
            if different && earlier.place.key != setting.place.key {
                let other = earlier.place.to_string();
                return Err(setting.fault(Fault::Contradicts { other }));
            }
            if different {
                let text = format!("replaces {}", earlier.place);
                self.notice(setting.place.clone(), text);
            }
        }
        if name != setting.place.key {
            let text = format!("ZooKeeper ignores this name here; it is taken as `{name}`");
            self.notice(setting.place.clone(), text);
        }
        self.by_name.insert(name.to_owned(), setting);
        Ok(())
    }

    /// Adds one from the command line, which replaces the file's without a word.
    pub fn replace(&mut self, setting: Setting) {
        let name = names::effective(&setting.place.key);
        self.by_name.insert(name.to_owned(), setting);
    }

    /// Remembers something for the operator.
    pub fn notice(&mut self, place: Place, text: String) {
        self.notices.push(Notice { place, text });
    }

    /// Whether there is a setting `name` that [`Settings::take`] would give.
    pub fn has(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|setting| !setting.value.is_empty())
    }

    /// Takes the setting `name`. An empty value is none, as the container's image writes it.
    pub fn take(&mut self, name: &str) -> Option<Setting> {
        self.by_name.remove(name).filter(|setting| !setting.value.is_empty())
    }

    /// Takes every setting whose name starts with `prefix`: the rest of the name, and the setting.
    pub fn take_all(&mut self, prefix: &str) -> Vec<(String, Setting)> {
        let has = |name: &str| name.starts_with(prefix);
        let taken = self.by_name.extract_if(.., |name, _| has(name));
        taken.map(|(name, setting)| (name[prefix.len()..].to_owned(), setting)).collect()
    }

    /// A number from `min` to `max`.
    pub fn number(
        &mut self,
        name: &str,
        min: i64,
        max: i64,
    ) -> Result<Option<(i64, Place)>, ConfigError> {
        let Some(setting) = self.take(name) else { return Ok(None) };
        match setting.value.parse::<i64>() {
            Ok(number) if min <= number && number <= max => Ok(Some((number, setting.place))),
            Ok(_) | Err(_) => {
                let value = setting.value.clone();
                Err(setting.fault(Fault::Number { value, min, max }))
            }
        }
    }

    /// Puts a number from 0 into `field`.
    pub fn number_into(&mut self, name: &str, field: &mut u32) -> Result<(), ConfigError> {
        if let Some((number, _)) = self.number(name, 0, i64::from(i32::MAX))? {
            *field = number as u32;
        }
        Ok(())
    }

    /// Puts `true` or `false`, in any letter case, into `field`; anything else is an error.
    pub fn boolean_into(&mut self, name: &str, field: &mut bool) -> Result<(), ConfigError> {
        *field = self.boolean(name)?.unwrap_or(*field);
        Ok(())
    }

    /// `true` or `false`, in any letter case, or nothing; anything else is an error.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ConfigError> {
        let Some(setting) = self.take(name) else { return Ok(None) };
        match setting.value.to_ascii_lowercase().as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => {
                let value = setting.value.clone();
                Err(setting.fault(Fault::Boolean { value }))
            }
        }
    }

    /// Puts a switch that is a system property of ZooKeeper into `field`: `true` and `yes` in any
    /// letter case are true and all else is false, as in Java, but said when it is no `false`.
    pub fn switch_into(&mut self, name: &str, field: &mut bool) {
        let Some(setting) = self.take(name) else { return };
        let value = setting.value.to_ascii_lowercase();
        *field = matches!(value.as_str(), "true" | "yes");
        if !*field && !matches!(value.as_str(), "false" | "no") {
            let text = format!("`{}` counts as false: write true or false", setting.value);
            self.notice(setting.place, text);
        }
    }

    /// Takes everything that is left, in the order of the names.
    pub fn take_rest(&mut self) -> Vec<(String, Setting)> {
        std::mem::take(&mut self.by_name).into_iter().collect()
    }
}
