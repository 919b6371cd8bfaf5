//! A voter that lost records of its log fetches exactly these from the others, before it takes part
//! in anything.
//!
//! ```text
//! recover ─► damaged ─► hole ─► links ─► Fetch … Fetched ─► closed ─► recover again
//!                        └ not to be described, or nobody has it in time ─► refused, as without peers
//! ```
//!
//! Whoever heals is linked and says nothing of elections: for the others it is not there yet. Only
//! what others fetch is answered, from what is whole here: servers that lost different records heal
//! each other.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use farwatch_core::log::reader::ReadError;
use farwatch_core::log::repair::Hole;
use farwatch_core::log::salvage::records_behind;
use farwatch_core::zab::fetch::FETCH_BYTES_MAX;
use farwatch_core::zab::healing::{Healing, HealingTicks, Progress};
use farwatch_core::zab::message::Message;
use farwatch_core::zab::run::{Position, Run};
use farwatch_core::zxid::{ServerId, Zxid};
use farwatch_observer::config::{ServerConfig, ServerRole, SocketDriver, Standing};
use farwatch_observer::data_dir::DataDir;
use farwatch_observer::recover::RecoverError;
use farwatch_observer::runtime::{self, Signal};
use tracing::{info, warn};

use farwatch_observer::host::{self, Healed};
use farwatch_observer::peers::{PeerEvent, PeerLimits, PeerOptions, Peers};

/// The clock of a healing. An answer may take a long batch of the log to read, on a busy disk.
const TICK: Duration = Duration::from_millis(50);

/// How long a peer may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// When a peer that did not have the records is asked again: it may be about to heal or to start.
const AGAIN: Duration = Duration::from_millis(500);

/// Heals the damage that recovery met, if it is of a kind that can be and this server has others to
/// ask. `listeners` are closed at the end.
pub(crate) fn heal(
    config: &ServerConfig,
    me: ServerId,
    dir: &DataDir,
    error: &RecoverError,
    listeners: Vec<TcpListener>,
) -> std::io::Result<Healed> {
    let Some((damage, hole)) = hole_of(config, dir, error) else { return Ok(Healed::Not) };
    let (segment, offset) = (hole.segment, hole.offset);
    let closed = if hole.is_empty() {
        info!("only marks of an idle log are damaged, and no record: they are written again");
        hole.close_empty(dir)
    } else {
        let (behind, upto) = (hole.before.zxid, hole.limit());
        warn!("{damage}");
        warn!(
            "the records behind {behind} up to {upto} are missing here: fetching them from the \
             other servers before this one takes part in anything"
        );
        let allow_uring = config.socket_driver != SocketDriver::Epoll;
        let fetching = runtime::block_on(allow_uring, |_| {
            fetch(config.clone(), me, dir.clone(), hole.clone(), listeners)
        });
        let Some(run) = fetching?? else {
            warn!(
                "no other server had the missing records within initLimit ({} s): start this one \
                 again when more of them run",
                patience(config).as_secs()
            );
            return Ok(Healed::Not);
        };
        let (records, bytes) = (run.records().count(), run.bytes().len());
        let closed = hole.close(dir, &run);
        if closed.is_ok() {
            info!("healed: {records} records behind {behind} ({bytes} bytes) are in the log again");
        }
        closed
    };
    match closed {
        Ok(()) => Ok(Healed::Closed { segment, offset }),
        Err(error) => {
            warn!("the missing records cannot be written into their place: {error}");
            Ok(Healed::Not)
        }
    }
}

/// What is missing, where that is known and there is somebody to ask.
fn hole_of(
    config: &ServerConfig,
    dir: &DataDir,
    error: &RecoverError,
) -> Option<(ReadError, Hole)> {
    use farwatch_core::log::recovery::RecoverError as LogError;
    use farwatch_observer::log_file::OpenError;
    let damage = match error {
        RecoverError::Log(OpenError::Recover(LogError::Log(damage)))
        | RecoverError::Read(damage) => damage,
        _other => return None,
    };
    if config.standing == Standing::Alone || config.servers.len() < 2 {
        return None;
    }
    // A disk that fails meanwhile fails again at once, and says so better.
    let hole = Hole::of(dir, dir.identity().cluster, damage).ok()??;
    Some((damage.clone(), hole))
}

/// How long nobody may have a further record.
fn patience(config: &ServerConfig) -> Duration {
    let ticks = u64::from(config.init_limit_ticks);
    Duration::from_millis(ticks * u64::from(config.tick_time_ms)).max(AGAIN)
}

/// Fetches what is missing; `None` if nobody had it in time.
async fn fetch(
    config: ServerConfig,
    me: ServerId,
    dir: DataDir,
    hole: Hole,
    listeners: Vec<TcpListener>,
) -> std::io::Result<Option<Run>> {
    let ticks = |time: Duration| time.as_millis().div_ceil(TICK.as_millis()) as u64;
    let patience = ticks(patience(&config));
    let limits = HealingTicks { answer: ticks(ANSWER), again: ticks(AGAIN), patience };
    let room = hole.room(&dir).map_err(std::io::Error::other)?;
    let mut healing = Healing::new(hole, room, limits);
    let options = PeerOptions {
        me,
        votes: config.role == ServerRole::Participant,
        cluster: dir.identity().cluster,
        tentative: dir.is_tentative(),
        boot: u64::from_ne_bytes(farwatch_observer::server::random()),
        peers: host::addresses(&config, me),
        upstreams: Vec::new(),
        guests_max: 0, // nobody is served yet
        listeners,
        limits: PeerLimits::default(),
    };
    let wake = Signal::default();
    let peers = Peers::start(options, wake.clone())?;
    let clock = Clock::start(wake.clone());
    let (mut events, mut out) = (Vec::new(), Vec::new());
    let found = loop {
        wake.wait().await;
        peers.take_events(&mut events);
        let mut progress = Progress::Open;
        for event in events.drain(..) {
            let now = happened(&mut healing, &dir, event, &mut out)?;
            if progress == Progress::Open {
                progress = now;
            }
        }
        for _ in 0..clock.passed() {
            if progress == Progress::Open {
                progress = healing.tick(&mut out);
            }
        }
        out.drain(..).for_each(|(to, message)| peers.send(to, &message));
        match progress {
            Progress::Open => {}
            Progress::Closed(run) => break Some(run),
            Progress::GivenUp => break None,
        }
    };
    peers.stop();
    peers.ended().await;
    clock.stop().await;
    Ok(found)
}

/// Acts on what came through the links.
fn happened(
    healing: &mut Healing,
    dir: &DataDir,
    event: PeerEvent,
    out: &mut Vec<(ServerId, Message)>,
) -> std::io::Result<Progress> {
    match event {
        PeerEvent::Connected(peer) => healing.connected(peer, out),
        PeerEvent::Disconnected(peer) => healing.disconnected(peer, out),
        PeerEvent::Received { from, message: Message::Fetched { after, bytes } } => {
            return Ok(healing.fetched(from, after, bytes, out));
        }
        PeerEvent::Received { from, message: Message::Fetch { after, until, bytes_max } } => {
            let bytes = salvaged(dir, after, until, bytes_max)?;
            out.push((from, Message::Fetched { after, bytes }));
        }
        // A log makes an ensemble's id firm, and what is said of elections is for later.
        PeerEvent::Adopt { .. }
        | PeerEvent::Arriving(_)
        | PeerEvent::Asked(_)
        | PeerEvent::Received { .. } => {}
    }
    Ok(Progress::Open)
}

fn salvaged(
    dir: &DataDir,
    after: Position,
    until: Zxid,
    bytes_max: u32,
) -> std::io::Result<Arc<[u8]>> {
    let (cluster, bytes_max) = (dir.identity().cluster, bytes_max.min(FETCH_BYTES_MAX));
    let found = records_behind(dir.clone(), cluster, after, until, bytes_max.into());
    let run = found.map_err(std::io::Error::other)?;
    Ok(run.map_or_else(|| [].into(), |run| run.bytes().clone()))
}

/// Wakes the loop with every tick. A task of its own, because a wait is never given up.
struct Clock(std::rc::Rc<ClockState>);

#[derive(Default)]
struct ClockState {
    passed: std::cell::Cell<u64>,
    stopped: std::cell::Cell<bool>,
    ended: Signal,
}

impl Clock {
    fn start(wake: Signal) -> Self {
        let state = std::rc::Rc::new(ClockState::default());
        let ticking = std::rc::Rc::clone(&state);
        runtime::spawn(async move {
            while !ticking.stopped.get() {
                runtime::sleep(TICK).await;
                ticking.passed.set(ticking.passed.get() + 1);
                wake.notify();
            }
            ticking.ended.notify();
        });
        Self(state)
    }

    /// Ticks since the last call.
    fn passed(&self) -> u64 {
        self.0.passed.take()
    }

    /// Waits until nothing of it is left.
    async fn stop(self) {
        self.0.stopped.set(true);
        self.0.ended.wait().await;
    }
}
