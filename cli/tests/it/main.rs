//! Everything that is tested through the `farwatch` binary, in one test binary.

mod conformance;
mod counters;
mod crash;
mod disk;
mod ensemble;
mod ensemble_clients;
mod healing;
mod limits;
mod observers;
mod operator;
mod ordering;
mod peer_corpus;
mod process;
mod subject;
mod tidy;
mod words;
mod zoo_cfg_corpus;
