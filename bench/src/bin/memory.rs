//! Prints what a server's memory holds: see [`farwatch_bench::memory`].

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use farwatch_bench::memory::{
    Grown, connections, distinct_watches, sessions, shared_watches, znodes,
};

/// Measures the memory of a running server.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// Znodes of 100 bytes of data. 0, here as below, leaves this part out.
    #[arg(long, default_value_t = 1_000_000)]
    znodes: usize,
    /// One-shot watches, 10,000 on each connection.
    #[arg(long, default_value_t = 1_000_000)]
    watches: usize,
    /// Sessions without a connection.
    #[arg(long, default_value_t = 100_000)]
    sessions: usize,
    /// Idle connections with a session; this process and the server need a file each.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

/// Measures one kind of thing.
type Part = fn(&Path, usize) -> Result<Grown>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!("{:>10}  {:<34} {:>12}  {:>9}", "count", "what", "bytes each", "RSS");
    let parts: [(usize, Part); 5] = [
        (arguments.znodes, znodes),
        (arguments.watches, shared_watches),
        (arguments.watches, distinct_watches),
        (arguments.sessions, sessions),
        (arguments.connections, connections),
    ];
    for (count, part) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let Grown { what, count, bytes_each, resident_bytes } = part(&arguments.farwatch, count)?;
        println!("{count:>10}  {what:<34} {bytes_each:>12.1}  {:>5} MiB", resident_bytes >> 20);
    }
    Ok(())
}
