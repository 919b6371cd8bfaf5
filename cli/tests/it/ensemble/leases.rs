//! What is held through a server that has lost its leader: its clients stay connected, and the leader
//! counts their silence.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{Lock, LockGuard, RecipeError, Standing};
use farwatch_client::{Client, ClientError, Options};

use super::servers::{Ensemble, PATIENCE, until};

/// What the client asks for.
const TIMEOUT: Duration = Duration::from_secs(3);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Three servers, of which one follower can be left alone.
struct Cut {
    ensemble: Ensemble,
    number: u32,
}

impl Cut {
    fn start() -> Self {
        let ensemble = Ensemble::start(&["farwatch.onPartition=serve", "writeWaitMs=500"]);
        let number = ensemble.followers()[0];
        Self { ensemble, number }
    }

    fn address(&self) -> SocketAddr {
        self.ensemble.server(self.number).client
    }

    fn client(&self) -> Client {
        let options = Options::default().session_timeout(TIMEOUT);
        Client::open(&self.address().to_string(), options).expect("an address")
    }

    fn others(&self) -> Vec<u32> {
        self.ensemble.numbers().into_iter().filter(|&it| it != self.number).collect()
    }

    fn cut(&mut self) {
        for other in self.others() {
            self.ensemble.server_mut(other).freeze();
        }
    }

    fn heal(&mut self) {
        for other in self.others() {
            self.ensemble.server_mut(other).thaw();
        }
        self.ensemble.until_all_serve();
    }
}

fn lock(client: &Client) -> LockGuard {
    Lock::new(client, "/lock").acquire(soon()).expect("a free lock")
}

#[test]
fn a_holder_stops_in_time_although_its_server_answers_its_pings() {
    let mut cut = Cut::start();
    let client = cut.client();
    let guard = lock(&client);
    guard.check().expect("it is held");
    let begun = Instant::now();
    cut.cut();
    let timeout = client.session_timeout();
    until("the holder stops", PATIENCE, || guard.check() == Err(RecipeError::LeaseOver));
    assert!(client.is_connected() && guard.standing() == Standing::Held, "it hears its server");
    let lease = guard.lease_valid_until().expect("it is not known to be lost");
    assert!(lease <= begun + timeout, "a leader could have given the lock away");
    // Pings go on for as long as another timeout, and change nothing.
    until("another timeout", PATIENCE, || timeout * 2 <= begun.elapsed());
    assert_eq!(guard.lease_valid_until(), Some(lease));
    assert!(client.is_connected());
    cut.heal();
    until("it is confirmed or lost", PATIENCE, || {
        guard.check().is_ok() || guard.standing() == Standing::Lost
    });
}

#[test]
fn a_create_that_a_server_without_a_leader_left_open_leaves_no_node() {
    let mut cut = Cut::start();
    let client = cut.client();
    drop(lock(&client));
    cut.cut();
    let asked = client.with_request_timeout(PATIENCE).sync("/");
    assert_eq!(asked, Err(ClientError::ConnectionLoss { maybe_applied: false }));
    let given_up = Lock::new(&client, "/lock").acquire(Instant::now() + Duration::from_secs(2));
    assert_eq!(given_up.map(drop), Err(RecipeError::Deadline));
    cut.heal();
    let observer = cut.client();
    observer.sync("/").expect("a leader");
    until("nothing is left", PATIENCE, || {
        let left = observer.children("/lock", false);
        left.map_or(true, |children| children.names.is_empty())
    });
    // By the sweep, and not because the session went.
    client.sync("/").expect("it lives");
}
