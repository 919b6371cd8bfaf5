//! A snapshot becomes a tree while it is read and checked.
//!
//! ```text
//! reads, sums   ──chunks──►  makes nodes
//! (its thread)  ◄──room────  (the caller's)
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use farwatch_core::disk::Disk;
use farwatch_core::session::{Session, SessionTable};
use farwatch_core::snapshot::files::SnapshotInfo;
use farwatch_core::snapshot::format::SnapshotError;
use farwatch_core::snapshot::reader::{Chunk, OwnedChunk, SnapshotReader};
use farwatch_core::tree::{self, RestoreError, Restorer, Tree, TreeOptions, Writer};

use super::RecoverError;

/// Chunks that are read and not taken yet, a quarter of a megabyte each.
const AHEAD: usize = 4;

/// The state that a server begins with.
pub struct Loaded {
    /// The tree's only writer.
    pub writer: Writer,
    /// The tree.
    pub tree: Arc<Tree>,
    /// The sessions beside it.
    pub sessions: SessionTable,
}

/// Makes state of the snapshots that a recovery tries, of which the last one counts.
pub struct Loading {
    options: TreeOptions,
    loaded: Option<Result<Loaded, RecoverError>>,
    /// What the last one took.
    pub took: Duration,
}

impl Loading {
    /// Of none as yet.
    pub const fn new(options: TreeOptions) -> Self {
        Self { options, loaded: None, took: Duration::ZERO }
    }

    /// Reads a snapshot to its end. What is no tree is told by [`Loading::finish`]: it is no damage for which an
    /// older one would be taken. Blocks, and uses a thread of its own where there is one to be had.
    pub fn load<D>(&mut self, reader: SnapshotReader<D>) -> Result<SnapshotInfo, SnapshotError>
    where
        D: Disk + Send,
        D::File: Send,
    {
        let began = Instant::now();
        self.loaded = None;
        let mut taken = Taken::new(self.options, reader.nodes_hint()?);
        let info = read_beside(reader, &mut |chunk| taken.take(chunk))?;
        self.loaded = Some(taken.finish(&info));
        self.took = began.elapsed();
        Ok(info)
    }

    /// The state of the last one, or that of a new server.
    pub fn finish(self) -> Result<Loaded, RecoverError> {
        self.loaded.unwrap_or_else(|| {
            let (writer, tree) = tree::new(self.options);
            Ok(Loaded { writer, tree, sessions: SessionTable::new() })
        })
    }
}

/// What came of the chunks so far.
struct Taken {
    restorer: Restorer,
    sessions: SessionTable,
    failed: Option<RestoreError>,
}

impl Taken {
    fn new(options: TreeOptions, nodes: u64) -> Self {
        let restorer = Restorer::with_room(options, nodes);
        Self { restorer, sessions: SessionTable::new(), failed: None }
    }

    fn take(&mut self, chunk: Chunk<'_>) {
        match chunk {
            Chunk::Sessions(entries) => {
                for image in entries.sessions() {
                    let session =
                        Session { timeout_ms: image.timeout_ms, password: image.password };
                    self.sessions.insert(image.id, session);
                }
            }
            // The rest is read all the same: it may be damage that made no tree of it.
            Chunk::Nodes(_) if self.failed.is_some() => {}
            Chunk::Nodes(entries) => {
                self.failed = self.restorer.push_all(entries.nodes()).err();
            }
        }
    }

    fn finish(self, snapshot: &SnapshotInfo) -> Result<Loaded, RecoverError> {
        let zxid = snapshot.zxid;
        let restored = self.failed.map_or_else(|| self.restorer.finish(zxid), Err);
        let (writer, tree) = restored.map_err(|cause| RecoverError::Tree { zxid, cause })?;
        let (written, read) = (snapshot.digest, writer.digest());
        if written != read {
            return Err(RecoverError::Digest { zxid, written, read });
        }
        Ok(Loaded { writer, tree, sessions: self.sessions })
    }
}

/// Reads all chunks, on a thread of its own while they are taken on this one.
fn read_beside<D>(
    mut reader: SnapshotReader<D>,
    take: &mut dyn FnMut(Chunk<'_>),
) -> Result<SnapshotInfo, SnapshotError>
where
    D: Disk + Send,
    D::File: Send,
{
    let (chunks, read) = sync_channel(AHEAD);
    let (give, rooms) = channel();
    let beside = thread::scope(|scope| {
        let reader = &mut reader;
        let reading = Builder::new().name("farwatch-load".to_owned());
        let reading = reading.spawn_scoped(scope, move || read_into(reader, &chunks, &rooms));
        let Ok(reading) = reading else { return None };
        take_from(read, &give, take);
        Some(reading.join().expect("it does not panic"))
    });
    match beside {
        Some(done) => done?,
        // There is no thread to be had.
        None => {
            while let Some(chunk) = reader.next_chunk()? {
                take(chunk);
            }
        }
    }
    Ok(reader.info().expect("the footer was read"))
}

fn read_into<D: Disk>(
    reader: &mut SnapshotReader<D>,
    chunks: &SyncSender<OwnedChunk>,
    rooms: &Receiver<Vec<u8>>,
) -> Result<(), SnapshotError> {
    while let Some(chunk) = reader.take_chunk(rooms.try_recv().unwrap_or_default())? {
        if chunks.send(chunk).is_err() {
            break; // who takes them has panicked
        }
    }
    Ok(())
}

fn take_from(read: Receiver<OwnedChunk>, give: &Sender<Vec<u8>>, take: &mut dyn FnMut(Chunk<'_>)) {
    for chunk in read {
        take(chunk.chunk());
        // Nobody wants it any more once the last one is read.
        let _ = give.send(chunk.into_room());
    }
}
