//! Gathering findings. Invariant: what comes out is in the order of the script, each rule at most once at a place.

use std::borrow::Cow;

use sqlparser::tokenizer::Location;

use super::finding::{Finding, Rule};
use crate::diagnostics::snippet;

/// Findings of a script, as they come.
pub(super) struct Report<'a> {
    script: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// Without findings.
    pub(super) fn new(script: &'a str) -> Self {
        Self { script, findings: Vec::new() }
    }

    /// A finding in the words of its rule.
    pub(super) fn add(&mut self, rule: &'static Rule, at: Location, construct: impl Into<String>) {
        self.say(rule, at, construct, rule.why, rule.hint);
    }

    /// A finding with a hint of its own.
    pub(super) fn hint(&mut self, rule: &'static Rule, at: Location, construct: impl Into<String>, hint: impl Into<Cow<'static, str>>) {
        self.say(rule, at, construct, rule.why, hint);
    }

    /// A finding in its own words.
    pub(super) fn say(
        &mut self,
        rule: &'static Rule,
        at: Location,
        construct: impl Into<String>,
        why: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) {
        let at = if at.line > 0 { at } else { Location { line: 1, column: 1 } };
        self.findings.push(Finding {
            rule,
            line: at.line,
            column: at.column,
            construct: construct.into(),
            why: why.into(),
            hint: hint.into(),
            snippet: snippet(self.script, at),
        });
    }

    /// A finding that is worth saying once in a script.
    pub(super) fn once(&mut self, rule: &'static Rule, at: Location, construct: impl Into<String>) {
        if !self.findings.iter().any(|f| std::ptr::eq(f.rule, rule)) {
            self.add(rule, at, construct);
        }
    }

    /// All of them, in order.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|f| (f.line, f.column, f.rule.name));
        self.findings.dedup_by_key(|f| (f.line, f.column, f.rule.name));
        self.findings
    }
}
