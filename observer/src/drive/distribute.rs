//! From the machine's output to the reactors that it concerns.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Core, ReactorLink};
use crate::connection;
use crate::inbox::{OwnedDelivery, ToReactor};
use crate::port::Port;
use crate::reactor::{ConnectionKey, Delivery};

impl Core {
    pub(super) fn distribute(&mut self) {
        let upto = self.node.applied();
        if let Some(embedder) = &mut self.embedder {
            embedder.applied(upto, self.output.events());
        }
        let mut replies: Vec<Vec<_>> = Vec::new();
        let alone = self.reactors.len() == 1;
        if !alone {
            replies.resize_with(self.reactors.len(), Vec::new);
            for reply in &self.output.replies {
                replies[usize::from(reply.origin.reactor)].push(*reply);
            }
        }
        let mut displaced: Vec<Vec<(ConnectionKey, _)>> = vec![Vec::new(); self.reactors.len()];
        for &(origin, session) in &self.output.displaced {
            let key = ConnectionKey { index: origin.connection, generation: origin.generation };
            displaced[usize::from(origin.reactor)].push((key, session));
        }
        if let ([ReactorLink::Local(reactor)], true) = (&self.reactors[..], alone) {
            reactor.borrow_mut().deliver(Delivery {
                upto,
                events: self.output.events(),
                replies: &self.output.replies,
                bytes: &self.output.bytes,
                closed: &self.output.closed,
                displaced: &displaced[0],
            });
            connection::flush_dirty(reactor);
            return;
        }
        let events = Arc::new(std::mem::take(&mut self.output.applied.events));
        let bytes = Arc::new(std::mem::take(&mut self.output.bytes));
        let closed: Arc<[_]> = self.output.closed.as_slice().into();
        let each = self.reactors.iter_mut().zip(replies).zip(displaced);
        for ((link, replies), displaced) in each {
            let delivery = OwnedDelivery {
                upto,
                events: Arc::clone(&events),
                replies,
                bytes: Arc::clone(&bytes),
                closed: Arc::clone(&closed),
                displaced,
            };
            match link {
                ReactorLink::Local(reactor) => {
                    reactor.borrow_mut().deliver(delivery.borrow());
                    connection::flush_dirty(reactor);
                }
                ReactorLink::Remote(inbox, backlog) => {
                    backlog.push_back(ToReactor::Deliver(delivery));
                    push_backlog(inbox, backlog);
                }
            }
        }
        self.shared.set_visible(upto);
    }
}

pub(super) fn push_backlog(inbox: &Port<ToReactor>, backlog: &mut VecDeque<ToReactor>) {
    while let Some(message) = backlog.pop_front() {
        if let Err(back) = inbox.push(message) {
            backlog.push_front(back);
            return;
        }
    }
}
