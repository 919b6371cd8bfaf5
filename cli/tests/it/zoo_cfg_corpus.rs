//! The seeds of the fuzz target `zoo_cfg`, and every prefix of each with one byte changed.

use std::path::Path;

use farwatch_cli::config_file;

#[test]
fn every_configuration_is_read_or_refused_with_a_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fuzz/corpus-seed/zoo_cfg");
    let (mut read, mut refused) = (0, 0);
    for entry in std::fs::read_dir(folder).expect("the seeds are there") {
        let seed = std::fs::read(entry.expect("an entry").path()).expect("a seed");
        for end in 0..=seed.len() {
            for changed in [None, Some(0), Some(b'\\'), Some(b'='), Some(0xff)] {
                let mut bytes = seed[..end].to_vec();
                if let (Some(byte), Some(last)) = (changed, bytes.last_mut()) {
                    *last = byte;
                }
                match config_file::parse(&bytes) {
                    Ok(_) => read += 1,
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().is_empty(), "{bytes:?}");
                    }
                }
            }
        }
    }
    assert!(read > 20 && refused > 100, "{read} were read and {refused} refused");
}
