//! A connection's entry in the books: registry, authority, counters. Invariant: whatever ends a connection, a panic included,
//! its entry is undone exactly once, and before the last words are said to the peer.

use std::sync::Arc;

use super::registry::Login;
use super::server::Shared;
use crate::gateway::presence::Present;

/// An entered connection; dropping it leaves the books.
pub(super) struct Entry {
    pub(super) login: Arc<Login>,
    pub(super) shared: Arc<Shared>,
    pub(super) present: Present,
}

impl Entry {
    /// `login` was registered.
    pub(super) fn new(login: Arc<Login>, shared: Arc<Shared>) -> Self {
        shared.context.counters.opened.add(1);
        let present = shared.context.presence.enter(&login.device);
        Self { login, shared, present }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.registry.unregister(&self.login);
        self.shared.context.counters.closed.add(1);
    }
}
