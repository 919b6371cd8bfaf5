//! The body of every operation; the first byte chooses it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::wire::request(data));
