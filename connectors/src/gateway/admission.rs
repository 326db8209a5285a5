//! How many peers may be there at once. Invariant: strangers of one address hold at most their share of the places, so slow
//! ones cannot keep everybody else out; a place is given back however its connection ends.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use thalweg_engine::limits;
use thalweg_engine::locks::lock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts places and strangers.
#[derive(Clone)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    strangers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place, held as long as the connection lives.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A stranger's mark, held until it has proved who it is.
pub(super) struct Stranger {
    address: IpAddr,
    strangers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(limits::CONNECTIONS_MAX)), strangers: Arc::default() }
    }

    /// A place for a new peer, or none.
    pub(super) fn admit(&self, address: IpAddr) -> Option<(Place, Stranger)> {
        let address = network(address);
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let mut strangers = lock(&self.strangers);
        let count = strangers.entry(address).or_insert(0);
        if *count >= limits::HANDSHAKES_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some((Place { _permit: permit }, Stranger { address, strangers: self.strangers.clone() }))
    }
}

/// What counts as one address: of IPv6 a /64, because whoever has one address there has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = lock(&self.strangers);
        if let Some(count) = strangers.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_one_address_do_not_take_every_place() {
        let (admission, bad, good) = (Admission::new(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held: Vec<_> = std::iter::from_fn(|| admission.admit(bad)).collect();
        assert_eq!(held.len(), limits::HANDSHAKES_PER_ADDRESS_MAX);
        assert!(admission.admit(good).is_some());
        held.pop();
        assert!(admission.admit(bad).is_some());
        drop(held);
        assert!(lock(&admission.strangers).is_empty());
        assert_eq!(admission.places.available_permits(), limits::CONNECTIONS_MAX);
    }

    #[test]
    fn strangers_of_one_ipv6_network_are_those_of_one_address() {
        let admission = Admission::new();
        let address = |site, n| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, site, 0, 0, 0, n));
        let mut addresses = (0..=u16::MAX).map(|n| address(1, n));
        let held: Vec<_> = std::iter::from_fn(|| admission.admit(addresses.next()?)).collect();
        assert_eq!(held.len(), limits::HANDSHAKES_PER_ADDRESS_MAX);
        assert!(admission.admit(address(2, 1)).is_some());
    }
}
