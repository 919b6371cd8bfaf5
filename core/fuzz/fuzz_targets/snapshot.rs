//! Snapshot files, with and without right checksums.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::storage::snapshot(data));
