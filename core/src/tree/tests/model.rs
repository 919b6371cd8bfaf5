//! Random transactions against an obvious model, looked at from several views.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

use super::{OPTIONS, Rig};
use crate::acl::{self, AclList};
use crate::path;
use crate::record::push_part;
use crate::snapshot::NodeImage;
use crate::tree::{Applied, Reader, Restorer, Still, View, Writer};
use crate::txn::{CreateTxn, MultiTxn, NodeKind, Txn, TxnHead};
use crate::wire::Stat;
use crate::zxid::{SessionId, Zxid};

const OTHER_LIST: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x06digest\0\0\0\x05bob:x";

#[derive(Clone, Debug, PartialEq)]
struct ModelNode {
    data: Option<Vec<u8>>,
    acl: Vec<u8>,
    kind: NodeKind,
    stat: Stat,
    stored_cversion: i32,
    children: Vec<String>,
}

type Model = BTreeMap<String, ModelNode>;

#[derive(Clone, Debug)]
enum Step {
    Create { path: String, data: Option<Vec<u8>>, kind: u8, other_list: bool },
    Delete { path: String },
    Set { path: String, data: Option<Vec<u8>> },
    SetAcl { path: String, other_list: bool },
    Close { session: u8 },
}

#[derive(Clone, Debug)]
enum Turn {
    /// Several steps make a multi.
    Apply(Vec<Step>),
    Reclaim,
    /// Remember this moment with a reader.
    Open,
    /// Let a reader go on to the newest state, or go.
    Advance(usize),
    Close(usize),
    /// Hold this moment, or let one go.
    Hold,
    LetGo(usize),
}

fn paths() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..3_u8, 1..4).prop_map(|names| {
        names.iter().map(|name| format!("/{}", char::from(b'a' + name))).collect()
    })
}

fn datas() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Some),
        (1000_usize..1100).prop_map(|bytes| Some(vec![7; bytes])),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (paths(), datas(), 0..6_u8, any::<bool>())
            .prop_map(|(path, data, kind, other_list)| Step::Create { path, data, kind, other_list }),
        4 => paths().prop_map(|path| Step::Delete { path }),
        3 => (paths(), datas()).prop_map(|(path, data)| Step::Set { path, data }),
        1 => (paths(), any::<bool>()).prop_map(|(path, other_list)| Step::SetAcl { path, other_list }),
        1 => (1..3_u8).prop_map(|session| Step::Close { session }),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => steps().prop_map(|step| Turn::Apply(vec![step])),
        3 => proptest::collection::vec(steps(), 2..6).prop_map(Turn::Apply),
        3 => Just(Turn::Reclaim),
        1 => Just(Turn::Open),
        1 => (0..4_usize).prop_map(Turn::Advance),
        1 => (0..4_usize).prop_map(Turn::Close),
        2 => Just(Turn::Hold),
        2 => (0..6_usize).prop_map(Turn::LetGo),
    ]
}

fn list(other: bool) -> &'static [u8] {
    if other { OTHER_LIST } else { acl::OPEN.as_bytes() }
}

fn parent(path: &str) -> String {
    let parent = path::parent(path.as_bytes()).expect("not the root");
    String::from_utf8(parent.to_vec()).expect("text")
}

fn remove(model: &mut Model, path: &str, zxid: u64) {
    model.remove(path);
    let above = model.get_mut(&parent(path)).expect("a parent");
    above.children.retain(|name| name.as_bytes() != path::name(path.as_bytes()));
    above.stat.pzxid = zxid as i64;
    above.stat.num_children -= 1;
    above.stat.cversion += 1;
}

/// Does the step to the model, or says that it does not fit.
fn model_step(model: &mut Model, step: &Step, zxid: u64, time: i64, stats: &mut Vec<Stat>) -> bool {
    match step {
        Step::Create { path, data, kind, other_list } => {
            let Some(above) = model.get(&parent(path)) else { return false };
            if model.contains_key(path) || matches!(above.kind, NodeKind::Ephemeral(_)) {
                return false;
            }
            let kind = match kind {
                0 | 1 => NodeKind::Ephemeral(SessionId(u64::from(*kind) + 1)),
                2 => NodeKind::Container,
                3 => NodeKind::Ttl(9),
                _ => NodeKind::Persistent,
            };
            let owner = if let NodeKind::Ephemeral(session) = kind { session.0 as i64 } else { 0 };
            let z = zxid as i64;
            let stat = Stat {
                czxid: z,
                mzxid: z,
                pzxid: z,
                ctime: time,
                mtime: time,
                ephemeral_owner: owner,
                data_length: data.as_ref().map_or(0, Vec::len) as i32,
                ..Stat::default()
            };
            stats.push(stat);
            let name = String::from_utf8_lossy(path::name(path.as_bytes())).into_owned();
            let above = model.get_mut(&parent(path)).expect("looked up before");
            above.children.push(name);
            above.stored_cversion += 1;
            above.stat.pzxid = z;
            above.stat.cversion += 1;
            above.stat.num_children += 1;
            let (data, acl) = (data.clone(), list(*other_list).to_vec());
            let children = Vec::new();
            let node = ModelNode { data, acl, kind, stat, stored_cversion: 0, children };
            model.insert(path.clone(), node);
        }
        Step::Delete { path } => {
            if !model.get(path).is_some_and(|node| node.children.is_empty()) {
                return false;
            }
            remove(model, path, zxid);
        }
        Step::Set { path, data } => {
            let Some(node) = model.get_mut(path) else { return false };
            node.data.clone_from(data);
            node.stat.data_length = data.as_ref().map_or(0, Vec::len) as i32;
            node.stat.version += 1;
            (node.stat.mzxid, node.stat.mtime) = (zxid as i64, time);
            stats.push(node.stat);
        }
        Step::SetAcl { path, other_list } => {
            let Some(node) = model.get_mut(path) else { return false };
            node.acl = list(*other_list).to_vec();
            node.stat.aversion += 1;
            stats.push(node.stat);
        }
        Step::Close { session } => {
            let kind = NodeKind::Ephemeral(SessionId(u64::from(*session)));
            let owned: Vec<String> = model
                .iter()
                .filter(|(_, node)| node.kind == kind)
                .map(|(path, _)| path.clone())
                .collect();
            for path in owned {
                remove(model, &path, zxid);
            }
        }
    }
    true
}

/// The step as a transaction, with results taken from the model behind it.
fn txn_of<'a>(step: &'a Step, after: &Model) -> Txn<'a> {
    match step {
        Step::Create { path, data, kind: _, other_list } => Txn::Create(CreateTxn {
            path: path.as_bytes(),
            data: data.as_deref(),
            acl: AclList::from_bytes(list(*other_list)).expect("a list"),
            kind: after[path].kind,
            parent_cversion: after[&parent(path)].stored_cversion,
        }),
        Step::Delete { path } => Txn::Delete { path: path.as_bytes() },
        Step::Set { path, data } => Txn::SetData {
            path: path.as_bytes(),
            data: data.as_deref(),
            version: after[path].stat.version,
        },
        Step::SetAcl { path, other_list } => Txn::SetAcl {
            path: path.as_bytes(),
            acl: AclList::from_bytes(list(*other_list)).expect("a list"),
            version: after[path].stat.aversion,
        },
        Step::Close { session: _ } => Txn::CloseSession,
    }
}

fn model_of(view: &View<'_>) -> Model {
    let mut model = Model::new();
    view.walk(&mut |image| {
        let path = String::from_utf8_lossy(image.path).into_owned();
        let node = view.get(image.path).expect("walked");
        assert_eq!(node.image(), *image);
        let children: Vec<String> =
            node.children().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(children.len(), node.num_children() as usize);
        let node = ModelNode {
            data: node.data().map(<[u8]>::to_vec),
            acl: node.acl().as_bytes().to_vec(),
            kind: node.kind(),
            stat: node.stat(),
            stored_cversion: node.stored_cversion(),
            children,
        };
        assert!(model.insert(path, node).is_none());
    });
    model
}

fn restored(view: &View<'_>) -> (Writer, Model) {
    let mut restorer = Restorer::new(super::TreeOptions { hash_seed: 99 });
    view.walk(&mut |image: &NodeImage<'_>| restorer.push(image).expect("in order"));
    let (writer, tree) = restorer.finish(view.zxid()).expect("with a root");
    assert_eq!(tree.applied(), view.zxid());
    let model = model_of(&tree.reader().view());
    (writer, model)
}

struct Run {
    rig: Rig,
    model: Model,
    /// Readers with the model as it was when they came, or last went on.
    readers: Vec<(Reader, Model)>,
    /// Views that are held, with the model as it was.
    stills: Vec<(Still, Model)>,
    out: Applied,
}

impl Run {
    fn apply(&mut self, steps: &[Step]) {
        let (zxid, time) = (self.rig.last + 1, 5000 + self.rig.last as i64);
        let head = |session| TxnHead { zxid: Zxid(zxid), time_ms: time, session, cxid: 0 };
        self.out.clear();
        let mut stats = Vec::new();
        if let [step @ Step::Close { session }] = steps {
            model_step(&mut self.model, step, zxid, time, &mut stats);
            let head = head(SessionId(u64::from(*session)));
            self.rig.writer.apply(&head, &Txn::CloseSession, &mut self.out);
        } else {
            let mut parts = Vec::new();
            let mut count = 0;
            for step in steps.iter().filter(|step| !matches!(step, Step::Close { .. })) {
                if model_step(&mut self.model, step, zxid, time, &mut stats) {
                    push_part(&txn_of(step, &self.model), &mut parts);
                    count += 1;
                }
            }
            let multi = MultiTxn { parts: &parts };
            let single = multi.iter().next().filter(|_| count == 1);
            let txn = single.unwrap_or(Txn::Multi(multi));
            self.rig.writer.apply(&head(SessionId(9)), &txn, &mut self.out);
        }
        self.rig.last = zxid;
        assert_eq!(self.out.stats, stats);
    }

    fn turn(&mut self, turn: &Turn) {
        match turn {
            Turn::Apply(steps) => self.apply(steps),
            Turn::Reclaim => self.rig.writer.reclaim(),
            Turn::Open if self.readers.len() < 4 => {
                self.readers.push((self.rig.tree.reader(), self.model.clone()));
            }
            Turn::Advance(index) if *index < self.readers.len() => {
                let (reader, model) = &mut self.readers[*index];
                reader.advance(Zxid(self.rig.last));
                model.clone_from(&self.model);
            }
            Turn::Close(index) if *index < self.readers.len() => {
                self.readers.remove(*index);
            }
            Turn::Hold if self.stills.len() < 6 => {
                self.stills.push((self.rig.tree.still(), self.model.clone()));
            }
            Turn::LetGo(index) if *index < self.stills.len() => {
                self.stills.remove(*index);
            }
            Turn::Open | Turn::Advance(_) | Turn::Close(_) | Turn::Hold | Turn::LetGo(_) => {}
        }
    }

    fn check(&mut self) {
        for (reader, model) in &self.readers {
            assert_eq!(&model_of(&reader.view()), model);
            assert_eq!(&model_of(&reader.view_at(Zxid(self.rig.last))), &self.model);
        }
        for (still, model) in &self.stills {
            assert_eq!(&model_of(&still.view()), model);
        }
        let reader = self.rig.tree.reader();
        let (again, model) = restored(&reader.view());
        assert_eq!(model, self.model);
        assert_eq!(again.digest(), self.rig.writer.digest());
        assert_eq!(self.rig.tree.node_count(), self.model.len() as u64 + 1);
        let bytes = |(path, node): (&String, &ModelNode)| {
            path.len() + node.data.as_ref().map_or(0, Vec::len)
        };
        let bytes: usize = self.model.iter().map(bytes).sum();
        assert_eq!(self.rig.tree.data_bytes(), bytes as u64);
        for session in [1, 2].map(SessionId) {
            let mut listed: Vec<_> = self.rig.writer.ephemerals(session).collect();
            assert_eq!(listed, again.ephemerals(session).collect::<Vec<_>>());
            listed.sort_unstable();
            let owned = self.model.iter().filter(|(_, n)| n.kind == NodeKind::Ephemeral(session));
            assert_eq!(listed, owned.map(|(path, _)| path.as_bytes()).collect::<Vec<_>>());
        }
        let childless = self.model.iter().filter(|(_, node)| {
            matches!(node.kind, NodeKind::Container | NodeKind::Ttl(_)) && node.children.is_empty()
        });
        assert_eq!(self.rig.writer.reapable().count(), childless.count());
    }
}

#[test]
fn every_view_is_the_model_of_its_moment() {
    let cases = if cfg!(miri) { 4 } else { 400 };
    let length = if cfg!(miri) { 40 } else { 120 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let turns = proptest::collection::vec(turns(), 1..length);
    let result = runner.run(&turns, |turns| {
        let (writer, tree) = crate::tree::new(OPTIONS);
        let rig = Rig { writer, tree, out: Applied::default(), last: 0 };
        let model = model_of(&rig.tree.reader().view());
        let mut run =
            Run { rig, model, readers: Vec::new(), stills: Vec::new(), out: Applied::default() };
        for (number, turn) in turns.iter().enumerate() {
            run.turn(turn);
            if number % 8 == 0 {
                run.check();
            }
        }
        run.check();
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
