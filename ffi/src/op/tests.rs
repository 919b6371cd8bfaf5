use super::*;

fn parts(plan: &Plan) -> Option<usize> {
    match plan {
        Plan::Empty => Some(0),
        Plan::Writes(ops) => Some(ops.len()),
        Plan::Reads(ops) => Some(ops.len()),
        Plan::One(_) | Plan::Check { .. } | Plan::Goal(_) => None,
    }
}

fn check() -> Plan {
    Plan::Check { path: "/".to_owned(), version: -1 }
}

fn get() -> Plan {
    Plan::One(Operation::GetData { path: "/".to_owned(), watch: false })
}

fn status(added: Result<(), Failure>) -> fw_status {
    added.map_or_else(|failure| failure.status, |()| fw_status::FW_OK)
}

#[test]
fn what_is_refused_leaves_a_transaction_as_it_was() {
    let watching = || Plan::One(Operation::GetData { path: "/".to_owned(), watch: true });
    let sync = || Plan::One(Operation::Sync { path: "/".to_owned() });
    let mut multi = Plan::Empty;
    for refused in [sync(), watching(), Plan::Empty] {
        assert_eq!(status(add(&mut multi, refused)), fw_status::FW_BAD_ARGUMENT);
        assert!(matches!(multi, Plan::Empty), "{multi:?}");
    }
    for (first, second) in [(get as fn() -> Plan, check as fn() -> Plan), (check, get)] {
        let mut multi = Plan::Empty;
        assert_eq!(status(add(&mut multi, first())), fw_status::FW_OK);
        for refused in [second(), sync(), watching()] {
            assert_eq!(status(add(&mut multi, refused)), fw_status::FW_BAD_ARGUMENT);
        }
        assert_eq!(parts(&multi), Some(1));
    }
}

#[test]
fn a_full_transaction_takes_no_more_and_stays_what_it_is() {
    for part in [get, check] {
        let mut multi = Plan::Empty;
        for _ in 0..MULTI_OPS_MAX {
            assert_eq!(status(add(&mut multi, part())), fw_status::FW_OK);
        }
        for _ in 0..2 {
            assert_eq!(status(add(&mut multi, part())), fw_status::FW_TOO_LARGE);
            assert_eq!(parts(&multi), Some(MULTI_OPS_MAX));
        }
    }
}
