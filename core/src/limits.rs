//! Every limit of the core, with its reason, and how they hang together.

/// Largest client frame, bytes, unless `jute.maxbuffer` says otherwise. ZooKeeper's default, which
/// its Java client also applies to what it receives.
pub const CLIENT_FRAME_BYTES_MAX: usize = 0xf_ffff;

/// Largest value that `jute.maxbuffer` may be set to, bytes: one record must fit a log segment.
pub const CLIENT_FRAME_BYTES_LIMIT: usize = 16 << 20;

/// Largest archive of one log record, bytes. A record holds one request's data, its path twice at
/// most, and framing; a multi adds a frame for each part (a part takes at least 21 bytes on the
/// wire and at most 128 bytes more in the record).
pub const RECORD_BYTES_MAX: usize = 4 * CLIENT_FRAME_BYTES_LIMIT;

/// Log segment, bytes, when nothing larger is needed.
pub const SEGMENT_BYTES: usize = 64 << 20;

/// Writes that were prepared and not yet applied, over all sessions. More would let a slow disk
/// hold unbounded memory; connections are then no longer read. ZooKeeper's `globalOutstandingLimit`
/// is 1000; pipelines here are deeper, and a batch holds hundreds.
pub const WRITES_OUTSTANDING_MAX: usize = 16 * 1024;

/// Bytes of prepared and not yet durable records. Bounds memory when writes are large.
pub const WRITE_BYTES_OUTSTANDING_MAX: usize = 64 << 20;

/// Largest time to live of a node, milliseconds: 40 bits, ZooKeeper's own limit.
pub const TTL_MS_MAX: i64 = 0xff_ffff_ffff;

const _: () = assert!(CLIENT_FRAME_BYTES_MAX <= CLIENT_FRAME_BYTES_LIMIT);
const _: () = assert!(RECORD_BYTES_MAX <= SEGMENT_BYTES);
