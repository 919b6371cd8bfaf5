//! Directories: whose, how they join an ensemble, and how a server finds its way back.

use std::os::unix::fs::PermissionsExt;

use farwatch_core::log::epochs::Epochs;
use farwatch_core::record::run::Position;
use farwatch_core::zxid::Epoch;

use super::*;

pub(super) const SERVER: ServerId = ServerId(4);

#[test]
fn a_directory_in_use_is_refused_and_its_holder_named() {
    let root = tempfile::tempdir().unwrap();
    let first = DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap();
    let refused =
        DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}:", std::process::id())), "{refused}");
    let identity = first.identity();
    drop(first);
    assert_eq!(
        DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap().identity(),
        identity
    );
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for mode in [0o770, 0o702, 0o777] {
        std::fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
        let refused = DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap_err();
        assert!(matches!(refused, DataDirError::Permissions { mode: found, .. } if found == mode));
    }
    std::fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap();
}

#[test]
fn another_servers_a_damaged_and_an_ownerless_directory_are_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap());
    let other = DataDir::open(root.path(), None, ServerId(5), Founding::Alone).unwrap_err();
    assert!(matches!(other, DataDirError::Server { found: SERVER, .. }));
    let identity = root.path().join(IDENTITY_FILE);
    let mut bytes = fs::read(&identity).unwrap();
    bytes[20] ^= 1;
    fs::write(&identity, bytes).unwrap();
    let damaged = DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap_err();
    assert!(matches!(damaged, DataDirError::Identity { .. }));
    fs::remove_file(identity).unwrap();
    fs::write(root.path().join("log/0000000100000001.log"), b"").unwrap();
    let ownerless = DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap_err();
    assert!(matches!(ownerless, DataDirError::NoIdentity { .. }));
}

#[test]
fn the_log_may_be_on_a_device_of_its_own() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = DataDir::open(root.path(), Some(other.path()), SERVER, Founding::Alone).unwrap();
    assert_eq!(dir.path("log/x"), other.path().join("log/x"));
    assert_eq!(dir.path("snapshot/x"), root.path().join("snapshot/x"));
    let refused = DataDir::open(other.path(), None, SERVER, Founding::Alone).unwrap_err();
    assert!(matches!(refused, DataDirError::Locked { .. }));
}

fn member(root: &Path) -> DataDir {
    DataDir::open(root, None, SERVER, Founding::Member).unwrap()
}

const OTHERS: ClusterId = ClusterId(0xabc);
const PROMISED: Epochs = Epochs { accepted: Epoch(4), current: Epoch(3) };

#[test]
fn a_fresh_member_is_tentative_until_the_ensemble_is_agreed_upon() {
    let root = tempfile::tempdir().unwrap();
    let dir = member(root.path());
    assert!(dir.is_tentative());
    let own = dir.identity().cluster;
    PROMISED.store_member(&dir, own).unwrap();
    dir.adopt(OTHERS, false).unwrap();
    drop(dir);
    let dir = member(root.path());
    assert!(dir.is_tentative() && !dir.rejoining() && own != OTHERS);
    assert_eq!(dir.identity().cluster, OTHERS);
    assert_eq!(Epochs::load_member(&dir, OTHERS, false).unwrap(), PROMISED);
    farwatch_core::log::recovery::recover(&dir, OTHERS).expect("its files are of one ensemble");
    for _ in 0..2 {
        dir.make_firm().unwrap();
        assert!(!dir.is_tentative());
    }
    drop(dir);
    let dir = member(root.path());
    assert!(!dir.is_tentative());
    assert!(matches!(dir.adopt(ClusterId(1), true), Err(AdoptError::Firm { .. })));
    assert_eq!(dir.identity().cluster, OTHERS);
}

#[test]
fn a_server_alone_is_firm_at_once_and_one_with_a_history_adopts_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = member(root.path());
    fs::write(dir.path("log/0000000100000001.log"), b"").unwrap();
    assert!(matches!(dir.adopt(OTHERS, false), Err(AdoptError::History { .. })));
    drop(dir);
    let dir = DataDir::open(root.path(), None, SERVER, Founding::Alone).unwrap();
    assert!(!dir.is_tentative());
}

#[test]
fn an_adoption_that_was_cut_off_is_finished_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let dir = member(root.path());
    let own = dir.identity();
    PROMISED.store_member(&dir, own.cluster).unwrap();
    let former = Some(own.cluster);
    let begun = Identity { cluster: OTHERS, former, ..own };
    disk::replace(&dir, IDENTITY_FILE, &begun.encode()).unwrap();
    drop(dir);
    let dir = member(root.path());
    assert_eq!(Epochs::load(&dir, OTHERS).unwrap(), PROMISED);
    assert_eq!(dir.identity(), Identity { cluster: OTHERS, ..own });
}

#[test]
fn a_server_that_rejoins_puts_aside_what_it_has_and_keeps_its_promises() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || DataDir::open(root.path(), Some(other.path()), SERVER, Founding::Member).unwrap();
    let dir = open();
    dir.make_firm().unwrap();
    let cluster = dir.identity().cluster;
    PROMISED.store_member(&dir, cluster).unwrap();
    for round in 1..3 {
        fs::write(dir.path("log/0000000100000001.log"), b"damaged").unwrap();
        fs::write(dir.path("snapshot/0000000100000001.snap"), b"damaged").unwrap();
        dir.prepare_rejoin().unwrap();
        let aside = format!("damaged-{round}");
        assert!(other.path().join(&aside).join("log/0000000100000001.log").exists());
        assert!(root.path().join(&aside).join("snapshot/0000000100000001.snap").exists());
        assert!(dir.rejoining() && !holds_history(&dir).unwrap());
    }
    drop(dir);
    let dir = open();
    assert!(dir.rejoining());
    assert_eq!(Epochs::load_member(&dir, cluster, true).unwrap(), PROMISED);
    let recovered = farwatch_core::log::recovery::recover(&dir, cluster).unwrap();
    assert_eq!(recovered.log.position(), Position::ROOT);
    dir.set_rejoining(false).unwrap();
    dir.set_rejoining(false).unwrap();
    assert!(!dir.rejoining());
    // Promises that cannot be read are put aside too: whoever rejoins makes new ones.
    fs::write(dir.path("epochs"), b"damaged").unwrap();
    dir.prepare_rejoin().unwrap();
    assert_eq!(Epochs::load_member(&dir, cluster, true).unwrap(), Epochs::default());
}

#[test]
fn a_directory_whose_log_vanished_is_not_voted_from() {
    let root = tempfile::tempdir().unwrap();
    let dir = member(root.path());
    let cluster = dir.identity().cluster;
    PROMISED.store_member(&dir, cluster).unwrap();
    fs::remove_dir_all(dir.path("log")).unwrap();
    drop(dir);
    let dir = member(root.path());
    let refused = Epochs::load_member(&dir, cluster, false).unwrap_err();
    assert!(matches!(refused, EpochsError::LogLost { current: Epoch(3) }), "{refused}");
}
