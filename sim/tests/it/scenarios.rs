//! Scenarios: transcripts that read as stories, in `sim/scenarios`. What a story claims is checked;
//! so are all the properties, at every step.

use farwatch_sim::scenario;

#[test]
fn every_scenario_ends_as_it_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let (mut told, mut failures) = (0, Vec::new());
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Err(failure) = scenario::run(&text) {
            failures.push(format!("{name}: {failure}"));
        }
        told += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(told >= 8, "only {told} scenarios were found");
}
