//! A lock that does not stampede and hands out fencing tokens.
//!
//! Each contender creates an ephemeral sequential node and waits for the one right before its own,
//! so that a release wakes one contender. The creation zxid of the lock's node is its token: it
//! grows from holder to holder, and a resource that remembers the largest token it has seen can
//! refuse a holder that was paused so long that its session expired.
//!
//! `cargo run -p farwatch-client --example lock -- host:port /locks/name`

use std::sync::mpsc::{self, Receiver};

use farwatch_client::{
    ANY_VERSION, Acl, Client, ClientError, CreateMode, ErrorCode, Event, NodeEventKind, OpenError,
    Options, SessionState,
};

/// A held lock. It is lost when its session is.
pub struct Lock {
    client: Client,
    node: String,
    token: i64,
}

impl Lock {
    /// Waits for the lock at `path`, which is created where it is missing.
    pub fn acquire(connect_string: &str, path: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let (sender, events) = mpsc::channel();
        let options = Options::default().on_event(move |event| drop(sender.send(event)));
        let client = Client::open(connect_string, options).map_err(Box::<OpenError>::new)?;
        match client.create(path, b"", &Acl::open(), CreateMode::Persistent) {
            Ok(_) | Err(ClientError::Server(ErrorCode::NodeExists)) => {}
            Err(error) => return Err(error.into()),
        }
        // Were the connection lost here, a node of ours might exist that we do not know. The
        // session is our own, so that dropping the client removes whatever there is.
        let prefix = format!("{path}/n-");
        let created = client.create(&prefix, b"", &Acl::open(), CreateMode::EphemeralSequential)?;
        let lock = Self { client, node: created.path, token: created.stat.czxid };
        lock.wait_for_turn(path, &events)?;
        Ok(lock)
    }

    fn wait_for_turn(&self, path: &str, events: &Receiver<Event>) -> Result<(), ClientError> {
        let own = &self.node[path.len() + 1..];
        loop {
            let mut names = self.client.children(path, false)?.names;
            names.sort();
            let Some(before) = names.iter().rfind(|name| name.as_str() < own) else {
                return Ok(());
            };
            let before = format!("{path}/{before}");
            if self.client.exists(&before, true)?.is_none() {
                continue;
            }
            for event in events {
                match event {
                    Event::Session(SessionState::Expired) => {
                        return Err(ClientError::SessionExpired);
                    }
                    Event::Node(event)
                        if event.kind == NodeEventKind::NodeDeleted && event.path == before =>
                    {
                        break;
                    }
                    Event::Session(_) | Event::Node(_) => {}
                }
            }
        }
    }

    /// The fencing token: pass it with every use of what the lock guards.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// Gives the lock to the next contender.
    pub fn release(self) -> Result<(), ClientError> {
        self.client.delete(&self.node, ANY_VERSION)?;
        self.client.close()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(servers), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: lock host:port[,host:port…][/chroot] /path".into());
    };
    let lock = Lock::acquire(&servers, &path)?;
    println!("held, token {:#x}; press enter to release", lock.token());
    std::io::stdin().read_line(&mut String::new())?;
    lock.release()?;
    Ok(())
}
