//! What servers know of their ensemble, put together and said in words.
//!
//! ```text
//! one report ─► who leads, who follows, who is missing and since when
//! several ────► who does not list whom; why nobody has as many voters as it needs
//! ```

use std::collections::{BTreeMap, BTreeSet};

use farwatch_observer::report::{EnsembleReport, PeerReport};

/// Milliseconds of silence up to which a server counts as heard: several times what passes between
/// two messages of servers that are well.
const HEARD_MS: u64 = 1500;

/// Microseconds there and back from which on a server is called far: beyond what one building and a
/// busy machine explain.
const FAR_US: u64 = 5000;

/// Explains the ensemble that `reports` tell about, a sentence or two each line; nothing for a
/// server that stands alone.
pub fn explain(reports: &[EnsembleReport]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut known: BTreeMap<u32, &EnsembleReport> = BTreeMap::new();
    for report in reports {
        if known.insert(report.me, report).is_some() {
            lines.push(format!(
                "two of the addresses are of server {}: one server was named twice, or two servers \
                 have one myid",
                report.me
            ));
        }
    }
    let members: Vec<&EnsembleReport> =
        known.values().copied().filter(|report| !report.peers.is_empty()).collect();
    if members.is_empty() {
        return lines;
    }
    let leaders = || members.iter().copied().filter(|report| report.role == "leading");
    let serves = members.iter().any(|report| report.phase == "broadcast");
    if !serves {
        lines.push(
            "no server that was asked serves: none is with a leader that has a quorum".to_owned(),
        );
    }
    for leader in leaders() {
        leading(leader, &mut lines);
    }
    for member in &members {
        match member.role.as_str() {
            "leading" => {}
            "looking" if member.observes => without_upstream(member, &mut lines),
            "looking" => looking(member, &known, &mut lines),
            _ => lines.push(learning(member)),
        }
        if member.rejoining {
            lines.push(format!(
                "server {} is without its history: it copies another's, and votes when it has it",
                member.me
            ));
        }
    }
    if !serves {
        lines.push(advice(&members));
    }
    lines
}

/// A leader, and each of its learners.
fn leading(leader: &EnsembleReport, lines: &mut Vec<String>) {
    let EnsembleReport { me, epoch, quorum, .. } = leader;
    let voters = voters(leader).len();
    let synced = leader.peers.iter().filter(|peer| peer.votes && peer.synced == Some(true));
    let with_it = synced.count() + 1;
    let since = span(leader.role_for_ms);
    lines.push(match leader.phase.as_str() {
        "broadcast" => format!(
            "server {me} leads epoch {epoch} for {since}: {with_it} of {voters} voters are in \
             sync, {quorum} are needed; committed up to {:#x}",
            leader.committed
        ),
        phase => format!(
            "server {me} is about to lead, in {phase} for {since}: {with_it} of {voters} voters \
             are in sync, {quorum} are needed"
        ),
    });
    lines.extend(leader.peers.iter().map(|peer| format!("  {}", learner(peer))));
}

/// One learner, as its leader sees it. What went wrong before is told only of who is not in sync.
fn learner(peer: &PeerReport) -> String {
    let PeerReport { id, address, .. } = peer;
    let kind = match (peer.votes, peer.guest) {
        (true, _) => "server",
        (false, true) => "guest",
        (false, false) => "observer",
    };
    if !is_heard(peer) {
        return format!("{kind} {id} ({address}) is missing: {}", silence(peer));
    }
    // A guest has drawn its number itself: nobody knows it by that.
    let place = if peer.guest { format!(" ({address})") } else { String::new() };
    let away = away(peer).map_or_else(String::new, |away| format!(", {away}"));
    let state = state(peer);
    match error(peer).filter(|_| peer.synced != Some(true)) {
        Some(error) => format!("{kind} {id}{place} {state}{away} ({error})"),
        None => format!("{kind} {id}{place} {state}{away}"),
    }
}

/// What a peer that is heard does, as its leader sees it.
fn state(peer: &PeerReport) -> String {
    let lag = peer.lag.filter(|&lag| 0 < lag);
    match (peer.synced, lag) {
        (Some(true), None) => "follows, in sync".to_owned(),
        (Some(true), Some(lag)) => format!("follows, {} behind", transactions(lag)),
        (Some(false) | None, Some(lag)) => format!("catches up, {} behind", transactions(lag)),
        (Some(false) | None, None) => match (peer.learns, peer.through) {
            (Some(true), _) => "catches up".to_owned(),
            (Some(false), Some(through)) => format!("learns through server {through}"),
            (Some(false), None) if !peer.votes => {
                "is connected, and does not learn from this server but, if from any, from another"
                    .to_owned()
            }
            (Some(false) | None, _) => "is connected and does not follow yet".to_owned(),
        },
    }
}

/// How far away a server is, there and back, if that is farther than the next rack.
fn away(peer: &PeerReport) -> Option<String> {
    let us = peer.rtt_us.filter(|&us| FAR_US <= us)?;
    Some(format!("{} ms away", (us + 500) / 1000))
}

fn learning(report: &EnsembleReport) -> String {
    let EnsembleReport { me, role, phase, epoch, .. } = report;
    let of = report.leader.map_or_else(String::new, |leader| format!(" server {leader}"));
    let verb = if role == "following" { "follows" } else { "learns from" };
    let since = span(report.role_for_ms);
    let upstream = report.peers.iter().find(|peer| Some(peer.id) == report.leader);
    let away = upstream.and_then(away).map_or_else(String::new, |away| format!(" ({away})"));
    match phase.as_str() {
        "broadcast" => format!(
            "server {me} {verb}{of}{away} in epoch {epoch} for {since}; applied up to {:#x}",
            report.applied
        ),
        phase => format!("server {me} is about to follow{of}: {phase} for {since}"),
    }
}

/// Why a server has no leader: whom it counts, whom it hears, and what is with the others.
fn looking(
    report: &EnsembleReport,
    known: &BTreeMap<u32, &EnsembleReport>,
    lines: &mut Vec<String>,
) {
    let EnsembleReport { me, phase, quorum, .. } = report;
    let voters = voters(report);
    let (mut heard, mut strangers, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for peer in report.peers.iter().filter(|peer| peer.votes) {
        let its = known.get(&peer.id);
        if its.is_some_and(|its| !lists(its, *me)) {
            strangers.push(peer.id);
        } else if is_heard(peer) {
            heard.push(peer.id);
        } else {
            let runs = if its.is_some() { " although it runs" } else { "" };
            let PeerReport { id, address, .. } = peer;
            others.push(format!("  {id} ({address}) is not heard{runs}: {}", silence(peer)));
        }
    }
    let hears = match heard.len() + 1 {
        1 => "it hears none of the others".to_owned(),
        with_it if with_it < *quorum as usize => format!("it hears only {}", list(heard)),
        _ => format!("it hears {}, which is enough once they agree", list(heard)),
    };
    lines.push(format!(
        "server {me} looks for a leader for {}, in {phase}: it counts {} voters ({}), needs {quorum} \
         of them, itself included, and {hears}",
        span(report.role_for_ms),
        voters.len(),
        list(voters.iter().copied()),
    ));
    lines.extend(serving(report));
    if !strangers.is_empty() {
        let verb = if strangers.len() == 1 { "does" } else { "do" };
        lines.push(format!("  {} {verb} not list server {me}", list(strangers)));
    }
    lines.append(&mut others);
}

/// Whom a server without a leader serves.
fn serving(report: &EnsembleReport) -> Option<String> {
    let stale = span(report.stale_ms);
    match report.serves.as_str() {
        "reads" => Some(format!("  its connections read what it had {stale} ago")),
        "readers" => Some(format!("  only readers are served, with what it had {stale} ago")),
        _nobody_or_unsaid => None,
    }
}

/// Why an observer learns from nobody: what is with each of those that it may learn from.
fn without_upstream(report: &EnsembleReport, lines: &mut Vec<String>) {
    let EnsembleReport { me, .. } = report;
    let since = span(report.role_for_ms);
    lines.push(format!("server {me} is an observer, and learns from nobody for {since}"));
    lines.extend(serving(report));
    let has_own = report.peers.iter().any(|peer| peer.upstream.is_some());
    let asked = |peer: &&PeerReport| if has_own { peer.upstream.is_some() } else { peer.votes };
    for peer in report.peers.iter().filter(asked) {
        let place = peer.upstream.as_ref().unwrap_or(&peer.address);
        lines.push(match is_heard(peer) {
            true => format!("  {place} is heard, and is with no leader"),
            false => format!("  {place} is not heard: {}", silence(peer)),
        });
    }
}

/// What to do when nothing serves.
fn advice(members: &[&EnsembleReport]) -> String {
    let members: Vec<&EnsembleReport> =
        members.iter().copied().filter(|member| !member.observes).collect();
    if members.is_empty() {
        return "an observer serves everything again when one of these can be reached and is with a \
                leader: ask the voters for their status"
            .to_owned();
    }
    let mut lists: BTreeMap<BTreeSet<u32>, Vec<u32>> = BTreeMap::new();
    for member in &members {
        lists.entry(voters(member)).or_default().push(member.me);
    }
    if 1 < lists.len() {
        let each: Vec<String> = lists
            .into_iter()
            .map(|(voters, of)| {
                let verb = if of.len() == 1 { "names" } else { "name" };
                format!("{} {verb} {}", list(of), list(voters))
            })
            .collect();
        return format!(
            "a vote counts only between servers that list each other, and the lists differ: {}. \
             Give every server the same server.N lines, and restart them one by one",
            each.join("; ")
        );
    }
    let peers = || members.iter().flat_map(|member| &member.peers).filter(|peer| peer.votes);
    let heard = peers().filter(|peer| is_heard(peer)).map(|peer| peer.id);
    let running: BTreeSet<u32> = members.iter().map(|member| member.me).chain(heard).collect();
    let missing: BTreeSet<u32> =
        peers().map(|peer| peer.id).filter(|id| !running.contains(id)).collect();
    let quorum = members.iter().map(|member| member.quorum as usize).max().unwrap_or(0);
    let copying: BTreeSet<u32> =
        members.iter().filter(|member| member.rejoining).map(|member| member.me).collect();
    if quorum <= running.len() && running.len() - copying.len() < quorum {
        return format!(
            "as many voters run as are needed, and those without a history ({}) vote when a leader has given them one: \
             {quorum} that have theirs are needed. Where these are lost, or were never more, see \"Other voters\" \
             in docs/operating.md",
            list(copying)
        );
    }
    match quorum.saturating_sub(running.len()) {
        0 => "as many voters run as are needed: they must reach each other's quorum ports, and \
              elect within seconds when they do"
            .to_owned(),
        lacking if lacking == missing.len() => {
            format!("servers {} must run and be reached: look at why not", list(missing))
        }
        lacking => {
            format!(
                "any {lacking} of servers {} must run and be reached: look at why not",
                list(missing)
            )
        }
    }
}

/// Those whose votes count for `report`'s server, itself among them if it votes.
fn voters(report: &EnsembleReport) -> BTreeSet<u32> {
    let own = (report.role != "learning" && !report.observes).then_some(report.me);
    own.into_iter()
        .chain(report.peers.iter().filter(|peer| peer.votes).map(|peer| peer.id))
        .collect()
}

fn lists(report: &EnsembleReport, server: u32) -> bool {
    report.peers.iter().any(|peer| peer.id == server)
}

fn is_heard(peer: &PeerReport) -> bool {
    peer.connected && peer.silent_ms.is_some_and(|ms| ms <= HEARD_MS)
}

/// Since when nothing was heard of a server, and what went wrong last.
fn silence(peer: &PeerReport) -> String {
    let since = match (peer.connected, peer.silent_ms) {
        (true, Some(ms)) => format!("connected, and silent for {}", span(ms)),
        (true, None) => "connected, and silent from the start".to_owned(),
        (false, Some(ms)) => format!("silent for {}", span(ms)),
        (false, None) => "never heard from".to_owned(),
    };
    match error(peer) {
        Some(error) => format!("{since}, {error}"),
        None => since,
    }
}

fn error(peer: &PeerReport) -> Option<String> {
    let text = peer.last_error.as_ref()?;
    Some(match peer.last_error_ms {
        Some(ms) => format!("last error {} ago: {text}", span(ms)),
        None => format!("last error: {text}"),
    })
}

fn transactions(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} transaction{plural}")
}

/// Milliseconds as one number and a unit.
pub fn span(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{:.1} s", ms as f64 / 1000.0),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// `1, 2 and 3`.
fn list(numbers: impl IntoIterator<Item = u32>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    match numbers.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
