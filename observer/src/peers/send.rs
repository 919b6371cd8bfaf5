//! The writing side of a link: takes what waits, packs it where the link has blocks, and keeps to
//! the rate that the other side may be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::LINK_BYTES_PER_SECOND_MIN;
use crate::runtime::{self, Part};

use super::admission::Bucket;
use super::block::{self, Packer};
use super::hub::Hub;
use super::link::Link;
use super::wire::Outgoing;

/// Bytes of the queue that are written at once: enough to keep a fast link busy, little enough that
/// a heartbeat or an echo which overtakes the rest does so soon.
const BATCH_BYTES: usize = 256 << 10;

/// Parts that are together no longer than this are copied into one before they are written: that
/// costs less than what the kernel does to gather them.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The least of a link that is held back to a rate: a record or a few.
const PACED_BYTES_MIN: usize = 4 << 10;

/// A link that is held back writes this often.
const PACED_PER_SECOND: u64 = 20;

/// Longest sleep of a link that is held back, so that it ends soon when it is cut.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Writes `first` and then what is queued, until the link is over.
pub async fn send_all(
    hub: &Hub,
    link: &Link,
    mut write: Outgoing,
    first: Vec<u8>,
) -> Result<(), String> {
    let rate = hub.limits.observer_bytes_per_second;
    let pace = (link.observed && 0 < rate).then(|| Pace::new(rate));
    let mut packer = link.blocks.then(Packer::default);
    if !first.is_empty() {
        write_out(link, &mut write, VecDeque::from([Part::Own(first)])).await?;
    }
    while !link.closed.get() {
        if link.queue.borrow().bytes() == 0 {
            link.work.wait().await;
            continue;
        }
        let limit = pace.as_ref().map_or(BATCH_BYTES, |pace| pace.batch_bytes);
        let (parts, plain) = batch(hub, link, packer.as_mut(), limit);
        link.peer.plain_out.add(plain as u64);
        let written = write_out(link, &mut write, parts).await?;
        if let Some(pace) = &pace {
            pace.hold(link, written).await;
        }
    }
    Ok(())
}

/// What is written next, and how many bytes of the queue it is.
fn batch(
    hub: &Hub,
    link: &Link,
    packer: Option<&mut Packer>,
    limit: usize,
) -> (VecDeque<Part>, usize) {
    let mut queue = link.queue.borrow_mut();
    let packer = match packer {
        Some(packer) if link.compresses() => packer,
        no_blocks_or_stored => {
            let waited = queue.bytes();
            let parts = queue.take(limit);
            let count = waited - queue.bytes();
            let parts = if no_blocks_or_stored.is_some() { block::stored(parts) } else { parts };
            return (together(parts), count);
        }
    };
    let (mut packed, mut plain) = (queue.spare(), 0);
    while plain < limit && 0 < queue.bytes() {
        let room = (limit - plain).min(block::PLAIN_BYTES_MAX);
        let block = packer.plain();
        plain += queue.read(room, |piece| block.extend_from_slice(piece));
        packer.pack(&hub.effort, Instant::now(), &mut packed);
    }
    (VecDeque::from([Part::Own(packed)]), plain)
}

/// Parts as one, where they are little.
fn together(mut parts: VecDeque<Part>) -> VecDeque<Part> {
    let count: usize = parts.iter().map(|part| part.bytes().len()).sum();
    if 1 < parts.len()
        && count <= COPIED_BYTES_MAX
        && let Some(Part::Own(own)) = parts.front_mut()
    {
        let mut all = std::mem::take(own);
        all.reserve(count - all.len());
        parts.drain(..).for_each(|part| all.extend_from_slice(part.bytes()));
        parts.push_back(Part::Own(all));
    }
    parts
}

/// Writes all of `parts`: how many bytes that were.
async fn write_out(
    link: &Link,
    write: &mut Outgoing,
    mut parts: VecDeque<Part>,
) -> Result<usize, String> {
    let length: usize = parts.iter().map(|part| part.bytes().len()).sum();
    let (mut left, mut from) = (length, 0);
    while 0 < left && !link.closed.get() {
        link.unwritten.set(left);
        let result;
        (result, parts) = write.write_some(parts, from).await;
        match result {
            Ok(0) => return Err("the connection takes nothing any more".to_owned()),
            Ok(count) => {
                left -= count;
                link.peer.bytes_out.add(count as u64);
                link.speaks();
                from += count;
                while let Some(part) = parts.front()
                    && part.bytes().len() <= from
                {
                    from -= part.bytes().len();
                    if let Some(Part::Own(own)) = parts.pop_front() {
                        link.queue.borrow_mut().give_back(own);
                    }
                }
            }
            Err(error) => return Err(format!("sending failed: {error}")),
        }
    }
    link.unwritten.set(0);
    Ok(length)
}

/// Holds a link back to a rate. What waits meanwhile stays in the queue, where heartbeats overtake
/// it, and does not count as not taken.
struct Pace {
    bucket: Bucket,
    batch_bytes: usize,
}

impl Pace {
    fn new(rate: u64) -> Self {
        let rate = rate.max(LINK_BYTES_PER_SECOND_MIN);
        let batch_bytes = ((rate / PACED_PER_SECOND) as usize).clamp(PACED_BYTES_MIN, BATCH_BYTES);
        Self { bucket: Bucket::new(rate, 2 * batch_bytes as u64), batch_bytes }
    }

    async fn hold(&self, link: &Link, written: usize) {
        let mut wait = self.bucket.charge(Instant::now(), written as u64);
        while !wait.is_zero() && !link.closed.get() {
            let pause = wait.min(PAUSE_MAX);
            runtime::sleep(pause).await;
            wait -= pause;
        }
    }
}
