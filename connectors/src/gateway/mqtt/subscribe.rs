//! Subscriptions. Invariant: a filter is granted only if its first two levels are literally the device's own prefix, so no
//! wildcard and no shared group can reach another device's messages.

use mqtt_protocol_core::mqtt::packet::{Qos, SubEntry};
use mqtt_protocol_core::mqtt::result_code::{SubackReasonCode, UnsubackReasonCode};
use thalweg_engine::limits;
use thalweg_engine::topic;

use super::registry::Session;

/// One granted filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) filter: String,
    /// Asked for and granted: 0 or 1.
    pub(super) qos: Qos,
    /// Leaves out what the same connection published.
    pub(super) no_local: bool,
}

impl Subscription {
    /// Whether `topic` matches the filter.
    pub(super) fn matches(&self, topic: &str) -> bool {
        let (mut filter, mut topic) = (self.filter.split('/'), topic.split('/'));
        loop {
            match (filter.next(), topic.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
    }
}

/// `+` stands for a whole level, `#` for all that follow and comes last.
fn is_well_formed(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => return false,
            "+" | "#" => {}
            text if text.contains(['+', '#', '\0']) => return false,
            _ => {}
        }
    }
    filter.len() <= limits::RECORD_TOPIC_BYTES_MAX
}

/// Decides on each filter of a SUBSCRIBE and enters those that are granted.
pub(super) fn subscribe(session: &Session, entries: &[SubEntry]) -> Vec<SubackReasonCode> {
    let decide = |entry: &SubEntry| {
        let filter = entry.topic_filter();
        if !topic::may_subscribe(&session.device, filter) {
            return SubackReasonCode::NotAuthorized;
        }
        if !is_well_formed(filter) {
            return SubackReasonCode::TopicFilterInvalid;
        }
        let qos = entry.sub_opts().qos().min(Qos::AtLeastOnce);
        match session.subscribe(Subscription { filter: filter.to_owned(), qos, no_local: entry.sub_opts().nl() }) {
            false => SubackReasonCode::QuotaExceeded,
            true if qos == Qos::AtMostOnce => SubackReasonCode::GrantedQos0,
            true => SubackReasonCode::GrantedQos1,
        }
    };
    entries.iter().map(decide).collect()
}

/// Removes filters.
pub(super) fn unsubscribe(session: &Session, filters: &[String]) -> Vec<UnsubackReasonCode> {
    let remove = |filter: &String| match session.unsubscribe(filter) {
        true => UnsubackReasonCode::Success,
        false => UnsubackReasonCode::NoSubscriptionExisted,
    };
    filters.iter().map(remove).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_whole_levels() {
        let matches =
            |filter: &str, topic: &str| Subscription { filter: filter.into(), qos: Qos::AtMostOnce, no_local: false }.matches(topic);
        for (filter, topic) in [
            ("devices/a/#", "devices/a"),
            ("devices/a/#", "devices/a/b/c"),
            ("devices/a/+", "devices/a/b"),
            ("devices/a/+/c", "devices/a/b/c"),
            ("devices/a/b", "devices/a/b"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("devices/a/+", "devices/a"),
            ("devices/a/+", "devices/a/b/c"),
            ("devices/a/b", "devices/a/bc"),
            ("devices/a/b/c", "devices/a/b"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn wildcards_stand_alone() {
        for good in ["devices/a/#", "devices/a/+/c", "devices/a/b"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["devices/a/#/b", "devices/a/b#", "devices/a/b+/c", &"x/".repeat(400)] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
