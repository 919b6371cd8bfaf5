//! Handshakes, headers and notifications, both ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::wire::frame(data));
