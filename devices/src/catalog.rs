//! The catalog: one JSON document of business data a device. Invariant: no member is named like a secret and no value looks
//! like one of ours, so the documents may be shown to every analyst.
//!
//! The registry decides which devices exist: a document without a registered device is never shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_engine::contract::Disk;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::{METADATA_BYTES_MAX, METADATA_DEPTH_MAX};
use thalweg_engine::locks::{lock, read, write};

use crate::journal::Journal;
use crate::keys::looks_like_secret;

/// Words that name a secret, alone or within a name such as `wifi_password` or `apiKey`.
const SECRET_WORDS: &[&str] = &[
    "credential",
    "credentials",
    "key",
    "keys",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "psk",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];
/// The same run together with other words.
const SECRET_PARTS: &[&str] = &["apikey", "credential", "passphrase", "passwd", "password", "privatekey", "secret"];

/// The document of a device from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub device: DeviceId,
    pub document: Value,
}

/// All documents.
#[derive(Debug)]
pub(crate) struct Catalog {
    journal: Mutex<Journal<Description>>,
    documents: RwLock<BTreeMap<DeviceId, Value>>,
}

impl Catalog {
    /// Reads the catalog at `path`, or makes an empty one.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self> {
        let mut documents = BTreeMap::new();
        let journal = Journal::open(disk, path, "devices.catalog", |d: Description| {
            documents.insert(d.device, d.document);
            Ok(())
        })?;
        Ok(Self { journal: Mutex::new(journal), documents: RwLock::new(documents) })
    }

    /// The document of a device.
    pub fn get(&self, device: &str) -> Option<Value> {
        read(&self.documents).get(device).cloned()
    }

    /// Stores documents that passed `check`, all or none.
    pub fn put(&self, descriptions: Vec<Description>) -> Result<()> {
        if descriptions.is_empty() {
            return Ok(());
        }
        let mut journal = lock(&self.journal);
        journal.append(&descriptions)?;
        let mut documents = write(&self.documents);
        documents.extend(descriptions.into_iter().map(|d| (d.device, d.document)));
        if !journal.wants_compaction(documents.len()) {
            return Ok(());
        }
        let live: Vec<Description> =
            documents.iter().map(|(device, document)| Description { device: device.clone(), document: document.clone() }).collect();
        drop(documents);
        if let Err(e) = journal.compact(&live) {
            tracing::warn!(error = %e, "the device catalog could not be compacted and goes on in its old file");
        }
        Ok(())
    }
}

/// Errors: `Invalid` if `document` is no object, too large, or holds what is or looks like a secret.
pub(crate) fn check(document: &Value) -> Result<()> {
    if !document.is_object() {
        return Err(Error::invalid("metadata is not a JSON object").hint(r#"write {"site": "north", "tags": ["pump"]}"#));
    }
    check_value(document, "metadata", 1)?;
    let bytes = document.to_string().len();
    if bytes > METADATA_BYTES_MAX {
        return Err(Error::invalid(format!("metadata of {bytes} bytes is too long; at most {METADATA_BYTES_MAX} are kept")));
    }
    Ok(())
}

fn check_value(value: &Value, path: &str, depth: usize) -> Result<()> {
    if depth > METADATA_DEPTH_MAX {
        return Err(Error::invalid(format!("metadata is nested deeper than {METADATA_DEPTH_MAX} levels")));
    }
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            if names_secret(name) {
                return Err(Error::invalid(format!("metadata member {path}.{name} is named like a secret"))
                    .hint("the catalog is open to analysts: leave secrets out, or rename the member if it is none"));
            }
            check_value(member, &format!("{path}.{name}"), depth + 1)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_value(item, &format!("{path}[]"), depth + 1)),
        Value::String(text) if looks_like_secret(text) => {
            Err(Error::invalid(format!("{path} holds a key or token")).hint("the catalog is open to analysts: leave secrets out"))
        }
        _ => Ok(()),
    }
}

/// Whether a word of `name` (parted by case, digits and punctuation) names a secret.
fn names_secret(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphabetic()) {
            word.extend(c.to_lowercase());
        }
    }
    let joined = words.concat();
    words.iter().any(|w| SECRET_WORDS.contains(&w.as_str())) || SECRET_PARTS.iter().any(|p| joined.contains(p))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_named_like_secrets_are_refused_wherever_they_stand() {
        for name in [
            "password",
            "Password",
            "wifi_password",
            "apiKey",
            "api-key",
            "APIKEY",
            "key",
            "key2",
            "accessToken",
            "SECRET",
            "clientsecret",
            "psk",
        ] {
            for document in [json!({name: 1}), json!({"a": {"b": [{name: null}]}})] {
                let error = check(&document).unwrap_err();
                assert!(error.message().contains("named like a secret"), "{document}: {error}");
            }
        }
        check(&json!({"customer": "Acme", "monkey": 1, "keyboard": 2, "tags": ["a"], "site": {"lat": 1.5}})).unwrap();
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let mut deep = json!({});
        for _ in 0..METADATA_DEPTH_MAX {
            deep = json!({"a": deep});
        }
        for bad in [json!([]), json!("x"), deep, json!({"a": "x".repeat(METADATA_BYTES_MAX)}), json!({"note": "twd_pump-1_abc"})] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
