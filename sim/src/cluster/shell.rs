//! What a server's shell does with the machine's actions, and the witness's eye on each.

use farwatch_core::prng::Prng;
use farwatch_core::record::Record;
use farwatch_core::txn::Txn;
use farwatch_core::zab::message::{Message, ToLeader, ToLearner};
use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zab::run::Position;
use farwatch_core::zab::{Action, Event, Membership, Standing};
use farwatch_core::zxid::{SessionId, Zxid};

use super::{Cluster, Happening};
use crate::client::Link;
use crate::disk::{Completion, Entry, Logged};
use crate::invariants::{
    acks_are_durable, agreement, commits_when_established, digests_equal, done_in_order,
    drained_before_hand_over, durable_on_quorum, ephemerals_live_with_sessions,
    epoch_after_history, epoch_on_quorum, expired_after_silence, expired_is_true,
    founded_on_promises, full_time_again, global_primary_order, integrity, leaders_have_a_quorum,
    leadership1, leadership2, local_primary_order, local_sessions_cost_nothing,
    observers_never_vote, prefix_consistency, primary_integrity, promise_given_once,
    promises_are_kept, restoring_loses_nothing, sequence_numbers_unique, should_not_be_triggered,
    the_living_stay, total_order,
};
use crate::plan::Mode;
use crate::witness::Witness;

/// By how much a clock jumps with a tick of a jump, milliseconds.
const JUMP_MS: i64 = 10;

/// Batches that a log has under way at once; what is proposed meanwhile waits. Source: `observer`.
const BATCHES_MAX: usize = 4;

/// How late the completion of a write that was cut may come, at one try.
const STALE_US: u64 = 300_000;

impl Cluster {
    /// One step of a server's machine, and all that follows at once.
    pub fn step(&mut self, server: usize, event: Event) {
        let Some(process) = &mut self.servers[server].process else { return };
        let led = process.zab().is_leading();
        process.feed(event);
        self.settle(server, led);
    }

    /// The core takes what the connections asked.
    pub(super) fn submit(&mut self, server: usize) {
        let Some(process) = &mut self.servers[server].process else { return };
        let led = process.zab().is_leading();
        process.submit();
        self.settle(server, led);
    }

    /// Time passes for a server.
    pub fn tick(&mut self, server: usize, jumps: bool) {
        let (now, it) = (self.now, &mut self.servers[server]);
        let room = if now < it.full_until { 0 } else { u64::MAX };
        let Some(process) = &mut it.process else { return };
        process.jumped_ms += if jumps { JUMP_MS } else { 0 };
        process.look_at_clock(now, it.tick_us);
        process.node.step(farwatch_core::node::Event::LogRoom(room), &mut process.out);
        let begins = Event::LogBegins(it.disk.base.zxid);
        process.node.step(farwatch_core::node::Event::Zab(begins), &mut process.out);
        process.reactor.sweep(process.clock.mono_ms);
        self.step(server, Event::Tick);
    }

    /// Does what the machine says until it says no more; then whoever waits is told.
    fn settle(&mut self, server: usize, mut led: bool) {
        loop {
            if !self.look_at_actions(server, led) {
                return;
            }
            let Some(process) = &mut self.servers[server].process else { return };
            led = process.zab().is_leading();
            if process.node.proposable().is_none() || !self.takes_proposals(server) {
                break;
            }
            self.propose(server);
        }
        self.deliver(server);
    }

    /// Judges and carries out what the last step said. False: the process is no more.
    fn look_at_actions(&mut self, server: usize, led: bool) -> bool {
        let process = self.servers[server].process.as_mut().expect("it was stepped");
        let actions = std::mem::take(&mut process.out.actions);
        // It may have begun to broadcast in this step, or ended it behind its last commit.
        let established = led || process.zab().is_leading();
        let leads = process.zab().leading_epoch().is_some();
        // Also of one that is gone before it tells that it leads: whoever led before is replaced.
        if let Some(epoch) = process.zab().leading_epoch().filter(|_| process.zab().is_leading()) {
            self.witness.established_at.entry(epoch).or_insert(self.now);
        }
        for action in &actions {
            if let Action::Committed(upto) = *action
                && leads
            {
                commits_when_established::check(&mut self.witness, server, established, upto);
            }
        }
        let founds = self.note_leadership(server);
        if founds && self.kills_founder() {
            self.crash(server);
            return false;
        }
        for action in actions {
            self.actions += 1;
            let chance = self.may_fail(server) && self.prng.one_in(self.plan.crash_in_actions);
            if chance || self.actions == self.plan.crash_at_action {
                self.crash(server);
                return false;
            }
            self.carry_out(server, action);
            if self.servers[server].process.is_none() {
                return false;
            }
        }
        true
    }

    /// Whether the log takes another batch now.
    fn takes_proposals(&self, server: usize) -> bool {
        let it = &self.servers[server];
        it.full_until <= self.now && it.disk.appends_under_way() < BATCHES_MAX
    }

    /// Hands over what was proposed, and notes it for those who will see it.
    fn propose(&mut self, server: usize) {
        let limit = self.plan.timing.epoch_proposals;
        let process = self.servers[server].process.as_mut().expect("it proposes");
        process.node.propose(&mut process.out);
        let (now_ms, heard) = (process.clock.mono_ms, &process.heard);
        let led_ms = process.led_since_ms.map_or(0, |since_ms| now_ms - since_ms);
        let mut ended = Vec::new();
        for action in &process.out.actions {
            let Action::Append { run, .. } = action else { continue };
            for record in run.records() {
                let (head, entry) = (record.head(), Entry::of(&record));
                if head.zxid.counter() > limit {
                    let text = format!("{} is beyond {limit} proposals of an epoch", head.zxid);
                    self.witness.violate("epochs_end", text);
                }
                self.witness.proposed.insert(head.zxid, (server, entry.command));
                if let Txn::CloseSession = record.txn() {
                    self.witness.ending.insert(head.session);
                    if head.cxid == 0 {
                        let witness = &mut self.witness;
                        expired_after_silence::check(witness, server, head.session, now_ms, heard);
                        full_time_again::check(witness, server, head.session, led_ms);
                        ended.push(head.session);
                    }
                }
            }
        }
        for session in ended {
            self.judge_end(server, session);
            self.judge_spared(server, session);
        }
    }

    /// A leader ends a session for its silence. Where all has been well for long, its client must be
    /// gone.
    fn judge_end(&mut self, leader: usize, session: SessionId) {
        let well = if self.plan.is_fair() {
            0
        } else if self.calm && self.plan.mode == Mode::Safety {
            self.plan.calm_at_us
        } else {
            return;
        };
        let owner = self.clients.iter().find(|client| {
            client.session.is_some_and(|it| it.0 == session)
                && matches!(client.link, Link::Open(..))
        });
        let Some(client) = owner else { return };
        // Whoever is served by one that is cut off is not well.
        let Link::Open(_, host) = client.link else { return };
        let Some(host) = &self.servers[host].process else { return };
        let Some(led_at) = host.led_at else { return };
        let since = client.open_since.max(well).max(led_at);
        let timeout_ms = client.timeout_ms;
        if self.now < client.heard_at + client.timeout_ms as u64 * 500 {
            let well_us = self.now.saturating_sub(since);
            the_living_stay::check(&mut self.witness, leader, session, well_us, timeout_ms);
        }
    }

    /// Clients hear what came of it.
    fn deliver(&mut self, server: usize) {
        let process = self.servers[server].process.as_mut().expect("it is there");
        let at = Position { zxid: process.node.applied(), chain: process.node.applied_chain() };
        digests_equal::check(&mut self.witness, server, at, process.node.writer().digest());
        self.judge_hang_ups(server);
        self.judge_ended(server);
        let process = self.servers[server].process.as_mut().expect("it is there");
        let (led, now_ms) = (process.node.is_serving(), process.clock.mono_ms);
        process.reactor.led = led;
        process.led_at = if led { process.led_at.or(Some(self.now)) } else { None };
        process.unled_since_ms = if led { None } else { process.unled_since_ms.or(Some(now_ms)) };
        process.reactor.deliver(&process.out, at.zxid, now_ms);
        let (reopens, halts) = (process.out.reopen, process.out.halt.take());
        process.out.clear();
        if let Some(reason) = halts {
            should_not_be_triggered::check(&mut self.witness, server, format_args!("{reason}"));
        }
        self.attend(server);
        if reopens {
            self.reopen(server);
        }
    }

    /// The state on the disk is another one: the process ends in good order and begins anew.
    fn reopen(&mut self, server: usize) {
        self.line(server, format_args!("reads its disk anew"));
        self.servers[server].process = None;
        let mut prng = Prng::new(self.prng.next());
        self.servers[server].disk.finish(&mut prng);
        self.unled_ticks.remove(&server);
        self.connections_end(server);
        let at = self.now + self.prng.between(2_000, 50_000);
        self.schedule(at, Happening::Start { server });
    }

    /// Whether faults still reach this server.
    fn may_fail(&self, server: usize) -> bool {
        self.is_rough() || !self.servers[server].core
    }

    fn kills_founder(&mut self) -> bool {
        let danger = self.now < self.danger_until && self.prng.one_in(8);
        self.is_rough() && (danger || self.prng.one_in(self.plan.crash_in_founding))
    }

    /// Notes who leads. Returns whether the server is about to lead, and does not yet.
    fn note_leadership(&mut self, server: usize) -> bool {
        let Some(process) = &self.servers[server].process else { return false };
        let Some(epoch) = process.zab().leading_epoch() else { return false };
        let status = process.zab().status();
        if status.phase != "discovery" {
            self.witness.founded.entry(epoch).or_insert(status.log);
            leadership1::check(&mut self.witness, server, epoch);
        }
        status.phase != "broadcast"
    }

    fn carry_out(&mut self, server: usize, action: Action) {
        let life = self.servers[server].life;
        if needs_room(&action) && self.now < self.servers[server].full_until {
            self.line(server, format_args!("has no room on its disk, and ends"));
            return self.crash(server);
        }
        match action {
            Action::Send { to, message } => self.send(server, to.0 as usize - 1, &message),
            Action::SaveEpochs(epochs) => {
                let process = self.servers[server].process.as_ref().expect("it acts");
                let rejoining = process.zab().membership() == Membership::Rejoining;
                if process.zab().leading_epoch() == Some(epochs.current) {
                    let epoch = epochs.current;
                    founded_on_promises::check(&mut self.witness, server, epoch, &self.quorum);
                }
                let number = self.servers[server].disk.save_epochs(epochs, rejoining);
                let at = self.now + self.disk_delay(server);
                self.schedule(at, Happening::WriteDone { server, life, number });
            }
            Action::Append { ticket, run } => {
                let number = self.servers[server].disk.append(ticket, &run);
                self.write_log(server, number);
            }
            Action::Flush { ticket } => {
                let number = self.servers[server].disk.flush(ticket);
                self.write_log(server, number);
            }
            Action::Truncate { ticket, to } => {
                self.line(server, format_args!("cuts its log to {:?}", to.zxid));
                let number = self.servers[server].disk.truncate(ticket, to);
                self.write_log(server, number);
            }
            Action::ReadLog { ticket, from, bytes_max } => {
                let at = self.now + 20 + self.prng.below(300);
                let from = from.0;
                self.schedule(at, Happening::LogRead { server, life, ticket, from, bytes_max });
            }
            Action::ReadSnapshot { ticket, offset } => {
                let at = self.now + 20 + self.prng.below(1_000);
                self.schedule(at, Happening::SnapshotRead { server, life, ticket, offset });
            }
            Action::StoreSnapshot { ticket, at, offset, bytes, end } => {
                let mut hangs = 0;
                if end && self.may_fail(server) && self.prng.one_in(self.plan.hang_in_install) {
                    hangs = self.prng.between(20_000, 2_000_000);
                }
                let chunk = (offset, &bytes[..], end);
                match self.servers[server].disk.store_snapshot(ticket, at, chunk) {
                    Ok(number) => self.install(server, number, hangs),
                    Err(completion) => {
                        let at = self.now + self.disk_delay(server);
                        let at = at.max(self.servers[server].part_stored_at + 1);
                        self.servers[server].part_stored_at = at;
                        self.schedule(at, Happening::Told { server, life, completion });
                    }
                }
            }
            Action::Committed(upto) => self.apply(server, upto),
            Action::Became(standing) => self.became(server, standing),
            Action::Confirmed(_)
            | Action::ConfirmsFailed
            | Action::Requested { .. }
            | Action::Responded(_) => {}
            Action::Halt(reason) => {
                let what = format_args!("halts: {reason:?}");
                should_not_be_triggered::check(&mut self.witness, server, what);
            }
            Action::Refused { peer, anomaly } => {
                let what = format_args!("refused {anomaly:?} of {peer}");
                should_not_be_triggered::check(&mut self.witness, server, what);
            }
        }
    }

    fn line(&mut self, server: usize, text: std::fmt::Arguments<'_>) {
        let id = self.servers[server].id;
        self.trace.line(self.now, format_args!("{id} {text}"));
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        if from == to || to >= self.servers.len() {
            return;
        }
        self.judge_message(from, to, message);
        self.note_said(from, to, message);
        let said = self.said(from, to, message);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let bytes: std::sync::Arc<[u8]> = bytes.into();
        let length = bytes.len() as u64;
        let way = self.network.send(self.now, (from, to), length, &mut self.prng);
        let breaks = way.breaks;
        if let Some(&until) = way.arrives_at.first() {
            self.part_arrives(way.begins_at, Happening::Arriving { from, to, until, breaks });
        }
        for at in way.arrives_at {
            let bytes = bytes.clone();
            self.schedule(at, Happening::Arrival { from, to, said, bytes, breaks });
        }
    }

    fn judge_message(&mut self, from: usize, to: usize, message: &Message) {
        let Self { servers, witness, .. } = self;
        if !servers[from].votes {
            observers_never_vote::check(witness, from, message);
        }
        if let Message::ToLearner { body: ToLearner::TakeOver, .. } = message {
            let log = servers[from].process.as_ref().expect("it acts").zab().log();
            drained_before_hand_over::check(witness, from, log, &servers[to].disk);
        }
        if let Message::ToLeader { body, .. } = message {
            acks_are_durable::check(witness, from, body, &servers[from].disk);
            if let ToLeader::Promised { epoch, counted: true, .. } = *body {
                promise_given_once::check(witness, from, to, epoch);
            }
        }
    }

    fn disk_delay(&mut self, server: usize) -> u64 {
        let stuck = self.servers[server].stuck_until.saturating_sub(self.now);
        let jitter = if !self.may_fail(server) { 500 } else { self.plan.disk_jitter_us };
        self.plan.disk_us + self.prng.below(jitter + 1) + stuck
    }

    /// A whole snapshot is about to replace the history: in a file of its own, so that it need not
    /// be done before what is written to the log meanwhile.
    fn install(&mut self, server: usize, number: u64, hangs: u64) {
        if !self.plan.installs_beside {
            if hangs > 0 {
                self.servers[server].log_stuck_until = self.now + hangs;
            }
            return self.write_log(server, number);
        }
        let hangs = hangs.max(self.installs_for(server));
        let at = self.now + self.disk_delay(server) + hangs;
        let life = self.servers[server].life;
        self.schedule(at, Happening::WriteDone { server, life, number });
    }

    fn write_log(&mut self, server: usize, number: u64) {
        let at = self.now + self.disk_delay(server);
        let it = &self.servers[server];
        let at = at.max(it.log_busy_until + 1).max(it.log_stuck_until);
        self.servers[server].log_busy_until = at;
        let life = self.servers[server].life;
        self.schedule(at, Happening::WriteDone { server, life, number });
    }

    pub(super) fn write_done(&mut self, server: usize, number: u64) {
        let it = &self.servers[server];
        let of_log = it.disk.is_of_log(number, self.plan.installs_beside);
        let log = if of_log { it.log_stuck_until } else { 0 };
        let (at, life) = (it.stuck_until.max(log), it.life);
        if self.now < at {
            return self.schedule(at, Happening::WriteDone { server, life, number });
        }
        if self.may_fail(server) && self.prng.one_in(self.plan.sync_fails) {
            if self.mutant == Some(Mutant::FailedSyncIgnored) {
                if let Some(completion) = self.servers[server].disk.pretend(number) {
                    self.tell(server, completion);
                }
                return;
            }
            // A failed sync is fatal for the process, and never tried again.
            self.line(server, format_args!("cannot write to its disk"));
            return self.crash(server);
        }
        if self.servers[server].disk.is_stale(number) && self.prng.one_in(2) {
            // Cut meanwhile: the disk may say so long after the cut is done.
            let halvings = self.prng.below(12);
            let late = self.prng.below(STALE_US) >> halvings;
            let (at, life) = (self.now + late, self.servers[server].life);
            return self.schedule(at, Happening::WriteDone { server, life, number });
        }
        let held = self.servers[server].disk.durable_end();
        let Some(completion) = self.servers[server].disk.complete(number) else { return };
        if let Completion::SnapshotStored { .. } = completion {
            let disk = &self.servers[server].disk;
            restoring_loses_nothing::check(&mut self.witness, server, held, disk);
        }
        self.tell(server, completion);
    }

    pub(super) fn tell(&mut self, server: usize, completion: Completion) {
        match completion {
            Completion::Durable { ticket, upto } => {
                self.step(server, Event::Durable { ticket, upto });
            }
            Completion::Truncated { ticket, to } => {
                self.step(server, Event::Truncated { ticket, to });
            }
            Completion::EpochsSaved(epochs) => {
                let before = self.witness.epochs.get(&server).copied().unwrap_or_default();
                promises_are_kept::check(&mut self.witness, server, epochs);
                // A later leader may cut what an epoch was founded with, if it was not
                // established: the history is judged when the epoch becomes current.
                if before.current < epochs.current {
                    self.witness_history(server, epochs.current);
                }
                self.line(server, format_args!("saved {epochs:?}"));
                self.step(server, Event::EpochsSaved(epochs));
            }
            Completion::SnapshotStored { ticket, upto } => {
                self.take_over_state(server);
                self.step(server, Event::SnapshotStored { ticket, upto });
            }
        }
    }

    fn witness_history(&mut self, server: usize, epoch: farwatch_core::zxid::Epoch) {
        if self.witness.founded.contains_key(&epoch) {
            epoch_after_history::check(&mut self.witness, server, &self.servers[server].disk);
        }
    }

    /// A snapshot of a leader may have replaced the disk's content: the state follows.
    fn take_over_state(&mut self, server: usize) {
        let Self { servers, witness, .. } = self;
        let crate::server::Server { disk, process: Some(process), .. } = &mut servers[server]
        else {
            return;
        };
        if disk.base == process.applied_at || disk.base.zxid < process.applied_at.zxid {
            return;
        }
        process.applied = disk.snapshot.clone();
        process.applied_at = disk.snapshot_at;
        let (at, state) = (process.applied_at, &process.applied);
        prefix_consistency::check_restored(witness, server, at, state);
        self.line(server, format_args!("took over a state at {:?}", at.zxid));
    }

    fn apply(&mut self, server: usize, upto: Zxid) {
        let Some(process) = &self.servers[server].process else { return };
        let mut at = process.applied_at;
        let due: Vec<Logged> = self.servers[server].disk.records(at.zxid, upto).collect();
        let mut last = process.applied.last().map(Logged::entry);
        let mut index = process.applied.len();
        for logged in &due {
            let (place, entry) = (logged.at, logged.entry());
            let witness = &mut self.witness;
            total_order::check(witness, server, index);
            prefix_consistency::check(witness, server, index, place, entry);
            local_primary_order::check(witness, server, last, entry);
            global_primary_order::check(witness, server, last, entry);
            integrity::check(witness, server, entry);
            if index == self.witness.history.len() {
                durable_on_quorum::check(&mut self.witness, server, place, &self.servers);
                self.witness.history.push((place, entry));
                self.witness.committed_at.push(self.now);
                self.enter_history(&Record::own(&logged.bytes));
            }
            (at, last, index) = (place, Some(entry), index + 1);
        }
        let process = self.servers[server].process.as_mut().expect("it was there");
        process.applied.extend(due);
        process.applied_at = at;
        agreement::check(&mut self.witness, server, &process.applied);
        if at.zxid < upto {
            let what = format_args!("committed {upto:?} and can apply only up to {:?}", at.zxid);
            should_not_be_triggered::check(&mut self.witness, server, what);
        }
        self.trace.note(self.now, 4, server, &at.zxid.0.to_le_bytes());
        self.maybe_compact(server);
    }

    /// What everybody will apply is judged once.
    fn enter_history(&mut self, record: &Record<'_>) {
        let (head, txn, witness) = (record.head(), record.txn(), &mut self.witness);
        local_sessions_cost_nothing::recorded(witness, &head, &txn, &self.plan.services.of);
        if let Txn::CreateSession { .. } = txn {
            witness.begun_at.insert(head.session, head.zxid);
            expired_is_true::begun(witness, head.session, head.zxid);
        }
        done_in_order::check(witness, &head, &txn);
        let judge = |witness: &mut Witness, part: &Txn<'_>| {
            ephemerals_live_with_sessions::check(witness, head.zxid, part);
            sequence_numbers_unique::check(witness, head.zxid, part);
        };
        match txn {
            Txn::Multi(multi) => multi.iter().for_each(|part| judge(witness, &part)),
            ref alone => judge(witness, alone),
        }
        witness.model.apply(record);
    }

    fn maybe_compact(&mut self, server: usize) {
        let purge = self.prng.one_in(2);
        let due = self.prng.one_in(self.plan.snapshot_every);
        let Self { servers, mutant, .. } = self;
        let server = &mut servers[server];
        let Some(process) = &server.process else { return };
        if due && process.applied_at.zxid > server.disk.snapshot_at.zxid {
            let ahead = *mutant == Some(Mutant::SnapshotLabelledAhead);
            let at = if ahead { server.disk.end() } else { process.applied_at };
            server.disk.compact(at, &process.applied, purge);
        }
    }

    fn became(&mut self, server: usize, standing: Standing) {
        self.trace.note(self.now, 5, server, format!("{standing:?}").as_bytes());
        self.line(server, format_args!("became {standing:?}"));
        if let Standing::Leading(epoch) = standing {
            leadership2::check(&mut self.witness, server, epoch);
            epoch_on_quorum::check(&mut self.witness, server, epoch, &self.servers);
            let disk = &self.servers[server].disk;
            primary_integrity::check(&mut self.witness, server, epoch, disk);
        }
        let process = self.servers[server].process.as_ref().expect("it acts");
        if let (Standing::Leading(epoch), Standing::Alone) = (process.standing, standing) {
            self.note_deposed(server, epoch);
        }
        let process = self.servers[server].process.as_mut().expect("it acts");
        if let Standing::Leading(_) = standing {
            process.led_since_ms.get_or_insert(process.clock.mono_ms);
        }
        process.standing = standing;
    }

    /// Counts how long a leader has not heard from a quorum.
    pub(super) fn watch_leader(&mut self, server: usize) {
        let Some(process) = &self.servers[server].process else { return };
        if !process.zab().is_leading() {
            self.unled_ticks.remove(&server);
            return;
        }
        let limit = self.plan.timing.silence_ticks;
        let status = process.zab().status();
        let me = self.servers[server].id;
        let heard = status.silent.iter().filter(|peer| peer.1 <= limit).map(|peer| peer.0);
        let reached = self.quorum.is_reached(heard.chain([me]));
        let ticks = self.unled_ticks.entry(server).or_insert(0);
        *ticks = if reached { 0 } else { *ticks + 1 };
        let ticks = *ticks;
        leaders_have_a_quorum::check(&mut self.witness, server, ticks, limit);
    }
}

/// Whether a full disk cannot do this.
fn needs_room(action: &Action) -> bool {
    match action {
        Action::SaveEpochs(_) | Action::Append { .. } | Action::StoreSnapshot { .. } => true,
        Action::Send { .. }
        | Action::Flush { .. }
        | Action::Truncate { .. }
        | Action::ReadLog { .. }
        | Action::ReadSnapshot { .. }
        | Action::Committed(_)
        | Action::Became(_)
        | Action::Confirmed(_)
        | Action::ConfirmsFailed
        | Action::Requested { .. }
        | Action::Responded(_)
        | Action::Halt(_)
        | Action::Refused { .. } => false,
    }
}
