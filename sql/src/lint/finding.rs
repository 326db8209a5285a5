//! What the lint says. Invariant: a finding names its place in the script, what stands there, what Flink does with it, and what to
//! write instead.

use std::borrow::Cow;
use std::fmt;

/// What Flink does with a construct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is an error there.
    Refuses,
    /// It runs there, and means something else.
    Differs,
}

impl Effect {
    /// One word for it, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::Differs => "differs",
        }
    }
}

/// One thing that the lint looks for.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it finds.
    pub finds: &'static str,
    /// What Flink does with that.
    pub effect: Effect,
    /// Why, unless a finding knows better; may be empty.
    pub why: &'static str,
    /// What to write instead, unless a finding knows better.
    pub hint: &'static str,
}

/// One place in a script.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule that found it.
    pub rule: &'static Rule,
    /// Line of the script, from 1.
    pub line: u64,
    /// Column of the line, from 1, a character each.
    pub column: u64,
    /// What stands there.
    pub construct: String,
    /// Why Flink refuses it or reads it differently; may be empty.
    pub why: Cow<'static, str>,
    /// What to write instead.
    pub hint: Cow<'static, str>,
    /// The line with a caret below it.
    pub(super) snippet: Option<String>,
}

/// As errors look: the place and what is wrong, the line with a caret, the hint.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        match self.rule.effect {
            Effect::Refuses => write!(f, "Flink refuses {}", self.construct)?,
            Effect::Differs => write!(f, "Flink reads {} differently", self.construct)?,
        }
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        writeln!(f, " [{}]", self.rule.name)?;
        if let Some(snippet) = &self.snippet {
            writeln!(f, "{snippet}")?;
        }
        write!(f, "hint: {}", self.hint)
    }
}
