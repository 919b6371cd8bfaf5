//! The properties, one file each, named after their source. Each is a function from what a server
//! just did, and from what was seen so far, to a violation or none.
//!
//! `Leadership1` to `PrimaryIntegrity` are those of ZooKeeper's TLA+ specifications
//! (`protocol-spec/Zab.tla`, `system-spec/zk-3.7`); the others are this project's promises.

pub mod acks_are_durable;
pub mod agreement;
pub mod answers_follow_the_tree;
pub mod commits_when_established;
pub mod connections_stay;
pub mod cut_as_documented;
pub mod cut_spares_sessions;
pub mod digests_equal;
pub mod done_in_order;
pub mod drained_before_hand_over;
pub mod durable_on_quorum;
pub mod ephemerals_live_with_sessions;
pub mod epoch_after_history;
pub mod epoch_on_quorum;
pub mod events_before_replies;
pub mod expired_after_silence;
pub mod expired_is_true;
pub mod founded_on_promises;
pub mod full_time_again;
pub mod global_primary_order;
pub mod integrity;
pub mod leaders_have_a_quorum;
pub mod leadership1;
pub mod leadership2;
pub mod local_primary_order;
pub mod local_sessions_cost_nothing;
pub mod local_sessions_stay;
pub mod never_replaced;
pub mod no_watch_lost;
pub mod observers_never_vote;
pub mod password_needed;
pub mod prefix_consistency;
pub mod primary_integrity;
pub mod promise_given_once;
pub mod promises_are_kept;
pub mod restoring_loses_nothing;
pub mod sequence_numbers_unique;
pub mod session_fifo;
pub mod session_never_goes_back;
pub mod should_not_be_triggered;
pub mod staleness_not_understated;
pub mod the_living_stay;
pub mod total_order;
pub mod watches_fire_once;
