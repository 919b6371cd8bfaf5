//! The header that is in the repository is the one that the source gives.

use std::path::Path;

use expect_test::expect_file;

/// `UPDATE_EXPECT=1 cargo test -p farwatch-ffi header` writes it.
#[test]
fn the_header_is_what_the_source_says() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config =
        cbindgen::Config::from_file(crate_root.join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_crate(crate_root).with_config(config).generate();
    let mut header = Vec::new();
    bindings.expect("the source parses").write(&mut header);
    expect_file!["../../include/farwatch.h"].assert_eq(&String::from_utf8(header).expect("UTF-8"));
}
