//! Links between servers: handshakes, frames, and compressed blocks of frames.
#![no_main]

#[path = "../src/peer.rs"]
mod peer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| peer::read(data));
