//! Histories of asks through the whole server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::machine::run(data));
