//! Everything that is tested through the `farwatch` binary, in one test binary.

mod conformance;
mod crash;
mod ordering;
mod subject;
mod tidy;
mod zoo_cfg_corpus;
