//! Holds a lock until enter is pressed, and shows its fencing token.
//!
//! The token grows from holder to holder: a resource that remembers the largest that it has seen can
//! refuse a holder that was paused so long that its session expired. More in `docs/recipes.md`.
//!
//! `cargo run -p farwatch-client --example lock -- host:port /locks/name`

use std::time::{Duration, Instant};

use farwatch_client::recipes::{self, FencingToken, LockGuard};
use farwatch_client::{Client, Options};

/// A held lock. It is lost when its session is.
pub struct Lock {
    client: Client,
    guard: LockGuard,
}

impl Lock {
    /// Waits for the lock at `path`, which is created where it is missing.
    pub fn acquire(connect_string: &str, path: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let client = Client::open(connect_string, Options::default())?;
        let lock = recipes::Lock::new(&client, path);
        let guard = lock.acquire(Instant::now() + Duration::from_secs(3600))?;
        guard.on_change(|standing| eprintln!("the lock is {standing:?}"));
        Ok(Self { client, guard })
    }

    /// The fencing token: pass it with every use of what the lock guards.
    pub fn token(&self) -> FencingToken {
        self.guard.token()
    }

    /// Gives the lock to the next contender.
    pub fn release(self) -> Result<(), Box<dyn std::error::Error>> {
        self.guard.release(Instant::now() + Duration::from_secs(30))?;
        self.client.close()?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(servers), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: lock host:port[,host:port…][/chroot] /path".into());
    };
    let lock = Lock::acquire(&servers, &path)?;
    println!("held, token {}; press enter to release", lock.token());
    std::io::stdin().read_line(&mut String::new())?;
    lock.release()
}
