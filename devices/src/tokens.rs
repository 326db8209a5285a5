//! Tokens of operators and analysts, with their roles. Invariant: a token is good from the moment it was shown until its end or the
//! moment its revocation returned; while there are tokens at all, there is an admin's that does not end by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_engine::contract::Disk;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::limits::OPERATOR_TOKENS_MAX;
use thalweg_engine::locks::{lock, read, write};
use thalweg_engine::time::Micros;

use crate::audit::{Action, Actor};
use crate::devices::Devices;
use crate::journal::Journal;
use crate::keys::{Digest, Purpose, RANDOM_CHARACTERS, Secret};

/// How the names of tokens begin that are only in memory.
const EPHEMERAL_PREFIX: &str = "local_";

/// What somebody may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees the state of the system.
    Viewer,
    /// Runs SQL.
    Analyst,
    /// Manages devices and tokens.
    Admin,
}

/// Somebody who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of their token.
    pub name: Name,
    /// What they may do.
    pub role: Role,
}

/// What may be told about a token.
#[derive(Debug, Clone, Serialize)]
pub struct TokenView {
    /// Its name.
    pub name: Name,
    /// What it allows.
    pub role: Role,
    /// When it was made, in microseconds since the Unix epoch.
    pub created: Micros,
    /// When it ends by itself, in microseconds since the Unix epoch.
    pub expires: Option<Micros>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    role: Role,
    digest: Digest,
    created: Micros,
    /// Good until then, if it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<Micros>,
}

impl Token {
    /// Whether it has not ended by itself at `now`.
    fn is_good(&self, now: Micros) -> bool {
        self.not_after.is_none_or(|end| now < end)
    }
}

/// The token of this name from now on; none if it was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change {
    name: Name,
    token: Option<Token>,
}

/// All tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    journal: Mutex<Journal<Change>>,
    stored: RwLock<BTreeMap<Name, Token>>,
    ephemeral: RwLock<BTreeMap<Name, Token>>,
}

impl Tokens {
    /// Reads the tokens at `path`, or makes an empty file.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self> {
        let mut stored = BTreeMap::new();
        let journal = Journal::open(disk, path, "devices.tokens", |change| {
            apply(&mut stored, change);
            Ok(())
        })?;
        Ok(Self { journal: Mutex::new(journal), stored: RwLock::new(stored), ephemeral: RwLock::default() })
    }

    /// Stores a change that `decide` makes of all tokens, before anybody sees it.
    fn change<R>(&self, decide: impl FnOnce(&BTreeMap<Name, Token>) -> Result<(Change, R)>) -> Result<R> {
        let mut journal = lock(&self.journal);
        let (change, result) = decide(&read(&self.stored))?;
        journal.append(std::slice::from_ref(&change))?;
        let mut stored = write(&self.stored);
        apply(&mut stored, change);
        if journal.wants_compaction(stored.len()) {
            let live: Vec<Change> = stored.iter().map(|(name, token)| Change { name: name.clone(), token: Some(token.clone()) }).collect();
            drop(stored);
            if let Err(e) = journal.compact(&live) {
                tracing::warn!(error = %e, "the token journal could not be compacted and goes on in its old file");
            }
        }
        Ok(result)
    }

    fn find(&self, name: &str) -> Option<Token> {
        read(&self.stored).get(name).or(read(&self.ephemeral).get(name)).cloned()
    }
}

fn apply(tokens: &mut BTreeMap<Name, Token>, change: Change) {
    match change.token {
        Some(token) => tokens.insert(change.name, token),
        None => tokens.remove(&change.name),
    };
}

/// The name inside a token, if it has the form of one.
fn name_in(token: &str) -> Option<&str> {
    let rest = token.strip_prefix(Purpose::Token.prefix())?;
    rest.get(..rest.len().checked_sub(RANDOM_CHARACTERS)?)?.strip_suffix('_')
}

impl Devices {
    /// Makes the first admin token if there are no tokens yet. It is shown this once.
    pub fn ensure_admin(&self) -> Result<Option<Secret>> {
        if !read(&self.tokens.stored).is_empty() {
            return Ok(None);
        }
        let first_start = Actor { name: "first-start".to_owned(), peer: None };
        self.create_token(&first_start, &Name::new("admin")?, Role::Admin, None).map(Some)
    }

    /// Makes a token that is good for `lifetime`, or until it is revoked. It is shown this once. Errors: `Conflict` if the name is
    /// taken or there are too many.
    pub fn create_token(&self, actor: &Actor, name: &Name, role: Role, lifetime: Option<Duration>) -> Result<Secret> {
        if name.as_str().starts_with(EPHEMERAL_PREFIX) {
            return Err(Error::invalid(format!("token names beginning with {EPHEMERAL_PREFIX} are kept for this process")));
        }
        let secret = Secret::generate(Purpose::Token, name.as_str())?;
        let created = self.clock.now();
        let not_after = lifetime.map(|l| created.saturating_add(i64::try_from(l.as_micros()).unwrap_or(i64::MAX)));
        let token = Token { role, digest: Digest::of(Purpose::Token, name.as_str(), secret.expose()), created, not_after };
        let secret = self.tokens.change(|tokens| {
            if tokens.contains_key(name) {
                return Err(Error::conflict(format!("token {name} exists")).hint("take another name, or revoke it first"));
            }
            if tokens.len() >= OPERATOR_TOKENS_MAX {
                return Err(Error::conflict(format!("there are {OPERATOR_TOKENS_MAX} tokens")).hint("revoke some that are not used"));
            }
            self.audit.record(actor, Action::TokenCreate, [name.as_str()])?;
            Ok((Change { name: name.clone(), token: Some(token) }, secret))
        })?;
        tracing::info!(%name, ?role, by = actor.name, "a token was made");
        Ok(secret)
    }

    /// Makes a token that is only in memory and ends with this process: for the console and the built-in client.
    /// Errors: `Conflict` if there are too many.
    pub fn mint_ephemeral(&self, role: Role) -> Result<Secret> {
        let mut ephemeral = write(&self.tokens.ephemeral);
        if ephemeral.len() >= OPERATOR_TOKENS_MAX {
            return Err(Error::conflict(format!("there are {OPERATOR_TOKENS_MAX} tokens of this process")));
        }
        let name = Name::new(&format!("{EPHEMERAL_PREFIX}{}", ephemeral.len() + 1))?;
        let secret = Secret::generate(Purpose::Token, name.as_str())?;
        let digest = Digest::of(Purpose::Token, name.as_str(), secret.expose());
        ephemeral.insert(name, Token { role, digest, created: self.clock.now(), not_after: None });
        Ok(secret)
    }

    /// Who holds this token. Errors: `Invalid` with the same message whatever was wrong.
    pub fn verify_token(&self, token: &str, peer: Option<IpAddr>) -> Result<Principal> {
        let name = name_in(token).unwrap_or("");
        let known = self.tokens.find(name);
        let digest = known.as_ref().map_or(Digest::NONE, |t| t.digest);
        let fits = Digest::of(Purpose::Token, name, token).matches(&digest);
        match (known, Name::new(name)) {
            (Some(token), Ok(name)) if fits && token.is_good(self.clock.now()) => Ok(Principal { name, role: token.role }),
            _ => {
                self.audit.refused(Action::LoginRefused, "token", peer);
                Err(Error::invalid("the token is not valid").hint(
                    "send one that was not revoked and has not ended: Authorization: Bearer twt_…; commands take it from --token or \
                     THALWEG_TOKEN",
                ))
            }
        }
    }

    /// When the token of this name was made, as long as it is good: what goes on for long asks again. Another token that gets the
    /// name later was made at another time.
    pub fn token_made(&self, name: &Name) -> Option<Micros> {
        self.tokens.find(name.as_str()).filter(|t| t.is_good(self.clock.now())).map(|t| t.created)
    }

    /// All tokens that are stored, by name.
    pub fn list_tokens(&self) -> Vec<TokenView> {
        let stored = read(&self.tokens.stored);
        stored.iter().map(|(name, t)| TokenView { name: name.clone(), role: t.role, created: t.created, expires: t.not_after }).collect()
    }

    /// Makes a token void at once. Errors: `NotFound`; `Conflict` if it is the last of an admin that does not end by itself.
    pub fn revoke_token(&self, actor: &Actor, name: &Name) -> Result<()> {
        self.tokens.change(|tokens| {
            let Some(token) = tokens.get(name) else { return Err(Error::not_found(format!("token {name} does not exist"))) };
            let lasting = |t: &Token| t.role == Role::Admin && t.not_after.is_none();
            if lasting(token) && tokens.values().filter(|t| lasting(t)).count() == 1 {
                return Err(Error::conflict(format!("token {name} is the only one of an admin that does not end by itself"))
                    .hint("make another admin token without an end first"));
            }
            self.audit.record(actor, Action::TokenRevoke, [name.as_str()])?;
            Ok((Change { name: name.clone(), token: None }, ()))
        })?;
        tracing::info!(%name, by = actor.name, "a token was revoked");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use thalweg_engine::error::ErrorKind;

    use super::*;
    use crate::test_support::{Fixture, operator};

    #[test]
    fn the_first_start_makes_one_admin_and_no_later_one_does() {
        let mut f = Fixture::new();
        let secret = f.devices.ensure_admin().unwrap().unwrap();
        assert!(f.devices.ensure_admin().unwrap().is_none());
        f.reopen();
        assert!(f.devices.ensure_admin().unwrap().is_none());
        let who = f.devices.verify_token(secret.expose(), None).unwrap();
        assert_eq!((who.name.as_str(), who.role), ("admin", Role::Admin));
        let last = f.devices.revoke_token(&operator(), &who.name).unwrap_err();
        assert_eq!(last.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn only_the_exact_token_is_good_and_only_until_it_is_revoked() {
        let mut f = Fixture::new();
        let (ana, bob) = (Name::new("ana_b").unwrap(), Name::new("bob").unwrap());
        let secret = f.devices.create_token(&operator(), &ana, Role::Analyst, None).unwrap();
        let other = f.devices.create_token(&operator(), &bob, Role::Viewer, None).unwrap();
        assert_eq!(f.devices.create_token(&operator(), &ana, Role::Admin, None).unwrap_err().kind(), ErrorKind::Conflict);
        let swapped = other.expose().replace("bob", "ana_b");
        let errors: Vec<String> =
            ["", "twt_", "x", &secret.expose()[1..], &secret.expose()[..50], &swapped, "twt_ä_äääääääääääääääääääääääääääääääääääää"]
                .iter()
                .map(|bad| f.devices.verify_token(bad, None).unwrap_err().to_string())
                .collect();
        assert!(errors.iter().all(|e| *e == errors[0]));
        f.reopen();
        assert_eq!(f.devices.verify_token(secret.expose(), None).unwrap(), Principal { name: ana.clone(), role: Role::Analyst });
        f.devices.revoke_token(&operator(), &ana).unwrap();
        assert!(f.devices.verify_token(secret.expose(), None).is_err());
        f.reopen();
        assert!(f.devices.verify_token(secret.expose(), None).is_err());
        assert_eq!(f.devices.list_tokens().len(), 1);
    }

    #[test]
    fn a_token_with_an_end_ends_and_does_not_count_as_the_last_admin() {
        let mut f = Fixture::new();
        let first = f.devices.ensure_admin().unwrap().unwrap();
        let helper = Name::new("helper").unwrap();
        let secret = f.devices.create_token(&operator(), &helper, Role::Admin, Some(Duration::from_secs(60))).unwrap();
        let admin = Name::new("admin").unwrap();
        assert_eq!(f.devices.revoke_token(&operator(), &admin).unwrap_err().kind(), ErrorKind::Conflict);
        f.reopen();
        assert_eq!(f.devices.verify_token(secret.expose(), None).unwrap().role, Role::Admin);
        let view = f.devices.list_tokens().into_iter().find(|t| t.name == helper).unwrap();
        assert_eq!(view.expires, Some(view.created + 60_000_000));
        assert_eq!(f.devices.token_made(&helper), Some(view.created));
        f.clock.advance(Duration::from_secs(60));
        assert_eq!(f.devices.token_made(&helper), None);
        let ended = f.devices.verify_token(secret.expose(), None).unwrap_err();
        assert_eq!(ended.to_string(), f.devices.verify_token("twt_x", None).unwrap_err().to_string());
        f.devices.verify_token(first.expose(), None).unwrap();
        f.devices.revoke_token(&operator(), &helper).unwrap();
    }

    #[test]
    fn a_token_of_the_process_ends_with_it() {
        let mut f = Fixture::new();
        let secret = f.devices.mint_ephemeral(Role::Admin).unwrap();
        assert_eq!(f.devices.verify_token(secret.expose(), None).unwrap().role, Role::Admin);
        assert!(f.devices.list_tokens().is_empty());
        f.reopen();
        assert!(f.devices.verify_token(secret.expose(), None).is_err());
    }
}
