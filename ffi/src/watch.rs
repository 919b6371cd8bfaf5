//! `fw_watch`: a lasting watch whose events go to one place.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use farwatch_client::{Client, Event, Watch};

use crate::bytes::text;
use crate::callback::{Context, Gate, fw_destroy_fn};
use crate::client::{CALLBACK_PATIENCE, ClientBody, failure, fw_client};
use crate::error::{Failure, fw_error};
use crate::event::{EventBody, Handler, StateCell, fw_event_fn};
use crate::guard::{Opaque, borrow, free, give, out};
use crate::op::add_watch_mode;
use crate::queue::{Tag, fw_queue};
use crate::status::fw_status;

/// A watch that lasts until it is freed, across reconnects and, with `renewExpired`, across sessions. Any
/// number may share a path. All functions on it: any thread. Free it before its client.
pub struct fw_watch {
    _private: [u8; 0],
}

impl Opaque for fw_watch {
    type Body = WatchBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_watch");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// A watch, and what lets its callbacks through.
pub struct WatchBody {
    watch: Option<Watch>,
    client: Client,
    gate: Arc<Gate>,
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.gate.close();
        self.watch = None;
        if !self.client.is_inside_callback() {
            self.gate.wait_idle(CALLBACK_PATIENCE);
        }
    }
}

/// What C is told of an event of the client; `None` for what is nothing to a watch.
fn told(event: &Event, state: &StateCell) -> Option<EventBody> {
    match event {
        Event::Node(event) => Some(EventBody::node(event, state.get())),
        Event::Session(state) => EventBody::session(*state),
    }
}

/// Sets the watch, whose events go to `handler`.
fn set(
    client: &ClientBody,
    path: &str,
    mode: u32,
    timeout_ms: i64,
    handler: Handler,
) -> Result<WatchBody, Failure> {
    let mode = add_watch_mode(mode)?;
    client.refuse_inside_callback()?;
    let gate = Arc::<Gate>::default();
    let (through, state) = (Arc::clone(&gate), client.state_cell());
    let tell = move |event: &Event| match (told(event, &state), &handler) {
        (None, _) => {}
        // Behind the end of the watch nothing more comes to the queue, either.
        (Some(event), Handler::Queue { line, tag }) => {
            through.pass(|| line.push_event(*tag, event));
        }
        (Some(event), Handler::Call { .. }) => handler.tell(&through, event),
    };
    let asking = client.client().with_request_timeout(client.timeout(timeout_ms));
    let mut body = WatchBody { watch: None, client: asking, gate };
    // Where it fails the body ends, and with it every call that could come yet.
    let watch = body.client.watch(path, mode, tell);
    body.watch = Some(watch.map_err(|error| failure(error, client.renews()))?);
    Ok(body)
}

/// Watches the node at `path`; `mode` is an `fw_watch_mode`. `callback` is called on the client's own thread
/// with each event of the watch, and with each state of the session (`FW_EVENT_SESSION`): what happens while
/// no server serves it is told by nobody, so behind `FW_STATE_CONNECTED` read again what matters. `destroy`
/// is called with `context` exactly once, when no call can come any more, or when this fails. Waits up to
/// `timeout_ms` (negative: `requestTimeout`) until the server has the watch: what happens from then on is
/// told. Events go to what `fw_config_on_event` set as well; that alone is told of what an expired session took
/// along. A server has one watch of a path and a mode: what `fw_op_add_watch` set so goes with the last of these,
/// and `fw_op_remove_watches` silences them. Any thread; may block, so not in a callback.
/// Fails with `FW_TIMEOUT`, `FW_BAD_ARGUMENT` (no such mode), `FW_NULL`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_watch(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    mode: u32,
    callback: fw_event_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    timeout_ms: i64,
    watch: *mut *mut fw_watch,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Arc::new(Context::new(context, destroy));
        crate::reserve::refuse_if_out()?;
        let (place, path) = (out(watch)?, text("path", path, path_len)?);
        let function =
            callback.ok_or_else(|| Failure::new(fw_status::FW_NULL, "the callback is null"))?;
        let client = borrow(client.cast_const())?;
        let handler = Handler::Call { function, context };
        place.set(give(set(&client, path, mode, timeout_ms, handler)?));
        Ok(())
    })
}

/// As `fw_client_watch`, and events come to `queue` as completions with `tag`. What is in the queue when
/// the watch is freed stays there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_watch_queue(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    mode: u32,
    queue: *mut fw_queue,
    tag: *mut c_void,
    timeout_ms: i64,
    watch: *mut *mut fw_watch,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (place, path) = (out(watch)?, text("path", path, path_len)?);
        let (line, tag) = (borrow(queue.cast_const())?.line(), Tag::new(tag));
        let client = borrow(client.cast_const())?;
        place.set(give(set(&client, path, mode, timeout_ms, Handler::Queue { line, tag })?));
        Ok(())
    })
}

/// Removes the watch, in the background, and frees it. Null is allowed. May block: waits for a callback that is
/// running, up to two seconds, unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_watch_free(watch: *mut fw_watch) -> fw_status {
    accessor!(free(watch))
}
