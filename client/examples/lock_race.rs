//! Takes a lock and counts in a node, round after round, beside other libraries that do the same.
//!
//! Inside the lock it makes a node that must not be there, and adds one by a read and a write that
//! know nothing of versions: whoever shares the lock's place without keeping to it shows in either.
//!
//! `cargo run -p farwatch-client --example lock_race -- host:port /directory rounds`

use std::time::{Duration, Instant};

use farwatch_client::recipes::{Fence, Lock};
use farwatch_client::{ANY_VERSION, Acl, Client, CreateMode, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, directory, rounds] = arguments.as_slice() else {
        return Err("usage: lock_race host:port[,host:port…] /directory rounds".into());
    };
    let client = Client::open(servers, Options::default())?;
    let lock = Lock::new(&client, &format!("{directory}/lock"));
    let (inside, count) = (format!("{directory}/inside"), format!("{directory}/count"));
    let fence = Fence::default();
    for _ in 0..rounds.parse::<u32>()? {
        let guard = lock.acquire(Instant::now() + Duration::from_secs(120))?;
        fence.admit(guard.check()?)?;
        client.create(&inside, b"", &Acl::open(), CreateMode::Ephemeral)?;
        let data = client.get(&count, false)?.data.unwrap_or_default();
        let next = String::from_utf8(data)?.parse::<u64>()? + 1;
        client.set(&count, next.to_string().as_bytes(), ANY_VERSION)?;
        client.delete(&inside, ANY_VERSION)?;
        guard.release(Instant::now() + Duration::from_secs(30))?;
    }
    client.close()?;
    Ok(())
}
