//! Configuration files: every one is read or refused with a text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Err(refused) = farwatch_cli::config_file::parse(data) {
        assert!(!refused.to_string().is_empty());
    }
});
