//! Secrets made by this machine, and digests of secrets. Invariant: a secret leaves memory only through `Secret::expose`, and
//! digests are compared in constant time.
//!
//! ```text
//! twd_<device>_<43 characters base64url>    key of a device
//! twa_<device>_<43 characters base64url>    activation key
//! twt_<name>_<43 characters base64url>      token of an operator
//! ```
//!
//! The random part is 256 bits, so a fast hash is enough: nobody can try them all. The digest covers purpose and owner too, so
//! a digest copied to another device or purpose fits nothing.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use thalweg_engine::error::{Error, Result};

/// Characters of the random part.
pub(crate) const RANDOM_CHARACTERS: usize = 43;

/// What a secret is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// A device proves who it is.
    Device,
    /// A device asks for its first key.
    Activation,
    /// An operator or analyst proves who they are.
    Token,
}

impl Purpose {
    /// First characters of a secret of this purpose.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Device => "twd_",
            Self::Activation => "twa_",
            Self::Token => "twt_",
        }
    }
}

/// A secret in clear text. It has no `Display`, no `Serialize` and a `Debug` that says nothing.
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that came from outside.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Draws 256 bits from the operating system. Errors: `Internal` if it has none.
    pub(crate) fn generate(purpose: Purpose, owner: &str) -> Result<Self> {
        let mut random = [0; 32];
        OsRng.try_fill_bytes(&mut random).map_err(|e| Error::internal(format!("the operating system gave no random bytes: {e}")))?;
        Ok(Self(format!("{}{owner}_{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(random))))
    }

    /// The clear text. Whoever calls this shows it to the one it is for, and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// SHA-256 of a secret with its purpose and owner.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// Fits no secret.
    pub const NONE: Self = Self([0; 32]);

    /// The digest of `secret` as `owner`'s for `purpose`.
    pub fn of(purpose: Purpose, owner: &str, secret: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [purpose.prefix(), owner, secret] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The plain SHA-256 of `bytes`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Whether both are the same, in time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// 64 hex digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_hex()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let wrong = || Error::corrupt("a digest is not 64 hex digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// Whether `text` looks like a secret of ours, and so has no place in business data.
pub(crate) fn looks_like_secret(text: &str) -> bool {
    [Purpose::Device, Purpose::Activation, Purpose::Token].iter().any(|p| text.starts_with(p.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_different_and_silent() {
        let a = Secret::generate(Purpose::Device, "pump-1").unwrap();
        let b = Secret::generate(Purpose::Device, "pump-1").unwrap();
        assert!(a.expose().starts_with("twd_pump-1_") && a.expose().len() == "twd_pump-1_".len() + RANDOM_CHARACTERS);
        assert_ne!(a.expose(), b.expose());
        assert!(!format!("{a:?}").contains(a.expose()));
        assert!(!format!("{a:?}").contains("pump"));
    }

    #[test]
    fn a_digest_fits_only_its_own_purpose_owner_and_secret() {
        let digest = Digest::of(Purpose::Device, "a", "s");
        assert!(digest.matches(&Digest::of(Purpose::Device, "a", "s")));
        for other in [
            Digest::of(Purpose::Activation, "a", "s"),
            Digest::of(Purpose::Device, "b", "s"),
            Digest::of(Purpose::Device, "a", "t"),
            Digest::of(Purpose::Device, "as", ""),
            Digest::NONE,
        ] {
            assert!(!digest.matches(&other));
        }
        let stored = serde_json::to_string(&digest).unwrap();
        assert!(digest.matches(&serde_json::from_str(&stored).unwrap()));
        assert!(serde_json::from_str::<Digest>("\"zz\"").is_err());
    }
}
