//! The number that a device gives to a record: properties `epoch` and `seq`. Invariant: a device that believes that it numbers
//! its records never finds out later that it did not; whatever is not a whole number is refused in words.

use thalweg_engine::batch::ProducerSequence;

/// Collects the two properties out of all that a message carries.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    epoch: Option<u32>,
    sequence: Option<u64>,
}

/// A property's value as its protocol has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number<'a> {
    Text(&'a str),
    Whole(u64),
    /// Of a type that has no whole numbers, or below zero.
    Other,
}

impl Number<'_> {
    fn value(self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Whole(n) => Some(n),
            Self::Other => None,
        }
    }
}

impl Numbering {
    /// Looks at one property; others than the two are none of its business. Errors: what is wrong with it.
    pub(super) fn property(&mut self, name: &str, value: Number<'_>) -> Result<(), &'static str> {
        let was_there = match name {
            "epoch" => {
                let epoch = value.value().and_then(|n| u32::try_from(n).ok());
                let epoch = epoch.ok_or("property epoch is not a whole number of 32 bits")?;
                self.epoch.replace(epoch).is_some()
            }
            "seq" => {
                let sequence = value.value().ok_or("property seq is not a whole number of 64 bits")?;
                self.sequence.replace(sequence).is_some()
            }
            _ => false,
        };
        if was_there { Err("a property epoch or seq is there twice") } else { Ok(()) }
    }

    /// The number, if there is one. Errors: one of the two without the other.
    pub(super) fn finish(self) -> Result<Option<ProducerSequence>, &'static str> {
        match (self.epoch, self.sequence) {
            (None, None) => Ok(None),
            (Some(epoch), Some(sequence)) => Ok(Some(ProducerSequence { epoch, sequence })),
            _ => Err("properties epoch and seq come together"),
        }
    }
}
