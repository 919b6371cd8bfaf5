//! The addresses of servers. A resolver may take half a minute to say that it knows nothing: it is waited for
//! no longer than a server is, and works on its name beside the attempts at the other ones.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crate::connect_string::ServerName;

/// How old an answer may be that came too late for its attempt: addresses move.
const FRESH: Duration = Duration::from_secs(60);

/// How names are resolved: in tests without the network.
pub(super) type Resolver = fn(&ServerName) -> Result<Vec<SocketAddr>>;

pub(super) fn ask_the_system(name: &ServerName) -> Result<Vec<SocketAddr>> {
    Ok((name.host.as_str(), name.port).to_socket_addrs()?.collect())
}

/// What a resolver said, and when.
type Answer = (Instant, Result<Vec<SocketAddr>>);

/// The reader thread's.
pub(super) struct Names {
    resolver: Resolver,
    /// By server: the answer that did not come in time.
    late: Vec<Option<Receiver<Answer>>>,
}

impl Names {
    pub(super) fn new(resolver: Resolver, servers: usize) -> Self {
        Self { resolver, late: (0..servers).map(|_| None).collect() }
    }

    /// Resolves the name anew, unless the answer to the last attempt at it came just now, or is to come.
    pub(super) fn resolve(
        &mut self,
        server: usize,
        name: &ServerName,
        patience: Duration,
    ) -> Result<Vec<SocketAddr>> {
        if let Ok(address) = name.host.parse::<IpAddr>() {
            return Ok(vec![(address, name.port).into()]);
        }
        let too_late = || Error::new(ErrorKind::TimedOut, "the name is not resolved yet");
        if let Some(late) = self.late[server].take() {
            match late.try_recv() {
                Ok((at, answer)) if at.elapsed() < FRESH => return answer,
                Err(TryRecvError::Empty) => {
                    self.late[server] = Some(late);
                    return Err(too_late());
                }
                Ok(_) | Err(TryRecvError::Disconnected) => {}
            }
        }
        let (sender, answers) = mpsc::sync_channel(1);
        let (resolver, own) = (self.resolver, name.clone());
        let thread = std::thread::Builder::new().name("farwatch-names".to_owned());
        let started = thread.spawn(move || {
            let answer = resolver(&own);
            let _nobody_waits = sender.send((Instant::now(), answer));
        });
        if started.is_err() {
            return resolver(name); // no thread is to be had
        }
        match answers.recv_timeout(patience) {
            Ok((_now, answer)) => answer,
            Err(_too_late) => {
                self.late[server] = Some(answers);
                Err(too_late())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use farwatch_core::wire::ErrorCode;

    use super::*;
    use crate::backoff::ServerChoice;
    use crate::client::{Client, Options};
    use crate::stub;

    #[test]
    fn a_name_that_is_never_resolved_keeps_nobody_from_the_next_server() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = |name: &ServerName| {
            if name.host == "good" {
                return Ok(vec![([127, 0, 0, 1], name.port).into()]);
            }
            ASKED.fetch_add(1, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || stub::serve(&stream, |_op| ErrorCode::ConnectionLoss));
            }
        });
        let options = Options { resolver, ..Options::default() }
            .server_choice(ServerChoice::Order)
            .session_timeout(Duration::from_secs(6));
        let client = Client::open(&format!("hangs:1,good:{port}"), options).unwrap();
        client.wait_connected(Duration::from_secs(20)).unwrap();
        client
            .handle
            .shared
            .lock()
            .stream
            .as_ref()
            .unwrap()
            .shutdown(std::net::Shutdown::Both)
            .unwrap();
        while client.handle.shared.lock().links < 2 {
            std::thread::yield_now();
        }
        client.wait_connected(Duration::from_secs(20)).unwrap();
        assert_eq!(
            ASKED.load(Ordering::SeqCst),
            1,
            "one thread waits for the resolver, and no second"
        );
    }

    #[test]
    fn an_answer_that_came_too_late_is_for_the_next_attempt() {
        let resolver = |name: &ServerName| Ok(vec![([127, 0, 0, 1], name.port).into()]);
        let name = ServerName { host: "slow".to_owned(), port: 7 };
        let mut names = Names::new(resolver, 1);
        let (sender, answers) = mpsc::sync_channel(1);
        names.late[0] = Some(answers);
        let patience = Duration::from_secs(60);
        let early = names.resolve(0, &name, patience);
        assert_eq!(early.unwrap_err().kind(), ErrorKind::TimedOut);
        let late = vec![SocketAddr::from(([127, 0, 0, 2], 7))];
        sender.send((Instant::now(), Ok(late.clone()))).unwrap();
        assert_eq!(names.resolve(0, &name, patience).unwrap(), late);
        assert_ne!(names.resolve(0, &name, patience).unwrap(), late, "it is asked anew");
    }
}
