//! What a leader ends by itself: silent sessions, containers, nodes whose time is over.

use std::collections::BTreeSet;

use super::room::Need;
use super::{LAST_RESERVE_BYTES, Node, Output, TOUCH_INTERVAL_MS};
use crate::prepare::{CONFIG_PATH, Internal};
use crate::session::Due;
use crate::tree::Node as Znode;
use crate::txn::NodeKind;
use crate::zab::mutant::Mutant;
use crate::zxid::ServerId;

/// How nodes that end by themselves are looked after. Source: ZooKeeper's `ContainerManager`.
#[derive(Clone, Copy, Debug)]
pub struct ReapOptions {
    /// Between two looks, milliseconds.
    pub interval_ms: i64,
    /// Nodes deleted in a minute at most, so that a flood of them does not starve clients.
    pub per_minute_max: u32,
    /// A container that never had a child goes after so many milliseconds; `None` is never.
    pub never_used_ms: Option<i64>,
}

/// How long it may be on its way to the leader that a session was heard from, milliseconds: held
/// back by its reactor, and by the server that the reactor belongs to, twice each.
pub(super) const HELD_BACK_MS_MAX: i64 = 4 * TOUCH_INTERVAL_MS;

/// A server that was not heard from for so long, milliseconds, is taken to be cut off: several times
/// what passes between two messages of servers that are well.
const SILENT_SERVER_MS: i64 = 1000;

/// For so long, milliseconds, what comes of a server in parts counts for its sessions at least, however short their
/// timeouts are: one message on a slow way may take longer than these. A reactor hangs up on silent clients as late.
const LONG_WORD_MS: i64 = 10_000;

/// Sessions closed at one look at most. The rest follow at the next, a twentieth of a second later,
/// so that an outage of ten thousand clients does not hold up those that live.
pub(super) const EXPIRED_PER_LOOK_MAX: usize = 2048;

/// Servers of whose words it is remembered when they came, at least, before those that are gone are forgotten: each
/// guest that comes anew has another number.
pub(super) const REMEMBERED_MAX: usize = 4096;

/// What a leader does about a session that is due.
enum Patience {
    /// It ends.
    None,
    /// Its server has not been heard since: the next that is heard of it, or its silence, decides.
    UntilHeard,
    /// It lives until then, milliseconds, as its server was heard less long ago than its client.
    Grace { until_ms: i64 },
}

impl Node {
    /// Proposes to end the sessions that nobody has heard from.
    pub(super) fn expire(&mut self) {
        if !self.zab.is_leading() {
            return;
        }
        let early = if self.zab.planted(Mutant::ExpiresEarly) { 2 * HELD_BACK_MS_MAX } else { 0 };
        self.touch_all_who_return();
        let (until_ms, mut ended) = (self.clock.mono_ms - HELD_BACK_MS_MAX + early, 0);
        let mut spared = Vec::new();
        // Whoever is left for the next look, or for when proposals are taken again, is watched on.
        while ended < EXPIRED_PER_LOOK_MAX
            && self.can_propose()
            && let Some(due) = self.expiry.take_due(until_ms)
        {
            match self.patience(due) {
                Patience::UntilHeard => spared.push((due.session, due.timeout_ms, due.heard_ms)),
                Patience::Grace { until_ms } => {
                    // When its client was heard stays known: no word in parts counts for ever.
                    let timeout_ms = i32::try_from(until_ms - due.heard_ms).unwrap_or(i32::MAX);
                    spared.push((due.session, timeout_ms, due.heard_ms));
                }
                Patience::None => {
                    self.propose_internal(Internal::CloseSession(due.session));
                    ended += 1;
                    self.expired += 1;
                }
            }
        }
        for (session, timeout_ms, heard_ms) in spared {
            self.expiry.add(session, timeout_ms, heard_ms);
        }
    }

    /// Whether a session that is due lives on, because its server does not vote and may be cut off. Its
    /// client may be well there: it ends with its timeout and the grace, of which there may be none, behind what
    /// was last heard of that server, whoever is to blame.
    fn patience(&self, due: Due) -> Patience {
        let grace_ms = self.options.learner_grace_ms;
        // Whose connection is known to be gone is silent by himself.
        let held = self.attached.get(&due.session).filter(|held| !held.left);
        let Some((held, &heard_ms)) =
            held.and_then(|held| Some((held, self.heard.get(&held.server)?)))
        else {
            return Patience::None;
        };
        let learns = !self.zab.votes(held.server);
        if !learns || self.zab.planted(Mutant::GraceForgotten) {
            return Patience::None;
        }
        let now_ms = self.clock.mono_ms;
        let coming_ms = self.coming_ms(held.server);
        let lasts_ms = i64::from(held.timeout_ms.saturating_add(grace_ms));
        // What comes in parts says nothing of this session, and may never end: it counts no later than when the
        // session is over by itself, so that it has its timeout, and the grace, once more behind that.
        let own_ms = i64::from(held.timeout_ms).max(LONG_WORD_MS);
        let counts_ms = due.heard_ms + own_ms + HELD_BACK_MS_MAX;
        let alive_ms = coming_ms.map_or(heard_ms, |ms| heard_ms.max(ms.min(counts_ms)));
        let heard_ms = coming_ms.map_or(heard_ms, |ms| heard_ms.max(ms));
        let over_ms = due.heard_ms + i64::from(due.timeout_ms) + HELD_BACK_MS_MAX;
        // One that is about to learn again is heard, and cannot say yet whom it has.
        let serves = self.zab.serves(held.server);
        if serves && now_ms - heard_ms < SILENT_SERVER_MS {
            // What was heard of it since says that its client is silent, unless it was long on its way: what
            // was said meanwhile is behind it.
            let bounded = now_ms < counts_ms + lasts_ms;
            let comes = bounded && coming_ms.is_some_and(|ms| now_ms - ms < SILENT_SERVER_MS);
            let told =
                over_ms <= heard_ms && !comes || self.zab.planted(Mutant::SilenceOfServerCounts);
            return if told { Patience::None } else { Patience::UntilHeard };
        }
        let until_ms = alive_ms + lasts_ms;
        let lives = now_ms - HELD_BACK_MS_MAX < until_ms;
        if lives { Patience::Grace { until_ms } } else { Patience::None }
    }

    /// Another server says something. What it says before it is served, or when it is not any more, does
    /// not count.
    pub(super) fn note_heard(&mut self, from: ServerId) {
        if self.zab.serves(from) {
            self.heard.insert(from, self.clock.mono_ms);
        }
    }

    /// A part of what another server says has come. Nothing else of it has for longer than servers hold back whom
    /// they heard: then what it says is long on its way. Its leader, if that is not this one, is told so often enough.
    pub(super) fn note_coming(&mut self, from: ServerId) {
        let now_ms = self.clock.mono_ms;
        let is_long = |heard_ms: &i64| TOUCH_INTERVAL_MS <= now_ms - heard_ms;
        if !self.zab.serves(from) || !self.heard.get(&from).is_some_and(is_long) {
            return;
        }
        let told_ms = self.coming.get(&from).copied();
        if self.zab.is_following() {
            if told_ms.is_some_and(|ms| now_ms - ms < SILENT_SERVER_MS / 4) {
                return;
            }
            self.request.coming.extend(self.zab.behind(from));
        }
        self.coming.insert(from, now_ms);
    }

    /// When a part of something long was last there that comes, here or at a relay, before this server's words.
    fn coming_ms(&self, server: ServerId) -> Option<i64> {
        let way = self.zab.way_to(server);
        let coming_ms = [way, server].iter().filter_map(|id| self.coming.get(id).copied()).max();
        coming_ms.filter(|_| !self.zab.planted(Mutant::LongWordIsSilence))
    }

    /// Forgets when those were heard that are neither served nor hold a session, once they are many: nothing
    /// depends on that any more.
    pub(super) fn forget_gone(&mut self) {
        if self.heard.len().max(self.coming.len()) <= REMEMBERED_MAX.max(2 * self.remembered) {
            return;
        }
        let held = self.attached.values().filter(|held| !held.left).map(|held| held.server);
        let held: BTreeSet<ServerId> = held.collect();
        let zab = &self.zab;
        let stays = |id: &ServerId| held.contains(id) || zab.serves(*id);
        self.heard.retain(|id, _| stays(id));
        self.coming.retain(|id, _| stays(id));
        self.remembered = self.heard.len().max(self.coming.len());
    }

    /// A server that learns from another one than its leader is not heard by that but when it asks
    /// something. While it has sessions of the ensemble it does so often enough not to be taken to be
    /// cut off.
    pub(super) fn stay_heard(&mut self, out: &mut Output) {
        let me = self.zab.me();
        if !self.zab.learns_from_leader()
            && SILENT_SERVER_MS / 2 <= self.clock.mono_ms - self.asked_ms
            && self.attached.values().any(|held| held.server == me)
        {
            self.send_request(out);
        }
    }

    /// Proposes to delete containers that lost their last child, and nodes whose time is over.
    pub(super) fn reap(&mut self) {
        let reap = self.options.reap;
        if !self.zab.is_leading() || self.clock.mono_ms - self.reaped_ms < reap.interval_ms {
            return;
        }
        self.reaped_ms = self.clock.mono_ms;
        let share = i64::from(reap.per_minute_max) * reap.interval_ms / 60_000;
        let now_ms = self.clock.wall_ms;
        let over: Vec<Vec<u8>> = self
            .writer
            .reapable()
            .filter(|node| is_over(node, now_ms, reap.never_used_ms))
            .take(usize::try_from(share.max(1)).unwrap_or(usize::MAX))
            .map(|node| node.path().to_vec())
            .collect();
        for path in over {
            let never_used_ms = reap.never_used_ms;
            if self.can_propose() {
                self.propose_internal(Internal::Reap { path: &path, never_used_ms });
            }
        }
    }

    /// Puts the members of the ensemble into the history, if that says otherwise.
    pub(super) fn record_membership(&mut self) {
        let reader = self.tree.reader();
        let view = reader.view();
        let known = view.get(CONFIG_PATH).and_then(|node| node.data());
        let differs = !self.membership.is_empty() && known != Some(&*self.membership);
        if differs && self.can_propose() {
            let text = std::mem::take(&mut self.membership);
            self.propose_internal(Internal::Configure { text: &text });
            self.membership = text;
        }
    }

    fn can_propose(&mut self) -> bool {
        !self.is_full(0, LAST_RESERVE_BYTES)
            && self.zab.proposable().is_some()
            && !self.lacks_room_in_quorum(Need::End)
    }
}

/// Whether a childless container or node with a time to live has had its time. Decided again by
/// `prepare` against what is outstanding.
fn is_over(node: &Znode<'_>, now_ms: i64, never_used_ms: Option<i64>) -> bool {
    let unwritten_ms = now_ms - node.stat().mtime;
    match node.kind() {
        NodeKind::Container => {
            0 < node.stored_cversion() || never_used_ms.is_some_and(|max| max < unwritten_ms)
        }
        NodeKind::Ttl(ttl_ms) => ttl_ms < unwritten_ms,
        NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
    }
}
