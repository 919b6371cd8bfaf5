//! A line as words, and words as options and arguments: the rules of ZooKeeper's own shell.

use std::collections::BTreeMap;

/// Splits at blanks; a word in single or double quotes may hold blanks and loses its quotes.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = matches!(first, '"' | '\'').then(|| rest[1..].find(first)).flatten();
        let (word, behind) = match quoted {
            Some(end) => (&rest[1..1 + end], &rest[end + 2..]),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

/// An option of a command: its name without the dash, and whether a value follows.
pub type OptionSpec = (&'static str, bool);

/// A command's words behind its name, told apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    options: BTreeMap<&'static str, String>,
    /// What is no option, in order.
    pub arguments: Vec<String>,
}

impl Parsed {
    /// Options may stand anywhere; `--` ends them; flags of one letter may share a dash. The texts
    /// are those of commons-cli, which scripts and people know.
    pub fn new(words: &[String], specs: &[OptionSpec]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.arguments.extend(words.by_ref().cloned());
            } else if !word.starts_with('-') || word == "-" || word.parse::<f64>().is_ok() {
                parsed.arguments.push(word.clone());
            } else {
                parsed.option(word, specs, &mut words)?;
            }
        }
        Ok(parsed)
    }

    fn option<'w>(
        &mut self,
        word: &str,
        specs: &[OptionSpec],
        words: &mut impl Iterator<Item = &'w String>,
    ) -> Result<(), String> {
        let find = |name: &str| specs.iter().find(|spec| spec.0 == name);
        let mut rest = word.trim_start_matches('-');
        if let Some(&(name, takes_value)) = find(rest) {
            let value = if takes_value { Some(value_of(name, words)?) } else { None };
            self.options.insert(name, value.unwrap_or_default());
            return Ok(());
        }
        while let Some(letter) = rest.chars().next() {
            let (name, behind) = rest.split_at(letter.len_utf8());
            let Some(&(name, takes_value)) = find(name) else {
                return Err(format!(
                    "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: {word}"
                ));
            };
            if takes_value {
                let value =
                    if behind.is_empty() { value_of(name, words)? } else { behind.to_owned() };
                self.options.insert(name, value);
                return Ok(());
            }
            self.options.insert(name, String::new());
            rest = behind;
        }
        Ok(())
    }

    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The option's value, if it was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// At most one of `names` may be given: refuses a second one.
    pub fn one_of(&self, names: &[&'static str]) -> Result<Option<&'static str>, String> {
        let mut given = names.iter().copied().filter(|name| self.has(name));
        let first = given.next();
        match (first, given.next()) {
            (Some(first), Some(second)) => Err(format!(
                "org.apache.commons.cli.AlreadySelectedException: The option '{second}' was \
                 specified but an option from this group has already been selected: '{first}'"
            )),
            (first, _) => Ok(first),
        }
    }
}

fn value_of<'w>(
    name: &str,
    words: &mut impl Iterator<Item = &'w String>,
) -> Result<String, String> {
    words.next().cloned().ok_or_else(|| {
        format!(
            "org.apache.commons.cli.MissingArgumentException: Missing argument for option: {name}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_and_an_open_quote_is_a_letter() {
        assert_eq!(
            split("  create /a 'hello world' \"x y\" "),
            ["create", "/a", "hello world", "x y"]
        );
        assert_eq!(split("set /a it's \"open"), ["set", "/a", "it's", "\"open"]);
        assert_eq!(split("set /a ''"), ["set", "/a", ""]);
        assert!(split("   ").is_empty());
    }

    #[test]
    fn options_stand_anywhere_share_a_dash_and_end_at_two() {
        let specs = [("s", false), ("e", false), ("v", true), ("add", true)];
        let parse = |line: &str| Parsed::new(&split(line), &specs);
        let parsed = parse("/a -se -v -1 x -- -q").unwrap();
        assert!(parsed.has("s") && parsed.has("e") && !parsed.has("add"));
        assert_eq!(parsed.value("v"), Some("-1"));
        assert_eq!(parsed.arguments, ["/a", "x", "-q"]);
        assert_eq!(parse("-v7 -add 5=h:1:2").unwrap().value("v"), Some("7"));
        assert_eq!(
            parse("-q /a").unwrap_err(),
            "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -q"
        );
        assert_eq!(
            parse("/a -v").unwrap_err(),
            "org.apache.commons.cli.MissingArgumentException: Missing argument for option: v"
        );
    }
}
