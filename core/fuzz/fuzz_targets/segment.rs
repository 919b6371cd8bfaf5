//! Damage of a segment, and what recovery makes of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::storage::segment(data));
