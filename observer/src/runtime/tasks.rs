//! The tasks of a runtime that ends before its process does: an embedded observer's.
//!
//! Most tasks of a server wait for ever. monoio frees a task only when it ends, so a runtime that is
//! dropped with such tasks keeps their memory, and a program that opens and closes observers would grow.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

thread_local!(static TASKS: RefCell<Option<Rc<Tasks>>> = const { RefCell::new(None) });

/// The tasks under way, by number, with what wakes them.
#[derive(Default)]
pub(super) struct Tasks {
    wakers: RefCell<BTreeMap<u64, Waker>>,
    started: Cell<u64>,
    is_ending: Cell<bool>,
    ender: RefCell<Option<Waker>>,
}

impl Tasks {
    /// Those of this thread's runtime, if it is to end them.
    pub(super) fn of_this_thread() -> Option<Rc<Self>> {
        TASKS.with(|tasks| tasks.borrow().clone())
    }

    /// The future of a task that can be ended.
    pub(super) fn with(self: Rc<Self>, task: impl Future<Output = ()>) -> impl Future<Output = ()> {
        let number = self.started.get();
        self.started.set(number + 1);
        let mut task: Option<Pin<Box<_>>> = Some(Box::pin(task));
        // Not polled yet, it counts all the same.
        self.wakers.borrow_mut().insert(number, Waker::noop().clone());
        poll_fn(move |cx| {
            let is_done = match &mut task {
                Some(running) if !self.is_ending.get() => running.as_mut().poll(cx).is_ready(),
                Some(_) | None => true,
            };
            if !is_done {
                self.wakers.borrow_mut().insert(number, cx.waker().clone());
                return Poll::Pending;
            }
            task = None;
            self.wakers.borrow_mut().remove(&number);
            if let Some(ender) = self.ender.borrow_mut().take() {
                ender.wake();
            }
            Poll::Ready(())
        })
    }

    /// Ends all tasks: what they hold is dropped, on this thread. On a runtime that has no operations in
    /// flight, which epoll's has not.
    async fn end(&self) {
        self.is_ending.set(true);
        let wakers: Vec<Waker> = self.wakers.borrow().values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        poll_fn(|cx| {
            if self.wakers.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.ender.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// What a panic left.
pub(super) type Outcome<T> = std::thread::Result<T>;

/// Tasks are started among these, as long as it lives.
pub(super) struct Entered(Option<Rc<Tasks>>);

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        TASKS.with(|place| *place.borrow_mut() = before);
    }
}

impl Tasks {
    /// From now on until what it returns is dropped, this thread's runtime is the one of these tasks.
    pub(super) fn enter(self: &Rc<Self>) -> Entered {
        Entered(TASKS.with(|place| place.borrow_mut().replace(Rc::clone(self))))
    }

    /// Runs `main`, and ends the tasks that it started and left behind, also where it panics: that is how
    /// a server says that it cannot go on.
    pub(super) async fn ended_with<T>(self: Rc<Self>, main: impl Future<Output = T>) -> Outcome<T> {
        let mut main = Box::pin(main);
        let result =
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| main.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            })
            .await;
        drop(main);
        self.end().await;
        result
    }
}
