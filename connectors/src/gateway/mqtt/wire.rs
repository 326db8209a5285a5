//! Bytes to packets and back, on one socket. Invariant: after the protocol library reported an error nothing more is read,
//! and what it wanted sent (a DISCONNECT with the reason) is still written before the socket closes.
//!
//! An idle connection holds no buffer: bytes are read onto the stack of whoever was woken, and the library keeps only the
//! packet that is not yet complete.

use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind, Version, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use thalweg_engine::limits;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::gateway::pipe::Pipe;

/// One socket and the protocol state on it.
pub(super) struct Wire {
    pub(super) pipe: Pipe,
    /// Whether the device wants to be told in words why something is refused.
    pub(super) wants_reasons: bool,
    mqtt: Connection<role::Server>,
    keep_alive: Option<Duration>,
    heard: Instant,
    unacknowledged: usize,
    muted: bool,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(limits::MQTT_PACKET_BYTES_MAX as u32);
        Self {
            pipe: Pipe::new(socket),
            wants_reasons: true,
            mqtt: Connection::with_options(Version::Undetermined, options),
            keep_alive: None,
            heard: Instant::now(),
            unacknowledged: 0,
            muted: false,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.mqtt.get_protocol_version()
    }

    /// Takes bytes up to the end of one packet; none if it is not yet complete. Errors: the peer broke the protocol.
    pub(super) fn parse(&mut self, cursor: &mut Cursor<&[u8]>) -> Result<Option<Packet>, MqttError> {
        let events = self.mqtt.recv(cursor);
        let (packet, error) = self.absorb(events);
        error.map_or(Ok(packet), Err)
    }

    /// Queues a packet. Errors: the library refuses it; nothing was queued.
    pub(super) fn send(&mut self, packet: Packet) -> Result<(), MqttError> {
        let events = self.mqtt.send(packet);
        self.absorb(events).1.map_or(Ok(()), Err)
    }

    /// Queues a packet that has room for a reason in words, which is left out if the device takes no packet of that length.
    pub(super) fn say_why(
        &mut self,
        reason: Option<&str>,
        build: impl Fn(Option<&str>) -> Result<Packet, MqttError>,
    ) -> Result<(), MqttError> {
        match build(reason).and_then(|packet| self.send(packet)) {
            Err(MqttError::PacketTooLarge) => build(None).and_then(|packet| self.send(packet)),
            sent => sent,
        }
    }

    /// Queues bytes that are no packet of a known version.
    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        self.pipe.out.extend_from_slice(bytes);
    }

    /// Queues a message to the device with a packet id of its own. Errors: no id is free, or the message is larger than the
    /// device takes.
    pub(super) fn send_with_id(&mut self, build: impl FnOnce(u16) -> Result<Packet, MqttError>) -> Result<(), MqttError> {
        let id = self.mqtt.acquire_packet_id()?;
        let sent = build(id).and_then(|packet| self.send(packet));
        match sent {
            Ok(()) => self.unacknowledged += 1,
            Err(_) => drop(self.mqtt.release_packet_id(id)),
        }
        sent
    }

    /// Whether the device would take one more message with QoS 1.
    pub(super) fn has_room(&self) -> bool {
        self.unacknowledged < limits::DELIVERIES_UNACKNOWLEDGED_MAX && self.mqtt.get_receive_maximum_vacancy_for_send() != Some(0)
    }

    fn absorb(&mut self, events: Vec<Event>) -> (Option<Packet>, Option<MqttError>) {
        let (mut packet, mut error) = (None, None);
        for event in events {
            match event {
                Event::NotifyPacketReceived(received) => packet = Some(received),
                Event::RequestSendPacket { .. } if self.muted => {}
                Event::RequestSendPacket { packet, .. } => self.pipe.out.extend_from_slice(&packet.to_continuous_buffer()),
                Event::RequestTimerReset { kind: TimerKind::PingreqRecv, duration_ms } => {
                    self.keep_alive = Some(Duration::from_millis(duration_ms));
                    self.heard = Instant::now();
                }
                Event::RequestTimerCancel(TimerKind::PingreqRecv) => self.keep_alive = None,
                Event::NotifyPacketIdReleased(_) => self.unacknowledged = self.unacknowledged.saturating_sub(1),
                Event::NotifyError(e) => error = Some(e),
                // The connection decides when to close; timers of clients do not occur here.
                Event::RequestClose | Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            }
        }
        (packet, error)
    }

    /// When the device will have been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.keep_alive.map(|limit| self.heard + limit)
    }

    /// Starts the keep-alive time anew, after a pause in which we did not read.
    pub(super) fn forgive_silence(&mut self) {
        self.heard = Instant::now();
    }

    /// Queues what is to be said to a device that was silent for too long.
    pub(super) fn announce_silence(&mut self) {
        let events = self.mqtt.notify_timer_fired(TimerKind::PingreqRecv);
        self.absorb(events);
    }

    /// Says nothing more: a flush was given up in the middle of a packet.
    pub(super) fn mute(&mut self) {
        self.muted = true;
        self.pipe.out.clear();
    }
}
