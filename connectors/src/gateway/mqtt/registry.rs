//! Live MQTT sessions by device. Invariant: a client id is in here once; whoever registers it again cuts the older
//! connection. A device's sessions see only that device's messages.
//!
//! ```text
//! devices: id ─► Peers { listeners, sessions: [Session { client id, cut, messages, subscriptions }] }
//! ```
//! Locks are taken in the order devices, sessions, subscriptions, and never across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mqtt_protocol_core::mqtt::packet::Qos;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits;
use thalweg_engine::locks::lock;
use tokio::sync::watch;

use super::delivery::Delivery;
use super::queue;
use super::subscribe::Subscription;
use crate::gateway::cut::{Cut, Cuts};
use crate::gateway::serving::Sessions;

/// What a connection receives from the rest of the gateway.
pub(super) struct Inbox {
    pub(super) cuts: Cuts,
    pub(super) messages: queue::Receiver,
}

/// One live connection of a device.
pub(super) struct Session {
    pub(super) device: DeviceId,
    pub(super) client_id: String,
    peers: Arc<Peers>,
    cut: watch::Sender<Option<Cut>>,
    messages: queue::Sender,
    subscriptions: Mutex<Vec<Subscription>>,
}

#[derive(Default)]
struct Peers {
    /// Subscriptions of all sessions, so that publishing does not take a lock while there are none.
    listeners: AtomicUsize,
    sessions: Mutex<Vec<Arc<Session>>>,
}

/// What a message met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Connections that will send it.
    pub(super) taken: usize,
    /// Connections whose queue was full.
    pub(super) dropped: usize,
}

/// All live sessions.
#[derive(Default)]
pub(super) struct Registry {
    devices: Mutex<HashMap<DeviceId, Arc<Peers>>>,
}

impl Registry {
    /// Enters a session and cuts the one it takes over. Errors: `Unavailable` if the device holds too many.
    pub(super) fn register(&self, device: &DeviceId, client_id: &str) -> Result<(Arc<Session>, Inbox)> {
        let mut devices = lock(&self.devices);
        let peers = devices.entry(device.clone()).or_default().clone();
        let mut sessions = lock(&peers.sessions);
        if let Some(at) = sessions.iter().position(|s| s.client_id == client_id) {
            let older = sessions.swap_remove(at);
            older.forget_subscriptions();
            older.cut.send_replace(Some(Cut::TakenOver));
        }
        if sessions.len() >= limits::CONNECTIONS_PER_DEVICE_MAX {
            return Err(Error::unavailable(format!("device {device} holds {} connections already", sessions.len())));
        }
        let (cut, cuts) = Cuts::channel();
        let (messages, messages_receiver) = queue::channel();
        let session = Arc::new(Session {
            device: device.clone(),
            client_id: client_id.to_owned(),
            peers: peers.clone(),
            cut,
            messages,
            subscriptions: Mutex::default(),
        });
        sessions.push(session.clone());
        Ok((session, Inbox { cuts, messages: messages_receiver }))
    }

    /// Removes a session; nothing happens if it was taken over meanwhile.
    pub(super) fn unregister(&self, session: &Arc<Session>) {
        let mut devices = lock(&self.devices);
        let mut sessions = lock(&session.peers.sessions);
        if let Some(at) = sessions.iter().position(|s| Arc::ptr_eq(s, session)) {
            sessions.swap_remove(at);
        }
        session.forget_subscriptions();
        if sessions.is_empty() && devices.get(&session.device).is_some_and(|p| Arc::ptr_eq(p, &session.peers)) {
            devices.remove(&session.device);
        }
    }

    /// Offers a message to every session of `device` that subscribed to its topic. `sender` is the session that published
    /// it, if one did: subscriptions may exclude their own messages.
    pub(super) fn deliver(&self, device: &DeviceId, message: &Delivery, sender: Option<&Arc<Session>>) -> Reached {
        let peers = lock(&self.devices).get(device).cloned();
        let mut reached = Reached::default();
        for session in peers.iter().flat_map(|p| lock(&p.sessions).clone()) {
            let own = sender.is_some_and(|s| Arc::ptr_eq(s, &session));
            let Some(qos) = session.wants(&message.topic, own) else { continue };
            match session.messages.offer(message.at_most(qos)) {
                true => reached.taken += 1,
                false => reached.dropped += 1,
            }
        }
        reached
    }
}

impl Sessions for Registry {
    fn devices(&self) -> Vec<DeviceId> {
        lock(&self.devices).keys().cloned().collect()
    }

    fn cut(&self, device: &DeviceId, cut: Cut) {
        let peers = lock(&self.devices).get(device).cloned();
        for session in peers.iter().flat_map(|p| lock(&p.sessions).clone()) {
            session.cut.send_replace(Some(cut));
        }
    }
}

impl Session {
    /// Whether any session of the device has subscribed to anything.
    pub(super) fn has_listeners(&self) -> bool {
        self.peers.listeners.load(Ordering::Relaxed) > 0
    }

    /// Adds a subscription or replaces the one with the same filter. False if there are too many.
    pub(super) fn subscribe(&self, subscription: Subscription) -> bool {
        let mut subscriptions = lock(&self.subscriptions);
        if let Some(same) = subscriptions.iter_mut().find(|s| s.filter == subscription.filter) {
            *same = subscription;
            return true;
        }
        if subscriptions.len() >= limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
            return false;
        }
        subscriptions.push(subscription);
        self.peers.listeners.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Removes a subscription. False if there was none.
    pub(super) fn unsubscribe(&self, filter: &str) -> bool {
        let mut subscriptions = lock(&self.subscriptions);
        let Some(at) = subscriptions.iter().position(|s| s.filter == filter) else { return false };
        subscriptions.swap_remove(at);
        self.peers.listeners.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn forget_subscriptions(&self) {
        let forgotten = std::mem::take(&mut *lock(&self.subscriptions)).len();
        self.peers.listeners.fetch_sub(forgotten, Ordering::Relaxed);
    }

    /// The best quality with which a subscription of this session asks for messages on `topic`.
    fn wants(&self, topic: &str, own: bool) -> Option<Qos> {
        let subscriptions = lock(&self.subscriptions);
        subscriptions.iter().filter(|s| !(own && s.no_local) && s.matches(topic)).map(|s| s.qos).max()
    }
}
