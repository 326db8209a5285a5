//! Views. Invariant: a query means the same wherever its view is named: what WITH names outside is not seen inside, and nothing
//! inside has a name that another part of the query can see.

use sqlparser::ast::{Ident, ObjectName, TableAlias, TableAliasColumnDef, TableFactor, With};
use sqlparser::tokenizer::{Location, Span};
use thalweg_engine::error::Error;
use thalweg_engine::limits::{SQL_TABLES_MAX, SQL_VIEW_DEPTH_MAX};

use super::relations::{plain_alias, too_many};
use crate::diagnostics::{Problem, Result};
use crate::parser::{Parsed, QueryText, parse_at};
use crate::tables::{TableDefinition, TableKind};

/// The views and names of WITH at one place of a query.
#[derive(Default)]
pub(super) struct Views {
    /// Names of WITH that are seen here.
    common: Vec<Common>,
    /// For each view that this place is in: the names of WITH outside of it.
    outside: Vec<Vec<Common>>,
    /// For each table factor that this place is in: whether a view has come in its place.
    factors: Vec<bool>,
    /// How many views have been expanded.
    expanded: usize,
}

/// A name of WITH.
struct Common {
    written: String,
    /// Inside a view: a name that nobody else has.
    named: Ident,
}

impl Views {
    /// The names of WITH that are seen here.
    pub(super) fn common(&self) -> impl Iterator<Item = &Ident> {
        self.common.iter().map(|c| &c.named)
    }

    /// Notes the names of a WITH.
    pub(super) fn name_common(&mut self, with: &mut With) {
        for cte in &mut with.cte_tables {
            let name = &mut cte.alias.name;
            let written = name.value.clone();
            if !self.outside.is_empty() {
                *name = Ident { value: format!("{written}@{}", self.expanded), quote_style: Some('"'), span: name.span };
            }
            self.common.push(Common { written, named: name.clone() });
        }
    }

    /// Whether a table's name means a query of WITH, which is put in its place.
    pub(super) fn is_common(&self, factor: &mut TableFactor, written: &Ident, at: Location) -> bool {
        let Some(common) = self.common.iter().rev().find(|c| c.written == written.value) else { return false };
        if let TableFactor::Table { name, alias, .. } = factor
            && common.named.value != common.written
        {
            *name = ObjectName::from(vec![common.named.clone()]);
            alias.get_or_insert_with(|| plain_alias(&common.written, at));
        }
        true
    }

    /// A table factor begins.
    pub(super) fn enter_factor(&mut self) {
        self.factors.push(false);
    }

    /// The table factor that began last, and has not ended, ends.
    pub(super) fn leave_factor(&mut self) {
        if self.factors.pop() == Some(true)
            && let Some(common) = self.outside.pop()
        {
            self.common = common;
        }
    }

    /// Puts the query of a view in the place of its name; the factor is a view from here on, until it ends.
    pub(super) fn expand(
        &mut self,
        factor: &mut TableFactor,
        view: &TableDefinition,
        alias: Option<TableAlias>,
        at: Location,
    ) -> Result<()> {
        let TableKind::View { query, columns } = &view.kind else {
            return Err(Error::internal(format!("'{}' is no view", view.name)).into());
        };
        self.expanded += 1;
        if self.expanded > SQL_TABLES_MAX {
            return Err(too_many(at));
        }
        if self.outside.len() == SQL_VIEW_DEPTH_MAX {
            return Err(Problem::new(at, format!("views are nested more than {SQL_VIEW_DEPTH_MAX} deep, down to '{}'", view.name))
                .hint("let a view read tables"));
        }
        let Parsed::Query(QueryText { query, .. }) = parse_at(query, at)? else {
            return Err(Error::corrupt(format!("the text of view '{}' is no query any more", view.name)).into());
        };
        let mut alias = alias.unwrap_or_else(|| plain_alias(view.name.as_str(), at));
        if alias.columns.is_empty() {
            let name = |c: &String| Ident { value: c.clone(), quote_style: Some('"'), span: Span::new(at, at) };
            alias.columns = columns.iter().map(|c| TableAliasColumnDef { name: name(c), data_type: None }).collect();
        }
        *factor = TableFactor::Derived { lateral: false, subquery: query, alias: Some(alias), sample: None };
        self.outside.push(std::mem::take(&mut self.common));
        if let Some(is_view) = self.factors.last_mut() {
            *is_view = true;
        }
        Ok(())
    }
}
