//! Devices and operators: who they are, and what is known about devices. Invariant: a secret is shown once, to the one it is
//! for, and is nowhere on disk, in a log or in an error: only its SHA-256 is kept.
//!
//! ```text
//! registry.journal   identity, state, key hashes, times           never business data
//! catalog.journal    one JSON document per device                 never secrets
//! tokens.journal     hashes of operators' tokens, with roles
//! audit.journal      who did what, each entry holds the hash of the one before
//! ```

pub mod authority;
pub mod devices;
pub mod keys;
pub mod provisioning;
pub mod tokens;

mod audit;
mod catalog;
mod journal;
mod registry;
mod throttle;

#[cfg(test)]
mod test_support;

pub use audit::Actor;
pub use devices::Devices;
pub use keys::Secret;
pub use provisioning::{ActivationKey, DeviceView, ListFilter, Page, Registered, Registration};
pub use registry::DeviceState;
pub use tokens::{Principal, Role, TokenView};
