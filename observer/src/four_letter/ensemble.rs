//! `quor`: what a server knows of its ensemble, as one line of JSON.
//!
//! ZooKeeper has no such word: its servers say that they do not serve, and not why.

use crate::report::EnsembleReport;

/// `quor`.
pub fn quor(report: &EnsembleReport) -> String {
    let mut text = serde_json::to_string(report).expect("numbers and texts always have a form");
    text.push('\n');
    text
}

/// Reads the answer of `quor`; `None` where it is none.
pub fn parse(answer: &str) -> Option<EnsembleReport> {
    serde_json::from_str(answer).ok()
}
