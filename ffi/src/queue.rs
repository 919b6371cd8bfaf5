//! `fw_queue`: results and events in a line, with a descriptor for the program's own loop.
//!
//! The descriptor is readable exactly while the line is not empty: it is written to by whoever
//! makes the line not empty, and read by whoever makes it empty, both under the line's lock.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farwatch_client::Stop;
use rustix::event::{EventfdFlags, eventfd};

use crate::error::{ErrorBody, Failure, fw_error};
use crate::event::{EventBody, fw_event};
use crate::guard::{Opaque, Owned, borrow, free, give, out, view};
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;

/// Events that wait in one queue. Results are bounded by the requests that clients accept; events
/// come by themselves, and a program that does not look must not fill the memory.
pub const QUEUED_EVENTS_MAX: usize = 100_000;

/// Entries of the program's own that wait in one queue.
const QUEUED_POSTS_MAX: usize = 100_000;

/// A queue of results and events, for any number of clients and observers. All functions on it: any thread.
pub struct fw_queue {
    _private: [u8; 0],
}

impl Opaque for fw_queue {
    type Body = QueueBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_queue");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// One entry of a queue: a result, an event, or what the program has posted itself. Belongs to whoever took it;
/// what is asked of it stays valid until `fw_completion_free`. All functions on it: any thread, never block; freeing it
/// is as `fw_result_free`.
pub struct fw_completion {
    _private: [u8; 0],
}

impl Opaque for fw_completion {
    type Body = CompletionBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_compl");
}

/// The program's own word on a request, passed through.
#[derive(Clone, Copy)]
pub struct Tag(*mut c_void);

// SAFETY: never looked into here; the header says that tags move between threads.
unsafe impl Send for Tag {}
// SAFETY: as above.
unsafe impl Sync for Tag {}

impl Tag {
    /// Passes `tag` through.
    pub fn new(tag: *mut c_void) -> Self {
        Self(tag)
    }
}

/// An entry laid out for C.
pub struct CompletionBody {
    tag: Tag,
    status: fw_status,
    result: Option<Owned<fw_result>>,
    error: Option<Owned<fw_error>>,
    event: Option<Owned<fw_event>>,
    counts_as: CountsAs,
}

/// By what there can be no more than so many of an entry in a queue.
enum CountsAs {
    /// As many as clients accept requests.
    Result,
    /// [`QUEUED_EVENTS_MAX`].
    Event,
    /// [`QUEUED_POSTS_MAX`].
    Post,
    /// One: whether it waits.
    Notice(Arc<AtomicBool>),
}

impl CompletionBody {
    /// One with nothing but its tag.
    fn of(tag: Tag) -> Self {
        let status = fw_status::FW_OK;
        let counts_as = CountsAs::Result;
        Self { tag, status, result: None, error: None, event: None, counts_as }
    }
}

/// The program's end of a queue.
pub struct QueueBody(Arc<Line>);

impl QueueBody {
    /// For who fills it.
    pub fn line(&self) -> Arc<Line> {
        Arc::clone(&self.0)
    }
}

impl Drop for QueueBody {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a queue and those who fill it share.
pub struct Line {
    state: Mutex<LineState>,
    filled: Condvar,
    descriptor: OwnedFd,
}

#[derive(Default)]
struct LineState {
    waiting: VecDeque<CompletionBody>,
    events: usize,
    posts: usize,
    has_overflown: bool,
    /// The waits whose results are to come here, each with its number.
    awaited: Vec<(u64, Stop)>,
    last_awaited: u64,
    /// The queue was freed: nobody will look.
    is_closed: bool,
}

impl Line {
    fn new() -> Result<Self, Failure> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let descriptor = descriptor.map_err(|error| {
            let text =
                format!("no descriptor for the queue ({error}); raise the limit on open files");
            Failure::retriable(fw_status::FW_NO_RESOURCES, text)
        })?;
        Ok(Self { state: Mutex::default(), filled: Condvar::new(), descriptor })
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a request.
    pub fn push_result(&self, tag: Tag, result: Result<ResultBody, Failure>) {
        let none = CompletionBody::of(tag);
        let entry = match result {
            Ok(result) => CompletionBody { result: Some(Owned::new(result)), ..none },
            Err(failure) => CompletionBody {
                status: failure.status,
                error: Some(Owned::new(ErrorBody::from(failure))),
                ..none
            },
        };
        let refused = self.push(&mut self.lock(), entry);
        drop(refused); // with nothing locked: it may hand a lock over, which is released then
    }

    /// Has `stop` raised when the queue is freed, until what is returned is dropped.
    pub fn awaits(self: &Arc<Self>, stop: &Stop) -> AwaitedResult {
        let mut state = self.lock();
        state.last_awaited += 1;
        let number = state.last_awaited;
        if state.is_closed {
            drop(state);
            stop.raise(); // it was freed meanwhile
        } else {
            state.awaited.push((number, stop.clone()));
        }
        AwaitedResult { line: Arc::clone(self), number }
    }

    /// An event, unless too many wait already: then one that says so.
    pub fn push_event(&self, tag: Tag, event: EventBody) {
        let mut state = self.lock();
        let event = match state.events {
            waiting if waiting < QUEUED_EVENTS_MAX => event,
            _full if state.has_overflown => return,
            _full => {
                state.has_overflown = true;
                EventBody::overflow()
            }
        };
        let event = Some(Owned::new(event));
        state.events += 1;
        let counts_as = CountsAs::Event;
        let entry = CompletionBody { event, counts_as, ..CompletionBody::of(tag) };
        let _too_late = self.push(&mut state, entry);
    }

    /// The program's own word, unless too many wait already.
    fn post(&self, tag: Tag) -> Result<(), Failure> {
        let mut state = self.lock();
        if QUEUED_POSTS_MAX <= state.posts {
            let text = "too much that was posted waits in the queue: take it out, and post again";
            return Err(Failure::retriable(fw_status::FW_OVERLOADED, text));
        }
        state.posts += 1;
        let counts_as = CountsAs::Post;
        let _too_late =
            self.push(&mut state, CompletionBody { counts_as, ..CompletionBody::of(tag) });
        Ok(())
    }

    /// Returns what is too late, as the queue was freed.
    fn push(&self, state: &mut LineState, entry: CompletionBody) -> Option<CompletionBody> {
        if state.is_closed {
            return Some(entry);
        }
        if state.waiting.is_empty() {
            // It can only fail when the counter is full, and that is readable too.
            let _full = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        }
        state.waiting.push_back(entry);
        self.filled.notify_one();
        None
    }

    fn pop(&self, state: &mut LineState) -> Option<CompletionBody> {
        let entry = state.waiting.pop_front()?;
        match &entry.counts_as {
            CountsAs::Result => {}
            CountsAs::Event => {
                state.events -= 1;
                state.has_overflown &= QUEUED_EVENTS_MAX <= state.events;
            }
            CountsAs::Post => state.posts -= 1,
            // With the line locked, as where it is set.
            CountsAs::Notice(waits) => waits.store(false, Ordering::Relaxed),
        }
        if state.waiting.is_empty() {
            let _empty = rustix::io::read(&self.descriptor, &mut [0; 8]);
        }
        Some(entry)
    }

    /// The first entry, for which it waits at most so long, or without a limit.
    fn next(&self, patience: Option<Duration>) -> Option<CompletionBody> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = self.lock();
        loop {
            if let Some(entry) = self.pop(&mut state) {
                return Some(entry);
            }
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.filled.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let awaited = std::mem::take(&mut state.awaited);
        drop(state);
        for (_number, stop) in awaited {
            stop.raise();
        }
        drop(waiting); // behind that: what is given back is for others
    }
}

/// The place in a queue of the result of a wait, which is given up when the queue is freed.
pub struct AwaitedResult {
    line: Arc<Line>,
    number: u64,
}

impl AwaitedResult {
    /// What became of it.
    pub fn fill(self, tag: Tag, result: Result<ResultBody, Failure>) {
        self.line.push_result(tag, result);
    }
}

impl Drop for AwaitedResult {
    fn drop(&mut self) {
        self.line.lock().awaited.retain(|(number, _stop)| *number != self.number);
    }
}

/// An event that says to look elsewhere, and so is in its queue once at most, however often it is put there: no
/// limit on events drops it, and it fills no memory.
pub struct Notice {
    line: Arc<Line>,
    tag: Tag,
    event: fn() -> EventBody,
    /// Changed with the line locked.
    waits: Arc<AtomicBool>,
}

impl Notice {
    /// One that is not in `line` yet.
    pub fn new(line: Arc<Line>, tag: Tag, event: fn() -> EventBody) -> Self {
        Self { line, tag, event, waits: Arc::default() }
    }

    /// Puts it at the end, unless it waits already: who takes that looks behind this.
    pub fn put(&self) {
        let mut state = self.line.lock();
        if state.is_closed || self.waits.swap(true, Ordering::Relaxed) {
            return;
        }
        let event = Some(Owned::new((self.event)()));
        let counts_as = CountsAs::Notice(Arc::clone(&self.waits));
        let entry = CompletionBody { event, counts_as, ..CompletionBody::of(self.tag) };
        let _put = self.line.push(&mut state, entry);
    }
}

/// Makes a queue. Never blocks. Fails with `FW_NULL`, `FW_NO_RESOURCES`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_queue_new(
    queue: *mut *mut fw_queue,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let queue = out(queue)?;
        queue.set(give(QueueBody(Arc::new(Line::new()?))));
        Ok(())
    })
}

/// A descriptor for poll, epoll, libuv or asio that is readable while the queue is not empty; -1 for
/// null. It belongs to the queue: wait for it, and do not read, write or close it. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_queue_fd(queue: *const fw_queue) -> i32 {
    accessor!(view(queue, -1, |queue| queue.0.descriptor.as_raw_fd()))
}

/// Puts an entry of the program's own at the end: a completion with `tag` and `FW_OK`, without a result and without an
/// event. So a thread that waits in a recipe tells a loop that it has what it waited for, and a callback that
/// something has changed. Never blocks. Fails with `FW_NULL`, `FW_OVERLOADED` (100,000 of them wait).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_queue_post(
    queue: *mut fw_queue,
    tag: *mut c_void,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, { borrow(queue.cast_const())?.0.post(Tag::new(tag)) })
}

/// Takes the first entry, for which it waits up to `timeout_ms`: 0 does not wait, and a negative one
/// has no limit. May block, any thread, and within a callback only looks. Fails with `FW_TIMEOUT` when there
/// is none, `FW_NULL`, `FW_BAD_HANDLE`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_queue_next(
    queue: *mut fw_queue,
    timeout_ms: i64,
    completion: *mut *mut fw_completion,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let completion = out(completion)?;
        if timeout_ms != 0 {
            crate::callback::refuse_inside()?;
        }
        let patience = u64::try_from(timeout_ms).ok().map(crate::client::patience);
        let entry = borrow(queue.cast_const())?.0.next(patience);
        completion.set(give(entry.ok_or_else(|| {
            Failure::retriable(fw_status::FW_TIMEOUT, "nothing is in the queue")
        })?));
        Ok(())
    })
}

/// Frees `queue` and what is in it; what clients, feeds and observers would still put there is dropped. Recipes
/// that wait for it (`fw_op_lock_acquire`) are given up as by `fw_client_abandon`: their places in line are
/// taken back in the background, and so is what they have got and nobody has taken. Null is allowed. Never
/// blocks longer than the socket takes to take the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_queue_free(queue: *mut fw_queue) -> fw_status {
    accessor!(free(queue))
}

/// The tag that was given with the request, the choice of the queue for events, a feed or an observer, or the post.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_tag(completion: *const fw_completion) -> *mut c_void {
    accessor!(view(completion, std::ptr::null_mut(), |completion| completion.tag.0))
}

/// The event, if this is one, else null: then it is a result, or was posted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_event(completion: *const fw_completion) -> *const fw_event {
    accessor!(view(completion, std::ptr::null(), |completion| {
        completion.event.as_ref().map_or(std::ptr::null(), Owned::as_ptr)
    }))
}

/// What became of the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_status(completion: *const fw_completion) -> fw_status {
    accessor!(view(completion, fw_status::FW_BAD_HANDLE, |completion| completion.status))
}

/// The request's result, null if it failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_result(
    completion: *const fw_completion,
) -> *const fw_result {
    accessor!(view(completion, std::ptr::null(), |completion| {
        completion.result.as_ref().map_or(std::ptr::null(), Owned::as_ptr)
    }))
}

/// Why the request failed, null if it did not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_error(completion: *const fw_completion) -> *const fw_error {
    accessor!(view(completion, std::ptr::null(), |completion| {
        completion.error.as_ref().map_or(std::ptr::null(), Owned::as_ptr)
    }))
}

/// Frees `completion`. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_completion_free(completion: *mut fw_completion) -> fw_status {
    accessor!(free(completion))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(line: &Line) -> bool {
        let mut polled =
            [rustix::event::PollFd::new(&line.descriptor, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
            .expect("poll")
            == 1
    }

    fn tag(number: usize) -> Tag {
        Tag::new(std::ptr::without_provenance_mut(number))
    }

    #[test]
    fn the_descriptor_is_readable_exactly_while_something_waits() {
        let line = Line::new().unwrap();
        assert!(!is_readable(&line));
        for number in 1..=3 {
            line.push_result(tag(number), Ok(ResultBody::default()));
            assert!(is_readable(&line));
        }
        for number in 1..=3 {
            assert!(is_readable(&line));
            assert_eq!(line.next(Some(Duration::ZERO)).unwrap().tag.0.addr(), number);
        }
        assert!(!is_readable(&line));
        assert!(line.next(Some(Duration::ZERO)).is_none());
    }

    #[test]
    fn what_is_posted_has_a_limit_of_its_own_and_its_place_among_the_others() {
        let line = Line::new().unwrap();
        line.push_result(tag(1), Ok(ResultBody::default()));
        for _ in 0..QUEUED_POSTS_MAX {
            line.post(tag(2)).unwrap();
        }
        assert_eq!(line.post(tag(3)).unwrap_err().status, fw_status::FW_OVERLOADED);
        line.push_result(tag(4), Ok(ResultBody::default()));
        assert_eq!(line.next(Some(Duration::ZERO)).unwrap().tag.0.addr(), 1);
        assert!(line.post(tag(3)).is_err(), "a result makes no room");
        assert_eq!(line.next(Some(Duration::ZERO)).unwrap().tag.0.addr(), 2);
        line.post(tag(5)).unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| line.next(Some(Duration::ZERO))).collect();
        let last: Vec<usize> = rest.iter().rev().take(2).map(|it| it.tag.0.addr()).collect();
        assert_eq!((rest.len(), last), (QUEUED_POSTS_MAX + 1, vec![5, 4]));
        assert!(!is_readable(&line));
    }

    #[test]
    fn a_notice_waits_once_and_a_queue_that_is_full_of_events_has_room_for_it() {
        let line = Arc::new(Line::new().unwrap());
        let notice = Notice::new(Arc::clone(&line), tag(7), EventBody::feed);
        for _ in 0..3 {
            notice.put();
        }
        for _ in 0..QUEUED_EVENTS_MAX + 1 {
            line.push_event(tag(1), EventBody::overflow());
        }
        assert_eq!(line.next(Some(Duration::ZERO)).unwrap().tag.0.addr(), 7);
        assert_eq!(line.next(Some(Duration::ZERO)).unwrap().tag.0.addr(), 1, "there was one of it");
        notice.put();
        let rest: Vec<_> = std::iter::from_fn(|| line.next(Some(Duration::ZERO))).collect();
        assert_eq!(rest.last().map(|it| it.tag.0.addr()), Some(7));
        assert_eq!((line.lock().events, is_readable(&line)), (0, false));
        line.close();
        notice.put();
        assert!(line.next(Some(Duration::ZERO)).is_none());
    }

    #[test]
    fn a_full_queue_says_once_that_events_were_dropped_and_goes_on_afterwards() {
        let line = Line::new().unwrap();
        for _ in 0..QUEUED_EVENTS_MAX + 10 {
            line.push_event(tag(1), EventBody::overflow());
        }
        assert_eq!(line.lock().waiting.len(), QUEUED_EVENTS_MAX + 1);
        line.push_result(tag(2), Ok(ResultBody::default()));
        while line.next(Some(Duration::ZERO)).is_some() {}
        assert!(!is_readable(&line));
        line.push_event(tag(1), EventBody::overflow());
        assert!(is_readable(&line));
        line.close();
        line.push_event(tag(1), EventBody::overflow());
        assert!(line.next(Some(Duration::ZERO)).is_none());
    }
}
