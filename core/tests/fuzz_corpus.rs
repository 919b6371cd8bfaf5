//! The seeds of the fuzz targets, and every input that ever failed, through the targets' own bodies;
//! and as many inputs again that are made from those by a fixed number.

use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod bodies;
#[path = "fuzz_corpus/seeds.rs"]
mod seeds;

/// SplitMix64: a seed is a sequence.
struct Prng(u64);

impl Prng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seed").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder:?} holds no seeds");
    files
}

/// Some bytes changed, and perhaps a piece taken out or put in twice.
fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    for _ in 0..1 + prng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = prng.below(bytes.len());
        match prng.below(5) {
            0 => bytes[at] = prng.below(256) as u8,
            1 => bytes[at] ^= 1 << prng.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][prng.below(5)],
            3 => {
                let end = (at + prng.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            _twice => {
                let end = (at + prng.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn replay(target: &str, mutants: usize, body: fn(&[u8])) {
    for file in files(target) {
        let seed = std::fs::read(&file).unwrap();
        println!("{target}: {}", file.display());
        body(&seed);
        let mut prng = Prng(seed.len() as u64);
        for number in 0..mutants {
            let mut bytes = seed.clone();
            mutate(&mut bytes, &mut prng);
            let outcome = std::panic::catch_unwind(|| body(&bytes));
            assert!(outcome.is_ok(), "{target}: mutant {number} of {file:?}: {bytes:02x?}");
        }
    }
}

#[test]
fn every_frame_is_read_or_refused() {
    replay("frame", 500, bodies::wire::frame);
}

#[test]
fn every_request_body_is_read_or_refused_and_written_back_as_it_was() {
    replay("request", 500, bodies::wire::request);
}

#[test]
fn every_history_is_replayed_from_its_records_and_from_its_tree() {
    replay("machine", 200, bodies::machine::run);
}

#[test]
fn every_record_is_read_or_refused() {
    replay("record", 500, bodies::storage::record);
}

#[test]
fn every_snapshot_is_read_or_refused() {
    replay("snapshot", 200, bodies::storage::snapshot);
}

#[test]
fn every_damaged_segment_is_recovered_or_refused() {
    replay("segment", 60, bodies::storage::segment);
}

/// The seeds are generated; this keeps them what the generator says. Inputs that once failed stand
/// beside them under names that begin with `found-`.
#[test]
fn the_seed_corpus_is_what_its_generator_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus-seed");
    for (target, name, bytes) in seeds::all() {
        let file = root.join(target).join(&name);
        if std::env::var_os("FARWATCH_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        let kept = std::fs::read(&file);
        assert!(
            kept.is_ok_and(|kept| kept == bytes),
            "{target}/{name}: run this test with FARWATCH_WRITE_SEEDS=1"
        );
    }
}
