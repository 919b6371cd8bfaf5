//! Answers to four-letter words: asks every thread what it knows, and renders it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use farwatch_core::node::Serving;
use farwatch_core::zxid::SessionId;

use crate::connection;
use crate::descriptors;
use crate::four_letter::configuration::{self, ConfFacts, Environment};
use crate::four_letter::counters::Counter;
use crate::four_letter::ensemble::quor;
use crate::four_letter::monitor::{Gauges, LeaderGauges, MonitorFacts, mntr};
use crate::four_letter::server::{Mode, ServerFacts, cons, srvr, stat};
use crate::four_letter::sessions::{DumpFacts, SessionFacts, dump};
use crate::four_letter::watches::{self, WatchSummary};
use crate::four_letter::{self, Word};
use crate::inbox::{ToCore, ToReactor};
use crate::port::{Port, Receiver};
use crate::reactor::{ConnectionKey, Reactor};
use crate::report::{CoreReport, Part, Question, ReactorReport};
use crate::runtime;
use crate::server::Shared;

/// How often descriptors for an answer's way are looked for: five seconds long.
const WAYS_TRIED_MAX: u32 = 500;

const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Answers `word` on its connection, which then ends. `behind` is what arrived behind the word.
pub async fn answer(reactor: &Rc<RefCell<Reactor>>, key: ConnectionKey, word: Word, behind: &[u8]) {
    let shared = Arc::clone(reactor.borrow().shared());
    let text = if shared.config.four_letter_words.allows(word) {
        Asker { reactor, shared: &shared }.text(word, behind).await
    } else {
        four_letter::refusal(word)
    };
    reactor.borrow_mut().say(key, text.as_bytes());
    connection::flush_dirty(reactor);
}

struct Asker<'a> {
    reactor: &'a Rc<RefCell<Reactor>>,
    shared: &'a Arc<Shared>,
}

impl Asker<'_> {
    async fn text(&self, word: Word, behind: &[u8]) -> String {
        // Without an answer of its core a server does not serve either.
        let mut role = CoreReport::default();
        if let Some(instead) = four_letter::not_serving(word) {
            role = self.ask_core(Question::Role).await.unwrap_or_default();
            if role.serving == Serving::Nobody {
                return instead.to_owned();
            }
        }
        match word {
            Word::Ruok => four_letter::RUOK.to_owned(),
            Word::Isro => four_letter::isro(role.serving != Serving::All).to_owned(),
            Word::Gtmk => four_letter::trace_mask(self.shared.trace_mask()),
            Word::Stmk => {
                if let Some(mask) = four_letter::requested_trace_mask(behind) {
                    self.shared.set_trace_mask(mask);
                }
                four_letter::trace_mask(self.shared.trace_mask())
            }
            Word::Envi => configuration::envi(&Environment::read()),
            Word::Conf => configuration::conf(&self.shared.config, &self.directories()),
            Word::Dirs => configuration::dirs(&self.directories()),
            Word::Srst => {
                self.shared.counters.reset();
                four_letter::SRST.to_owned()
            }
            Word::Crst => {
                self.ask_reactors(Question::ResetConnections).await;
                four_letter::CRST.to_owned()
            }
            Word::Quor => match self.ask(Question::Ensemble).await {
                Some(Part::Ensemble(report)) => quor(&report),
                Some(Part::Core(_) | Part::Reactor(_)) | None => String::new(),
            },
            Word::Srvr => srvr(&self.server(&role)),
            Word::Stat => stat(&self.server(&role), &self.connections().await),
            Word::Cons => cons(&self.connections().await),
            Word::Mntr => self.monitor(role).await,
            Word::Dump => self.dump().await,
            Word::Hash => match self.ask_core(Question::Core).await {
                Some(core) => watches::hash(&core.digests),
                None => String::new(),
            },
            Word::Wchs => watches::wchs(self.watch_summary().await),
            Word::Wchc => watches::wchc(&self.watches_by_session().await),
            Word::Wchp => watches::wchp(&self.watches_by_path().await),
        }
    }

    /// Every reactor's answer, this one's included.
    async fn ask_reactors(&self, question: Question) -> Vec<ReactorReport> {
        let own = self.reactor.borrow_mut().report(question);
        let others = self.shared.reactors();
        let mut reports = vec![own];
        if others.len() < 2 {
            return reports;
        }
        let me = usize::from(self.reactor.borrow().id());
        let ask = |back: &Arc<Port<Part>>| {
            let others = others.iter().enumerate().filter(|(id, _)| *id != me);
            // A reactor whose inbox is full is left out rather than waited for.
            let question = || ToReactor::Question(question, Arc::clone(back));
            others.filter(|(_, inbox)| inbox.push(question()).is_ok()).count()
        };
        let answers = gather(others.len(), ask).await;
        reports.extend(answers.into_iter().filter_map(|part| match part {
            Part::Reactor(report) => Some(report),
            Part::Core(_) | Part::Ensemble(_) => None,
        }));
        reports
    }

    /// The core's answer.
    async fn ask(&self, question: Question) -> Option<Part> {
        let core = Arc::clone(self.reactor.borrow().core());
        let ask = |back: &Arc<_>| {
            usize::from(core.push(ToCore::Question(question, Arc::clone(back))).is_ok())
        };
        gather(1, ask).await.pop()
    }

    async fn ask_core(&self, question: Question) -> Option<CoreReport> {
        match self.ask(question).await? {
            Part::Core(report) => Some(report),
            Part::Reactor(_) | Part::Ensemble(_) => None,
        }
    }

    fn server(&self, role: &CoreReport) -> ServerFacts {
        let mode = role.mode;
        let counters = &self.shared.counters;
        let proposals = (mode == Mode::Leader).then(|| counters.proposal_sizes());
        ServerFacts {
            latency: counters.latency(),
            received: counters.total(Counter::PacketsReceived),
            sent: counters.total(Counter::PacketsSent),
            connections: u64::from(self.shared.connections()),
            outstanding: self.shared.outstanding() as u64,
            zxid: self.shared.applied(),
            mode,
            nodes: self.shared.tree().node_count(),
            proposals,
            stale_ms: role.stale_ms.filter(|_| mode != Mode::Leader),
        }
    }

    async fn connections(&self) -> Vec<crate::four_letter::server::ConnectionFacts> {
        let reports = self.ask_reactors(Question::Connections).await;
        reports.into_iter().flat_map(|report| report.connections).collect()
    }

    async fn monitor(&self, role: CoreReport) -> String {
        let watches = self.ask_reactors(Question::WatchCounts).await;
        let (shared, tree) = (self.shared, self.shared.tree());
        let uptime_ms = shared.started.elapsed().as_millis() as u64;
        let facts = MonitorFacts {
            mode: role.mode,
            peer_state: role.peer_state,
            applied: shared.applied(),
            stale_ms: role.stale_ms,
            learns_from: role.learns_from,
            upstream_rtt_us: role.upstream_rtt_us,
            gauges: Gauges {
                connections: u64::from(shared.connections()),
                outstanding: shared.outstanding() as u64,
                uptime_ms,
                nodes: tree.node_count(),
                watches: watches.iter().map(|report| report.watches).sum(),
                ephemerals: tree.ephemeral_count(),
                data_bytes: tree.data_bytes(),
                global_sessions: role.global_sessions,
                local_sessions: role.local_sessions_count,
                open_files: open_files(),
                open_files_max: open_files_max(),
            },
            quorum_size: role.voters,
            leader: (role.mode == Mode::Leader).then(|| LeaderGauges {
                learners: role.learners,
                synced_followers: role.synced_followers,
                synced_non_voting_followers: role.synced_non_voting_followers,
                synced_observers: role.synced_observers,
                pending_syncs: role.pending_syncs,
                uptime_ms: role.leading_ms,
                proposals: shared.counters.proposal_sizes(),
            }),
        };
        mntr(&facts, &shared.counters)
    }

    async fn dump(&self) -> String {
        let Some(core) = self.ask_core(Question::Core).await else { return String::new() };
        let plain = |ids: Vec<SessionId>| ids.into_iter().map(|id| id.0).collect();
        let by_expiry = |sessions: BTreeMap<i64, Vec<SessionId>>| {
            sessions.into_iter().map(|(at, ids)| (at, plain(ids))).collect()
        };
        let sessions = match core.mode {
            Mode::Standalone | Mode::Leader => SessionFacts::Tracked(by_expiry(core.sessions)),
            Mode::Follower | Mode::Observer | Mode::ReadOnly => SessionFacts::Learned(
                core.learned_sessions.into_iter().map(|(id, ms)| (id.0, ms)).collect(),
            ),
        };
        let mut facts = DumpFacts {
            local: core.local_sessions.map(by_expiry),
            sessions,
            ephemerals: core.ephemerals.into_iter().map(|(id, paths)| (id.0, paths)).collect(),
            connections: BTreeMap::new(),
        };
        for report in self.ask_reactors(Question::Connections).await {
            for (ends_ms, peer, session) in report.silence_ends {
                // Ten-second buckets, as ZooKeeper's connection expirer has them.
                let bucket = (ends_ms / 10_000 + 1) * 10_000;
                facts.connections.entry(bucket).or_default().push((peer, session.0));
            }
        }
        dump(&facts)
    }

    async fn watch_summary(&self) -> WatchSummary {
        let reports = self.ask_reactors(Question::Watches).await;
        let paths: std::collections::BTreeSet<&String> =
            reports.iter().flat_map(|report| report.data_table.keys()).collect();
        WatchSummary {
            connections: reports.iter().map(|report| u64::from(report.watching)).sum(),
            paths: paths.len() as u64,
            watches: reports.iter().map(|report| report.data_watches).sum(),
        }
    }

    async fn watches_by_path(&self) -> BTreeMap<String, Vec<u64>> {
        let mut table: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for report in self.ask_reactors(Question::Watches).await {
            for (path, sessions) in report.data_table {
                table.entry(path).or_default().extend(sessions.into_iter().map(|id| id.0));
            }
        }
        table
    }

    async fn watches_by_session(&self) -> BTreeMap<u64, Vec<String>> {
        let mut table: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (path, sessions) in self.watches_by_path().await {
            for session in sessions {
                table.entry(session).or_default().push(path.clone());
            }
        }
        table
    }

    fn directories(&self) -> ConfFacts {
        let config = &self.shared.config;
        ConfFacts {
            client_port: config.client_addrs.first().map(std::net::SocketAddr::port),
            data_dir_bytes: directory_bytes(&config.data_dir),
            data_log_dir_bytes: directory_bytes(&config.data_log_dir),
            membership: config.membership(),
        }
    }
}

/// What those say that `ask` asks, who are told the way back and are counted by it: `most` at most. A way
/// takes descriptors for a moment; where only those are left that the server needs for itself, others are
/// about to give theirs back.
async fn gather(most: usize, ask: impl FnOnce(&Arc<Port<Part>>) -> usize) -> Vec<Part> {
    for _ in 0..WAYS_TRIED_MAX {
        if let Ok(back) = Port::new(most).map(Arc::new)
            && let Ok(receiver) = Receiver::new(&back)
            && !descriptors::is_scarce(receiver.descriptor())
        {
            let count = ask(&back);
            let mut parts = Vec::with_capacity(count);
            while parts.len() < count && receiver.wait().await.is_ok() {
                parts.extend(std::iter::from_fn(|| back.pop()));
            }
            return parts;
        }
        runtime::sleep(BETWEEN_TRIES).await;
    }
    Vec::new()
}

/// Bytes of all files below a directory; what cannot be read counts as nothing.
fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => directory_bytes(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn open_files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptors::tests::leaves_descriptors;

    #[test]
    fn questions_leave_descriptors_and_are_answered() {
        leaves_descriptors(
            "words::tests::questions_leave_descriptors_and_are_answered",
            || async {
                let ask = |back: &Arc<Port<Part>>| {
                    let back = Arc::clone(back);
                    runtime::spawn(async move {
                        runtime::sleep(Duration::from_millis(5)).await; // a busy core
                        back.push(Part::Core(CoreReport::default())).expect("room for one");
                    });
                    1
                };
                assert_eq!(gather(1, ask).await.len(), 1);
            },
        );
    }
}
