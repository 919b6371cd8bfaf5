//! The connection: dialled and read by one thread, written by all.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::names::Names;
use super::nearest::{self, Comparison};
use super::{Completion, EventHandler, Shared, State};
use crate::event::Event;
use crate::machine::{CONNECT_MS_MIN, LinkAction, Output};

/// One read takes at most so much, bytes: many replies of a pipeline, one part of a huge one.
const READ_BYTES: usize = 64 * 1024;

/// A blocked read returns this many times per session timeout, so that pings leave in time.
const TICKS_PER_TIMEOUT: u64 = 12;

/// Longest wait of a blocked read, milliseconds.
const TICK_MS_MAX: u64 = 1000;

/// Sending takes no longer, and leaves the rest to the reader.
pub(super) const STALL: Duration = Duration::from_millis(400);

/// Who sends takes along what others add meanwhile, so many times.
const ROUNDS_MAX: usize = 16;

/// What the reader has still to send, bytes, before more is taken from the machine, which has a limit.
const UNSENT_BYTES_MAX: usize = 1 << 20;

/// A sender sends for no longer than this, though bytes still move: what is left the reader finds when its wait is over.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// Shortest wait of a blocked read, milliseconds: the kernel's own grain is about as large.
const TICK_MS_MIN: u64 = 10;

/// Sends what the machine has, unless another thread is sending: then that one takes it along.
///
/// When the socket is full, the rest is left to the reader, by the reader itself at once: it must go on reading, as a
/// server that holds back because its answers are not taken would otherwise wait for us while we wait
/// for it. A server that takes nothing for too long is found by its silence. So is what others go on adding: the
/// answers to what was sent wake the reader.
pub(super) fn flush<'s>(shared: &'s Shared, state: MutexGuard<'s, State>) {
    flush_until(shared, state, after(FLUSH_MAX));
}

/// As [`flush`], and not beyond `until`.
pub(super) fn flush_until<'s>(shared: &'s Shared, state: MutexGuard<'s, State>, until: Instant) {
    let is_reader = state.reader == Some(std::thread::current().id());
    let stall = if is_reader { Duration::ZERO } else { STALL };
    flush_by(shared, state, |stream, bytes| write(stream, bytes, stall, until));
}

fn flush_by<'s>(
    shared: &'s Shared,
    mut state: MutexGuard<'s, State>,
    mut write: impl FnMut(&TcpStream, &[u8]) -> std::io::Result<usize>,
) {
    if state.writing {
        return;
    }
    state.writing = true;
    let mut bytes = std::mem::take(&mut state.unsent);
    let mut rounds = 0;
    loop {
        if bytes.len() < UNSENT_BYTES_MAX {
            state.machine.poll_transmit(&mut bytes);
        }
        if bytes.is_empty() {
            break;
        }
        let Some(stream) = state.stream.clone() else {
            bytes.clear();
            continue; // the link went down, and its bytes with it
        };
        if rounds == ROUNDS_MAX {
            state.unsent = bytes;
            break;
        }
        rounds += 1;
        drop(state);
        let written = write(&stream, &bytes);
        state = shared.lock();
        match written {
            Ok(count) if count < bytes.len() => {
                let same_link = state.stream.as_ref().is_some_and(|now| Arc::ptr_eq(now, &stream));
                if same_link {
                    bytes.drain(..count);
                    state.unsent = bytes;
                }
                break;
            }
            Ok(_all) => {}
            // The reader sees the end of the stream and tells the machine.
            Err(_broken) => drop(stream.shutdown(Shutdown::Both)),
        }
        bytes.clear();
    }
    state.writing = false;
}

/// Writes until all is written, or until nothing has moved for `stall`, or until then.
fn write(
    mut stream: &TcpStream,
    bytes: &[u8],
    stall: Duration,
    until: Instant,
) -> std::io::Result<usize> {
    let mut written = 0;
    let mut moved = Instant::now();
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count;
                moved = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_wait(&error) => {
                if stall <= moved.elapsed() {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
        if until <= Instant::now() {
            break;
        }
    }
    Ok(written)
}

/// A socket with a timeout answers one or the other.
fn is_wait(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The reader thread: runs until the session is over. A panic of ours ends it, and everyone who waits is
/// told: nobody else would ever tell them.
pub(super) fn run(shared: &Arc<Shared>, mut on_event: Option<EventHandler>) {
    if catch_unwind(AssertUnwindSafe(|| serve(shared, &mut on_event))).is_ok() {
        return;
    }
    tracing::error!("a bug: the client's thread panicked; all that waits fails");
    let mut state = shared.lock();
    hang_up(&mut state);
    state.machine.give_up();
    drop(state);
    shared.later.run(true);
    let state = shared.lock();
    let mut state = deliver_outputs(shared, state, &mut on_event);
    state.has_ended = true;
    shared.changed.notify_all();
}

/// Delivers what the machine has to say, with nothing locked meanwhile. What it returns was never unlocked
/// since the machine had nothing more to say: whoever finds it over then misses no result.
fn deliver_outputs<'s>(
    shared: &'s Shared,
    mut state: MutexGuard<'s, State>,
    on_event: &mut Option<EventHandler>,
) -> MutexGuard<'s, State> {
    loop {
        let outputs: Vec<Output<Completion>> =
            std::iter::from_fn(|| state.machine.poll_output()).collect();
        if outputs.is_empty() {
            return state;
        }
        drop(state);
        shared.changed.notify_all();
        outputs.into_iter().for_each(|output| deliver(shared, output, on_event));
        state = shared.lock();
    }
}

fn serve(shared: &Arc<Shared>, on_event: &mut Option<EventHandler>) {
    let mut buffer = vec![0; READ_BYTES];
    let (mut tick_ms, mut is_idle) = (TICK_MS_MIN, false);
    let mut names = Names::new(shared.resolver, shared.servers.len());
    let mut comparison = Comparison::new(shared.seed);
    let mut state = shared.lock();
    state.reader = Some(std::thread::current().id());
    state.machine.start(shared.now_ms());
    drop(state);
    loop {
        if shared.later.left().is_some() {
            let is_connected = shared.lock().machine.is_connected();
            shared.later.run(!is_connected);
        }
        let mut state = shared.lock();
        state.machine.handle_timeout(shared.now_ms());
        let mut state = deliver_outputs(shared, state, on_event);
        match state.machine.poll_link() {
            Some(LinkAction::Dial { server, deadline_ms }) => {
                drop(state);
                let server = nearest::choose(shared, server, deadline_ms);
                dial(shared, &mut names, server, deadline_ms);
                tick_ms = TICK_MS_MIN;
                continue;
            }
            Some(LinkAction::HangUp) => {
                hang_up(&mut state);
                continue;
            }
            None => {}
        }
        if state.machine.is_over() {
            if shared.later.left().is_some() {
                continue; // it fails, and whoever waits for it is told
            }
            state.has_ended = true;
            shared.changed.notify_all();
            return;
        }
        let Some(stream) = state.stream.clone() else {
            wait(shared, state);
            continue;
        };
        let timeout_ms = state.machine.session_timeout_ms();
        flush(shared, state);
        let state = shared.lock();
        let is_stuck = !state.unsent.is_empty() || state.writing; // then soon again
        drop(state);
        let wanted_ms = if is_stuck { 0 } else { timeout_ms / TICKS_PER_TIMEOUT };
        let left_ms = shared.later.left().map_or(wanted_ms, |left| left.as_millis() as u64);
        let wanted_ms = wanted_ms.min(left_ms).clamp(TICK_MS_MIN, TICK_MS_MAX);
        // A busy connection keeps its short wait, which it does not need: to change it costs more.
        if wanted_ms < tick_ms || is_idle && wanted_ms != tick_ms {
            tick_ms = wanted_ms;
            drop(stream.set_read_timeout(Some(Duration::from_millis(tick_ms))));
        }
        is_idle = read(shared, &stream, &mut buffer);
        comparison.advance(shared);
    }
}

fn hang_up(state: &mut State) {
    state.server = None;
    state.unsent.clear();
    if let Some(stream) = state.stream.take() {
        drop(stream.shutdown(Shutdown::Both));
    }
}

/// Returns whether nothing came.
fn read(shared: &Shared, stream: &TcpStream, buffer: &mut [u8]) -> bool {
    let result = (&*stream).read(buffer);
    let mut state = shared.lock();
    let now_ms = shared.now_ms();
    match result {
        Ok(0) => {
            hang_up(&mut state);
            state.machine.handle_disconnected(now_ms);
        }
        Ok(count) => state.machine.handle_bytes(now_ms, &buffer[..count]),
        Err(error) if is_wait(&error) || error.kind() == ErrorKind::Interrupted => return true,
        Err(error) => {
            tracing::debug!(%error, "the connection broke");
            hang_up(&mut state);
            state.machine.handle_disconnected(now_ms);
        }
    }
    false
}

/// No connection: waits for the machine's next time, or for a caller that closes.
fn wait(shared: &Shared, state: MutexGuard<'_, State>) {
    let Some(timeout_ms) = state.machine.poll_timeout() else {
        return;
    };
    let left_ms = timeout_ms.saturating_sub(shared.now_ms()).clamp(1, TICK_MS_MAX);
    let waited = shared.changed.wait_timeout(state, Duration::from_millis(left_ms));
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}

/// A closure that panics must not take the session with it: others depend on it.
fn deliver(shared: &Shared, output: Output<Completion>, on_event: &mut Option<EventHandler>) {
    let delivered = catch_unwind(AssertUnwindSafe(|| match output {
        Output::Completed { context, result } => context(result),
        Output::Event(event) => {
            log(&event);
            shared.listeners.tell(&event);
            if let Some(on_event) = on_event {
                on_event(event);
            }
        }
    }));
    if delivered.is_err() {
        tracing::error!("a closure given to the client panicked; the session goes on");
    }
}

fn log(event: &Event) {
    match event {
        Event::Session(state) => tracing::debug!(?state, "session"),
        Event::Node(event) => tracing::debug!(?event, "watch"),
    }
}

fn dial(shared: &Shared, names: &mut Names, server: usize, deadline_ms: u64) {
    let name = &shared.servers[server];
    let dialled = connect(shared, || {
        // A callback before it may have taken its time.
        let left_ms = deadline_ms.saturating_sub(shared.now_ms()).max(CONNECT_MS_MIN);
        names.resolve(server, name, Duration::from_millis(left_ms))
    });
    let mut state = shared.lock();
    let now_ms = shared.now_ms();
    match dialled {
        Ok(stream) => {
            state.stream = Some(Arc::new(stream));
            state.server = Some(server);
            state.links += 1;
            state.machine.handle_connected(now_ms);
        }
        Err(error) => {
            tracing::debug!(server = %name, %error, "no connection");
            state.machine.handle_disconnected(now_ms);
        }
    }
}

/// Tries all addresses that the name has.
fn connect(
    shared: &Shared,
    resolve: impl FnOnce() -> std::io::Result<Vec<SocketAddr>>,
) -> std::io::Result<TcpStream> {
    if let Some(transport) = &shared.transport {
        let stream = transport()?;
        bound_waits(&stream)?;
        return Ok(stream);
    }
    let mut addresses = resolve()?;
    let deadline_ms = shared.lock().machine.handle_resolved(shared.now_ms());
    if !addresses.is_empty() {
        // A server that accepts and then does not serve must not hide the name's other addresses.
        let first = shared.now_ms() as usize % addresses.len();
        addresses.rotate_left(first);
    }
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left_ms = deadline_ms.saturating_sub(shared.now_ms());
        let share_ms = (left_ms / (addresses.len() - tried) as u64).max(1);
        let share = Duration::from_millis(share_ms);
        match TcpStream::connect_timeout(address, share).and_then(|stream| {
            stream.set_nodelay(true)?;
            bound_waits(&stream)?;
            Ok(stream)
        }) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The moment in which a patience ends; far away where it has no end.
pub(crate) fn after(patience: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    Instant::now() + patience.min(FAR)
}

/// No call on the stream blocks for longer than a tick.
fn bound_waits(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(TICK_MS_MIN)))?;
    stream.set_read_timeout(Some(Duration::from_millis(TICK_MS_MIN)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use farwatch_core::wire::ErrorCode;

    use super::*;
    use crate::client::{Client, Options};
    use crate::error::ClientError;
    use crate::event::SessionState;
    use crate::operation::Operation;
    use crate::outcome::Outcome;
    use crate::stub;

    #[test]
    fn a_panic_of_the_clients_thread_is_told_to_all_who_wait_and_to_all_who_ask_later() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let (tell, told) = std::sync::mpsc::channel();
        let heard = tell.clone();
        let options = Options::default()
            .transport(move || {
                assert!(gone.lock().expect("nobody panicked with it").recv().is_err());
                panic!("as a bug would");
            })
            .on_event(move |event| {
                assert_eq!(event, Event::Session(SessionState::Closed));
                drop(heard.send(None));
            });
        let client = Client::open("nowhere:1", options).unwrap();
        let read = Operation::GetData { path: "/".into(), watch: false };
        for _ in 0..2 {
            let tell = tell.clone();
            client.submit(&read, move |result| drop(tell.send(Some(result)))).unwrap();
        }
        drop((go, tell)); // the transport hears of it, and the last event ends the channel
        let told: Vec<_> = told.iter().collect();
        let panicked = || Some(Err(ClientError::Panicked));
        assert_eq!(told, [panicked(), panicked(), None]);
        assert_eq!(client.call(&read), Err(ClientError::Panicked));
        assert_eq!(client.wait_connected(Duration::MAX), Err(ClientError::Panicked));
        assert!(client.is_over());
        client.close().unwrap();
    }

    #[test]
    fn a_call_ends_at_its_deadline_though_the_callback_before_its_result_waits_for_it() {
        let delete = Operation::Delete { path: "/".into(), version: -1 };
        for operation in [Operation::GetData { path: "/".into(), watch: false }, delete] {
            let options = Options::default()
                .transport(|| Err(ErrorKind::NotFound.into()))
                .request_timeout(Duration::from_millis(50));
            let client = Client::open("nowhere:1", options).unwrap();
            let (called, held) = std::sync::mpsc::channel::<()>();
            client.submit(&Operation::WhoAmI, move |_| assert!(held.recv().is_err())).unwrap();
            let result = client.wait_for(&operation, |completion| {
                let request = client.submit_fresh(&operation, completion)?;
                client.handle.shared.lock().machine.give_up(); // both are completed, and told in turn
                Ok(request)
            });
            let maybe_applied = operation.changes_state();
            assert_eq!(result, Err(ClientError::Timeout { maybe_applied }));
            drop(called);
        }
    }

    #[test]
    fn who_sends_is_not_kept_by_others_who_go_on_adding_and_the_reader_sends_the_rest() {
        let options = Options::default().transport(stub::server(|_op| ErrorCode::Ok));
        let client = Client::open("stub:1", options).unwrap();
        client.wait_connected(Duration::from_secs(60)).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = &client.handle.shared;
        let sync = Operation::Sync { path: "/".into() };
        let mut state = shared.lock();
        let answered = tell.clone();
        let completion: Completion = Box::new(move |result| drop(answered.send(result)));
        assert!(state.machine.submit(shared.now_ms(), &sync, completion).is_ok());
        let mut rounds = 0;
        flush_by(shared, state, |mut stream, bytes| {
            rounds += 1;
            let answered = tell.clone();
            client.submit(&sync, move |result| drop(answered.send(result))).unwrap();
            stream.write_all(bytes).map(|()| bytes.len())
        });
        assert_eq!(rounds, ROUNDS_MAX);
        for _ in 0..=rounds {
            assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Ok(Outcome::Done));
        }
    }

    #[test]
    fn what_a_socket_does_not_take_is_left_and_is_no_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        bound_waits(&stream).unwrap();
        let bytes = vec![0; 64 << 20]; // more than any buffer of a socket, and nobody reads
        let far = after(Duration::MAX);
        let hour = Duration::from_secs(3600);
        for (stall, until) in
            [(Duration::from_millis(20), far), (Duration::ZERO, far), (hour, Instant::now())]
        {
            let written = write(&stream, &bytes, stall, until).unwrap();
            assert!(written < bytes.len(), "{stall:?}: all of it"); // or this does not end
        }
    }
}
