//! Bytes to packets and back, on one socket. Invariant: after the protocol library reported an error nothing more is read,
//! and what it wanted sent (a DISCONNECT with the reason) is still written before the socket closes.
//!
//! An idle connection holds no buffer: bytes are read onto the stack of whoever was woken, and the library keeps only the
//! packet that is not yet complete.

use std::io;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind, Version, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use thalweg_engine::limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes taken from the socket at once.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// An output buffer larger than this is given back when it is empty, in bytes.
const OUT_BYTES_KEPT: usize = 4 * 1024;
/// Time a closed connection's remaining input is read, so that the last packet to the peer is not lost to a reset.
const LINGER: Duration = Duration::from_millis(300);

/// One socket and the protocol state on it.
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    /// Whether the device wants to be told in words why something is refused.
    pub(super) wants_reasons: bool,
    mqtt: Connection<role::Server>,
    out: Vec<u8>,
    keep_alive: Option<Duration>,
    heard: Instant,
    unacknowledged: usize,
    muted: bool,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(limits::MQTT_PACKET_BYTES_MAX as u32);
        Self {
            socket,
            wants_reasons: true,
            mqtt: Connection::with_options(Version::Undetermined, options),
            out: Vec::new(),
            keep_alive: None,
            heard: Instant::now(),
            unacknowledged: 0,
            muted: false,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.mqtt.get_protocol_version()
    }

    /// Reads what is there without waiting. `Ok(None)` if there is nothing, `Ok(Some(0))` at the end.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.try_read(buffer) {
            Ok(n) => Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
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
        self.out.extend_from_slice(bytes);
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
                Event::RequestSendPacket { packet, .. } => self.out.extend_from_slice(&packet.to_continuous_buffer()),
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
        self.out.clear();
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes everything queued. Errors: the peer is gone, or took nothing for `limits::WRITE_TIMEOUT_MS`. If the future is
    /// dropped, a part may have been written: `mute` must follow.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.socket.try_write(&self.out[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let limit = Duration::from_millis(limits::WRITE_TIMEOUT_MS);
                    tokio::time::timeout(limit, self.socket.writable()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                }
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        if self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Says the last words and waits a moment for the peer to have read them.
    pub(super) async fn close(mut self) {
        let last_words = async {
            self.flush().await?;
            self.socket.shutdown().await?;
            let mut buffer = [0; 512];
            loop {
                self.socket.readable().await?;
                if self.try_read(&mut buffer)? == Some(0) {
                    return io::Result::Ok(());
                }
            }
        };
        // The peer may be gone already; then there is nobody to tell.
        let _ = tokio::time::timeout(LINGER, last_words).await;
    }
}
