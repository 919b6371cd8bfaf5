//! The simulator's own tests, in one binary.

mod scenarios;
mod seeds;
