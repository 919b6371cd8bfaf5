//! Tasks that a leader hands out to workers.
//!
//! ```text
//!   tasks/task-…3         put by anybody; gone when it is done
//!   workers/<name>        who works, by ephemeral nodes
//!   assigned/<name>/task-…3   by the leader, in a transaction that fails once it leads no more
//! ```
//!
//! What a worker had when it died goes to another. Its work may have been done in part, so that
//! whatever a task does elsewhere needs the token of the assignment: a later assignment's is larger.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::contender::line;
use super::once::{self, Once};
use super::place::Place;
use super::signal::look_again_by;
use super::tenure::Sight;
use super::{FencingToken, Group, Membership, RecipeError, Tenure, persist};
use crate::client::Client;
use crate::error::ClientError;
use crate::operation::{ANY_VERSION, Acl, CreateMode, MultiOp};

/// Tasks and workers at a path.
#[derive(Clone, Debug)]
pub struct TaskBoard {
    tasks: Place,
    workers: Place,
    assigned: Place,
    receipts: Place,
}

impl TaskBoard {
    /// The board at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        let place = Place::new(client, path);
        let [tasks, workers, assigned, receipts] = ["tasks", "workers", "assigned", "receipts"]
            .map(|name| Place::new(client, &place.child(name)));
        Self { tasks, workers, assigned, receipts }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        for place in [&mut self.tasks, &mut self.workers, &mut self.assigned, &mut self.receipts] {
            place.acl.clone_from(&acl);
        }
        self
    }

    fn make(&self, deadline: Instant) -> Result<(), RecipeError> {
        for place in [&self.tasks, &self.workers, &self.assigned, &self.receipts] {
            place.make_as(&place.path, CreateMode::Persistent, deadline)?;
        }
        Ok(())
    }

    /// Puts a task on the board, once. Blocks. Tokens grow from task to task.
    pub fn put(&self, data: &[u8], deadline: Instant) -> Result<FencingToken, RecipeError> {
        let put = [create(&self.tasks, "task-", data, CreateMode::PersistentSequential)];
        loop {
            match once::apply(&self.receipts, &put, deadline)? {
                Once::Applied(stat) => return Ok(Once::token(&stat)),
                Once::Refused(_, ErrorCode::NoNode) => self.make(deadline)?,
                Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
            }
        }
    }

    /// The names of the tasks that are not done, the oldest first. Blocks.
    pub fn open_tasks(&self, deadline: Instant) -> Result<Vec<String>, RecipeError> {
        let tasks = line(self.tasks.names(false, deadline)?);
        Ok(tasks.into_iter().map(|task| task.name).collect())
    }

    /// Begins to work under a name. Blocks, as [`Group::join`] does.
    pub fn work(&self, name: &str, deadline: Instant) -> Result<Worker, RecipeError> {
        self.make(deadline)?;
        let inbox = Place { path: self.assigned.child(name), ..self.assigned.clone() };
        inbox.make_as(&inbox.path, CreateMode::Persistent, deadline)?;
        // Its receipts are not among the workers, whom a leader lists.
        let group = Group::beside(self.workers.clone(), self.receipts.clone());
        let membership = group.join(name, b"", deadline)?;
        let sight = membership.sight();
        let desk = Desk { board: self.clone(), inbox, sight, taken: Mutex::default() };
        Ok(Worker { desk: Arc::new(desk), membership })
    }

    /// Hands out what nobody has and what the dead had, to those who have least. Blocks for the requests
    /// that this takes. Returns how many tasks went to somebody. Fails with [`RecipeError::Lost`] where
    /// `leadership` is over, at the latest by the servers' refusal: a [`Leadership`](super::Leadership),
    /// or a lock that all who assign here take.
    pub fn assign(&self, leadership: &Tenure, deadline: Instant) -> Result<usize, RecipeError> {
        let client = &self.tasks.client;
        // All that former leaders could do is done, and seen behind this.
        persist(client, deadline, |client| client.sync(&self.tasks.path))?;
        self.assign_watching(leadership, false, deadline)
    }

    /// Does so again whenever a task or a worker comes or goes, until the leadership is lost or the
    /// deadline passes, which is how it returns. Blocks.
    pub fn keep_assigning(
        &self,
        leadership: &Tenure,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        self.make(deadline)?;
        self.assign(leadership, deadline)?;
        let paths = [leadership.path(), &self.tasks.path, &self.workers.path];
        look_again_by(leadership.signal(), &self.tasks.client, &paths, deadline, || {
            leadership.hold()?;
            self.assign_watching(leadership, true, deadline).map(|_handed_out| None)
        })
    }

    fn assign_watching(
        &self,
        leadership: &Tenure,
        watch: bool,
        deadline: Instant,
    ) -> Result<usize, RecipeError> {
        leadership.hold()?;
        let tasks = line(self.tasks.names(watch, deadline)?);
        let workers: BTreeSet<String> = self.workers.names(watch, deadline)?.into_iter().collect();
        let mut holder_of = BTreeMap::new();
        let mut loads: BTreeMap<&str, usize> = workers.iter().map(|it| (it.as_str(), 0)).collect();
        for worker in self.assigned.names(false, deadline)? {
            let inbox = Place { path: self.assigned.child(&worker), ..self.assigned.clone() };
            for task in inbox.names(false, deadline)? {
                if let Some(load) = loads.get_mut(worker.as_str()) {
                    *load += 1;
                }
                holder_of.insert(task, worker.clone());
            }
        }
        let mut handed_out = 0;
        for task in tasks {
            let before = holder_of.get(&task.name);
            if before.is_some_and(|worker| workers.contains(worker)) {
                continue;
            }
            let Some((&worker, _)) = loads.iter().min_by_key(|(_, load)| **load) else { break };
            if self.hand(leadership, &task.name, before.map(String::as_str), worker, deadline)? {
                handed_out += 1;
                *loads.entry(worker).or_default() += 1;
            }
        }
        Ok(handed_out)
    }

    /// `false`: the task was done, or the worker is gone, meanwhile.
    fn hand(
        &self,
        leadership: &Tenure,
        task: &str,
        from: Option<&str>,
        to: &str,
        deadline: Instant,
    ) -> Result<bool, RecipeError> {
        let at = |worker: &str| self.assigned.child(&format!("{worker}/{task}"));
        let check = |path: String| MultiOp::Check { path, version: ANY_VERSION };
        let mut ops = vec![check(leadership.path().to_owned()), check(self.tasks.child(task))];
        ops.extend(from.map(|from| MultiOp::Delete { path: at(from), version: ANY_VERSION }));
        let name = format!("{to}/{task}");
        ops.push(create(&self.assigned, &name, b"", CreateMode::Persistent));
        match once::apply(&self.receipts, &ops, deadline)? {
            Once::Applied(_) => Ok(true),
            Once::Refused(0, ErrorCode::NoNode) => {
                leadership.lose();
                Err(RecipeError::Lost)
            }
            Once::Refused(_, ErrorCode::NoNode | ErrorCode::NodeExists) => Ok(false),
            Once::Refused(_, code) => Err(ClientError::Server(code).into()),
        }
    }
}

fn create(place: &Place, name: &str, data: &[u8], mode: CreateMode) -> MultiOp {
    let (path, data) = (place.child(name), Some(data.to_vec()));
    MultiOp::Create { path, data, acl: place.acl.clone(), mode }
}

/// What a worker has, and who works on it.
#[derive(Debug)]
struct Desk {
    board: TaskBoard,
    inbox: Place,
    /// Of the worker's membership.
    sight: Sight,
    taken: Mutex<BTreeSet<String>>,
}

impl Desk {
    fn taken(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, deadline: Instant) -> Result<Assignment, RecipeError> {
        let inbox = &self.inbox;
        let paths = [inbox.path.as_str(), self.sight.path()];
        let signal = self.sight.signal();
        let mut has_let_go = false;
        let taken = look_again_by(signal, &inbox.client, &paths, deadline, || {
            self.sight.hold()?;
            for task in line(inbox.names(true, deadline)?) {
                if !self.taken().insert(task.name.clone()) {
                    continue; // here, or on another thread
                }
                let taken = self.take_up(&task.name, deadline);
                if !matches!(taken, Ok(Some(_))) {
                    self.taken().remove(&task.name);
                    has_let_go = true;
                }
                if let Some(assignment) = taken? {
                    return Ok(Some(assignment));
                }
            }
            Ok(None)
        });
        if taken.is_err() && has_let_go {
            signal.raise(); // it is another thread's to take
        }
        taken
    }

    /// Writes into the assignment that this worker, in this session, has taken it up: one that worked
    /// under this name before can end it no more.
    fn take_up(
        self: &Arc<Self>,
        task: &str,
        deadline: Instant,
    ) -> Result<Option<Assignment>, RecipeError> {
        let Self { board, inbox, .. } = &**self;
        let path = inbox.child(task);
        let mark = self.sight.token().to_string().into_bytes();
        let take = [
            MultiOp::Check { path: self.sight.path().to_owned(), version: ANY_VERSION },
            MultiOp::SetData { path: path.clone(), data: Some(mark.clone()), version: ANY_VERSION },
        ];
        match once::apply(&board.receipts, &take, deadline)? {
            Once::Applied(_) => {}
            Once::Refused(_, ErrorCode::NoNode) => return Ok(None),
            Once::Refused(_, code) => return Err(ClientError::Server(code).into()),
        }
        let Some(assigned) = read(inbox, &path, deadline)? else { return Ok(None) };
        let Some(node) = read(&board.tasks, &board.tasks.child(task), deadline)? else {
            return Ok(None);
        };
        if assigned.data.as_deref() != Some(&mark) {
            return Ok(None);
        }
        // What was checked and written may be of one that has the name now, in the session that took the place
        // of ours.
        self.sight.hold()?;
        let token = FencingToken(assigned.stat.czxid).max(self.sight.token());
        Ok(Some(Assignment {
            desk: Arc::clone(self),
            task: task.to_owned(),
            version: assigned.stat.version,
            data: node.data.unwrap_or_default(),
            token,
        }))
    }
}

/// What a worker's tasks are taken from, by who does not keep it at work: when the worker has left or is dropped,
/// whoever waits here is told [`RecipeError::Lost`].
#[derive(Clone, Debug)]
pub struct Inbox(Arc<Desk>);

impl Inbox {
    /// As [`Worker::take`]. Blocks.
    pub fn take(&self, deadline: Instant) -> Result<Assignment, RecipeError> {
        self.0.take(deadline)
    }
}

/// One that works. Dropped, it leaves in the background, and what it has goes to others.
#[derive(Debug)]
pub struct Worker {
    desk: Arc<Desk>,
    membership: Membership,
}

impl Worker {
    /// Waits for a task that is assigned to this worker, the oldest first, and takes it up. Blocks.
    pub fn take(&self, deadline: Instant) -> Result<Assignment, RecipeError> {
        self.desk.take(deadline)
    }

    /// For who takes on another thread, which must not hold up that this one leaves. Does not block.
    pub fn inbox(&self) -> Inbox {
        Inbox(Arc::clone(&self.desk))
    }

    /// Stops working; what it has goes to others. Blocks. Who waits for a task, on another thread, is told
    /// [`RecipeError::Lost`].
    pub fn leave(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.membership.leave(deadline)
    }
}

impl Deref for Worker {
    type Target = Tenure;

    fn deref(&self) -> &Tenure {
        &self.membership
    }
}

fn read(
    place: &Place,
    path: &str,
    deadline: Instant,
) -> Result<Option<crate::client::NodeData>, RecipeError> {
    match persist(&place.client, deadline, |client| client.get(path, false)) {
        Ok(node) => Ok(Some(node)),
        Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A task that a worker has taken up. Dropped, it stays with this worker, which is not given it again.
#[derive(Debug)]
pub struct Assignment {
    desk: Arc<Desk>,
    task: String,
    version: i32,
    data: Vec<u8>,
    token: FencingToken,
}

impl Assignment {
    /// The task's name.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The task, as it was put.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Larger than that of any former assignment of this task: what the task does elsewhere goes
    /// through a [`Fence`](super::Fence) of its own there.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The task is done and leaves the board. Blocks. [`RecipeError::Lost`]: it is another's by now, or
    /// done already. After every other error it may be tried again.
    pub fn finish(&self, deadline: Instant) -> Result<(), RecipeError> {
        let Desk { board, inbox, .. } = &*self.desk;
        let done = [
            MultiOp::Delete { path: inbox.child(&self.task), version: self.version },
            MultiOp::Delete { path: board.tasks.child(&self.task), version: ANY_VERSION },
        ];
        let applied = once::apply(&board.receipts, &done, deadline)?;
        self.desk.taken().remove(&self.task);
        match applied {
            Once::Applied(_) => Ok(()),
            Once::Refused(_, ErrorCode::NoNode | ErrorCode::BadVersion) => Err(RecipeError::Lost),
            Once::Refused(_, code) => Err(ClientError::Server(code).into()),
        }
    }

    /// Nothing was done: the worker's next [`Worker::take`] gets it, one that waits already included. Does not
    /// block.
    pub fn give_back(self) {
        self.desk.taken().remove(&self.task);
        self.desk.sight.signal().raise();
    }
}

#[cfg(test)]
mod tests {
    use farwatch_core::wire::Stat;

    use super::*;
    use crate::client::{Created, Options};
    use crate::stub;

    #[test]
    fn a_take_that_let_nothing_go_wakes_no_other_thread() {
        let options = Options::default().transport(stub::server(|_op| ErrorCode::Ok));
        let client = Client::open("stub:1", options).unwrap();
        client.sync("/").unwrap(); // it was told that it is connected
        let board = TaskBoard::new(&client, "/board");
        let stat =
            Stat { ephemeral_owner: client.session().unwrap().id.0 as i64, ..Stat::default() };
        let tenure = Tenure::begin(&client, &Created { path: "/board/workers/w".to_owned(), stat });
        let inbox = Place { path: board.assigned.child("w"), ..board.assigned.clone() };
        let sight = tenure.sight();
        let desk = Arc::new(Desk { board, inbox, sight, taken: Mutex::default() });
        let worker = Worker { desk, membership: Membership { tenure } };
        let before = worker.membership.signal().raised();
        for _ in 0..3 {
            assert_eq!(worker.take(Instant::now()).map(drop), Err(RecipeError::Deadline));
        }
        assert_eq!(worker.membership.signal().raised(), before);
    }
}
