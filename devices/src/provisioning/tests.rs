//! The life of devices, tested through the facade. Invariant: nothing here looks at private state; what is on disk is read as
//! an attacker would read it.

use std::sync::Barrier;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use thalweg_engine::contract::DeviceAuthority;
use thalweg_engine::error::ErrorKind;
use thalweg_engine::ids::Name;
use thalweg_engine::limits::{JOURNAL_COMPACT_ENTRIES_MIN, LOGIN_FAILURES_MAX};

use super::*;
use crate::test_support::{Fixture, operator};
use crate::tokens::Role;

fn id(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

fn registration(device: &str, activation_key: ActivationKey) -> Registration {
    Registration { device: id(device), activation_key, activation_not_after: None, metadata: None }
}

/// Registers and activates; returns the key.
fn active(f: &Fixture, device: &str) -> Secret {
    let registered = f.devices.register(&operator(), registration(device, ActivationKey::Generate)).unwrap();
    f.devices.activate(device, &registered.activation_key.unwrap(), None).unwrap()
}

#[test]
fn a_device_is_registered_activated_and_known_after_a_restart() {
    let mut f = Fixture::new();
    let given = Registration {
        metadata: Some(json!({"customer": "Acme", "tags": ["north"]})),
        ..registration("pump-1", ActivationKey::Given(Secret::new("chosen-by-hand")))
    };
    assert!(f.devices.register(&operator(), given).unwrap().activation_key.is_none());
    assert_eq!(f.devices.get(&id("pump-1")).unwrap().state, DeviceState::Registered);
    let key = f.devices.activate("pump-1", &Secret::new("chosen-by-hand"), None).unwrap();
    f.clock.advance(Duration::from_secs(1));
    f.devices.seen(&id("pump-1"), Some(true));
    f.devices.flush_seen().unwrap();
    let before = f.devices.get(&id("pump-1")).unwrap();
    assert!(before.connected);
    f.reopen();
    let after = f.devices.get(&id("pump-1")).unwrap();
    assert_eq!(serde_json::to_value(DeviceView { connected: false, ..before }).unwrap(), serde_json::to_value(&after).unwrap());
    assert_eq!((after.state, after.keys), (DeviceState::Active, 1));
    assert_eq!(after.last_seen.as_deref(), Some("2023-11-14T22:13:21Z"));
    assert_eq!(after.metadata.unwrap()["customer"], "Acme");
    assert_eq!(f.devices.authenticate("pump-1", key.expose(), None).unwrap().device, id("pump-1"));
    let again = f.devices.register(&operator(), registration("pump-1", ActivationKey::Generate)).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[test]
fn every_refused_login_gets_the_same_answer() {
    let f = Fixture::new();
    let key = active(&f, "pump-1");
    let other = active(&f, "pump-2");
    let revoked = active(&f, "pump-3");
    f.devices.revoke(&operator(), &id("pump-3")).unwrap();
    let waiting = f.devices.register(&operator(), registration("pump-4", ActivationKey::Generate)).unwrap().activation_key.unwrap();
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    let refused = [
        ("pump-1", "wrong"),
        ("pump-1", ""),
        ("pump-1", &long),
        ("pump-1", other.expose()),
        ("nobody", key.expose()),
        ("", key.expose()),
        ("pump-1/../pump-2", other.expose()),
        ("pump-3", revoked.expose()),
        ("pump-4", waiting.expose()),
    ];
    for (device, key) in refused {
        let error = f.devices.authenticate(device, key, None).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, "device id or key is not valid"), "{device}");
    }
    f.devices.authenticate("pump-1", key.expose(), None).unwrap();
}

#[test]
fn too_many_failures_delay_that_address_only() {
    let f = Fixture::new();
    let key = active(&f, "pump-1");
    let (bad, good): (Option<IpAddr>, Option<IpAddr>) = ("10.0.0.1".parse().ok(), "10.0.0.2".parse().ok());
    for device in ["pump-1", "nobody"] {
        for _ in 0..LOGIN_FAILURES_MAX {
            assert_eq!(f.devices.authenticate(device, "wrong", bad).unwrap_err().kind(), ErrorKind::Invalid);
        }
        let error = f.devices.authenticate(device, key.expose(), bad).unwrap_err();
        assert_eq!(error.to_string(), "too many failed logins (hint: wait 1 s, then try again)");
    }
    f.devices.authenticate("pump-1", key.expose(), good).unwrap();
    f.clock.advance(Duration::from_secs(1));
    f.devices.authenticate("pump-1", key.expose(), bad).unwrap();
}

#[test]
fn of_a_hundred_activations_exactly_one_gets_a_key() {
    let f = Fixture::new();
    let secret = f.devices.register(&operator(), registration("pump-1", ActivationKey::Generate)).unwrap().activation_key.unwrap();
    let barrier = Barrier::new(100);
    let outcomes: Vec<Result<Secret>> = std::thread::scope(|scope| {
        let attempt = || {
            barrier.wait();
            f.devices.activate("pump-1", &secret, None)
        };
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(attempt)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|e| e.as_ref().unwrap_err().kind() == ErrorKind::Conflict));
    let key = won.into_iter().next().unwrap().unwrap();
    f.devices.authenticate("pump-1", key.expose(), None).unwrap();
    assert_eq!(f.devices.get(&id("pump-1")).unwrap().keys, 1);
}

#[test]
fn activation_is_refused_alike_and_throttled_and_can_end() {
    let mut f = Fixture::new();
    let used = f.devices.register(&operator(), registration("used", ActivationKey::Generate)).unwrap().activation_key.unwrap();
    let first = f.devices.activate("used", &used, None).unwrap();
    let other = active(&f, "other");
    assert_ne!(first.expose(), other.expose());
    f.devices.register(&operator(), registration("by-hand", ActivationKey::None)).unwrap();
    let revoked = f.devices.register(&operator(), registration("revoked", ActivationKey::Generate)).unwrap().activation_key.unwrap();
    f.devices.revoke(&operator(), &id("revoked")).unwrap();
    for (device, key) in [("used", "wrong-wrong-wrong"), ("nobody", used.expose()), ("by-hand", ""), ("revoked", revoked.expose())] {
        let error = f.devices.activate(device, &Secret::new(key), None).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, "device id or activation key is not valid"), "{device}");
        assert!(error.hint_text().unwrap().contains("activation key"), "{error}");
    }
    let end = f.devices.clock.now() + time::SECOND;
    let ends = Registration { activation_not_after: Some(end), ..registration("ends", ActivationKey::Generate) };
    let ends = f.devices.register(&operator(), ends).unwrap().activation_key.unwrap();
    f.clock.advance(Duration::from_secs(1));
    f.reopen();
    assert!(f.devices.activate("ends", &ends, None).unwrap_err().message().contains("has expired"));
    assert_eq!(f.devices.activate("used", &used, None).unwrap_err().kind(), ErrorKind::Conflict);
    for _ in 0..LOGIN_FAILURES_MAX {
        f.devices.activate("used", &Secret::new("guess-guess-guess"), None).unwrap_err();
    }
    assert_eq!(f.devices.activate("used", &used, None).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_revoked_device_is_cut_off_at_once_and_for_good() {
    let mut f = Fixture::new();
    let key = active(&f, "pump-1");
    let mut revocations = f.devices.revocations();
    assert!(f.devices.is_active(&id("pump-1")));
    f.devices.revoke(&operator(), &id("pump-1")).unwrap();
    assert_eq!(revocations.try_recv().unwrap(), Revocation { device: id("pump-1") });
    for _ in 0..2 {
        assert!(!f.devices.is_active(&id("pump-1")));
        assert!(f.devices.authenticate("pump-1", key.expose(), None).is_err());
        assert_eq!(f.devices.issue_key(&operator(), &id("pump-1"), Duration::ZERO).unwrap_err().kind(), ErrorKind::Conflict);
        f.reopen();
    }
    assert_eq!(f.devices.revoke(&operator(), &id("nobody")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn keys_rotate_with_overlap() {
    let f = Fixture::new();
    let old = active(&f, "pump-1");
    let new = f.devices.issue_key(&operator(), &id("pump-1"), Duration::from_secs(60)).unwrap();
    for key in [&old, &new] {
        f.devices.authenticate("pump-1", key.expose(), None).unwrap();
    }
    f.clock.advance(Duration::from_secs(60));
    assert!(f.devices.authenticate("pump-1", old.expose(), None).is_err());
    f.devices.authenticate("pump-1", new.expose(), None).unwrap();
    for _ in 1..DEVICE_KEYS_MAX {
        f.devices.issue_key(&operator(), &id("pump-1"), Duration::from_secs(60)).unwrap();
    }
    assert_eq!(f.devices.issue_key(&operator(), &id("pump-1"), Duration::from_secs(60)).unwrap_err().kind(), ErrorKind::Conflict);
    let mut revocations = f.devices.revocations();
    let only = f.devices.issue_key(&operator(), &id("pump-1"), Duration::ZERO).unwrap();
    assert_eq!(revocations.try_recv().unwrap(), Revocation { device: id("pump-1") }, "who has an old key may be connected");
    f.devices.issue_key(&operator(), &id("pump-1"), Duration::from_secs(60)).unwrap();
    assert!(revocations.try_recv().is_err(), "old keys are still good");
    assert!(f.devices.authenticate("pump-1", new.expose(), None).is_err());
    f.devices.authenticate("pump-1", only.expose(), None).unwrap();
}

#[test]
fn a_batch_is_registered_whole_or_not_at_all() {
    let f = Fixture::new();
    let batch = |ids: &[&str]| ids.iter().map(|d| registration(d, ActivationKey::Generate)).collect::<Vec<_>>();
    assert_eq!(f.devices.register_all(&operator(), batch(&["a", "b", "c", "d"])).unwrap().len(), 4);
    for bad in [&["e", "c"][..], &["e", "e"]] {
        assert_eq!(f.devices.register_all(&operator(), batch(bad)).unwrap_err().kind(), ErrorKind::Conflict);
    }
    let secret = Registration { metadata: Some(json!({"api_key": "x"})), ..registration("e", ActivationKey::Generate) };
    assert_eq!(f.devices.register(&operator(), secret).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(f.devices.register(&operator(), registration("e", ActivationKey::Given(Secret::new("short")))).is_err());
    f.devices.revoke(&operator(), &id("b")).unwrap();
    let page = |state, after: Option<&str>| {
        let page = f.devices.list(&ListFilter { state, after: after.map(id), limit: 2 });
        (page.devices.iter().map(|d| d.device.to_string()).collect::<Vec<_>>().join(" "), page.next.map(|d| d.to_string()))
    };
    assert_eq!(page(None, None), ("a b".into(), Some("b".into())));
    assert_eq!(page(None, Some("b")), ("c d".into(), None));
    assert_eq!(page(Some(DeviceState::Registered), None), ("a c".into(), Some("c".into())));
    assert_eq!(page(Some(DeviceState::Revoked), None), ("b".into(), None));
}

#[test]
fn a_compacted_registry_says_the_same() {
    let mut f = Fixture::new();
    let key = active(&f, "pump-1");
    for _ in 0..JOURNAL_COMPACT_ENTRIES_MIN {
        f.clock.advance(Duration::from_secs(1));
        f.devices.seen(&id("pump-1"), None);
        f.devices.flush_seen().unwrap();
    }
    let before = serde_json::to_value(f.devices.get(&id("pump-1")).unwrap()).unwrap();
    let bytes = std::fs::metadata(f.dir.path().join("registry.journal")).unwrap().len();
    assert!(bytes < 2_000, "{bytes} bytes after compaction");
    f.reopen();
    assert_eq!(serde_json::to_value(f.devices.get(&id("pump-1")).unwrap()).unwrap(), before);
    f.devices.authenticate("pump-1", key.expose(), None).unwrap();
}

#[test]
fn no_secret_is_anywhere_on_disk_or_in_a_debug_text() {
    let f = Fixture::new();
    let chosen = Secret::new("chosen-by-hand-0123456789");
    f.devices.register(&operator(), registration("pump-1", ActivationKey::Given(Secret::new(chosen.expose())))).unwrap();
    let made = f.devices.register(&operator(), registration("pump-2", ActivationKey::Generate)).unwrap().activation_key.unwrap();
    let key = f.devices.activate("pump-1", &chosen, None).unwrap();
    let rotated = f.devices.issue_key(&operator(), &id("pump-1"), Duration::from_secs(9)).unwrap();
    let token = f.devices.create_token(&operator(), &Name::new("ana").unwrap(), Role::Admin, None).unwrap();
    let local = f.devices.mint_ephemeral(Role::Viewer).unwrap();
    f.devices.authenticate("pump-1", made.expose(), None).unwrap_err();
    f.devices.verify_token(key.expose(), None).unwrap_err();
    let mut dump = format!("{:?}", f.devices).into_bytes();
    for entry in std::fs::read_dir(f.dir.path()).unwrap() {
        dump.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(dump.windows(6).any(|w| w == b"pump-2"), "the dump is what it should be");
    for secret in [&chosen, &made, &key, &rotated, &token, &local] {
        let text = secret.expose();
        let random = &text[text.len() - 20..];
        let raw = text.get(text.len().saturating_sub(43)..).and_then(|t| URL_SAFE_NO_PAD.decode(t).ok()).unwrap_or(text.into());
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into_bytes();
        for needle in
            [random.into(), raw.clone(), hex(&raw), hex(random.as_bytes()), STANDARD.encode(text).into(), STANDARD.encode(&raw).into()]
        {
            assert!(!dump.windows(needle.len()).any(|w| w == needle), "{text} is in the dump");
        }
    }
}
