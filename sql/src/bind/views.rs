//! Views and WITH. Invariant: a query means the same wherever its view is named: what WITH names outside is not seen inside, and nothing
//! inside has a name that another part of the query can see. A name of WITH is seen behind its own query, to the end of the query that it
//! stands in: before that the name means a table.

use std::collections::VecDeque;

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
    /// The queries that this place is in, outermost first.
    queries: Vec<Within>,
    /// Every name of WITH outside of views.
    named: Vec<Ident>,
    /// For each view that this place is in: the names of WITH outside of it.
    outside: Vec<Vec<Common>>,
    /// For each table factor that this place is in: whether a view has come in its place.
    factors: Vec<bool>,
    /// How many views have been expanded.
    expanded: usize,
}

/// A query that is being visited.
struct Within {
    /// How many names were seen where it begins.
    seen: usize,
    /// If it is itself a query of WITH: its name.
    own: Option<Common>,
    /// Its names of WITH whose queries are not visited yet, in order.
    names: VecDeque<Common>,
}

/// A name of WITH.
struct Common {
    written: String,
    /// Inside a view: a name that nobody else has.
    named: Ident,
}

impl Views {
    /// Every name of WITH outside of views.
    pub(super) fn named(&self) -> impl Iterator<Item = &Ident> {
        self.named.iter()
    }

    /// A query begins.
    pub(super) fn enter_query(&mut self, with: Option<&mut With>) {
        let own = self.queries.last_mut().and_then(|outer| outer.names.pop_front());
        let names = with.into_iter().flat_map(|w| &mut w.cte_tables).map(|cte| self.common(&mut cte.alias.name)).collect();
        self.queries.push(Within { seen: self.common.len(), own, names });
    }

    fn common(&mut self, name: &mut Ident) -> Common {
        let written = name.value.clone();
        if self.outside.is_empty() {
            self.named.push(name.clone());
        } else {
            *name = Ident { value: format!("{written}@{}", self.expanded), quote_style: Some('"'), span: name.span };
        }
        Common { written, named: name.clone() }
    }

    /// The query that began last, and has not ended, ends.
    pub(super) fn leave_query(&mut self) {
        if let Some(Within { seen, own, .. }) = self.queries.pop() {
            self.common.truncate(seen);
            self.common.extend(own);
        }
    }

    /// Whether a name of WITH is still to be seen that would hide a table of this name from then on.
    pub(super) fn will_hide(&self, table: &str) -> bool {
        self.queries.iter().flat_map(|q| q.own.iter().chain(&q.names)).any(|c| c.named.value == table)
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
