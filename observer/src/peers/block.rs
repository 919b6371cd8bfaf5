//! Frames on their way between servers that are far apart: cut into blocks, and compressed where
//! that pays.
//!
//! ```text
//! 0        4
//! ├ head ──┼ payload …      head: bit 31: compressed; bits 0 to 30: bytes of the payload
//! ```
//!
//! The bytes of all frames, one behind the other, are cut anywhere into blocks of up to 64 KiB. What
//! waits when the writer begins a block is in it, so that small messages share one. A payload is
//! these bytes, or a flushed piece of the one zstd stream that all compressed blocks of a direction
//! are. A stream, because records are small and like those before them: alone, a record of 300
//! bytes does not become smaller at all, and behind others it halves (`docs/peer-protocol.md`).
//!
//! A frame's checksum is of what was packed: whatever goes wrong here ends the link there.

use std::collections::VecDeque;
use std::time::Instant;

use thiserror::Error;
use zstd::zstd_safe::zstd_sys::{ZSTD_EndDirective, ZSTD_ErrorCode};
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, compress_bound};

use super::admission::Bucket;
use crate::runtime::Part;

/// Most bytes of frames in one block: what a reader must have room for whatever it is sent.
pub const PLAIN_BYTES_MAX: usize = 64 << 10;

/// Longest payload: the format's own addition to bytes that do not become smaller is far below
/// this.
const PAYLOAD_BYTES_MAX: usize = PLAIN_BYTES_MAX + 1024;

/// In front of every payload.
const HEAD_BYTES: usize = 4;

const COMPRESSED: u32 = 1 << 31;

/// A heartbeat, an acknowledgement: what the effort could save is less than a packet's head.
const PLAIN_BYTES_MIN: usize = 64;

/// The fastest level that codes entropy; those above cost twice the time and save two percent.
const LEVEL: i32 = 1;

/// How far back a stream looks, as a power of two: 32 KiB, a hundred records. Eight times that
/// saves two percent more, and takes four times the memory: with this window a writer takes 310
/// KiB and a reader 230 KiB for each link on which something is compressed.
const WINDOW_LOG: u32 = 15;

/// What a flush costs beside the bytes themselves, as bytes.
const BLOCK_COST: u64 = 1 << 10;

/// After so many bytes it is looked at whether compressing pays.
const TRIED_BYTES: usize = 64 << 10;

/// It pays when this many percent are left, or fewer.
const PAYS_PERCENT: usize = 90;

/// Where it does not pay, so many bytes pass before it is tried again, and then twice as many.
const PASSED_BYTES_MIN: usize = 256 << 10;

/// At most so many: what is sent may change, from a snapshot of images to records.
const PASSED_BYTES_MAX: usize = 4 << 20;

/// What zstd answers where it was given no memory: its errors are numbers below zero, in a type that has none.
const NO_MEMORY: usize =
    0_usize.wrapping_sub(ZSTD_ErrorCode::ZSTD_error_memory_allocation as usize);

/// Why what arrives is no block. Nothing behind it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// Longer than any block is.
    #[error("a block of {0} bytes is announced, {PAYLOAD_BYTES_MAX} is the limit")]
    TooLong(usize),
    /// It unfolds into more than a block holds.
    #[error("a block holds more than {PLAIN_BYTES_MAX} bytes: whoever wrote it means no good")]
    Bomb,
    /// No piece of a zstd stream, or one with a larger window than ours.
    #[error("a block cannot be decompressed: something on the way changes bytes")]
    Malformed,
    /// It is read when the link is made anew, and there is memory.
    #[error("there is no memory to decompress a block")]
    NoMemory,
}

/// The writing side of one direction.
#[derive(Default)]
pub struct Packer {
    plain: Vec<u8>,
    /// From the first block that is worth it.
    stream: Option<CCtx<'static>>,
    tried: (usize, usize),
    passing: usize,
    passed_next: usize,
}

impl Packer {
    /// Where the caller puts what is to be packed, up to [`PLAIN_BYTES_MAX`].
    pub fn plain(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    /// Appends a block of what was put there to `out`. `effort` bounds what all links of a server
    /// may spend on compressing: beyond, blocks are stored.
    pub fn pack(&mut self, effort: &Bucket, now: Instant, out: &mut Vec<u8>) {
        let length = self.plain.len();
        if length < PLAIN_BYTES_MIN || self.passes(length) || effort.is_empty(now) {
            return self.store(out);
        }
        let head = self.begin(out);
        effort.charge(now, length as u64 + BLOCK_COST);
        if !self.compress(out) {
            out.truncate(head);
            return self.store(out);
        }
        self.judge(length, out.len() - head);
        self.end(head, COMPRESSED, out);
    }

    /// Leaves the bytes as they are.
    fn store(&mut self, out: &mut Vec<u8>) {
        let head = self.begin(out);
        out.extend_from_slice(&self.plain);
        self.end(head, 0, out);
    }

    fn begin(&self, out: &mut Vec<u8>) -> usize {
        let length = self.plain.len();
        assert!((1..=PLAIN_BYTES_MAX).contains(&length), "a block of {length} bytes");
        out.extend_from_slice(&[0; HEAD_BYTES]);
        out.len() - HEAD_BYTES
    }

    fn end(&mut self, head: usize, mark: u32, out: &mut [u8]) {
        self.plain.clear();
        let payload = (out.len() - head - HEAD_BYTES) as u32;
        out[head..head + HEAD_BYTES].copy_from_slice(&(payload | mark).to_le_bytes());
    }

    /// As [`Packer::pack`], whatever it costs.
    pub fn pack_freely(&mut self, out: &mut Vec<u8>) {
        self.pack(&Bucket::new(u64::MAX, u64::MAX), Instant::now(), out);
    }

    /// Whether it was seen a moment ago that compressing does not pay.
    fn passes(&mut self, length: usize) -> bool {
        let passes = self.passing > 0;
        self.passing = self.passing.saturating_sub(length);
        passes
    }

    fn judge(&mut self, plain: usize, packed: usize) {
        self.tried = (self.tried.0 + plain, self.tried.1 + packed);
        if self.tried.0 < TRIED_BYTES {
            return;
        }
        let (plain, packed) = std::mem::take(&mut self.tried);
        if packed * 100 <= plain * PAYS_PERCENT {
            self.passed_next = 0;
        } else {
            self.passing = self.passed_next.max(PASSED_BYTES_MIN);
            self.passed_next = (self.passing * 2).min(PASSED_BYTES_MAX);
        }
    }

    /// Whether it did: where there is no memory for a stream none is begun.
    fn compress(&mut self, out: &mut Vec<u8>) -> bool {
        let begins = self.stream.is_none();
        if begins {
            self.stream = compressor();
        }
        let Some(stream) = &mut self.stream else { return false };
        let begin = out.len();
        let mut input = InBuffer::around(&self.plain);
        loop {
            out.reserve(compress_bound(self.plain.len()));
            let mut output = OutBuffer::around_pos(out, out.len());
            let flush = ZSTD_EndDirective::ZSTD_e_flush;
            let left = stream.compress_stream2(&mut output, &mut input, flush);
            match left {
                Ok(0) => break,
                Ok(_) => {}
                // All its memory is taken with the first bytes.
                Err(_) if begins => {
                    self.stream = None;
                    return false;
                }
                Err(code) => panic!("bytes in memory cannot be compressed: {code}"),
            }
        }
        assert!(out.len() - begin <= PAYLOAD_BYTES_MAX, "more than the format can add");
        true
    }
}

/// Blocks of `parts` as they are, which stay where they are: what many are sent is not copied for each.
pub fn stored(parts: VecDeque<Part>) -> VecDeque<Part> {
    let mut left: usize = parts.iter().map(|part| part.bytes().len()).sum();
    let (mut blocks, mut room) = (VecDeque::with_capacity(parts.len() + 1), 0);
    for mut part in parts {
        while !part.bytes().is_empty() {
            if room == 0 {
                room = left.min(PLAIN_BYTES_MAX);
                left -= room;
                blocks.push_back(Part::Own((room as u32).to_le_bytes().to_vec()));
            }
            let rest = part.split_off(room.min(part.bytes().len()));
            room -= part.bytes().len();
            blocks.push_back(std::mem::replace(&mut part, rest));
        }
    }
    blocks
}

/// None where there is no memory for it.
fn compressor() -> Option<CCtx<'static>> {
    let mut stream = CCtx::try_create()?;
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false), // frames have one
    ] {
        stream.set_parameter(parameter).expect("a parameter of the library");
    }
    Some(stream)
}

/// What the first bytes of a link's input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A block that took this many bytes.
    Block(usize),
    /// The beginning of one: this many bytes in all are needed to know more.
    Needs(usize),
}

/// The reading side of one direction.
#[derive(Default)]
pub struct Unpacker {
    /// From the first block that is compressed.
    stream: Option<DCtx<'static>>,
}

impl Unpacker {
    /// Appends what the first block of `bytes` holds to `out`: at most [`PLAIN_BYTES_MAX`],
    /// whatever the block says. An error is the end of the link.
    pub fn unpack(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Found, BlockError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(Found::Needs(HEAD_BYTES));
        };
        let head = u32::from_le_bytes(*head);
        let length = (head & !COMPRESSED) as usize;
        let is_compressed = head & COMPRESSED != 0;
        if length > if is_compressed { PAYLOAD_BYTES_MAX } else { PLAIN_BYTES_MAX } {
            return Err(BlockError::TooLong(length));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(Found::Needs(HEAD_BYTES + length));
        };
        if is_compressed {
            self.decompress(payload, out)?;
        } else {
            out.extend_from_slice(payload);
        }
        Ok(Found::Block(HEAD_BYTES + length))
    }

    fn decompress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), BlockError> {
        if self.stream.is_none() {
            self.stream = decompressor();
        }
        let stream = self.stream.as_mut().ok_or(BlockError::NoMemory)?;
        let mut input = InBuffer::around(payload);
        // One byte more than may come: a block that uses it, or more, is seen.
        let mut plain = Vec::with_capacity(PLAIN_BYTES_MAX + 1);
        while input.pos() < payload.len() {
            let (before, taken) = (plain.len(), input.pos());
            let mut output = OutBuffer::around_pos(&mut plain, before);
            stream.decompress_stream(&mut output, &mut input).map_err(refused)?;
            if plain.len() > PLAIN_BYTES_MAX {
                return Err(BlockError::Bomb);
            }
            if plain.len() == before && input.pos() == taken {
                return Err(BlockError::Malformed);
            }
        }
        out.extend_from_slice(&plain);
        Ok(())
    }
}

/// Why a piece was not decompressed. The window's memory is asked for with the first of them.
fn refused(code: usize) -> BlockError {
    if code == NO_MEMORY { BlockError::NoMemory } else { BlockError::Malformed }
}

/// None where there is no memory for it.
fn decompressor() -> Option<DCtx<'static>> {
    let mut stream = DCtx::try_create()?;
    let window = DParameter::WindowLogMax(WINDOW_LOG);
    stream.set_parameter(window).expect("a parameter of the library");
    Some(stream)
}

#[cfg(test)]
mod tests;
