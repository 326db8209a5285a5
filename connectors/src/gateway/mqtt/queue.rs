//! Messages that wait for one connection. Invariant: they are never more than `DELIVERIES_QUEUED_MAX`, nor longer than
//! `DELIVERIES_QUEUED_BYTES_MAX` together, however slowly the device reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_engine::limits;
use tokio::sync::mpsc;

use super::delivery::Delivery;

/// Where messages are put.
pub(super) struct Sender {
    messages: mpsc::Sender<Delivery>,
    bytes: Arc<AtomicUsize>,
}

/// Where the connection takes them from.
pub(super) struct Receiver {
    messages: mpsc::Receiver<Delivery>,
    bytes: Arc<AtomicUsize>,
}

/// A queue without messages.
pub(super) fn channel() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(limits::DELIVERIES_QUEUED_MAX);
    let bytes = Arc::<AtomicUsize>::default();
    (Sender { messages: sender, bytes: bytes.clone() }, Receiver { messages: receiver, bytes })
}

impl Sender {
    /// Queues a message. False if there is no room for it, or nobody to take it any more.
    pub(super) fn offer(&self, message: Delivery) -> bool {
        let bytes = message.bytes();
        let grown = |all: usize| all.checked_add(bytes).filter(|all| *all <= limits::DELIVERIES_QUEUED_BYTES_MAX);
        if self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
            return false;
        }
        let is_queued = self.messages.try_send(message).is_ok();
        if !is_queued {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_queued
    }
}

impl Receiver {
    /// The next message, once there is one; `None` if there never will be. Nothing is lost if the future is dropped.
    pub(super) async fn recv(&mut self) -> Option<Delivery> {
        let message = self.messages.recv().await?;
        Some(self.release(message))
    }

    /// The next message, if there is one now.
    pub(super) fn try_recv(&mut self) -> Option<Delivery> {
        let message = self.messages.try_recv().ok()?;
        Some(self.release(message))
    }

    fn release(&self, message: Delivery) -> Delivery {
        self.bytes.fetch_sub(message.bytes(), Ordering::Relaxed);
        message
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mqtt_protocol_core::mqtt::packet::Qos;

    use super::*;

    fn message(bytes: usize) -> Delivery {
        Delivery { topic: "t".into(), payload: Bytes::from(vec![0; bytes - 1]), qos: Qos::AtMostOnce }
    }

    #[test]
    fn long_messages_are_bounded_by_their_bytes_and_short_ones_by_their_number() {
        let (sender, mut receiver) = channel();
        let large = limits::DELIVERIES_QUEUED_BYTES_MAX / 4;
        assert_eq!((0..10).filter(|_| sender.offer(message(large))).count(), 4);
        assert!(!sender.offer(message(1)));
        assert!(receiver.try_recv().is_some());
        assert!(sender.offer(message(large)) && !sender.offer(message(1)), "what is taken makes room");
        while receiver.try_recv().is_some() {}
        assert_eq!((0..1_000).filter(|_| sender.offer(message(1))).count(), limits::DELIVERIES_QUEUED_MAX);
        while receiver.try_recv().is_some() {}
        assert_eq!(sender.bytes.load(Ordering::Relaxed), 0, "also of those that found no room");
        drop(receiver);
        assert!(!sender.offer(message(1)));
    }
}
