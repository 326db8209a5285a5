//! What every protocol of the gateway works with. Invariant: it holds the contracts only; the gateway knows no registry, no
//! file and no configuration.

use std::sync::Arc;

use thalweg_engine::contract::{DeviceAuthority, Streams};
use thalweg_engine::metrics::GatewayCounters;

use super::presence::Presence;

/// Handed to each listener.
#[derive(Clone)]
pub struct GatewayContext {
    /// Knows who a device is.
    pub authority: Arc<dyn DeviceAuthority>,
    /// Where records go.
    pub logs: Arc<dyn Streams>,
    /// What became of them.
    pub counters: Arc<GatewayCounters>,
    /// Who is connected, over any of the listeners.
    pub(super) presence: Arc<Presence>,
}

impl GatewayContext {
    /// One for all listeners of a gateway.
    pub fn new(authority: Arc<dyn DeviceAuthority>, logs: Arc<dyn Streams>, counters: Arc<GatewayCounters>) -> Self {
        Self { presence: Presence::new(authority.clone()), authority, logs, counters }
    }
}

impl std::fmt::Debug for GatewayContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayContext").field("counters", &self.counters).finish_non_exhaustive()
    }
}
