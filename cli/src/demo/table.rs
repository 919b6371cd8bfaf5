//! A demo with sites as a table: every server, and every way between.

use std::time::Duration;

/// What is shown of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) number: u32,
    pub(super) place: String,
    pub(super) role: String,
    pub(super) zxid: Option<u64>,
    /// Transactions that it lacks.
    pub(super) behind: String,
    /// Of an observer that is read from: how old what it shows is, how long the last read took,
    /// reads that were answered, and that failed.
    pub(super) reads: Option<(Option<Duration>, Option<Duration>, u64, u64)>,
}

/// What is shown of servers that are together.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
}

const HEAD: [&str; 9] =
    ["", "", "ADDRESS", "ROLE", "ZXID", "BEHIND", "READ SHOWS", "READS", "FAILED"];

/// The table, a line each. What a line says beside its cells stands behind them.
pub(super) fn lines(groups: &[Group]) -> Vec<String> {
    let mut cells = vec![HEAD.map(str::to_owned)];
    cells.extend(groups.iter().flat_map(|group| group.rows.iter().map(row)));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let mut widths: Vec<usize> = (0..HEAD.len()).map(|at| width(at).unwrap_or(0)).collect();
    // Roles and times come and go: the table must not jump with each.
    widths[3] = widths[3].max("serves what it has".len());
    widths[6] = widths[6].max("123.4 s ago, in 12.34 ms".len());
    let shown = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![shown(&cells[0])];
    let mut rows = cells[1..].iter();
    for group in groups {
        lines.push(group.title.clone());
        lines.extend(rows.by_ref().take(group.rows.len()).map(shown));
    }
    lines
}

fn row(row: &Row) -> [String; 9] {
    let zxid = row.zxid.map_or_else(String::new, |it| format!("{}:{}", it >> 32, it as u32));
    let number = row.number.to_string();
    let (shows, answered, failed) = match row.reads {
        None => Default::default(),
        Some((age, took, answered, failed)) => {
            let age =
                age.map_or_else(|| "nothing yet".to_owned(), |age| format!("{} ago", seconds(age)));
            let took = took.map_or_else(String::new, |took| format!(", in {}", millis(took)));
            (format!("{age}{took}"), answered.to_string(), failed.to_string())
        }
    };
    let (place, role, behind) = (row.place.clone(), row.role.clone(), row.behind.clone());
    [String::new(), number, place, role, zxid, behind, shows, answered, failed]
}

/// `12.3 s`.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// `0.31 ms`.
fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// `12.3 KB`.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{:.1} KB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Group, Row, bytes, lines};

    #[test]
    fn servers_stand_below_the_title_of_their_group() {
        let voter = Row {
            number: 1,
            place: "127.0.0.1:31001".to_owned(),
            role: "leads, epoch 5".to_owned(),
            zxid: Some(0x5_0000_000a),
            behind: "0".to_owned(),
            reads: None,
        };
        let reads =
            Some((Some(Duration::from_millis(12_340)), Some(Duration::from_micros(310)), 1203, 0));
        let role = "serves what it has".to_owned();
        let observer = Row { number: 4, role, reads, ..voter.clone() };
        let groups = [
            Group { title: "voters".to_owned(), rows: vec![voter] },
            Group { title: "site 1".to_owned(), rows: vec![observer] },
        ];
        assert_eq!(
            lines(&groups).join("\n"),
            "     ADDRESS          ROLE                ZXID  BEHIND  READ SHOWS                READS  FAILED\n\
             voters\n  \
             1  127.0.0.1:31001  leads, epoch 5      5:10  0\n\
             site 1\n  \
             4  127.0.0.1:31001  serves what it has  5:10  0       12.3 s ago, in 0.31 ms    1203   0"
        );
    }

    #[test]
    fn bytes_have_a_unit() {
        assert_eq!([bytes(999), bytes(1000), bytes(1_250_000)], ["999 B", "1.0 KB", "1.2 MB"]);
    }
}
