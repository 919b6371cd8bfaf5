//! Answers to four-letter words: asks every thread what it knows, and renders it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Standing;
use crate::connection;
use crate::four_letter::configuration::{self, ConfFacts, Environment};
use crate::four_letter::counters::Counter;
use crate::four_letter::monitor::{Gauges, LeaderGauges, MonitorFacts, mntr};
use crate::four_letter::server::{Mode, ServerFacts, cons, srvr, stat};
use crate::four_letter::sessions::{DumpFacts, SessionFacts, dump};
use crate::four_letter::watches::{self, WatchSummary};
use crate::four_letter::{self, Word};
use crate::inbox::{ToCore, ToReactor};
use crate::port::{Port, Receiver};
use crate::reactor::{ConnectionKey, Reactor};
use crate::report::{CoreReport, Part, Question, ReactorReport};
use crate::server::Shared;

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
        match word {
            Word::Ruok => four_letter::RUOK.to_owned(),
            Word::Isro => four_letter::isro(false).to_owned(),
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
            Word::Srvr => srvr(&self.server().await),
            Word::Stat => {
                let connections = self.connections().await;
                stat(&self.server().await, &connections)
            }
            Word::Cons => cons(&self.connections().await),
            Word::Mntr => self.monitor().await,
            Word::Dump => self.dump().await,
            Word::Hash => match self.ask_core().await {
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
        let Ok(back) = Port::new(others.len()).map(Arc::new) else { return reports };
        let me = usize::from(self.reactor.borrow().id());
        let mut asked = 0;
        for (_, inbox) in others.iter().enumerate().filter(|(id, _)| *id != me) {
            // A reactor whose inbox is full is left out rather than waited for.
            let question = ToReactor::Question(question, Arc::clone(&back));
            asked += usize::from(inbox.push(question).is_ok());
        }
        reports.extend(collect(&back, asked).await.into_iter().filter_map(|part| match part {
            Part::Reactor(report) => Some(report),
            Part::Core(_) => None,
        }));
        reports
    }

    async fn ask_core(&self) -> Option<CoreReport> {
        let back = Port::new(1).map(Arc::new).ok()?;
        let core = Arc::clone(self.reactor.borrow().core());
        core.push(ToCore::Question(Question::Core, Arc::clone(&back))).ok()?;
        match collect(&back, 1).await.pop()? {
            Part::Core(report) => Some(report),
            Part::Reactor(_) => None,
        }
    }

    async fn server(&self) -> ServerFacts {
        let counters = &self.shared.counters;
        let mode = self.mode();
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
        }
    }

    fn mode(&self) -> Mode {
        match self.shared.config.standing {
            Standing::Alone => Mode::Standalone,
            Standing::Member => Mode::Leader,
        }
    }

    async fn connections(&self) -> Vec<crate::four_letter::server::ConnectionFacts> {
        let reports = self.ask_reactors(Question::Connections).await;
        reports.into_iter().flat_map(|report| report.connections).collect()
    }

    async fn monitor(&self) -> String {
        let watches = self.ask_reactors(Question::WatchCounts).await;
        let sessions = self
            .ask_core()
            .await
            .map_or(0, |core| core.sessions.values().map(|bucket| bucket.len() as u64).sum());
        let (shared, tree) = (self.shared, self.shared.tree());
        let uptime_ms = shared.started.elapsed().as_millis() as u64;
        let mode = self.mode();
        let facts = MonitorFacts {
            mode,
            peer_state: (mode == Mode::Leader).then(|| "leading - broadcast".to_owned()),
            learns_from: None,
            gauges: Gauges {
                connections: u64::from(shared.connections()),
                outstanding: shared.outstanding() as u64,
                uptime_ms,
                nodes: tree.node_count(),
                watches: watches.iter().map(|report| report.watches).sum(),
                ephemerals: tree.ephemeral_count(),
                data_bytes: tree.data_bytes(),
                global_sessions: sessions,
                local_sessions: 0,
                open_files: open_files(),
                open_files_max: open_files_max(),
            },
            quorum_size: (mode == Mode::Leader).then_some(1),
            leader: (mode == Mode::Leader).then(|| LeaderGauges {
                uptime_ms,
                proposals: shared.counters.proposal_sizes(),
                ..LeaderGauges::default()
            }),
            synced_observers: None,
        };
        mntr(&facts, &shared.counters)
    }

    async fn dump(&self) -> String {
        let Some(core) = self.ask_core().await else { return String::new() };
        let mut facts = DumpFacts {
            sessions: SessionFacts::Tracked(
                core.sessions
                    .into_iter()
                    .map(|(at, ids)| (at, ids.into_iter().map(|id| id.0).collect()))
                    .collect(),
            ),
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
            membership: String::new(),
        }
    }
}

/// Waits for so many parts.
async fn collect(back: &Port<Part>, count: usize) -> Vec<Part> {
    let mut parts = Vec::with_capacity(count);
    let Ok(receiver) = Receiver::new(back) else { return parts };
    while parts.len() < count {
        if receiver.wait().await.is_err() {
            break;
        }
        parts.extend(std::iter::from_fn(|| back.pop()));
    }
    parts
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
