//! A voter that is alone, and what one machine does by itself.

use super::*;

fn alone(logged: Zxid) -> Zab {
    let epoch = logged.epoch();
    let epochs = Epochs { accepted: epoch, current: epoch };
    Zab::new(ServerId(1), Quorum::majority([ServerId(1)]), epochs, logged)
}

fn propose(zab: &mut Zab) -> Zxid {
    let zxid = zab.next_proposal().expect("leads");
    zab.proposed(zxid);
    zxid
}

#[test]
fn a_single_voter_founds_a_new_epoch_and_proposes_only_when_it_is_durable() {
    let mut zab = alone(Zxid::new(Epoch(4), 9));
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    assert_eq!(epochs, Epochs { accepted: Epoch(5), current: Epoch(5) });
    assert_eq!(zab.next_proposal(), Err(None));
    zab.epochs_saved(epochs);
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 1));
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 2));
}

#[test]
fn a_proposal_is_committed_once_it_is_durable_and_not_before() {
    let mut zab = alone(Zxid::ZERO);
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    zab.epochs_saved(epochs);
    let first = propose(&mut zab);
    let second = propose(&mut zab);
    assert_eq!(zab.acknowledged(ServerId(1), Zxid::ZERO), None);
    assert_eq!(zab.acknowledged(ServerId(1), first), Some(first));
    assert_eq!(zab.acknowledged(ServerId(1), first), None);
    assert_eq!(zab.acknowledged(ServerId(1), second), Some(second));
}

#[test]
fn a_spent_counter_founds_the_next_epoch_once_all_is_committed() {
    let mut zab = alone(Zxid::ZERO);
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    zab.epochs_saved(epochs);
    let Role::Leading(leading) = &mut zab.role else { panic!("leads") };
    leading.set_proposed(Zxid::new(Epoch(1), u32::MAX - 1));
    let last = propose(&mut zab);
    assert_eq!(zab.next_proposal(), Err(None), "the last proposal is not durable yet");
    zab.acknowledged(ServerId(1), last);
    let Err(Some(Action::SaveEpochs(epochs))) = zab.next_proposal() else { panic!("must found") };
    zab.epochs_saved(epochs);
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(2), 1));
}

#[test]
fn one_voter_of_three_elects_nobody() {
    let voters = [ServerId(1), ServerId(2), ServerId(3)];
    let mut zab = Zab::new(ServerId(1), Quorum::majority(voters), Epochs::default(), Zxid::ZERO);
    assert_eq!(zab.start(), None);
    assert_eq!(zab.next_proposal(), Err(None));
}
