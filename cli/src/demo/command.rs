//! What can be told to a demo: a letter, and the number of a server or a site.

/// The commands.
const HELP: &str = "Commands:
  k N  kill -9      r N  start it again       f N  freeze      c N  let it continue
  w N  kill it, wipe its disk, and let it come back from the others
  s    status       q    stop all";

/// Those of a demo with sites.
const SITES_HELP: &str = "  x N  cut the way to site N           h N  heal it";

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Kill(u32),
    Restart(u32),
    Freeze(u32),
    Continue(u32),
    Wipe(u32),
    /// The way to a site.
    Cut(u32),
    Heal(u32),
    Status,
    Help,
    Quit,
}

impl Command {
    /// Reads a line for a demo of `servers` servers and `sites` sites: nothing on an empty line, or
    /// what is wrong.
    pub(super) fn parse(line: &str, servers: u32, sites: u32) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of_all = match words[..] {
            [] => return Ok(None),
            ["s"] => Some(Self::Status),
            ["q"] => Some(Self::Quit),
            ["h" | "?"] => Some(Self::Help),
            _ => None,
        };
        if of_all.is_some() {
            return Ok(of_all);
        }
        let [letter, number] = words[..] else {
            if let [letter @ ("k" | "r" | "f" | "c" | "w" | "x")] = words[..] {
                return Err(format!("{letter} needs a number, such as `{letter} 1`"));
            }
            return Err(format!("`{}` is not known:\n{}", line.trim(), help(sites)));
        };
        let (what, count) = match letter {
            "x" | "h" if sites == 0 => {
                return Err("there are no sites: begin with `farwatch demo --sites 2`".to_owned());
            }
            "x" | "h" => ("site", sites),
            _ => ("server", servers),
        };
        let number = match number.parse() {
            Ok(number) if (1..=count).contains(&number) => number,
            Ok(_) | Err(_) => {
                return Err(format!("`{number}` is no {what}: write a number from 1 to {count}"));
            }
        };
        match letter {
            "k" => Ok(Some(Self::Kill(number))),
            "r" => Ok(Some(Self::Restart(number))),
            "f" => Ok(Some(Self::Freeze(number))),
            "c" => Ok(Some(Self::Continue(number))),
            "w" => Ok(Some(Self::Wipe(number))),
            "x" => Ok(Some(Self::Cut(number))),
            "h" => Ok(Some(Self::Heal(number))),
            _ => Err(format!("`{letter}` is not known:\n{}", help(sites))),
        }
    }
}

/// The commands of a demo with so many sites.
pub(super) fn help(sites: u32) -> String {
    if sites == 0 { HELP.to_owned() } else { format!("{HELP}\n{SITES_HELP}") }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn commands_are_a_letter_and_a_server() {
        let parse = |line| Command::parse(line, 3, 0);
        assert_eq!(parse("k 2"), Ok(Some(Command::Kill(2))));
        assert_eq!(parse("  w   3 "), Ok(Some(Command::Wipe(3))));
        assert_eq!(parse("s"), Ok(Some(Command::Status)));
        assert_eq!(parse(""), Ok(None));
        for (line, expected) in
            [("k 4", "from 1 to 3"), ("k x", "`x` is no"), ("k", "k needs a number")]
        {
            let why = parse(line).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(parse("z 1").unwrap_err().contains("k N  kill -9"));
        assert!(parse("x 1").unwrap_err().contains("--sites"));
    }

    #[test]
    fn sites_have_numbers_of_their_own() {
        let parse = |line| Command::parse(line, 7, 2);
        assert_eq!(parse("x 2"), Ok(Some(Command::Cut(2))));
        assert_eq!(parse("h 1"), Ok(Some(Command::Heal(1))));
        assert_eq!(parse("h"), Ok(Some(Command::Help)));
        assert_eq!(parse("k 7"), Ok(Some(Command::Kill(7))));
        assert!(parse("x 3").unwrap_err().contains("`3` is no site: write a number from 1 to 2"));
        assert!(parse("z 1").unwrap_err().contains("x N  cut"));
    }
}
