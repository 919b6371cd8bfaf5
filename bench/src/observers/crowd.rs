//! Many sinks on one thread, more or fewer of them as a measurement goes on.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use farwatch_core::zab::Recovered;

use super::sink::{Sink, TICK, Taken};

/// What is read of a sink at once.
const READ_BYTES: usize = 1 << 20;

/// How long a crowd may take to have all that was written.
const LEVEL_WITHIN: Duration = Duration::from_secs(120);

/// A thread with sinks. It ends when this is dropped.
pub struct Crowd {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Where sinks learn, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Their upstreams, in turn.
    pub upstreams: Vec<SocketAddr>,
    /// Whether they read blocks, as observers do.
    pub blocks: bool,
}

enum Order {
    Be(usize, Places, Sender<Result<()>>),
    Tell(Sender<Result<Taken>>),
}

impl Crowd {
    /// Nobody yet.
    #[must_use]
    pub fn start() -> Self {
        let (orders, received) = mpsc::channel();
        let thread = thread::spawn(move || Sinks::new().serve(&received));
        Self { orders: Some(orders), thread: Some(thread) }
    }

    /// Makes it so many sinks of these upstreams, and waits until each has all that is committed.
    /// Nobody should write meanwhile.
    pub fn be(&self, count: usize, places: &Places) -> Result<()> {
        let (done, waited) = mpsc::channel();
        self.order(Order::Be(count, places.clone(), done))?;
        waited.recv().context("the sinks' thread ended")?
    }

    /// What all those that there are were sent so far. An error when one of them was lost.
    pub fn taken(&self) -> Result<Taken> {
        let (told, waited) = mpsc::channel();
        self.order(Order::Tell(told))?;
        waited.recv().context("the sinks' thread ended")?
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().expect("it is taken when it ends");
        orders.send(order).ok().context("the sinks' thread ended")
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // What went wrong there was said with its orders.
            let _ended = thread.join();
        }
    }
}

struct Sinks {
    all: Vec<Sink>,
    places: Option<Places>,
    /// What the last of them had: those that come claim to have it too.
    history: Recovered,
    next: u32,
    scratch: Vec<u8>,
    ticked: Instant,
    lost: Option<String>,
}

impl Sinks {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            places: None,
            history: Recovered::default(),
            next: 1,
            scratch: vec![0; READ_BYTES],
            ticked: Instant::now(),
            lost: None,
        }
    }

    fn serve(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(Order::Be(count, places, done)) => {
                    let result = self.be(count, places);
                    let _nobody_waits = done.send(result);
                }
                Ok(Order::Tell(told)) => {
                    let _nobody_waits = told.send(self.taken());
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if let Err(error) = self.turn() {
                self.lost.get_or_insert(format!("{error:#}"));
            }
            thread::sleep(TICK.saturating_sub(self.ticked.elapsed()));
        }
    }

    /// Lets each take what came, once a tick: what a crowd costs besides is little.
    fn turn(&mut self) -> Result<()> {
        let ticks = self.ticked.elapsed().as_millis() / TICK.as_millis();
        self.ticked += TICK * ticks as u32;
        for sink in &mut self.all {
            (0..ticks).for_each(|_| sink.tick());
            sink.turn(&mut self.scratch)?;
        }
        Ok(())
    }

    fn be(&mut self, count: usize, places: Places) -> Result<()> {
        self.lost = None;
        if let Some(first) = self.all.first() {
            self.history = first.history();
        }
        if self.places.as_ref() != Some(&places) {
            self.all.clear();
        }
        self.all.truncate(count);
        if self.all.is_empty() && 0 < count {
            // One of them is told everything that was written meanwhile, and the others begin there.
            self.link(&places)?;
            self.level()?;
            self.history = self.all[0].history();
        }
        while self.all.len() < count {
            self.link(&places)?;
            self.turn()?;
        }
        self.places = Some(places);
        self.level()
    }

    fn link(&mut self, places: &Places) -> Result<()> {
        let at = places.upstreams[self.all.len() % places.upstreams.len()];
        let sink = Sink::link(at, self.next, self.history, places.blocks, || TICK)?;
        self.next += 1;
        self.all.push(sink);
        Ok(())
    }

    fn level(&mut self) -> Result<()> {
        let deadline = Instant::now() + LEVEL_WITHIN;
        while !self.all.iter().all(Sink::follows) {
            ensure!(Instant::now() < deadline, "sinks were not told all within {LEVEL_WITHIN:?}");
            thread::sleep(TICK.saturating_sub(self.ticked.elapsed()));
            self.turn()?;
        }
        Ok(())
    }

    fn taken(&mut self) -> Result<Taken> {
        self.turn()?;
        if let Some(lost) = &self.lost {
            anyhow::bail!("a sink was lost: {lost}");
        }
        let mut all = Taken::default();
        for Sink { taken, .. } in &self.all {
            all.bytes += taken.bytes;
            all.record_bytes += taken.record_bytes;
            all.snapshot_parts += taken.snapshot_parts;
        }
        all.processor = used_by_this_thread()?;
        Ok(all)
    }
}

fn used_by_this_thread() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = text.split_whitespace().next().and_then(|it| it.parse().ok());
    Ok(Duration::from_nanos(ns.context("/proc/thread-self/schedstat is empty")?))
}
