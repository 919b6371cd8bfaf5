//! A runtime without a thread of its own: it goes on while its caller turns it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

use super::tasks::{Outcome, Tasks};
use super::{IoDriver, Signal, sleep};

/// A main future with all that it starts, by epoll. Stays on the thread that made it. One that is dropped
/// before its end keeps its memory and its descriptors.
pub struct Turned<T> {
    runtime: Runtime<TimeDriver<LegacyDriver>>,
    tasks: Rc<Tasks>,
    end: Rc<End<T>>,
}

struct End<T> {
    came: Signal,
    outcome: Cell<Option<Outcome<T>>>,
}

impl<T: 'static> Turned<T> {
    /// Takes `main`, and does not begin with it.
    pub fn new<F>(main: impl FnOnce(IoDriver) -> F) -> io::Result<Self>
    where
        F: Future<Output = T> + 'static,
    {
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
        let tasks = Rc::<Tasks>::default();
        // Also so that what a thread has for its tasks is made before what its owner makes later.
        let entered = tasks.enter();
        let end = Rc::new(End { came: Signal::default(), outcome: Cell::new(None) });
        let (all, told) = (Rc::clone(&tasks).ended_with(main(IoDriver::Epoll)), Rc::clone(&end));
        runtime.block_on(async move {
            drop(monoio::spawn(async move {
                told.outcome.set(Some(all.await));
                told.came.notify();
            }));
        });
        drop(entered);
        Ok(Self { runtime, tasks, end })
    }

    /// Lets it go on for so long, and about a millisecond, or until the main future and all tasks have ended:
    /// what became of them. Panics with what the main future panicked with. Not within another runtime.
    pub fn turn(&mut self, at_most: Duration) -> Option<T> {
        let _entered = self.tasks.enter();
        let end = Rc::clone(&self.end);
        let outcome = self.runtime.block_on(async move {
            let (mut came, mut late) = (pin!(end.came.wait()), pin!(sleep(at_most)));
            poll_fn(|cx| match came.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => late.as_mut().poll(cx),
            })
            .await;
            end.outcome.take()
        });
        outcome.map(|outcome| outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}
