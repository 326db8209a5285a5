//! A thin MQTT client: one socket, one protocol state, no task of its own. Invariant: nothing is resent in here; whoever owns
//! the link knows what was not acknowledged.

use std::io;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::{Arc, Cursor};
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, TimerKind, Version, role};
use mqtt_protocol_core::mqtt::packet::{self, GenericPacketTrait, Packet, Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError, PubackReasonCode};
use thalweg_engine::batch::ProducerSequence;
use thalweg_engine::limits;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::link::{Answer, Lost, Outcome, write_all};

/// Keep-alive interval, in seconds.
const KEEP_ALIVE_S: u16 = 60;

impl From<MqttError> for Lost {
    fn from(e: MqttError) -> Self {
        Self::Broken(format!("{e:?}"))
    }
}

/// An open connection.
pub(super) struct MqttLink {
    socket: TcpStream,
    mqtt: Connection<role::Client>,
    out: Vec<u8>,
    ping_at: Option<Instant>,
}

impl MqttLink {
    /// Connects as a device.
    pub(super) async fn open(socket: TcpStream, version: Version, device: &str, key: &str) -> Result<Self, Lost> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(limits::MQTT_PACKET_BYTES_MAX as u32);
        let mqtt = Connection::with_options(version, options);
        let mut link = Self { socket, mqtt, out: Vec::new(), ping_at: None };
        link.send(connect_packet(version, device, key)?)?;
        link.flush().await?;
        loop {
            link.socket.readable().await?;
            if let Some(let_in) = link.take_connack()? {
                return let_in.map(|()| link);
            }
        }
    }

    fn take_connack(&mut self) -> Result<Option<Result<(), Lost>>, Lost> {
        let mut found = None;
        self.read(|packet| match packet {
            Packet::V3_1_1Connack(p) => {
                found = Some(match p.return_code() {
                    ConnectReturnCode::Accepted => Ok(()),
                    ConnectReturnCode::ServerUnavailable => Err(Lost::Broken("server unavailable".into())),
                    code => Err(Lost::Refused(code.to_string())),
                });
            }
            Packet::V5_0Connack(p) => {
                use ConnectReasonCode as Code;
                found = Some(match p.reason_code() {
                    Code::Success => Ok(()),
                    code @ (Code::ServerUnavailable | Code::ServerBusy | Code::QuotaExceeded | Code::ConnectionRateExceeded) => {
                        Err(Lost::Broken(code.to_string()))
                    }
                    code => Err(Lost::Refused(code.to_string())),
                });
            }
            _ => {}
        })
        .or_else(|lost| if found.is_some() { Ok(()) } else { Err(lost) })?;
        Ok(found)
    }

    /// Whether the server takes one more publish now.
    pub(super) fn has_room(&self) -> bool {
        self.mqtt.get_receive_maximum_vacancy_for_send() != Some(0)
    }

    /// Queues a record and returns its packet id. MQTT 5 carries its number, so that the server knows it when it comes again.
    pub(super) fn publish(&mut self, topic: &str, payload: Arc<[u8]>, producer: ProducerSequence) -> Result<u32, Lost> {
        let id = self.mqtt.acquire_packet_id()?;
        let packet: Packet = if self.mqtt.get_protocol_version() == Version::V5_0 {
            let properties: Vec<Property> = vec![
                packet::ContentType::new("application/json")?.into(),
                packet::UserProperty::new("epoch", producer.epoch.to_string())?.into(),
                packet::UserProperty::new("seq", producer.sequence.to_string())?.into(),
            ];
            let publish = v5_0::Publish::builder().topic_name(topic)?.qos(Qos::AtLeastOnce).packet_id(id);
            publish.props(properties).payload(payload).build()?.into()
        } else {
            let publish = v3_1_1::Publish::builder().topic_name(topic)?.qos(Qos::AtLeastOnce).packet_id(id);
            publish.payload(payload).build()?.into()
        };
        self.send(packet)?;
        Ok(id.into())
    }

    fn send(&mut self, packet: Packet) -> Result<(), Lost> {
        let events = self.mqtt.send(packet);
        self.absorb(events, &mut |_| ())
    }

    fn absorb(&mut self, events: Vec<Event>, each: &mut impl FnMut(Packet)) -> Result<(), Lost> {
        let mut lost = None;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => each(packet),
                Event::RequestSendPacket { packet, .. } => self.out.extend_from_slice(&packet.to_continuous_buffer()),
                Event::RequestTimerReset { kind: TimerKind::PingreqSend, duration_ms } => {
                    self.ping_at = Some(Instant::now() + Duration::from_millis(duration_ms));
                }
                Event::NotifyError(e) => lost = Some(e),
                _ => {}
            }
        }
        lost.map_or(Ok(()), |e| Err(e.into()))
    }

    /// Reads what is there and hands out its packets. Errors: the end of the connection; packets before it were handed out.
    fn read(&mut self, mut each: impl FnMut(Packet)) -> Result<(), Lost> {
        let mut buffer = [0; 8 * 1024];
        let n = match self.socket.try_read(&mut buffer) {
            Ok(0) => return Err(Lost::Broken("the server closed the connection".into())),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let mut cursor = Cursor::new(&buffer[..n]);
        while (cursor.position() as usize) < n {
            let events = self.mqtt.recv(&mut cursor);
            self.absorb(events, &mut each)?;
        }
        Ok(())
    }

    /// Waits for the server, and returns its answers. Safe to drop while it waits.
    pub(super) async fn answers(&mut self) -> Result<Vec<Answer>, Lost> {
        self.socket.readable().await?;
        let (mut answers, mut reason) = (Vec::new(), None);
        let read = self.read(|packet| match packet {
            Packet::V3_1_1Puback(p) => answers.push(Answer { id: p.packet_id().into(), outcome: Outcome::Stored }),
            Packet::V5_0Puback(p) => {
                let outcome = match p.reason_code() {
                    Some(PubackReasonCode::QuotaExceeded) => Outcome::NoRoom,
                    Some(code) if !code.is_success() => Outcome::Refused,
                    _ => Outcome::Stored,
                };
                answers.push(Answer { id: p.packet_id().into(), outcome });
            }
            Packet::V5_0Disconnect(p) => reason = p.reason_code(),
            _ => {}
        });
        match (read, reason) {
            (Err(lost), _) if answers.is_empty() => Err(lost),
            // Whatever else happened shows again at the next read; these answers count.
            _ if !answers.is_empty() => Ok(answers),
            (_, Some(code)) => Err(Lost::Broken(format!("the server said {code}"))),
            _ => Ok(answers),
        }
    }

    /// When a ping is due, and what to do then.
    pub(super) fn ping_at(&self) -> Option<Instant> {
        self.ping_at
    }

    /// Queues a ping.
    pub(super) fn ping(&mut self) -> Result<(), Lost> {
        let events = self.mqtt.notify_timer_fired(TimerKind::PingreqSend);
        self.absorb(events, &mut |_| ())
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Lost> {
        write_all(&self.socket, &mut self.out).await
    }

    /// Says goodbye, as far as the server still listens.
    pub(super) async fn goodbye(mut self) {
        let packet = match self.mqtt.get_protocol_version() {
            Version::V5_0 => v5_0::Disconnect::builder().build().map(Packet::from),
            _ => v3_1_1::Disconnect::builder().build().map(Packet::from),
        };
        if let Ok(packet) = packet
            && self.send(packet).is_ok()
        {
            let _ = self.flush().await;
        }
    }
}

fn connect_packet(version: Version, device: &str, key: &str) -> Result<Packet, MqttError> {
    Ok(match version {
        Version::V5_0 => {
            let connect = v5_0::Connect::builder().client_id(device)?.clean_start(true).keep_alive(KEEP_ALIVE_S);
            connect.user_name(device)?.password(key.as_bytes().to_vec())?.build()?.into()
        }
        _ => {
            let connect = v3_1_1::Connect::builder().client_id(device)?.clean_session(true).keep_alive(KEEP_ALIVE_S);
            connect.user_name(device)?.password(key.as_bytes().to_vec())?.build()?.into()
        }
    })
}
