//! A bounded way from one thread to another: a queue, a flag and an eventfd.
//!
//! ```text
//! sender                                receiver
//! push ─► fence ─► asleep? ─► ring      asleep := true ─► fence ─► queue empty? ─► wait for the bell
//! ```
//!
//! The two fences make it impossible that the sender sees "awake" while the receiver sees "empty".
//! An awake receiver costs a sender about 30 ns; ringing a sleeping one 7.5 µs, so senders batch.
//! A full port hands the item back: the sender must have an answer for that (stop reading).

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use crate::runtime::Doorbell;

/// The flag protocol alone, apart from queue and bell, so that it can be checked exhaustively.
#[derive(Debug)]
struct Sleep(AtomicBool);

impl Sleep {
    /// After the item is in the queue: whether the bell must be rung.
    fn pushed(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }

    /// Before the queue is looked at a last time.
    fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn retract(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The shared middle. Any thread pushes; one receives.
#[derive(Debug)]
pub struct Port<T> {
    queue: ArrayQueue<T>,
    sleep: Sleep,
    event: OwnedFd,
}

impl<T> Port<T> {
    /// A port for `capacity` items.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        Ok(Self {
            queue: ArrayQueue::new(capacity),
            sleep: Sleep(AtomicBool::new(false)),
            event: rustix::event::eventfd(0, flags)?,
        })
    }

    /// Hands `item` over, or hands it back when the port is full. Never waits.
    pub fn push(&self, item: T) -> Result<(), T> {
        self.queue.push(item)?;
        if self.sleep.pushed() {
            self.ring();
        }
        Ok(())
    }

    /// The next item.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    fn ring(&self) {
        // An eventfd only refuses at 2^64 - 1 unread rings, when it is readable anyway.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

/// The one receiver's side.
#[derive(Debug)]
pub struct Receiver<'p, T> {
    port: &'p Port<T>,
    bell: Doorbell,
}

impl<'p, T> Receiver<'p, T> {
    /// Binds the receiving side to this thread's runtime.
    pub fn new(port: &'p Port<T>) -> io::Result<Self> {
        Ok(Self { port, bell: Doorbell::new(port.event.as_fd())? })
    }

    /// The descriptor that it waits by: higher than the port's own where both are new.
    pub fn descriptor(&self) -> RawFd {
        self.bell.number()
    }

    /// Waits until the port holds an item.
    pub async fn wait(&self) -> io::Result<()> {
        loop {
            self.port.sleep.announce();
            if !self.port.queue.is_empty() {
                self.port.sleep.retract();
                return Ok(());
            }
            self.bell.rung().await?;
            let _ = rustix::io::read(&self.port.event, &mut [0_u8; 8]); // empty: rung before
        }
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn no_item_is_left_with_a_sleeping_receiver_and_no_ring() {
        loom::model(|| {
            let sleep = Arc::new(Sleep(AtomicBool::new(false)));
            let items = Arc::new(AtomicUsize::new(0));
            let rings = Arc::new(AtomicUsize::new(0));
            let sender = {
                let (sleep, items, rings) = (sleep.clone(), items.clone(), rings.clone());
                loom::thread::spawn(move || {
                    items.store(1, Ordering::Release);
                    if sleep.pushed() {
                        rings.store(1, Ordering::Release);
                    }
                })
            };
            sleep.announce();
            let sees_item = items.load(Ordering::Acquire) == 1;
            if sees_item {
                sleep.retract();
            }
            sender.join().unwrap();
            assert!(sees_item || rings.load(Ordering::Acquire) == 1, "a lost wake-up");
        });
    }
}
