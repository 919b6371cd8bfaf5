//! The recipes against a real server: what they promise while all is well, when answers are lost,
//! when the way to the server is cut, and when the session ends.

mod doubt;
mod elections;
mod following;
mod ids;
mod locks;
mod loss;
mod meetings;
mod numbers;
mod queues;
mod sharing;
mod stopped;
mod strangers;
mod tasks;
mod way;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farwatch_client::{Client, Event, Options};

use crate::server::{client_with, own_root};

/// A deadline that no test is meant to reach.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A deadline that is meant to pass, with room for a few requests on a busy machine.
fn shortly() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// A client that counts what watches tell it.
struct Counting {
    client: Client,
    told: Arc<AtomicUsize>,
}

impl Counting {
    fn below(root: &str) -> Self {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let options = Options::default().on_event(move |event| {
            if let Event::Node(_) = event {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { client: client_with(root, options), told }
    }

    /// How many events came, those that are on their way included: an answer cannot overtake them.
    fn told(&self) -> usize {
        self.client.sync("/").unwrap();
        self.told.load(Ordering::SeqCst)
    }
}

/// Waits until a directory has so many children.
fn await_children(client: &Client, path: &str, count: usize) {
    let deadline = soon();
    loop {
        let found = client.children(path, false).map_or(0, |children| children.names.len());
        if found == count {
            return;
        }
        assert!(Instant::now() < deadline, "{found} and not {count} children of {path}");
        std::thread::yield_now();
    }
}

fn fresh() -> (String, Client) {
    let root = own_root();
    let client = client_with(&root, Options::default());
    (root, client)
}
