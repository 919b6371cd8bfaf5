//! The servers that a command compares, all started alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::report::{FARWATCH, ZOOKEEPER};
use super::{Kind, Load, Nodes, ROOT, Workload};
use crate::subject::{Ensemble, Options, Subject};

/// Java's just-in-time compiler needs this, of reads and of writes each, before the first figure
/// means something.
const JVM_WARM_UP: Duration = Duration::from_secs(8);

/// Which binaries are compared.
#[derive(Args, Clone, Debug)]
pub struct Servers {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    pub farwatch: PathBuf,
    /// A ZooKeeper release such as 3.9.4, fetched with Maven; Debian's package by default.
    #[arg(long)]
    pub zookeeper: Option<String>,
    /// Leaves ZooKeeper out, for quick looks.
    #[arg(long, conflicts_with = "zookeeper")]
    pub without_zookeeper: bool,
}

impl Servers {
    /// One server of each: ZooKeeper first, unless it is left out.
    pub fn alone(&self, options: &Options) -> Result<Vec<(&'static str, Subject)>> {
        let mut all = Vec::new();
        if !self.without_zookeeper {
            let options = options.clone();
            let theirs = match &self.zookeeper {
                Some(version) => Subject::zookeeper_jar(version, options)?,
                None => Subject::zookeeper(options)?,
            };
            all.push((ZOOKEEPER, theirs));
        }
        all.push((FARWATCH, Subject::farwatch(self.ours()?, options.clone())?));
        Ok(all)
    }

    /// So many voters of each, in the same order.
    pub fn ensembles(
        &self,
        voters: u32,
        options: &Options,
    ) -> Result<Vec<(&'static str, Ensemble)>> {
        let mut all = Vec::new();
        if !self.without_zookeeper {
            let theirs = match &self.zookeeper {
                Some(version) => Ensemble::zookeeper_jar(version, voters, options)?,
                None => Ensemble::zookeeper(voters, options)?,
            };
            all.push((ZOOKEEPER, theirs));
        }
        all.push((FARWATCH, Ensemble::farwatch(self.ours()?, voters, options)?));
        Ok(all)
    }

    /// Farwatch's binary, which must be there.
    pub fn ours(&self) -> Result<PathBuf> {
        let binary = &self.farwatch;
        ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
        Ok(binary.clone())
    }
}

/// Reads and writes until Java has compiled what matters.
pub fn warm_up_java(addresses: &[SocketAddr]) -> Result<()> {
    for kind in [Kind::Get, Kind::Set] {
        let workload = Workload { kind, connections: 16, outstanding: 64, ..Workload::default() };
        let mut load = Load::open(addresses, &workload, Nodes::Below(ROOT))?;
        load.run(JVM_WARM_UP).context("warming ZooKeeper up")?;
    }
    Ok(())
}
