//! Whether an observer follows an upstream, for who looks, and for who wants to be told.

use std::sync::PoisonError;

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// How an observer is linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linked {
    /// It follows no upstream, and looks for one. What it knew can be read, if it ever knew anything.
    #[default]
    No,
    /// It follows an upstream. Since the first time it is ready, see [`super::Observer::wait_ready`].
    Yes,
    /// It has ended, and nothing follows.
    Ended,
}

/// Called with each change.
type Hear = Box<dyn FnMut(Linked) + Send>;

/// The link of an observer.
pub(super) struct Link {
    /// Whether it is [`Linked::Yes`], for who takes no lock. Changed with `told` locked.
    is_made: AtomicBool,
    told: Mutex<Told>,
}

impl Default for Link {
    fn default() -> Self {
        Self { is_made: AtomicBool::new(false), told: Mutex::new(Told::default()) }
    }
}

#[derive(Default)]
struct Told {
    linked: Linked,
    hear: Option<Hear>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it follows an upstream.
    pub fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Acquire)
    }

    /// Whether it does now. Called often, and only by the observer's thread: takes no lock where nothing changed.
    pub fn stands(&self, follows: bool) {
        if self.is_made.load(Ordering::Relaxed) != follows {
            self.turn(if follows { Linked::Yes } else { Linked::No });
        }
    }

    /// Nothing follows. Twice is once.
    pub fn end(&self) {
        self.turn(Linked::Ended);
    }

    fn turn(&self, linked: Linked) {
        let mut told = self.lock();
        // A server that was asked to stop may follow for an instant more.
        if told.linked == Linked::Ended {
            return;
        }
        told.linked = linked;
        self.is_made.store(linked == Linked::Yes, Ordering::Release);
        if let Some(hear) = &mut told.hear {
            hear(linked);
        }
        let over = told.hear.take_if(|_hear| linked == Linked::Ended);
        drop(told);
        drop(over);
    }

    /// From now on `hear` is called, first with how it is linked now.
    pub fn on_change(&self, mut hear: Hear) {
        let mut told = self.lock();
        hear(told.linked);
        let mut earlier = Some(hear);
        if told.linked != Linked::Ended {
            std::mem::swap(&mut told.hear, &mut earlier);
        }
        drop(told);
        drop(earlier);
    }

    /// Nothing is called behind this.
    pub fn silence(&self) {
        let earlier = self.lock().hear.take();
        drop(earlier); // with nothing locked
    }
}
