//! Takes part in races of recipes beside other libraries that do the same at the same paths.
//!
//! `interop/recipes/race.py` says what the nodes of a race are, starts the contenders of all libraries and
//! judges what they leave. Whatever a contender sees of what must not be ends it with an error.
//!
//! `cargo run -p farwatch-client --example recipe_race -- host:port /directory name contenders rounds recipe…`

use std::error::Error;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    Barrier, Counter, Election, Fence, Leader, LeaderLatch, LeaderSelector, LeaderView, Leadership,
    Lock, ReadWriteLock, RecipeError, Semaphore,
};
use farwatch_client::{ANY_VERSION, Acl, Client, CreateMode, Options};

type Failure = Box<dyn Error>;

/// As all contenders have it. Two fewer than there are contenders, so that one waits for a permit and one
/// in the line for that.
const PERMITS: usize = 2;

/// How long a barrier is seen to hold.
const BARRED_FOR: Duration = Duration::from_millis(100);

/// Between two looks at what others do.
const PAUSE: Duration = Duration::from_millis(2);

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn require(holds: bool, claim: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(claim.into()) }
}

/// One recipe's race, as one contender sees it.
struct Race<'c> {
    client: &'c Client,
    directory: String,
    name: &'c str,
    /// All that contend, in the order of their names.
    names: Vec<String>,
    rounds: usize,
    taken: usize,
    is_done: bool,
    /// Whether another library's contender was alone between two times that this one was.
    has_alternated: bool,
}

impl<'c> Race<'c> {
    /// Returns when all contenders are there.
    fn begin(
        client: &'c Client,
        directory: String,
        name: &'c str,
        contenders: usize,
        rounds: usize,
    ) -> Result<Self, Failure> {
        let mut race = Self {
            client,
            directory,
            name,
            names: Vec::new(),
            rounds,
            taken: 0,
            is_done: false,
            has_alternated: false,
        };
        race.create(&format!("contenders/{name}"), b"", CreateMode::Persistent)?;
        race.until("all contend", || Ok(race.children("contenders")?.len() == contenders))?;
        race.names = race.children("contenders")?;
        race.names.sort();
        Ok(race)
    }

    fn at(&self, node: &str) -> String {
        format!("{}/{node}", self.directory)
    }

    fn create(&self, node: &str, data: &[u8], mode: CreateMode) -> Result<(), Failure> {
        self.client.create(&self.at(node), data, &Acl::open(), mode)?;
        Ok(())
    }

    fn delete(&self, node: &str) -> Result<(), Failure> {
        Ok(self.client.delete(&self.at(node), ANY_VERSION)?)
    }

    fn exists(&self, node: &str) -> Result<bool, Failure> {
        Ok(self.client.exists(&self.at(node), false)?.is_some())
    }

    fn children(&self, node: &str) -> Result<Vec<String>, Failure> {
        Ok(self.client.children(&self.at(node), false)?.names)
    }

    fn until(
        &self,
        what: &str,
        mut holds: impl FnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let deadline = deadline();
        while !holds()? {
            require(Instant::now() < deadline, &format!("waited in vain until {what}"))?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether a contender of this name is of another library.
    fn is_foreign(&self, name: &str) -> Result<bool, Failure> {
        require(self.names.iter().any(|it| it == name), &format!("nobody is called {name:?}"))?;
        let library = |name: &str| name.split('-').next().map(str::to_owned);
        Ok(library(name) != library(self.name))
    }

    /// What only one may do at a time, and nobody while others share.
    fn alone(&mut self) -> Result<(), Failure> {
        self.create("inside", b"", CreateMode::Ephemeral)?;
        let log = self.client.get(&self.at("log"), false)?.data.unwrap_or_default();
        let log = String::from_utf8(log)?;
        if 0 < self.taken {
            for between in log.lines().rev().take_while(|it| *it != self.name) {
                self.has_alternated |= self.is_foreign(between)?;
            }
        }
        let log = format!("{log}{}\n", self.name);
        self.client.set(&self.at("log"), log.as_bytes(), ANY_VERSION)?;
        let sharing = self.children("sharing")?;
        require(sharing.is_empty(), &format!("{sharing:?} share what one has alone"))?;
        self.delete("inside")?;
        self.taken += 1;
        Ok(())
    }

    /// Whether all have had their rounds and seen what is to be `seen`. Nobody stops before.
    fn is_over(&mut self, seen: bool) -> Result<bool, Failure> {
        if !self.is_done && seen && self.rounds <= self.taken {
            self.create(&format!("done/{}", self.name), b"", CreateMode::Persistent)?;
            self.is_done = true;
        }
        self.all_are_done()
    }

    fn all_are_done(&self) -> Result<bool, Failure> {
        Ok(self.children("done")?.len() == self.names.len())
    }

    fn end(&self) -> Result<(), Failure> {
        let taken = self.taken.to_string();
        self.create(&format!("rounds/{}", self.name), taken.as_bytes(), CreateMode::Persistent)
    }
}

fn lock(race: &mut Race<'_>) -> Result<(), Failure> {
    let lock = Lock::new(race.client, &race.at("place"));
    let fence = Fence::default();
    while !race.is_over(race.has_alternated)? {
        let guard = lock.acquire(deadline())?;
        fence.admit(guard.check()?)?;
        race.alone()?;
        guard.release(deadline())?;
    }
    Ok(())
}

/// All read at once, having come one after the other: each behind readers of its own and of another library.
fn all_read(race: &Race<'_>, lock: &ReadWriteLock, is_backwards: bool) -> Result<(), Failure> {
    let together = if is_backwards { "together/backwards" } else { "together/forwards" };
    let index =
        race.names.iter().position(|it| it == race.name).ok_or("this one does not contend")?;
    let before = if is_backwards { race.names.len() - 1 - index } else { index };
    race.until("it is its turn to read", || Ok(race.children(together)?.len() == before))?;
    let guard = lock.read(deadline())?;
    race.create(&format!("{together}/{}", race.name), b"", CreateMode::Persistent)?;
    race.until("all read", || Ok(race.children(together)?.len() == race.names.len()))?;
    Ok(guard.release(deadline())?)
}

fn read_write(race: &mut Race<'_>) -> Result<(), Failure> {
    let lock = ReadWriteLock::new(race.client, &race.at("place"));
    let fence = Fence::default();
    for is_backwards in [false, true] {
        all_read(race, &lock, is_backwards)?;
    }
    while !race.is_over(race.has_alternated)? {
        let guard = lock.read(deadline())?;
        race.create(&format!("sharing/{}", race.name), b"", CreateMode::Ephemeral)?;
        require(!race.exists("inside")?, "somebody writes while others read")?;
        race.delete(&format!("sharing/{}", race.name))?;
        guard.release(deadline())?;

        let guard = lock.write(deadline())?;
        fence.admit(guard.check()?)?;
        race.alone()?;
        guard.release(deadline())?;
    }
    Ok(())
}

/// The counter in the name of a sequential node.
fn counter_of(name: &str) -> Option<&str> {
    name.rsplit('.').next()
}

/// Who holds a permit gives it back when all others have a permit, wait for one and wait in line, as the
/// recipe's own nodes say; and then the one that has had its own for longest, so that all meet in turn.
fn semaphore(race: &mut Race<'_>) -> Result<(), Failure> {
    let semaphore = Semaphore::new(race.client, &race.at("place"), PERMITS);
    let rivals = race.names.len() - PERMITS;
    let mut has_shared = false;
    while !race.is_over(has_shared)? {
        let permit = semaphore.acquire(deadline())?;
        let own = format!("{}/{}.", race.at("sharing"), race.name);
        let mode = CreateMode::EphemeralSequential;
        let own = race.client.create(&own, b"", &Acl::open(), mode)?.path;
        race.until("all permits are held, and all others wait", || {
            let held = race.children("sharing")?;
            require(held.len() <= PERMITS, &format!("{held:?} have one of {PERMITS} permits"))?;
            for holder in &held {
                has_shared |= race.is_foreign(holder.split('.').next().unwrap_or_default())?;
            }
            let is_oldest =
                held.iter().min_by_key(|it| counter_of(it)).is_some_and(|it| own.ends_with(it));
            let is_crowded = held.len() == PERMITS
                && race.children("place/leases")?.len() == PERMITS + 1
                && race.children("place/locks")?.len() == rivals;
            Ok(is_oldest && is_crowded || race.all_are_done()?)
        })?;
        race.client.delete(&own, ANY_VERSION)?;
        permit.release(deadline())?;
        race.taken += 1;
    }
    Ok(())
}

/// Whom an election's view tells of. It reads what others have written of themselves.
fn told_by(view: &LeaderView) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    view.on_change(move |leader| {
        // Nobody listens once the race is over.
        let _ = leader.map(|it| tell.send(it.id.clone()));
    });
    told
}

/// Whether one of them is of another library.
fn any_foreign(race: &Race<'_>, told: &Receiver<Vec<u8>>) -> Result<bool, Failure> {
    let mut any = false;
    for id in told.try_iter() {
        any |= race.is_foreign(str::from_utf8(&id)?)?;
    }
    Ok(any)
}

/// What a leader does, of whom `leader` is to say that it leads.
fn lead(
    race: &mut Race<'_>,
    fence: &Fence,
    leadership: &Leadership,
    leader: impl FnOnce() -> Result<Option<Leader>, RecipeError>,
) -> Result<(), Failure> {
    fence.admit(leadership.check()?)?;
    race.alone()?;
    let leader = leader()?;
    let is_own = leader.as_ref().is_some_and(|it| it.id == race.name.as_bytes());
    require(is_own, &format!("{leader:?} leads instead"))?;
    Ok(leadership.resign(deadline())?)
}

fn latch(race: &mut Race<'_>) -> Result<(), Failure> {
    let latch = LeaderLatch::new(race.client, &race.at("place"));
    let (fence, view) = (Fence::default(), latch.follow());
    let (told, mut has_seen) = (told_by(&view), false);
    while !race.is_over(race.has_alternated && has_seen)? {
        let candidate = latch.join(race.name.as_bytes(), deadline())?;
        let leadership = candidate.lead(deadline())?;
        has_seen |= any_foreign(race, &told)?;
        lead(race, &fence, &leadership, || latch.leader(deadline()))?;
    }
    Ok(())
}

fn selector(race: &mut Race<'_>) -> Result<(), Failure> {
    let selector = LeaderSelector::new(race.client, &race.at("place"), race.name.as_bytes());
    let (fence, view) = (Fence::default(), selector.follow());
    let (told, mut has_seen) = (told_by(&view), false);
    while !race.is_over(race.has_alternated && has_seen)? {
        has_seen |= any_foreign(race, &told)?;
        match selector.lead(deadline())? {
            Election::Won(leadership) => {
                lead(race, &fence, &leadership, || selector.leader(deadline()))?;
            }
            Election::Lost(leader) => return Err(format!("{leader:?} leads for ever").into()),
        }
    }
    Ok(())
}

fn counter(race: &mut Race<'_>) -> Result<(), Failure> {
    let counter = Counter::new(race.client, &race.at("place"));
    let (mut last, mut was_overtaken) = (0, false);
    while !race.is_over(was_overtaken)? {
        let value = counter.add(1, deadline())?.value;
        require(last < value, &format!("{value} after {last}"))?;
        was_overtaken |= last + 1 < value;
        last = value;
        race.taken += 1;
        if race.is_done {
            // Whoever counts by a read and a write, and fails where another was faster, comes to it.
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Each bars the way once, and all others wait.
fn barrier(race: &mut Race<'_>) -> Result<(), Failure> {
    let barrier = Barrier::new(race.client, &race.at("place"));
    for setter in race.names.clone() {
        let (set, lifted) = (format!("set/{setter}"), format!("lifted/{setter}"));
        let others_are = |node: &str| {
            let names = race.children(node)?;
            let arrived = names.iter().filter(|it| it.starts_with(&format!("{setter}.")));
            Ok(arrived.count() == race.names.len() - 1)
        };
        if setter == race.name {
            barrier.set(deadline())?;
            race.create(&set, b"", CreateMode::Persistent)?;
            race.until("all others are barred", || others_are("barred"))?;
            race.create(&lifted, b"", CreateMode::Persistent)?;
            barrier.lift(deadline())?;
        } else {
            race.until("the way is barred", || race.exists(&set))?;
            let waited = barrier.wait(Instant::now() + BARRED_FOR);
            require(waited == Err(RecipeError::Deadline), "the barrier does not bar the way")?;
            race.create(&format!("barred/{setter}.{}", race.name), b"", CreateMode::Persistent)?;
            barrier.wait(deadline())?;
            require(race.exists(&lifted)?, "the way is free before the barrier is lifted")?;
            race.create(&format!("passed/{setter}.{}", race.name), b"", CreateMode::Persistent)?;
        }
        race.until("all others have passed", || others_are("passed"))?;
        race.taken += 1;
    }
    Ok(())
}

fn contend(race: &mut Race<'_>, recipe: &str) -> Result<(), Failure> {
    match recipe {
        "lock" => lock(race),
        "read_write" => read_write(race),
        "semaphore" => semaphore(race),
        "latch" => latch(race),
        "selector" => selector(race),
        "counter" => counter(race),
        "barrier" => barrier(race),
        _ => Err("there is no such recipe".into()),
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, directory, name, contenders, rounds, recipes @ ..] = arguments.as_slice() else {
        return Err(
            "usage: recipe_race host:port[,…] /directory name contenders rounds recipe…".into()
        );
    };
    let (contenders, rounds) = (contenders.parse()?, rounds.parse()?);
    let client = Client::open(servers, Options::default())?;
    for recipe in recipes {
        let mut race =
            Race::begin(&client, format!("{directory}/{recipe}"), name, contenders, rounds)?;
        contend(&mut race, recipe).map_err(|error| format!("{name} at {recipe}: {error}"))?;
        race.end()?;
    }
    client.close()?;
    Ok(())
}
