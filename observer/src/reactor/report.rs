//! What a reactor tells about its connections and watches.

use farwatch_core::zxid::SessionId;

use super::{ConnectionStats, Phase, Reactor};
use crate::four_letter::server::{ConnectionFacts, ConnectionSession};
use crate::report::{Question, ReactorReport};

impl Reactor {
    /// Answers a question about this reactor.
    pub fn report(&mut self, question: Question) -> ReactorReport {
        self.look_at_clock();
        let mut report = ReactorReport {
            watches: self.watches.watches() as u64,
            data_watches: self.watches.data_watches() as u64,
            ..ReactorReport::default()
        };
        match question {
            Question::Connections => self.report_connections(&mut report),
            Question::Watches => self.report_watches(&mut report),
            Question::WatchCounts | Question::Core | Question::Role | Question::Ensemble => {}
            Question::ResetConnections => {
                for connection in self.connections.iter_mut().flatten() {
                    let stats = &mut connection.stats;
                    *stats = ConnectionStats {
                        established_unix_ms: stats.established_unix_ms,
                        last_cxid: stats.last_cxid,
                        last_op: stats.last_op,
                        last_zxid: stats.last_zxid,
                        ..ConnectionStats::default()
                    };
                }
            }
        }
        report
    }

    fn report_connections(&self, report: &mut ReactorReport) {
        let (now_ms, wall_ms) = (self.now_ms() as i64, self.shared.wall_ms());
        let handshake_ms = i64::from(self.shared.config.sessionless_timeout_ms);
        for connection in self.connections.iter().flatten() {
            let stats = &connection.stats;
            let session = (connection.session != SessionId::NONE).then(|| ConnectionSession {
                id: connection.session.0,
                last_op: stats.last_op,
                established_unix_ms: stats.established_unix_ms,
                timeout_ms: connection.timeout_ms.max(0) as u32,
                last_cxid: stats.last_cxid.map_or(-1, i64::from),
                last_zxid: stats.last_zxid,
                last_response_ms: (stats.last_response_us / 1000) as i64,
                last_latency_ms: stats.last_latency_us / 1000,
                latency_ms_min: stats.latency_us_min / 1000,
                latency_ms_avg: stats.latency_us_sum / stats.sent.max(1) / 1000,
                latency_ms_max: stats.latency_us_max / 1000,
            });
            report.connections.push(ConnectionFacts {
                peer: connection.peer,
                interest: u32::from(connection.phase == Phase::Serving),
                queued: (connection.pending.len() + connection.held.len()) as u64,
                received: stats.received,
                sent: stats.sent,
                session,
            });
            let silence_ms = match connection.phase {
                Phase::Serving => i64::from(connection.timeout_ms),
                Phase::Opening => handshake_ms.max(i64::from(connection.timeout_ms)),
                Phase::Fresh | Phase::Closing => handshake_ms,
            };
            let ends_ms = wall_ms + connection.heard_ms as i64 + silence_ms - now_ms;
            report.silence_ends.push((ends_ms, connection.peer, connection.session));
        }
    }

    fn report_watches(&self, report: &mut ReactorReport) {
        let table = self.watches.data_table();
        let mut watching: Vec<u32> = table.values().flatten().copied().collect();
        watching.sort_unstable();
        watching.dedup();
        report.watching = watching.len() as u32;
        for (path, connections) in table {
            let sessions = connections
                .into_iter()
                .filter_map(|index| self.connections[index as usize].as_ref())
                .map(|connection| connection.session)
                .collect();
            report.data_table.insert(String::from_utf8_lossy(path).into_owned(), sessions);
        }
    }
}
