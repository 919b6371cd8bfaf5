//! Where the classes of Apache ZooKeeper come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use super::target_directory;

/// Standalone or ensemble: it decides by the configuration.
pub(super) const MAIN_CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// Its manifest names every other jar it needs.
const DEBIAN_JAR: &str = "/usr/share/java/zookeeper.jar";

/// Threads that start servers at once must not fetch the same release at once.
static FETCH: Mutex<()> = Mutex::new(());

/// Why there is no ZooKeeper to start here, neither Debian's nor, where one is named, a release; `None`
/// where there is one.
#[must_use]
pub fn zookeeper_is_missing(release: Option<&str>) -> Option<String> {
    let starts = |program: &str, argument: &str| {
        Command::new(program).arg(argument).output().is_ok_and(|it| it.status.success())
    };
    if !starts("java", "-version") {
        return Some("java does not start: install a Java runtime".to_owned());
    }
    match release {
        Some(version) => released_class_path(version).err().map(|error| format!("{error:#}")),
        None => debian_class_path().err().map(|error| format!("{error:#}")),
    }
}

pub(super) fn debian_class_path() -> Result<String> {
    if !Path::new(DEBIAN_JAR).exists() {
        bail!("{DEBIAN_JAR} is missing: install Debian's package zookeeper");
    }
    Ok(DEBIAN_JAR.to_owned())
}

pub(super) fn released_class_path(version: &str) -> Result<String> {
    let releases = target_directory().join("zookeeper");
    let jars = releases.join(version);
    let guard = FETCH.lock().expect("no thread panics while it fetches");
    if !jars.is_dir() {
        fetch(version, &releases, &jars)?;
    }
    drop(guard);
    let jars = jars.canonicalize()?;
    Ok(format!("{}/*", jars.display()))
}

/// Fetches into a directory of its own and renames it, so that a half-done one is never used.
fn fetch(version: &str, releases: &Path, jars: &PathBuf) -> Result<()> {
    fs::create_dir_all(releases)?;
    let work = tempfile::tempdir_in(releases)?;
    fs::write(work.path().join("pom.xml"), project(version))?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=jars"])
        .current_dir(work.path())
        .output()
        .context("mvn does not start: install Maven, or use Debian's zookeeper")?;
    if !output.status.success() {
        bail!(
            "mvn could not fetch ZooKeeper {version}:\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    match fs::rename(work.path().join("jars"), jars) {
        // Another process was faster: its copy is as good.
        Err(_) if jars.is_dir() => Ok(()),
        result => result.with_context(|| format!("{} cannot be made", jars.display())),
    }
}

/// ZooKeeper declares metrics and snappy as provided; its server does not start without the first.
/// No logging backend is named: a server under test or load is quiet.
fn project(version: &str) -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>farwatch</groupId><artifactId>subject</artifactId><version>1</version>\
         <dependencies>{}{}{}</dependencies></project>",
        dependency("org.apache.zookeeper", "zookeeper", version),
        dependency("io.dropwizard.metrics", "metrics-core", "4.1.12.1"),
        dependency("org.xerial.snappy", "snappy-java", "1.1.10.5"),
    )
}
