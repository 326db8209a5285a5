//! Connectors: everything that speaks a protocol. Invariant: records enter the log only with a proven device identity, and
//! nothing is acknowledged to the outside before the log has made it durable.
//!
//! ```text
//! gateway/    devices connect to us: MQTT 3.1.1 and 5, AMQP 1.0, HTTP ingest
//! amqp/       AMQP 1.0 as bytes
//! mqtt/       we connect to an outside broker
//! simulator   devices that do not exist, over the same protocols: demo, load, crash tests
//! *.rs        what a table may say in WITH ('connector' = …)
//! ```

use thalweg_engine::contract::ConnectorSpec;

mod amqp;
pub mod gateway;
mod lake;
mod load;
mod log;
mod mqtt;
mod reference;
mod shared;
pub mod simulator;
#[cfg(test)]
mod testing;

/// Every connector, sorted by name: parser, help, documentation and tests iterate over it.
pub static CONNECTORS: &[&ConnectorSpec] = &[&lake::SPEC, &log::SPEC, &mqtt::SPEC, &reference::SPEC];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_sorted_and_complete() {
        assert!(CONNECTORS.is_sorted_by(|a, b| a.name < b.name));
        for spec in CONNECTORS {
            assert!(spec.options.is_sorted_by(|a, b| a.name < b.name), "{}", spec.name);
            assert!(!spec.about.is_empty() && spec.options.iter().all(|o| !o.about.is_empty()), "{}", spec.name);
            assert!(spec.options.iter().all(|o| !(o.required && o.default.is_some())), "{}: required means no default", spec.name);
            assert!(spec.options.iter().all(|o| o.name != "connector"), "{}: the caller takes 'connector'", spec.name);
        }
    }
}
