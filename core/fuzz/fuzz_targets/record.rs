//! Records of the log, with and without a right checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| farwatch_fuzz::storage::record(data));
