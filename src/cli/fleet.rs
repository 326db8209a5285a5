//! Simulated devices and their keys, as `demo` and `publish` use them. Invariant: keys come from the real API, and are kept in a
//! file that only its owner can read, as a device would keep its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;
use thalweg_connectors::simulator::DeviceLogin;
use thalweg_engine::error::{Error, ErrorKind, Result};
use thalweg_engine::ids::DeviceId;

use super::client::Client;

const AT_ONCE: usize = 16;

/// Device ids `<prefix>-0001` and so on.
pub fn ids(prefix: &str, count: usize) -> Result<Vec<DeviceId>> {
    (1..=count).map(|i| DeviceId::new(&format!("{prefix}-{i:04}"))).collect()
}

/// Keys of `devices`: those in the file `keys` as they are; the others are registered and activated now, and added to it.
pub async fn provision(client: &Client, keys: &Path, devices: &[DeviceId], bar: &ProgressBar) -> Result<Vec<DeviceLogin>> {
    let mut known = read(keys)?;
    let missing: Vec<&DeviceId> = devices.iter().filter(|d| !known.contains_key(d.as_str())).collect();
    if !missing.is_empty() {
        let new: Vec<(String, String)> = stream::iter(missing)
            .map(|device| async move {
                let key = activate(client, device).await?;
                bar.inc(1);
                Ok::<_, Error>((device.to_string(), key))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        known.extend(new);
        write(keys, &known)?;
    }
    devices
        .iter()
        .map(|d| {
            let key = known.get(d.as_str()).cloned().ok_or_else(|| Error::internal(format!("device {d} has no key")))?;
            Ok(DeviceLogin { device: d.clone(), key })
        })
        .collect()
}

async fn activate(client: &Client, device: &DeviceId) -> Result<String> {
    let body = json!({ "device_id": device.as_str(), "metadata": { "simulated": true } });
    let registered = client.json(Method::POST, "/v1/devices", Some(body)).await.map_err(|e| match e.kind() {
        ErrorKind::Conflict => Error::conflict(format!("device {device} exists already, and its key is not in the key file"))
            .hint("use another --prefix, or the key file of the earlier run"),
        _ => e,
    })?;
    let body = json!({ "activation_key": registered["activation_key"] });
    let answer = client.json(Method::POST, &format!("/v1/devices/{device}/activate"), Some(body)).await?;
    answer["key"].as_str().map(str::to_owned).ok_or_else(|| Error::internal("the answer to an activation has no key"))
}

fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(format!("key file {}: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(Error::from(e).context(format!("key file {}", path.display()))),
    }
}

fn write(path: &Path, keys: &BTreeMap<String, String>) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(keys).map_err(|e| Error::internal(e.to_string()))?;
    let temporary = path.with_extension("tmp");
    let result = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    result.map_err(|e| Error::from(e).context(format!("key file {}", path.display())))
}
