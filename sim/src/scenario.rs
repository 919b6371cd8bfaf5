//! Scenarios: a cluster without random faults, told what befalls it and what must come of it.
//!
//! ```text
//! # What the story is about.
//! servers 3 [learners 1] [epoch-proposals N] [list 5=4,1]    whom a learner learns from; where no list is
//!                            told, one more learns from the first of them, and from a voter without it
//!     [policy 4=serve] [locals 4=upgrading] [max-staleness 4=900] [write-wait 4=500] [grace 2000]
//! run 500                    milliseconds
//! write 20                   writes are answered, one after the other
//! crash 2 | start 2 | wipe 2 | freeze 2 300 | stick 2 1000
//! damage 2 | fill 2 500      a durable record flips; a disk is full so many milliseconds
//! jump 2 100 | stop-clock 2 500    ticks; milliseconds
//! rejoined 2                 it was refused once, and votes again
//! cut 1 2 | cut 1 > 2 | cut 3 others | heal
//! transfer 2
//! leader 3 | leader-is-not 3
//! new-epoch | same-epoch     than at the last `new-epoch`
//! answered-within 800        milliseconds to the answer of a write that begins now
//! no-answer-within 500 | no-answer-at 5 500
//! learns 5 from 4            it follows, through this server
//! write-at 1 800             the same, through this server
//! ask-at 1                   a write is on its way to this server
//! then-answered 800          and is answered, on the same connection
//! readers 3 at 4 [taking-read-only]    clients that do nothing but read there
//! load 5000                  writes at the leader all the time, for so many milliseconds
//! reads-failed 0 | reads-answered 500     in all; since it was asked last, at least
//! told-open 800              what was asked by `ask-at` is answered CONNECTIONLOSS, and nobody hangs up
//! sessions-kept | told-over 3             readers are connected and were told nothing else
//! recorded-sessions 1        as the history has them
//! serves 4 reads | connected 4 3 | stale 4 60000    whom; how many; at least, as it says itself
//! snapshots-to 4 0 | digests-equal
//! agree                      every server that runs has applied the same
//! ```

mod cut;

use farwatch_core::zab::Event;
use farwatch_core::zab::timing::Timing;
use farwatch_core::zxid::Epoch;

use crate::cluster::Cluster;
use crate::network::Weather;
use crate::plan::{Mode, Plan, Shares};
use crate::service::Services;

/// Plays a scenario to its end, or to what is not as it is told.
pub fn run(text: &str) -> Result<(), String> {
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty());
    let (_, first) = lines.next().ok_or("an empty scenario")?;
    let mut stage = Stage::new(&words(first))?;
    for (number, line) in lines {
        stage.play(&words(line)).map_err(|failure| {
            format!("line {number}: {line}: {failure}{}", stage.cluster.describe())
        })?;
        if let Some(violation) = stage.cluster.witness.violations.first() {
            return Err(format!("line {number}: {line}: {violation:?}"));
        }
    }
    let cluster = &mut stage.cluster;
    if cluster.history.answered() == 0 {
        return Err("a story without a write proves nothing".to_string());
    }
    cluster.history.check(&mut cluster.witness);
    cluster.compare_trees();
    match cluster.witness.violations.first() {
        Some(violation) => Err(format!("{violation:?}")),
        None => Ok(()),
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

struct Stage {
    cluster: Cluster,
    /// The newest epoch that was established at the last `new-epoch`.
    epoch: Option<Epoch>,
}

impl Stage {
    fn new(first: &[&str]) -> Result<Self, String> {
        let (mut voters, mut learners, mut epoch_proposals) = (3, 1, u32::MAX);
        let (mut listed, mut told) = (Vec::new(), Vec::new());
        for pair in first.chunks(2) {
            match *pair {
                ["servers", count] => voters = number(count)? as usize,
                ["learners", count] => learners = number(count)? as usize,
                ["epoch-proposals", count] => epoch_proposals = number(count)? as u32,
                ["list", list] => listed.push(list_of(list)?),
                [key, value] => told.push((key, value)),
                _ => return Err(format!("{pair:?} describes no cluster")),
            }
        }
        let behind_a_relay = listed.is_empty() && learners > 0;
        learners += usize::from(behind_a_relay);
        let mut services = Services::plain(voters + learners);
        for (key, value) in told {
            services.set(key, value)?;
        }
        let mut lists = vec![Vec::new(); learners];
        for (learner, list) in listed {
            let at = learner.checked_sub(voters).filter(|&at| at < learners);
            lists[at.ok_or("only a learner has a list")?] = list;
        }
        if behind_a_relay {
            lists[learners - 1] = vec![voters, 0];
        }
        let plan = Plan {
            voters,
            learners,
            lists,
            rates: Vec::new(),
            nearest: false,
            services,
            weather: Weather::CLEAR,
            timing: Timing { epoch_proposals, ..Timing::default() },
            skew_percent: 0,
            disk_us: 300,
            disk_jitter_us: 100,
            fault_us: 0,
            shares: Shares::NONE,
            crash_in_actions: 0,
            crash_in_founding: 0,
            hang_in_install: 0,
            sync_fails: 0,
            clients: 1,
            link_breaks: 0,
            snapshot_every: 0,
            last_act: None,
            calm_at_us: u64::MAX / 2,
            end_us: u64::MAX,
            ..Plan::of(1, 1, Mode::Safety)
        };
        let mut cluster = Cluster::new(1, plan, None, false);
        cluster.idle_clients = true;
        Ok(Self { cluster, epoch: None })
    }

    fn play(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            ["run", ms] => self.cluster.run_for(number(ms)? * 1_000),
            ["write", count] => {
                for _ in 0..number(count)? {
                    self.answered_within(2_000)?;
                }
            }
            ["answered-within", ms] => return self.answered_within(number(ms)?),
            ["no-answer-within", ms] => {
                return match self.answered_within(number(ms)?) {
                    Ok(()) => Err("it was answered".to_string()),
                    Err(_) => Ok(()),
                };
            }
            ["write-at", id, ms] => return self.answered_at(Some(index(id)?), number(ms)?),
            ["no-answer-at", id, ms] => {
                return match self.answered_at(Some(index(id)?), number(ms)?) {
                    Ok(()) => Err("it was answered".to_string()),
                    Err(_) => Ok(()),
                };
            }
            ["ask-at", id] => return self.ask_at(index(id)?),
            ["then-answered", ms] => {
                let answered = self.cluster.history.answered();
                self.cluster.run_for(number(ms)? * 1_000);
                if self.cluster.history.answered() == answered {
                    return Err(format!("no answer in {ms} ms"));
                }
            }
            ["crash", id] => self.cluster.kill(index(id)?),
            ["start", id] => self.cluster.start(index(id)?),
            ["wipe", id] => {
                let server = index(id)?;
                self.cluster.kill(server);
                self.cluster.lose_disk(server);
                self.cluster.start(server);
            }
            ["freeze", id, ms] => {
                let until = self.cluster.now + number(ms)? * 1_000;
                self.cluster.servers[index(id)?].frozen_until = until;
            }
            ["stick", id, ms] => {
                let until = self.cluster.now + number(ms)? * 1_000;
                self.cluster.servers[index(id)?].stuck_until = until;
            }
            ["damage", id] => self.cluster.servers[index(id)?].disk.flip_first_record(),
            ["fill", id, ms] => {
                let until = self.cluster.now + number(ms)? * 1_000;
                self.cluster.servers[index(id)?].full_until = until;
                self.cluster.witness.disks_filled = true;
            }
            ["jump", id, ticks] => {
                for _ in 0..number(ticks)? {
                    self.cluster.tick(index(id)?, true);
                }
            }
            ["stop-clock", id, ms] => {
                let until = self.cluster.now + number(ms)? * 1_000;
                self.cluster.servers[index(id)?].clock_stopped_until = until;
            }
            ["cut", from, ">", to] => self.cluster.network.cut(index(from)?, index(to)?),
            ["cut", one, "others"] => {
                for other in 0..self.cluster.servers.len() {
                    self.cut(index(one)?, other);
                }
            }
            ["cut", one, other] => self.cut(index(one)?, index(other)?),
            ["heal"] => self.cluster.network.heal(),
            ["transfer", id] => {
                let to = self.cluster.servers[index(id)?].id;
                let leader = self.leader().ok_or("nobody leads")?;
                self.cluster.step(leader, Event::Transfer(to));
            }
            _ => return self.play_cut(words).unwrap_or_else(|| self.claim(words)),
        }
        Ok(())
    }

    fn claim(&mut self, words: &[&str]) -> Result<(), String> {
        let leader = self.leader();
        let newest = self.cluster.witness.established.keys().last().copied();
        let holds = match *words {
            ["leader", id] => leader == Some(index(id)?),
            ["leader-is-not", id] => leader.is_some() && leader != Some(index(id)?),
            ["rejoined", id] => {
                let server = index(id)?;
                let refused = self.cluster.witness.wiped.contains_key(&server);
                let it = &self.cluster.servers[server];
                refused && it.process.is_some() && !it.disk.rejoining && !it.disk.is_damaged()
            }
            ["learns", id, "from", upstream] => {
                let upstream = self.cluster.servers[index(upstream)?].id;
                let process = self.cluster.servers[index(id)?].process.as_ref();
                process.is_some_and(|process| {
                    let zab = process.zab();
                    zab.is_following() && zab.session().is_some_and(|it| it.0 == upstream)
                })
            }
            ["same-epoch"] => newest == self.epoch,
            ["new-epoch"] => newest > std::mem::replace(&mut self.epoch, newest),
            ["agree"] => {
                let committed = self.cluster.witness.committed();
                self.cluster
                    .servers
                    .iter()
                    .filter_map(|server| server.process.as_ref())
                    .all(|process| process.applied_at.zxid == committed)
            }
            _ => match self.claim_cut(words) {
                Some(holds) => holds?,
                None => return Err("no scenario knows this line".to_string()),
            },
        };
        if holds { Ok(()) } else { Err(format!("it is not so; epoch {newest:?}")) }
    }

    fn cut(&mut self, one: usize, other: usize) {
        if one != other {
            self.cluster.network.cut(one, other);
            self.cluster.network.cut(other, one);
        }
    }

    fn leader(&self) -> Option<usize> {
        let leads = |&server: &usize| {
            let process = self.cluster.servers[server].process.as_ref();
            process.is_some_and(|process| process.zab().is_leading())
        };
        (0..self.cluster.servers.len())
            .filter(leads)
            .max_by_key(|&server| self.cluster.servers[server].disk.epochs.current)
    }

    fn answered_within(&mut self, ms: u64) -> Result<(), String> {
        self.answered_at(None, ms)
    }

    fn ask_at(&mut self, server: usize) -> Result<(), String> {
        for _ in 0..10_000 {
            self.cluster.client_tries(0, server);
            if !self.cluster.clients[0].sent.is_empty() {
                return Ok(());
            }
            self.cluster.run_for(200);
        }
        Err("the client gets no connection there".to_string())
    }

    /// Writes at this server, or at the leader, again whenever it gets no further, until one is
    /// answered.
    fn answered_at(&mut self, server: Option<usize>, ms: u64) -> Result<(), String> {
        let (answered, deadline) = (self.cluster.history.answered(), self.cluster.now + ms * 1_000);
        while self.cluster.now < deadline {
            if let Some(server) = server.or_else(|| self.leader()) {
                self.cluster.client_tries(0, server);
            }
            self.cluster.run_for(1_000);
            if self.cluster.history.answered() > answered {
                return Ok(());
            }
        }
        Err(format!("no answer in {ms} ms"))
    }
}

/// `5=4,1`: server 5 learns from server 4, or else from server 1.
fn list_of(text: &str) -> Result<(usize, Vec<usize>), String> {
    let (learner, list) = text.split_once('=').ok_or(format!("`{text}` is no list"))?;
    let list = list.split(',').map(index).collect::<Result<_, _>>()?;
    Ok((index(learner)?, list))
}

fn index(id: &str) -> Result<usize, String> {
    let id = number(id)?;
    (id as usize).checked_sub(1).ok_or_else(|| "servers are numbered from 1".to_string())
}
