//! The rules: what each change needs, in the order in which ZooKeeper checks it, and what it does.

use super::Options;
use super::overlay::{self, Held, Overlay};
use super::part::{Keep, Mode, Part};
use super::quota::{self, QuotaWarning};
use super::state::{NodeFacts, State};
use crate::acl::{self, AclList, Identity};
use crate::auth::{self, Grants};
use crate::path::{self, ZnodePath};
use crate::session::SessionTable;
use crate::tree::QuotaUsage;
use crate::txn::{CreateTxn, NodeKind, Txn};
use crate::wire::request::{CreateRequest, PathVersion, SetAclRequest, SetDataRequest};
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{SessionId, Zxid};

/// Where a decided transaction keeps what its request does not hold.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    path: Vec<u8>,
    acl: Vec<u8>,
}

/// One write's surroundings while its changes are decided.
pub(super) struct Decision<'d, S> {
    pub(super) state: &'d S,
    pub(super) overlay: &'d mut Overlay,
    pub(super) sessions: &'d SessionTable,
    pub(super) options: &'d Options,
    pub(super) identities: &'d [Identity],
    /// Of a multi, whose parts meet many lists.
    pub(super) grants: Option<Grants<'d>>,
    pub(super) session: SessionId,
    pub(super) is_local: bool,
    pub(super) zxid: Zxid,
    pub(super) time_ms: i64,
    pub(super) warning: &'d mut Option<QuotaWarning>,
}

impl<S: State> Decision<'_, S> {
    /// Decides one change on top of all before it.
    pub(super) fn decide<'t>(
        &mut self,
        part: &Part<'t>,
        scratch: &'t mut Scratch,
    ) -> Result<Txn<'t>, ErrorCode> {
        match part {
            Part::Create(request, mode) => self.create(request, *mode, scratch),
            Part::Delete(request) => self.delete(request),
            Part::SetData(request) => self.set_data(request),
            Part::SetAcl(request) => self.set_acl(request, scratch),
            Part::Check(request) => self.check(request),
        }
    }

    fn create<'t>(
        &mut self,
        request: &CreateRequest<'t>,
        mode: Result<Mode, ErrorCode>,
        scratch: &'t mut Scratch,
    ) -> Result<Txn<'t>, ErrorCode> {
        let mode = mode?.check(self.options.extended_types)?;
        self.check_session()?;
        if self.is_local && mode.keep == Keep::Ephemeral {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        let parent_path = parent_of(request.path).ok_or(ErrorCode::BadArguments)?;
        scratch.acl.clear();
        auth::fix_up(request.acl, self.identities, &mut scratch.acl)?;
        let parent = self.node(parent_path).ok_or(ErrorCode::NoNode)?;
        self.check_allowed(&parent, auth::needs(OpCode::Create))?;
        let parent_cversion = parent.cversion;
        let is_parent_ephemeral = matches!(parent.kind, NodeKind::Ephemeral(_));

        let created_path: &'t [u8] = if mode.sequential {
            // The counter cannot go past its end, so the name that it gives there would come twice.
            // ZooKeeper gives it once and then reports NODEEXISTS; here it is never given.
            if parent_cversion == i32::MAX {
                return Err(ErrorCode::NodeExists);
            }
            let path = &mut scratch.path;
            path.clear();
            path.extend_from_slice(request.path);
            path.extend_from_slice(format!("{parent_cversion:010}").as_bytes());
            path
        } else {
            request.path
        };
        ZnodePath::parse(created_path).map_err(|_| ErrorCode::BadArguments)?;
        if self.node(created_path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if is_parent_ephemeral {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_length = request.data.map_or(0, <[u8]>::len);
        let usage = QuotaUsage { count: 1, bytes: data_length as i64 };
        self.check_quota(created_path, usage)?;

        let acl = stored_list(&scratch.acl);
        let kind = match mode.keep {
            Keep::Persistent => NodeKind::Persistent,
            Keep::Ephemeral => NodeKind::Ephemeral(self.session),
            Keep::Container => NodeKind::Container,
            Keep::Ttl(ms) => NodeKind::Ttl(ms),
        };
        let parent_cversion = parent_cversion.saturating_add(1);
        self.overlay.change(self.state, parent_path, self.zxid, |parent| {
            parent.cversion = parent_cversion;
            parent.num_children += 1;
        });
        let node = Held {
            kind,
            version: 0,
            cversion: 0,
            aversion: 0,
            num_children: 0,
            data_length: data_length as i32,
            mtime: self.time_ms,
            acl: overlay::hold(acl),
        };
        self.overlay.changes.ttl_created += u64::from(matches!(kind, NodeKind::Ttl(_)));
        self.overlay.put(created_path, self.zxid, Some(node));
        self.charge(created_path, usage);
        let data = request.data;
        Ok(Txn::Create(CreateTxn { path: created_path, data, acl, kind, parent_cversion }))
    }

    fn delete<'t>(&mut self, request: &PathVersion<'t>) -> Result<Txn<'t>, ErrorCode> {
        self.check_session()?;
        let path = request.path;
        let parent_path = parent_of(path).ok_or(ErrorCode::BadArguments)?;
        if path::is_undeletable(path) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.node(parent_path).ok_or(ErrorCode::NoNode)?;
        self.check_allowed(&parent, auth::needs(OpCode::Delete))?;
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        check_version(node.version, request.version)?;
        if node.num_children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let data_length = node.data_length;
        self.remove(path, data_length);
        Ok(Txn::Delete { path })
    }

    /// Takes a childless node out of the overlay's world.
    fn remove(&mut self, path: &[u8], data_length: i32) {
        let parent_path = parent_of(path).expect("nodes have absolute paths");
        self.overlay.change(self.state, parent_path, self.zxid, |parent| {
            parent.num_children -= 1;
        });
        self.overlay.put(path, self.zxid, None);
        self.charge(path, QuotaUsage { count: -1, bytes: -i64::from(data_length) });
    }

    fn set_data<'t>(&mut self, request: &SetDataRequest<'t>) -> Result<Txn<'t>, ErrorCode> {
        self.check_session()?;
        let path = checked(request.path)?;
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        self.check_allowed(&node, auth::needs(OpCode::SetData))?;
        let (current, length_before) = (node.version, node.data_length);
        let data_length = request.data.map_or(0, <[u8]>::len) as i32;
        let usage =
            QuotaUsage { count: 0, bytes: i64::from(data_length) - i64::from(length_before) };
        self.check_quota(path, usage)?;
        let version = next_version(current, request.version)?;
        let time_ms = self.time_ms;
        self.overlay.change(self.state, path, self.zxid, |node| {
            node.version = version;
            node.data_length = data_length;
            node.mtime = time_ms;
        });
        self.charge(path, usage);
        Ok(Txn::SetData { path, data: request.data, version })
    }

    fn set_acl<'t>(
        &mut self,
        request: &SetAclRequest<'t>,
        scratch: &'t mut Scratch,
    ) -> Result<Txn<'t>, ErrorCode> {
        self.check_session()?;
        let path = checked(request.path)?;
        scratch.acl.clear();
        auth::fix_up(request.acl, self.identities, &mut scratch.acl)?;
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        self.check_allowed(&node, auth::needs(OpCode::SetAcl))?;
        let version = next_version(node.aversion, request.version)?;
        let acl = stored_list(&scratch.acl);
        self.overlay.change(self.state, path, self.zxid, |node| {
            node.aversion = version;
            node.acl = overlay::hold(acl);
        });
        Ok(Txn::SetAcl { path, acl, version })
    }

    fn check<'t>(&mut self, request: &PathVersion<'t>) -> Result<Txn<'t>, ErrorCode> {
        self.check_session()?;
        let path = checked(request.path)?;
        let node = self.node(path).ok_or(ErrorCode::NoNode)?;
        self.check_allowed(&node, auth::needs(OpCode::Check))?;
        check_version(node.version, request.version)?;
        Ok(Txn::Check { path })
    }

    /// Ends `session`: all its ephemerals go with it, outstanding ones included.
    pub(super) fn close_session(&mut self, session: SessionId) {
        for path in self.overlay.ephemerals(self.state, session) {
            let data_length = self.node(&path).expect("listed as existing").data_length;
            self.remove(&path, data_length);
        }
        self.overlay.close_session(session, self.zxid);
    }

    /// Whether the reaper may delete the node at `path` now; if so, it is deleted.
    pub(super) fn reap(&mut self, path: &[u8], never_used_ms: Option<i64>) -> bool {
        let Some(node) = self.node(path) else {
            return false;
        };
        let unwritten_ms = self.time_ms.saturating_sub(node.mtime);
        let is_over = match node.kind {
            NodeKind::Container => {
                node.cversion > 0 || never_used_ms.is_some_and(|limit| unwritten_ms > limit)
            }
            NodeKind::Ttl(ttl_ms) => unwritten_ms > ttl_ms,
            NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
        };
        if !is_over || node.num_children > 0 {
            return false;
        }
        let (data_length, kind) = (node.data_length, node.kind);
        self.remove(path, data_length);
        self.overlay.changes.ttl_deleted += u64::from(matches!(kind, NodeKind::Ttl(_)));
        true
    }

    /// The version of `/zookeeper/config` that holds `text`. Whoever may write there is asked nothing:
    /// this is the ensemble's own.
    pub(super) fn configure(&mut self, text: &[u8]) -> Option<i32> {
        let node = self.node(super::CONFIG_PATH)?;
        let version = next_version(node.version, -1).ok()?;
        let (data_length, time_ms) = (text.len() as i32, self.time_ms);
        self.overlay.change(self.state, super::CONFIG_PATH, self.zxid, |node| {
            node.version = version;
            node.data_length = data_length;
            node.mtime = time_ms;
        });
        Some(version)
    }

    pub(super) fn check_session(&self) -> Result<(), ErrorCode> {
        let is_committed = self.sessions.contains(self.session);
        if self.is_local || self.overlay.session_lives(self.session, is_committed) {
            Ok(())
        } else {
            Err(ErrorCode::SessionExpired)
        }
    }

    fn node(&self, path: &[u8]) -> Option<NodeFacts<'_>> {
        self.overlay.get(self.state, path)
    }

    fn check_allowed(&self, node: &NodeFacts<'_>, needs: auth::Needs) -> Result<(), ErrorCode> {
        let (auth::Needs::Node(needed) | auth::Needs::Parent(needed)) = needs else {
            unreachable!("changes need a permission on a node");
        };
        if self.options.skip_acl {
            return Ok(());
        }
        match (&self.grants, node.acl) {
            (_, None) => Ok(()),
            (Some(grants), list) => grants.check(list, needed),
            (None, Some(list)) => {
                let list = AclList::from_checked(list);
                let is_allowed = auth::allowed(self.identities, list, needed);
                if is_allowed { Ok(()) } else { Err(ErrorCode::NoAuth) }
            }
        }
    }

    fn check_quota(&mut self, path: &[u8], change: QuotaUsage) -> Result<(), ErrorCode> {
        if !self.options.enforce_quota {
            return Ok(());
        }
        let Some(facts) = self.state.quota(path) else {
            return Ok(());
        };
        let pending = self.overlay.usage(facts.prefix);
        if let Some(warning) = quota::check(&facts, pending, change)? {
            *self.warning = Some(warning);
        }
        Ok(())
    }

    fn charge(&mut self, path: &[u8], change: QuotaUsage) {
        if self.options.enforce_quota
            && let Some(facts) = self.state.quota(path)
        {
            self.overlay.charge(facts.prefix, self.zxid, change);
        }
    }
}

/// What comes before the last slash; `None` for a path that has none, or a NUL. More is not asked
/// of a path before its parent was looked at.
fn parent_of(path: &[u8]) -> Option<&[u8]> {
    if path.contains(&0) {
        return None;
    }
    if path == b"/" { Some(b"/") } else { path::parent(path) }
}

fn checked(path: &[u8]) -> Result<&[u8], ErrorCode> {
    ZnodePath::parse(path).map(ZnodePath::as_bytes).map_err(|_| ErrorCode::BadArguments)
}

/// The list that [`auth::fix_up`] wrote.
fn stored_list(bytes: &[u8]) -> AclList<'_> {
    if bytes == acl::OPEN.as_bytes() {
        return acl::OPEN;
    }
    AclList::from_bytes(bytes).expect("written by fix_up")
}

fn check_version(current: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == current { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

/// The version after a change. It wraps, and passes over -1, which as an expected version matches
/// anything: so does ZooKeeper from 3.10 on, where 3.9 lets a version be -1.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    check_version(current, expected)?;
    Ok(match current.wrapping_add(1) {
        -1 => 0,
        version => version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E13.
    #[test]
    fn versions_wrap_and_pass_over_minus_one() {
        assert_eq!(next_version(i32::MAX, -1), Ok(i32::MIN));
        assert_eq!(next_version(-2, -2), Ok(0));
        assert_eq!(next_version(-1, -1), Ok(0), "the aversion of /zookeeper/config");
        assert_eq!(next_version(0, 0), Ok(1));
        assert_eq!(next_version(0, 1), Err(ErrorCode::BadVersion));
    }
}
