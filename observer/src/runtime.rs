//! monoio, wrapped: the only module that names it, so that it can be replaced.
//!
//! monoio 0.2.4 is pinned and treated as frozen. Rules that its known bugs impose on us: no
//! `BufWriter`; a read future is never dropped, so an idle socket is ended by [`Socket::hang_up`],
//! which lets its read return; a task never wakes itself; the process ends instead of dropping a
//! runtime with operations in flight.

mod tasks;
mod turned;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::buf::{IoBuf, IoBufMut, IoVecBuf};
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable,
};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use self::tasks::Tasks;
pub use self::turned::Turned;
use crate::descriptors;

/// How this thread's sockets are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring.
    Uring,
    /// epoll, where io_uring is refused or its memory cannot be locked.
    Epoll,
}

impl std::fmt::Display for IoDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Ring sizes to try, largest first: a container's default memlock limit of 64 KiB passes a probe
/// with a small ring and then refuses a large one.
const RING_ENTRIES: [u32; 2] = [1024, 256];

/// Runs `main` to its end on this thread, by the first driver of the ladder that can be had.
/// `main` is told which one that is.
pub fn block_on<F, T>(allow_uring: bool, main: impl FnOnce(IoDriver) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    if allow_uring {
        for entries in RING_ENTRIES {
            let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(entries);
            if let Ok(mut runtime) = builder.enable_timer().build() {
                return Ok(runtime.block_on(main(IoDriver::Uring)));
            }
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(main(IoDriver::Epoll)))
}

/// As [`block_on`], by epoll, in a process that goes on: the tasks that `main` leaves behind are ended.
pub fn block_on_and_end<F, T>(main: impl FnOnce(IoDriver) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    let tasks = Rc::<Tasks>::default();
    let _entered = tasks.enter();
    let outcome = runtime.block_on(Rc::clone(&tasks).ended_with(main(IoDriver::Epoll)));
    Ok(outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// Starts a task on this thread.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    // A dropped handle detaches the task.
    match Tasks::of_this_thread() {
        None => drop(monoio::spawn(task)),
        Some(tasks) => drop(monoio::spawn(tasks.with(task))),
    }
}

/// Waits; about a millisecond late, always.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// Waits until every other task that can go on has had a turn, and the timers too: for a task that
/// could go on by itself for long.
///
/// A task that merely woke itself would be run again without a look at sockets or clock: the runtime
/// looks at both only once no task can go on. So this waits for a file that is readable already.
pub async fn turn() {
    let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
    let readable = rustix::event::eventfd(1, flags).map_err(io::Error::from);
    let bell = readable.and_then(Doorbell::of).ok();
    let waited = match bell.filter(|bell| !descriptors::is_scarce(bell.number())) {
        Some(bell) => bell.rung().await.is_ok(),
        None => false,
    };
    if !waited {
        sleep(Duration::from_millis(1)).await; // no descriptor is to be had
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    /// Connections taken since other tasks had a turn.
    unwaited: Cell<u32>,
}

/// As [`UNWAITED_MAX`], for connections, which may come as fast as they are taken.
const ACCEPTED_UNWAITED_MAX: u32 = 64;

impl Listener {
    /// Takes over a bound, listening socket.
    pub fn new(listener: StdListener) -> io::Result<Self> {
        listener.set_nonblocking(is_epoll())?;
        let listener = TcpListener::from_std(listener)?;
        Ok(Self { listener, unwaited: Cell::new(0) })
    }

    /// The next connection, not yet tied to a thread.
    pub async fn accept(&self) -> io::Result<(StdStream, SocketAddr)> {
        if self.unwaited.get() >= ACCEPTED_UNWAITED_MAX {
            self.unwaited.set(0);
            turn().await;
        }
        self.unwaited.set(self.unwaited.get() + 1);
        let (stream, peer) = self.listener.accept().await?;
        let fd = std::os::fd::IntoRawFd::into_raw_fd(stream);
        // SAFETY: `into_raw_fd` gave the descriptor up, so this is its only owner.
        let stream: StdStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) };
        if !is_epoll() {
            // monoio accepts by io_uring without it, and what this process becomes or starts would keep it open.
            rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok((stream, peer))
    }

    /// Ends a pending [`Listener::accept`] from another task, with an error. A dropped accept would
    /// lose a connection, so this is how a listening socket is given up. The handle must be told to
    /// [`Socket::forget`] before the listener is dropped.
    pub fn socket(&self) -> Socket {
        Socket(Rc::new(Cell::new(Some(self.listener.as_raw_fd()))))
    }
}

/// Whether this thread's runtime waits by epoll. It then calls the socket itself and needs it not to
/// block; io_uring needs the opposite, or it would report "try again" instead of waiting.
fn is_epoll() -> bool {
    monoio::utils::is_legacy()
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct ReadHalf {
    half: OwnedReadHalf<TcpStream>,
    /// What was read since the last read that waited, bytes; small reads count as [`READ_COST_MIN`].
    unwaited: usize,
}

/// By epoll a read of what has come already does not wait, and a task that only reads and writes could
/// keep the thread for as long as its peer likes: no other connection, no tick, no ping. After so much
/// the other tasks have a turn. Large enough that a turn, about 5 µs, is a small part of the work.
const UNWAITED_MAX: usize = 256 << 10;

/// What a read counts at least against [`UNWAITED_MAX`], bytes: one of few bytes takes its time, too.
const READ_COST_MIN: usize = 16 << 10;

/// The sending half of a connection.
#[derive(Debug)]
pub struct WriteHalf(OwnedWriteHalf<TcpStream>);

/// Ends a connection from outside its tasks.
#[derive(Clone, Debug)]
pub struct Socket(Rc<Cell<Option<i32>>>);

/// Ties an accepted connection to this thread.
pub fn adopt(stream: StdStream) -> io::Result<(ReadHalf, WriteHalf, Socket)> {
    let _pair_of_this_process = stream.set_nodelay(true); // it has no such option, and no need of it
    stream.set_nonblocking(is_epoll())?;
    let stream = TcpStream::from_std(stream)?;
    let fd = stream.as_raw_fd();
    let (read, write) = stream.into_split();
    let read = ReadHalf { half: read, unwaited: 0 };
    Ok((read, WriteHalf(write), Socket(Rc::new(Cell::new(Some(fd))))))
}

impl ReadHalf {
    /// Reads behind what `buffer` holds, up to its capacity; 0 is the end. The buffer comes back,
    /// also on errors. Whoever reads in a loop lets other tasks run.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let filled = buffer.len();
        let room = buffer.capacity();
        assert!(filled < room, "a read needs room");
        if self.unwaited >= UNWAITED_MAX {
            self.unwaited = 0;
            Box::pin(turn()).await; // boxed: every idle connection would pay for its room
        }
        let mut has_waited = false;
        let mut read = pin!(self.half.read(buffer.slice_mut(filled..room)));
        let (result, slice) = std::future::poll_fn(|context| {
            let polled = read.as_mut().poll(context);
            has_waited |= polled.is_pending();
            polled
        })
        .await;
        let got = *result.as_ref().unwrap_or(&0);
        self.unwaited = if has_waited { 0 } else { self.unwaited + got.max(READ_COST_MIN) };
        (result, slice.into_inner())
    }
}

impl WriteHalf {
    /// Writes all of `buffer`, which comes back.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let (result, buffer) = self.0.write_all(buffer).await;
        (result.map(drop), buffer)
    }

    /// Writes some of `buffer` from byte `from` on: as much as the socket takes at once, so that
    /// the caller sees progress. The buffer comes back.
    async fn write_some(&mut self, buffer: Vec<u8>, from: usize) -> (io::Result<usize>, Vec<u8>) {
        assert!(from < buffer.len(), "a write needs bytes");
        let (result, slice) = self.0.write(buffer.slice(from..)).await;
        (result, slice.into_inner())
    }
}

/// Bytes that are written: this writer's own, or a stretch of what others write too.
#[derive(Clone, Debug)]
pub enum Part {
    /// Nobody else has them.
    Own(Vec<u8>),
    /// These of them.
    Shared(Arc<[u8]>, Range<usize>),
}

impl Part {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes, range) => &bytes[range.clone()],
        }
    }

    /// Keeps the first so many bytes, and hands back the others.
    pub fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::Own(bytes) => Self::Own(bytes.split_off(at)),
            Self::Shared(bytes, range) => {
                let rest = Self::Shared(Arc::clone(bytes), range.start + at..range.end);
                range.end = range.start + at;
                rest
            }
        }
    }
}

/// As many parts as one write takes at most: the kernel's limit is 1024, and a write that is larger
/// than a socket's buffer gains nothing.
const PARTS_MAX: usize = 64;

/// Parts, and where the kernel finds what of them is to be written.
struct Gathered {
    parts: VecDeque<Part>,
    places: Vec<libc::iovec>,
}

impl Gathered {
    fn new(parts: VecDeque<Part>, mut from: usize) -> Self {
        let mut places = Vec::with_capacity(parts.len().min(PARTS_MAX));
        for part in parts.iter().take(PARTS_MAX) {
            let bytes = &part.bytes()[from..];
            from = 0;
            places.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
        }
        Self { parts, places }
    }
}

// SAFETY: `places` is a vector's heap memory with as many entries as it says. Each points into the
// heap memory of a part, which stays where it is when `parts` is moved, lives as long as `parts`,
// and is changed by nobody: `Gathered` is private and lends its parts to none while it exists, and
// what is shared is behind an `Arc` without interior mutability. A write only reads from it.
unsafe impl IoVecBuf for Gathered {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.places.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.places.len()
    }
}

impl WriteHalf {
    /// Writes some of `parts`, which are not empty, from byte `from` of the first one on, which is
    /// longer. They come back as they were.
    pub async fn write_parts(
        &mut self,
        mut parts: VecDeque<Part>,
        from: usize,
    ) -> (io::Result<usize>, VecDeque<Part>) {
        if let [Part::Own(_)] = parts.make_contiguous()
            && let Some(Part::Own(own)) = parts.pop_front()
        {
            // The kernel has a shorter way for bytes in one place.
            let (result, own) = self.write_some(own, from).await;
            parts.push_front(Part::Own(own));
            return (result, parts);
        }
        let (result, gathered) = self.0.writev(Gathered::new(parts, from)).await;
        (result, gathered.parts)
    }
}

impl Socket {
    /// Says that nothing more is sent; what was sent arrives first.
    pub fn finish(&self) {
        self.shutdown(libc::SHUT_WR);
    }

    /// Ends both directions; a pending read returns 0.
    pub fn hang_up(&self) {
        self.shutdown(libc::SHUT_RDWR);
    }

    /// Must be called before both halves are dropped: the number may then name another file.
    pub fn forget(&self) {
        self.0.set(None);
    }

    fn shutdown(&self, how: i32) {
        if let Some(fd) = self.0.get() {
            // SAFETY: shutdown takes no pointers; `forget` clears the number before it is closed.
            // An error means that the connection is down already, which is what is wanted.
            unsafe { libc::shutdown(fd, how) };
        }
    }
}

/// A descriptor that becomes readable when another thread, or the kernel, pokes it.
#[derive(Debug)]
pub struct Doorbell {
    stream: TcpStream,
}

impl Doorbell {
    /// Watches a duplicate of an eventfd.
    pub fn new(event: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of(event.try_clone_to_owned()?)
    }

    /// Watches an eventfd of its own.
    fn of(fd: OwnedFd) -> io::Result<Self> {
        // Only readiness is asked of it, which works for any pollable descriptor.
        Ok(Self { stream: TcpStream::from_std(StdStream::from(fd))? })
    }

    /// The descriptor that it watches by.
    pub fn number(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Waits until the descriptor is readable; the caller then drains it.
    pub async fn rung(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }
}

/// Wakes one task of the same thread; rings while it is busy are kept as one.
#[derive(Clone, Debug, Default)]
pub struct Signal(Rc<SignalState>);

#[derive(Debug, Default)]
struct SignalState {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Makes the current or next [`Signal::wait`] return.
    pub fn notify(&self) {
        if !self.0.set.replace(true)
            && let Some(waker) = self.0.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits for a notification that was not yet waited for.
    pub async fn wait(&self) {
        std::future::poll_fn(|context| {
            if self.0.set.replace(false) {
                return Poll::Ready(());
            }
            *self.0.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
