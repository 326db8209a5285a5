//! A session's entry in the books: registry, authority, counters. Invariant: whatever ends a connection, a panic included, its
//! entry is undone exactly once, and before the last words are said to the peer.

use std::sync::Arc;

use super::registry::Session;
use super::server::Shared;
use crate::gateway::presence::Present;

/// An entered session; dropping it leaves the books.
pub(super) struct Entry {
    pub(super) session: Arc<Session>,
    pub(super) shared: Arc<Shared>,
    pub(super) present: Present,
}

impl Entry {
    /// `session` was registered.
    pub(super) fn new(session: Arc<Session>, shared: Arc<Shared>) -> Self {
        shared.context.counters.opened.add(1);
        let present = shared.context.presence.enter(&session.device);
        Self { session, shared, present }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.registry.unregister(&self.session);
        self.shared.context.counters.closed.add(1);
    }
}
