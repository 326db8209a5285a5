//! The one error type that crosses module borders. Invariant: the kind alone tells the caller what to do next;
//! adding a kind is a decision to be written down, because every caller has to know it.

use std::fmt;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input is wrong: change it; a retry gives the same answer.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// It exists already, or another owner holds it.
    Conflict,
    /// Full, busy, or not there right now: the same call may succeed later.
    Unavailable,
    /// Stored bytes are damaged: an operator has to decide.
    Corrupt,
    /// A bug, or an operating-system failure that nobody planned for.
    Internal,
}

/// Which case of its kind an error is, where a protocol has a word of its own for it. Code inside decides by the kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `Invalid`: more at once than there may be.
    TooLarge,
    /// `Invalid`: whoever asks lacks the right.
    Forbidden,
    /// `Unavailable`: the disk is full.
    DiskFull,
    /// `Unavailable`: the same call is refused for so many seconds more.
    Wait(u64),
}

/// An error with a kind, a primary message (lower case, no full stop) and an optional hint that says what to do.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    case: Option<Case>,
    message: String,
    hint: Option<String>,
}

/// Result of everything fallible in the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is lower case and names the thing that is wrong.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, case: None, message: message.into(), hint: None }
    }

    /// Wrong input.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A name that resolves to nothing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Exists already, or owned by someone else.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Full, busy or away: retry later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Damaged bytes.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Bytes of another version than those in `known`; `what` holds them. They may be whole, so nothing of them is changed.
    pub fn other_version(what: impl fmt::Display, found: impl fmt::Display, known: impl fmt::Display) -> Self {
        Self::corrupt(format!("{what} has version {found}, this program knows {known}"))
            .hint("use the version of thalweg that wrote it, or a later one")
    }

    /// A bug or an unplanned failure of the operating system.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds what the reader should do; replaces an earlier hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which case of its kind it is.
    #[must_use]
    pub fn of_case(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Puts `context: ` before the message, so that the reader learns where it happened.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The kind, which decides what the caller does.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Which case of its kind it is, if that matters to a protocol.
    pub fn case(&self) -> Option<Case> {
        self.case
    }

    /// The primary message without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match e.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::Conflict,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::Unavailable,
            Io::UnexpectedEof | Io::InvalidData => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        let error = Self::new(kind, e.to_string());
        if kind == ErrorKind::Unavailable { error.of_case(Case::DiskFull) } else { error }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Self {
        Self::internal(format!("arrow: {e}"))
    }
}

impl From<datafusion_common::DataFusionError> for Error {
    fn from(e: datafusion_common::DataFusionError) -> Self {
        Self::internal(e.strip_backtrace())
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Self::corrupt(format!("json: {e}"))
    }
}
