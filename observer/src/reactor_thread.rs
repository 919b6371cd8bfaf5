//! A reactor on a thread of its own, and what every reactor does beside serving.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use farwatch_core::node::submission::Submission;
use farwatch_core::tree::Reader;
use tracing::error;

use crate::connection;
use crate::inbox::{ToCore, ToReactor};
use crate::port::{Port, Receiver};
use crate::reactor::Reactor;
use crate::report::Part;
use crate::runtime::{self, Signal};
use crate::server::Shared;

/// How often silent connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a stopping server lets its last replies go out.
const DRAIN: Duration = Duration::from_millis(200);

/// A full core's inbox is tried again after this; the limit of outstanding writes holds clients
/// back meanwhile.
const INBOX_RETRY: Duration = Duration::from_millis(1);

/// Starts reactor `id` on a thread of its own.
pub fn start(
    id: u16,
    shared: Arc<Shared>,
    reader: Reader,
    inbox: Arc<Port<ToReactor>>,
    core: Arc<Port<ToCore>>,
    allow_uring: bool,
) -> io::Result<JoinHandle<()>> {
    let name = format!("farwatch-{id}");
    std::thread::Builder::new().name(name).spawn(move || {
        let run = runtime::block_on(allow_uring, |_| serve(id, shared, reader, inbox, core));
        if let Err(cause) = run {
            error!(id, "a reactor cannot run, so this server stops: {cause}");
            std::process::abort();
        }
    })
}

async fn serve(
    id: u16,
    shared: Arc<Shared>,
    reader: Reader,
    inbox: Arc<Port<ToReactor>>,
    core: Arc<Port<ToCore>>,
) {
    let submitted = Signal::default();
    let mut reactor = Reactor::new(id, shared, reader, Arc::clone(&core), submitted.clone());
    reactor.set_inbox(Arc::clone(&inbox));
    let reactor = Rc::new(RefCell::new(reactor));
    sweep_for_ever(&reactor);
    let asking = Rc::clone(&reactor);
    runtime::spawn(async move {
        loop {
            submitted.wait().await;
            let mut submission = Submission::default();
            asking.borrow_mut().swap_submission(&mut submission);
            let mut message = ToCore::Submitted(submission);
            while let Err(back) = core.push(message) {
                message = back;
                runtime::sleep(INBOX_RETRY).await;
            }
        }
    });
    let Ok(receiver) = Receiver::new(&inbox) else { return };
    while receiver.wait().await.is_ok() {
        while let Some(message) = inbox.pop() {
            match message {
                ToReactor::Deliver(delivery) => {
                    reactor.borrow_mut().deliver_when_visible(&delivery);
                }
                ToReactor::Adopt(stream, peer) => connection::start(&reactor, stream, peer),
                ToReactor::Question(question, back) => {
                    let report = reactor.borrow_mut().report(question);
                    // The asker made room for every part.
                    let _ = back.push(Part::Reactor(report));
                }
                ToReactor::Stop => {
                    reactor.borrow_mut().finish_all();
                    drain(&reactor).await;
                    return;
                }
            }
        }
        connection::flush_dirty(&reactor);
    }
}

/// Ends silent connections from time to time, as long as the runtime lives.
pub fn sweep_for_ever(reactor: &Rc<RefCell<Reactor>>) {
    let reactor = Rc::clone(reactor);
    runtime::spawn(async move {
        loop {
            runtime::sleep(SWEEP).await;
            reactor.borrow_mut().sweep();
        }
    });
}

/// Lets what was queued go out, for a moment.
pub async fn drain(reactor: &Rc<RefCell<Reactor>>) {
    connection::flush_dirty(reactor);
    let step = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while waited < DRAIN && !reactor.borrow().is_drained() {
        runtime::sleep(step).await;
        waited += step;
    }
}
