//! stub
#![allow(missing_docs)]
use std::fs::File; use std::io; use std::sync::Arc; use crate::data_dir::DataDir; use farwatch_core::zab::run::Position;
pub struct SnapshotSource; pub struct SnapshotSink;
pub struct SnapshotPart { pub ticket: u64, pub at: Position, pub offset: u64, pub bytes: Arc<[u8]>, pub end: bool }
pub struct SnapshotReadError { pub ticket: u64, pub cause: SnapshotReadCause }
#[derive(Debug, thiserror::Error)] pub enum SnapshotReadCause { #[error("no")] NoSnapshot, #[error("f")] Forgotten }
pub struct Stored { pub ticket: u64, pub result: Result<u64, String> }
impl SnapshotSource { pub fn start(_: &DataDir, _: File, _: u64) -> io::Result<Self> { Ok(Self) } pub fn begin_read(&mut self, _: u64, _: u64) {} pub fn read_completed(&mut self) -> Option<Result<SnapshotPart, SnapshotReadError>> { None } }
impl SnapshotSink { pub fn start(_: &DataDir, _: File) -> io::Result<Self> { Ok(Self) } pub fn begin_store(&mut self, _: u64, _: Position, _: u64, _: Arc<[u8]>, _: bool) {} pub fn store_completed(&mut self) -> Option<Stored> { None } }
