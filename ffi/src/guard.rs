//! The border itself: what stands between an entry point's arguments and its work.
//!
//! An entry point is `border!(error, { … })`, or `accessor!(…)` where nothing can fail. Both catch
//! panics; the first refuses to begin anything where memory has run out, but for `ending!`. A handle is a `Handle`: it begins with what tells a right one from a wrong, freed,
//! poisoned or forked one, and only then comes what it is.
//!
//! # Rules for pointers
//!
//! What Rust cannot see, C's programmers promise; the header says so:
//!
//! 1. A handle is null, or came from this library and was not freed.
//! 2. An output is null, or points to room for one value of its type.
//! 3. Bytes are a pointer and a length, and stay as they are during the call.
//! 4. Nothing is freed while another thread uses it.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{ErrorBody, Failure, fw_error};
use crate::status::fw_status;

/// The tag of a handle that was freed.
const FREED: u64 = u64::from_le_bytes(*b"fw_freed");

/// A type of the header. It has no value: pointers to it are pointers to a `Handle` of its body.
pub trait Opaque {
    /// What the handle is. Shared between threads, so what changes is behind a lock.
    type Body: Send + Sync;
    /// Eight letters that tell it from other handles.
    const TAG: u64;
    /// Whether it has threads or descriptors, which a forked process must not touch.
    const IS_BOUND_TO_PROCESS: bool = false;
}

struct Head {
    tag: AtomicU64,
    process: u32,
    poisoned: AtomicBool,
}

/// What a pointer to an [`Opaque`] points to. The head comes first, whatever the body.
#[repr(C)]
struct Handle<T> {
    head: Head,
    body: T,
}

/// Makes a handle, which belongs to C from here on.
pub fn give<O: Opaque>(body: O::Body) -> *mut O {
    let process = if O::IS_BOUND_TO_PROCESS { std::process::id() } else { 0 };
    let poisoned = AtomicBool::new(false);
    let head = Head { tag: AtomicU64::new(O::TAG), process, poisoned };
    Box::into_raw(Box::new(Handle { head, body })).cast()
}

/// A handle's body while an entry point works with it. When the work panics, the handle is
/// poisoned: nobody knows in which state it was left.
pub struct Borrowed<'a, T> {
    handle: &'a Handle<T>,
    was_panicking: bool,
}

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.handle.body
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        if !self.was_panicking && std::thread::panicking() {
            self.handle.head.poisoned.store(true, Ordering::Relaxed);
        }
    }
}

/// The body of a handle that can be used.
///
/// # Safety
/// Rules 1 and 4 of this module.
pub unsafe fn borrow<'a, O: Opaque>(pointer: *const O) -> Result<Borrowed<'a, O::Body>, Failure> {
    // SAFETY: rule 1.
    let head = unsafe { head(pointer) }?;
    if head.poisoned.load(Ordering::Relaxed) {
        let text = "an earlier call panicked inside the library; free this handle";
        return Err(Failure::fatal(fw_status::FW_POISONED, text));
    }
    if O::IS_BOUND_TO_PROCESS && head.process != std::process::id() {
        let text = "the handle was opened before fork; open a new one in this process";
        return Err(Failure::fatal(fw_status::FW_FORKED, text));
    }
    // SAFETY: its tag says that it is a handle of this type; rule 4 keeps it alive.
    let handle = unsafe { &*pointer.cast::<Handle<O::Body>>() };
    Ok(Borrowed { handle, was_panicking: std::thread::panicking() })
}

/// The head of a handle of this type.
///
/// # Safety
/// Rule 1 of this module, of whatever type.
unsafe fn head<'a, O: Opaque>(pointer: *const O) -> Result<&'a Head, Failure> {
    if pointer.is_null() {
        return Err(Failure::new(fw_status::FW_NULL, "a handle that must not be null is null"));
    }
    let pointer = pointer.cast::<Head>();
    let bad =
        || Failure::fatal(fw_status::FW_BAD_HANDLE, "the handle is of another type, or freed");
    if !pointer.is_aligned() {
        return Err(bad());
    }
    // SAFETY: every handle begins with a head, and rule 1 says that it is one.
    let head = unsafe { &*pointer };
    if head.tag.load(Ordering::Acquire) == O::TAG { Ok(head) } else { Err(bad()) }
}

/// Takes a handle back from C; `None` for null. In debug builds its memory is kept, so that a use
/// after this is found instead of being undefined.
///
/// # Safety
/// Rules 1 and 4 of this module.
pub unsafe fn take<O: Opaque>(pointer: *mut O) -> Result<Option<O::Body>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: rule 1.
    let head = unsafe { head(pointer.cast_const()) }?;
    let is_foreign = O::IS_BOUND_TO_PROCESS && head.process != std::process::id();
    let freed = head.tag.compare_exchange(O::TAG, FREED, Ordering::AcqRel, Ordering::Acquire);
    if freed.is_err() {
        return Err(Failure::new(fw_status::FW_BAD_HANDLE, "the handle was freed already"));
    }
    if is_foreign {
        // Its threads are not in this process: what they own stays as it was.
        return Err(Failure::new(fw_status::FW_FORKED, "the handle was opened before fork"));
    }
    let handle = pointer.cast::<Handle<O::Body>>();
    if cfg!(debug_assertions) {
        // SAFETY: nobody reads the body again: the tag is not its own any more.
        return Ok(Some(unsafe { std::ptr::read(&raw const (*handle).body) }));
    }
    // SAFETY: `give` made it with `Box::into_raw`, and the tag says that it was not freed.
    Ok(Some(unsafe { Box::from_raw(handle) }.body))
}

/// Frees a handle by dropping its body.
///
/// # Safety
/// Rules 1 and 4 of this module.
pub unsafe fn free<O: Opaque>(pointer: *mut O) -> fw_status {
    // SAFETY: the caller's promise is the same.
    let freed = catch_unwind(AssertUnwindSafe(|| unsafe { take(pointer) }.map(drop)));
    match freed {
        Ok(Ok(())) => fw_status::FW_OK,
        Ok(Err(failure)) => failure.status,
        Err(_panic) => fw_status::FW_PANIC,
    }
}

/// A handle that this library keeps and lends to C.
pub struct Owned<O: Opaque>(*mut O);

// SAFETY: it owns its handle, whose body is Send and Sync.
unsafe impl<O: Opaque> Send for Owned<O> {}
// SAFETY: as above.
unsafe impl<O: Opaque> Sync for Owned<O> {}

impl<O: Opaque> Owned<O> {
    /// Keeps a new handle.
    pub fn new(body: O::Body) -> Self {
        Self(give(body))
    }

    /// To lend: valid as long as this is.
    pub fn as_ptr(&self) -> *const O {
        self.0
    }

    /// To give: it belongs to C from here on.
    pub fn release(self) -> *mut O {
        std::mem::ManuallyDrop::new(self).0
    }

    /// What the handle was; `None` in a process that it does not belong to.
    pub fn into_body(self) -> Option<O::Body> {
        // SAFETY: as for its drop, instead of which this is.
        unsafe { take(self.release()) }.ok().flatten()
    }
}

impl<O: Opaque> Drop for Owned<O> {
    fn drop(&mut self) {
        // SAFETY: made by `give`, and C was lent it as const, which it must not free.
        unsafe { free(self.0) };
    }
}

/// What `look` sees in a handle, or `otherwise` if it cannot be used.
///
/// # Safety
/// Rules 1 and 4 of this module.
pub unsafe fn view<O: Opaque, R>(
    pointer: *const O,
    otherwise: R,
    look: impl FnOnce(&O::Body) -> R,
) -> R {
    // SAFETY: the caller's promise is the same.
    let seen = catch_unwind(AssertUnwindSafe(|| match unsafe { borrow(pointer) } {
        Ok(body) => Some(look(&body)),
        Err(_unusable) => None,
    }));
    seen.ok().flatten().unwrap_or(otherwise)
}

/// Where a result goes. It is looked at before the work and written after it.
pub struct Out<'a, T> {
    place: *mut T,
    _lives: PhantomData<&'a mut T>,
}

impl<T> Out<'_, T> {
    /// Writes the result.
    pub fn set(self, value: T) {
        // SAFETY: not null, and rule 2 of this module, which `out` was told.
        unsafe { self.place.write(value) };
    }
}

/// An output that must be there.
///
/// # Safety
/// Rule 2 of this module.
pub unsafe fn out<'a, T>(place: *mut T) -> Result<Out<'a, T>, Failure> {
    // SAFETY: the caller's promise is the same.
    unsafe { optional_out(place) }
        .ok_or_else(|| Failure::new(fw_status::FW_NULL, "an output that must not be null is null"))
}

/// An output that may be null.
///
/// # Safety
/// Rule 2 of this module.
pub unsafe fn optional_out<'a, T>(place: *mut T) -> Option<Out<'a, T>> {
    (!place.is_null()).then_some(Out { place, _lives: PhantomData })
}

/// Writes an output that may be null.
///
/// # Safety
/// Rule 2 of this module.
pub unsafe fn set_optional<T>(place: *mut T, value: T) {
    // SAFETY: the caller's promise is the same.
    if let Some(place) = unsafe { optional_out(place) } {
        place.set(value);
    }
}

/// Runs an entry point's work: a panic becomes a status, and a failure goes to `error`.
///
/// # Safety
/// Rule 2 of this module, for `error`.
pub unsafe fn call(
    error: *mut *mut fw_error,
    work: impl FnOnce() -> Result<(), Failure>,
) -> fw_status {
    let failure = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => return fw_status::FW_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => panicked(panic),
    };
    // SAFETY: the caller's promise is the same.
    unsafe { tell(error, failure) }
}

/// Hands a failure to C. Not inlined: every entry point ends with it.
///
/// # Safety
/// Rule 2 of this module, for `error`.
#[cold]
#[inline(never)]
unsafe fn tell(error: *mut *mut fw_error, failure: Failure) -> fw_status {
    let status = failure.status;
    // SAFETY: the caller's promise is the same.
    if let Some(error) = unsafe { optional_out(error) } {
        error.set(give(ErrorBody::from(failure)));
    }
    status
}

/// Runs what starts threads with every signal blocked, which they inherit: a host's signals are
/// handled on its own threads.
pub fn without_signals<R>(start: impl FnOnce() -> R) -> R {
    struct Restore(libc::sigset_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the mask was filled by the call below; no old one is asked for.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
            };
        }
    }

    // SAFETY: a set of signals is plain numbers, of which zero is none.
    let (mut all, mut before) = unsafe { std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>() };
    // SAFETY: both sets are there; only this thread's mask changes.
    let blocked = unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) == 0
    };
    let _restore = blocked.then_some(Restore(before));
    start()
}

/// What a panic is to C. Its payload is forgotten: dropping it could panic again.
#[cold]
#[inline(never)]
pub fn panicked(panic: Box<dyn Any + Send>) -> Failure {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    std::mem::forget(panic);
    let text = format!("a bug of the library; free this handle and report: {said}");
    Failure { maybe_applied: true, ..Failure::fatal(fw_status::FW_PANIC, text) }
}

/// The body of an entry point that can fail: an expression block of `Result<(), Failure>`.
#[macro_export]
#[doc(hidden)]
macro_rules! border {
    ($error:expr, $work:block) => {
        // SAFETY: the arguments are C's; its programmer promised the rules of `guard`, and every
        // pointer goes through `borrow`, `out` or `bytes`, which look at what can be looked at.
        unsafe {
            $crate::guard::call($error, || {
                $crate::reserve::refuse_if_out()?;
                $work
            })
        }
    };
}

/// The same for what is done where memory has run out, too: it ends or gives back, or it is handed a context, which
/// it must take before it refuses anything, since that destroys it.
#[macro_export]
#[doc(hidden)]
macro_rules! ending {
    ($error:expr, $work:block) => {
        // SAFETY: as in `border`.
        unsafe { $crate::guard::call($error, || $work) }
    };
}

/// The body of an entry point that cannot fail.
#[macro_export]
#[doc(hidden)]
macro_rules! accessor {
    ($look:expr) => {
        // SAFETY: as in `border`.
        unsafe { $look }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct fw_thing {
        _private: [u8; 0],
    }

    impl Opaque for fw_thing {
        type Body = u32;
        const TAG: u64 = u64::from_le_bytes(*b"fw_thing");
    }

    struct fw_other {
        _private: [u8; 0],
    }

    impl Opaque for fw_other {
        type Body = String;
        const TAG: u64 = u64::from_le_bytes(*b"fw_other");
    }

    fn status_of(thing: *const fw_thing) -> Result<u32, fw_status> {
        // SAFETY: the tests' handles are null, or live, or freed and kept: this is a debug build.
        unsafe { borrow(thing) }.map(|body| *body).map_err(|failure| failure.status)
    }

    #[test]
    fn a_handle_is_what_was_given_until_it_is_freed() {
        let thing = give::<fw_thing>(7);
        assert_eq!(status_of(thing), Ok(7));
        // SAFETY: it is live, and then kept.
        assert_eq!(unsafe { free(thing) }, fw_status::FW_OK);
        assert_eq!(status_of(thing), Err(fw_status::FW_BAD_HANDLE));
        // SAFETY: as above.
        assert_eq!(unsafe { free(thing) }, fw_status::FW_BAD_HANDLE);
        assert_eq!(status_of(std::ptr::null()), Err(fw_status::FW_NULL));
        // SAFETY: null.
        assert_eq!(unsafe { free::<fw_thing>(std::ptr::null_mut()) }, fw_status::FW_OK);
    }

    #[test]
    fn a_handle_of_another_type_is_refused_before_it_is_looked_into() {
        let other = give::<fw_other>("text".to_owned());
        assert_eq!(status_of(other.cast()), Err(fw_status::FW_BAD_HANDLE));
        assert_eq!(
            status_of(other.cast::<u8>().wrapping_add(1).cast()),
            Err(fw_status::FW_BAD_HANDLE)
        );
        // SAFETY: it is live.
        assert_eq!(unsafe { free(other) }, fw_status::FW_OK);
    }

    #[test]
    fn a_panic_becomes_a_status_and_poisons_the_handles_that_were_in_use() {
        let thing = give::<fw_thing>(7);
        let mut error = std::ptr::null_mut();
        // SAFETY: the handle is live, the output is there.
        let status = unsafe {
            call(&raw mut error, || {
                let _thing = borrow(thing.cast_const())?;
                panic!("as a bug would");
            })
        };
        assert_eq!(status, fw_status::FW_PANIC);
        // SAFETY: `call` made it.
        let said = unsafe { take(error) }.unwrap().unwrap();
        assert!(format!("{said:?}").contains("as a bug would"));
        assert_eq!(status_of(thing), Err(fw_status::FW_POISONED));
        // SAFETY: it is live.
        assert_eq!(unsafe { free(thing) }, fw_status::FW_OK);
    }
}
