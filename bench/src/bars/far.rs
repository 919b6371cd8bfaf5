//! P17 to P19: observers, as `farwatch-bench observers` measures them.

use anyhow::{Context, Result};

use super::Setup;
use super::page::verdicts;
use super::table::{Line, Verdict, shown};
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::observers::{CutFound, Findings, Observers, Part, UNCOMPRESSED};

/// Of the link's time, and round trips behind it.
const CATCH_UP_TIMES: f64 = 1.3;
const CATCH_UP_TRIPS: u32 = 2;

/// P17 and P18: over a way that is long, and is cut.
pub fn over_a_way(setup: &Setup) -> Result<Vec<Line>> {
    // The bytes of a record, which P17 counts by, are found with the link's.
    let mut parts = vec![Part::Link];
    if setup.wants("P17") {
        parts.push(Part::Cut);
    }
    lines(setup, &parts, &[catch_up, bytes])
}

/// P19.
pub fn beside_writers(setup: &Setup) -> Result<Vec<Line>> {
    lines(setup, &[Part::Sinks], &[writes])
}

type OfFindings = fn(&Findings) -> Result<Option<Line>>;

fn lines(setup: &Setup, parts: &[Part], all: &[OfFindings]) -> Result<Vec<Line>> {
    let Setup { servers, pace, .. } = setup;
    let mut found = Findings::default();
    Observers::of_bars(servers, pace.rounds, pace.slice, parts).measure(&mut found)?;
    let rounds = found.json();
    let mut lines = Vec::new();
    for of in all {
        lines.extend(of(&found)?.map(|line| Line { rounds: rounds.clone(), ..line }));
    }
    setup.findings.borrow_mut().push(found);
    Ok(lines)
}

/// The bars that these findings decide, with their verdicts.
pub(crate) fn observer_bars(found: &Findings) -> String {
    let all: [OfFindings; 3] = [catch_up, bytes, writes];
    let lines: Vec<Line> = all.iter().filter_map(|of| of(found).ok().flatten()).collect();
    if lines.is_empty() {
        return "What was measured decides no bar by itself.\n".to_owned();
    }
    verdicts(lines.iter().map(|line| (line, "")))
}

fn line(bar: &'static str, what: &str, wanted: &str) -> Line {
    let (measured, beside) = (String::new(), String::new());
    let rounds = serde_json::Value::Null;
    let (what, wanted) = (what.to_owned(), wanted.to_owned());
    Line { bar, what, wanted, measured, beside, verdict: Verdict::Open, rounds }
}

fn catch_up(found: &Findings) -> Result<Option<Line>> {
    if found.cuts_of(FARWATCH).next().is_none() {
        return Ok(None);
    }
    let record = found.record_bytes(64).context("the bytes of a record were not measured")?;
    let (mut measured, mut bounds, mut theirs, mut met) = (vec![], vec![], vec![], vec![]);
    let mut over = String::new();
    for cut in found.cuts_of(FARWATCH) {
        let CutFound { missed, caught_up, rtt, bytes_per_second, cuts } = cut;
        over = format!(
            "{} ms and {} MB/s, {cuts} cuts each",
            rtt.as_millis(),
            bytes_per_second as f64 / 1e6
        );
        let link = missed as f64 * record / bytes_per_second as f64;
        let bound = CATCH_UP_TIMES * link + (rtt * CATCH_UP_TRIPS).as_secs_f64();
        measured.push(format!("{missed} missed writes {} s", shown(caught_up, 2)));
        bounds.push(format!("{bound:.2} s"));
        met.push(Some(caught_up.median <= bound));
    }
    for cut in found.cuts_of(ZOOKEEPER) {
        theirs.push(format!("{:.2} s", cut.caught_up.median));
    }
    let mut beside = format!("bounds {}", bounds.join(" and "));
    if !theirs.is_empty() {
        beside = format!("{beside}; ZooKeeper {}", theirs.join(" and "));
    }
    Ok(Some(Line {
        measured: measured.join(", "),
        beside,
        verdict: Verdict::all(&met),
        ..line(
            "P17",
            &format!("observer: catch-up after a cut, over {over}"),
            "≤ 1.3 x missed bytes / link + 2 RTT; no snapshot",
        )
    }))
}

fn bytes(found: &Findings) -> Result<Option<Line>> {
    let Some(rounds) = found.link_rounds(FARWATCH) else { return Ok(None) };
    let ratio = |variant: &str, outstanding: usize| -> Result<f64> {
        let ratio = found.bytes_of_a_record(FARWATCH, variant, outstanding);
        ratio.with_context(|| format!("the link with {outstanding} under way was not measured"))
    };
    let [many, one] = [ratio("", 64)?, ratio("", 1)?];
    let [many_stored, one_stored] = [ratio(UNCOMPRESSED, 64)?, ratio(UNCOMPRESSED, 1)?];
    let theirs = found.link_bytes(ZOOKEEPER, "", 1);
    Ok(Some(Line {
        measured: format!(
            "compressed, as long ways are: {many:.2} (64 writes under way), {one:.2} (one); stored: \
             {many_stored:.2}, {one_stored:.2}"
        ),
        beside: theirs.map_or_else(String::new, |it| format!("ZooKeeper {it:.0} bytes a write")),
        verdict: Verdict::all(&[
            Some(many <= 0.6 && one <= 0.6),
            Some(many_stored <= 1.15 && one_stored <= 1.15),
        ]),
        ..line(
            "P18",
            &format!("observer: bytes over the long way, of a record's, {rounds} rounds"),
            "≤ 1.15, ≤ 0.6 compressed",
        )
    }))
}

fn writes(found: &Findings) -> Result<Option<Line>> {
    let Some(all) = found.sinks.first() else { return Ok(None) };
    let (mut slopes, mut met) = (Vec::new(), Vec::new());
    for count in [10, 50, 200] {
        let slope = all.slope_of(count).with_context(|| format!("no cell of {count} sinks"))?;
        slopes.push(format!("{slope:.2} % each of {count}"));
        if count <= 50 {
            met.push(Some(slope <= 1.5));
        }
    }
    let kept = all.kept_of(50).context("no cell of 50 sinks")?;
    let relayed = all.kept_behind_relays().context("no cell of relays")?;
    met.extend([Some(0.8 <= kept.median), Some(0.97 <= relayed.median)]);
    Ok(Some(Line {
        measured: format!(
            "{}; rate with 50: {}, behind two relays {}",
            slopes.join(", "),
            shown(kept, 2),
            shown(relayed, 2)
        ),
        beside: "the sinks share the two cores".to_owned(),
        verdict: Verdict::all(&met),
        ..line(
            "P19",
            &format!("observer: what each adds to a write, three voters, {} rounds", all.rounds()),
            "≤ 1.5 % each; 50: ≥ 0.8 of the rate, relayed ≥ 0.97",
        )
    }))
}
