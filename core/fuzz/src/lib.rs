//! What the fuzz targets do with their bytes. The same functions replay the seed corpus, and every
//! input that ever failed, in `cargo test` (core/tests/fuzz_corpus.rs).

pub mod machine;
pub mod storage;
pub mod wire;
