//! Table factors. Invariant: after `claim`, a query names only tables in the returned list, by their keys, and no factor carries
//! a version, hint, sample, partition or offset.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, TableAlias, TableFactor, TableVersion, VisitMut,
    VisitorMut,
};
use sqlparser::tokenizer::{Location, Span};
use thalweg_engine::limits::SQL_TABLES_MAX;

use super::unnest::Elements;
use super::views::Views;
use super::windows::{self, WindowSpec};
use super::{Mode, legacy};
use crate::diagnostics::{Problem, Result, start};
use crate::lower::reject::Unsupported;
use crate::parser::Tokens;
use crate::tables::{Catalog, Found, LakeTable, TableDefinition};

/// A table as it appears in a query.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Name under which the planner asks for it.
    pub(crate) key: String,
    /// Name that columns are qualified with.
    pub(crate) alias: String,
    /// Where it stands.
    pub(crate) at: Location,
    /// What it is.
    pub(crate) kind: RelationKind,
}

impl Relation {
    /// The declaration of a stream.
    pub(crate) fn stream(&self) -> Option<&TableDefinition> {
        match &self.kind {
            RelationKind::Stream { definition } => Some(definition),
            _ => None,
        }
    }
}

/// What a table of a query is.
#[derive(Debug, Clone)]
pub(crate) enum RelationKind {
    /// A stream.
    Stream { definition: Arc<TableDefinition> },
    /// A reference table, and `FOR SYSTEM_TIME AS OF`.
    Reference { definition: Arc<TableDefinition>, version: Option<Box<Expr>> },
    /// A table of the lake.
    Lake(Arc<LakeTable>),
    /// What UNNEST makes of a list.
    Elements(Elements),
}

/// The tables and windows of a query.
#[derive(Default)]
pub(super) struct Claimed {
    pub(super) relations: Vec<Relation>,
    pub(super) windows: Vec<WindowSpec>,
}

/// Claims every table factor of a query, subqueries included.
pub(super) fn claim(query: &mut Query, tokens: &Tokens, catalog: &Catalog) -> Result<Claimed> {
    let mut claim = Claim { catalog, tokens, relations: Vec::new(), windows: Vec::new(), views: Views::default() };
    if let ControlFlow::Break(problem) = query.visit(&mut claim) {
        return Err(*problem);
    }
    let hidden = claim.views.named().find(|cte| claim.relations.iter().any(|r| r.key == cte.value));
    match hidden {
        Some(cte) => Err(Problem::new(cte.span.start, format!("WITH name '{}' hides a table", cte.value)).hint("give it another name")),
        None => Ok(Claimed { relations: claim.relations, windows: claim.windows }),
    }
}

/// How a query over these tables runs. Errors: streams and tables of the lake are mixed.
pub(super) fn mode(relations: &[Relation]) -> Result<Mode> {
    let find = |wanted: fn(&RelationKind) -> bool| relations.iter().find(|r| wanted(&r.kind));
    let stream = find(|k| matches!(k, RelationKind::Stream { .. }));
    let reference = find(|k| matches!(k, RelationKind::Reference { .. }));
    let lake = find(|k| matches!(k, RelationKind::Lake(_)));
    match (stream, reference, lake) {
        (Some(stream), _, Some(lake)) => {
            let later = if (lake.at.line, lake.at.column) > (stream.at.line, stream.at.column) { lake } else { stream };
            Err(Unsupported::STREAM_WITH_LAKE.at(later.at))
        }
        (Some(_), _, None) => Ok(Mode::Stream),
        (None, Some(reference), _) => Err(Unsupported::REFERENCE_ALONE.at(reference.at)),
        (None, None, _) => Ok(Mode::Batch),
    }
}

struct Claim<'a> {
    catalog: &'a Catalog,
    tokens: &'a Tokens,
    relations: Vec<Relation>,
    windows: Vec<WindowSpec>,
    views: Views,
}

impl VisitorMut for Claim<'_> {
    type Break = Box<Problem>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let Some(with) = &mut query.with else {
            self.views.enter_query(None);
            return ControlFlow::Continue(());
        };
        let refused = with.recursive.then(|| Unsupported::RECURSIVE_WITH.at(with.with_token.0.span.start));
        let from = with.cte_tables.iter().find_map(|c| c.from.as_ref()).map(|f| Unsupported::clause("FROM after WITH").at(f.span.start));
        if let Some(problem) = refused.or(from) {
            return ControlFlow::Break(Box::new(problem));
        }
        self.views.enter_query(Some(with));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Self::Break> {
        self.views.leave_query();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        match legacy::rewrite(select, &mut self.windows, self.tokens.find("GROUP BY")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(Box::new(problem)),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        self.views.enter_factor();
        match self.factor(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(problem) => ControlFlow::Break(Box::new(problem.or_at(self.tokens.find("FROM")))),
        }
    }

    fn post_visit_table_factor(&mut self, _factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        self.views.leave_factor();
        ControlFlow::Continue(())
    }
}

impl Claim<'_> {
    fn factor(&mut self, factor: &mut TableFactor) -> Result<()> {
        let at = start(factor);
        match factor {
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let function = name.clone();
                if let Some(settings) = args.settings.as_ref().filter(|s| !s.is_empty()) {
                    return Err(Unsupported::clause("SETTINGS").at(settings[0].key.span.start));
                }
                let (args, alias) = (args.args.clone(), alias.clone());
                self.refuse_modifiers(factor, at)?;
                self.window(factor, &function, args, alias)
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                let (name, alias) = (name.clone(), alias.clone());
                let version = self.refuse_modifiers(factor, at)?;
                self.table(factor, &name, alias, version)
            }
            TableFactor::TableFunction { expr, alias } => {
                let alias = alias.clone();
                match expr {
                    Expr::Function(Function {
                        name,
                        args: FunctionArguments::List(list),
                        filter: None,
                        over: None,
                        null_treatment: None,
                        parameters: FunctionArguments::None,
                        within_group,
                        uses_odbc_syntax: false,
                    }) if within_group.is_empty() && list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
                        let (name, args) = (name.clone(), list.args.clone());
                        self.window(factor, &name, args, alias)
                    }
                    other => Err(Unsupported::TABLE_FUNCTION.at(start(other))),
                }
            }
            TableFactor::Derived { sample: Some(_), .. } => Err(Unsupported::clause("TABLESAMPLE").at(self.tokens.find("TABLESAMPLE"))),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => Ok(()),
            TableFactor::UNNEST { with_offset: false, .. } => Ok(()),
            TableFactor::UNNEST { .. } => Err(Unsupported::clause("UNNEST WITH OFFSET").at(self.tokens.find("UNNEST"))),
            TableFactor::MatchRecognize { .. } => Err(Unsupported::MATCH_RECOGNIZE.at(self.tokens.find("MATCH_RECOGNIZE"))),
            TableFactor::Pivot { .. } => Err(Unsupported::clause("PIVOT").at(self.tokens.find("PIVOT"))),
            TableFactor::Unpivot { .. } => Err(Unsupported::clause("UNPIVOT").at(self.tokens.find("UNPIVOT"))),
            TableFactor::Function { name, .. } => Err(Unsupported::TABLE_FUNCTION.at(start(name))),
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => Err(Unsupported::TABLE_FUNCTION.at(self.tokens.find("FROM"))),
        }
    }

    /// Refuses what may follow a table's name; returns the expression of `FOR SYSTEM_TIME AS OF`, which is claimed.
    fn refuse_modifiers(&self, factor: &TableFactor, at: Location) -> Result<Option<Expr>> {
        let TableFactor::Table {
            name: _,
            alias,
            args: _,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } = factor
        else {
            return Ok(None);
        };
        let place = |words: &str| match self.tokens.find(words) {
            found if found.line > 0 => found,
            _ => at,
        };
        let refused = [
            (!with_hints.is_empty(), "WITH hints", "WITH"),
            (*with_ordinality, "WITH ORDINALITY", "WITH ORDINALITY"),
            (!partitions.is_empty(), "PARTITION of a table", "PARTITION"),
            (json_path.is_some(), "a path after a table", "FROM"),
            (sample.is_some(), "TABLESAMPLE", "TABLESAMPLE"),
            (!index_hints.is_empty(), "index hints", "INDEX"),
            (alias.as_ref().is_some_and(|a| a.at.is_some()), "AT after an alias", "AT"),
        ];
        if let Some((_, what, words)) = refused.into_iter().find(|(present, ..)| *present) {
            return Err(Unsupported::clause(what).at(place(words)));
        }
        match version {
            None => Ok(None),
            Some(TableVersion::ForSystemTimeAsOf(time)) => Ok(Some(time.clone())),
            Some(_) => Err(Unsupported::VERSION.at(at)),
        }
    }

    /// A window function over a table.
    fn window(
        &mut self,
        factor: &mut TableFactor,
        name: &ObjectName,
        args: Vec<sqlparser::ast::FunctionArg>,
        alias: Option<TableAlias>,
    ) -> Result<()> {
        let at = start(name);
        let call = windows::Call::new(name, args)?;
        let number = self.windows.len();
        let visible = call.table.last().map(|i| i.value.clone()).unwrap_or_default();
        *factor = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(call.query(number)),
            alias: alias.or_else(|| Some(plain_alias(&visible, at))),
            sample: None,
        };
        self.windows.push(call.spec);
        Ok(())
    }

    /// A table by its name.
    fn table(&mut self, factor: &mut TableFactor, name: &ObjectName, alias: Option<TableAlias>, version: Option<Expr>) -> Result<()> {
        let at = start(name);
        let parts: Option<Vec<Ident>> = name.0.iter().map(|p| p.as_ident().cloned()).collect();
        let Some(parts) = parts else { return Err(Unsupported::TABLE_FUNCTION.at(at)) };
        if let ([name], None) = (parts.as_slice(), &version)
            && self.views.is_common(factor, name, at)
        {
            return Ok(());
        }
        let visible = parts.last().map(|p| p.value.clone()).unwrap_or_default();
        let kind = match (self.catalog.find(&parts)?, version) {
            (Found::View(view), None) => return self.views.expand(factor, &view, alias, at),
            (Found::Reference(definition), version) => RelationKind::Reference { definition, version: version.map(Box::new) },
            (_, Some(version)) => return Err(Unsupported::VERSION_OF_OTHER.at(start(&version))),
            (Found::Stream(definition), None) => RelationKind::Stream { definition },
            (Found::Lake(table), None) => RelationKind::Lake(table),
        };
        let key: Vec<String> = parts.iter().map(|p| p.value.to_lowercase()).collect();
        // A table may stand in a query more than once, each time with another version; tables of the lake are always the same.
        let key = match kind {
            RelationKind::Lake(_) if self.views.will_hide(&key.join(".")) => format!("{}#", key.join(".")),
            RelationKind::Lake(_) => key.join("."),
            _ => format!("{}#{}", key.join("."), self.relations.len()),
        };
        let alias = alias.or_else(|| Some(plain_alias(&visible, at)));
        self.put(factor, key, alias, at, kind)
    }

    /// Puts a plain name in the place of a factor and notes what it means.
    fn put(&mut self, factor: &mut TableFactor, key: String, alias: Option<TableAlias>, at: Location, kind: RelationKind) -> Result<()> {
        let alias = alias.unwrap_or_else(|| plain_alias(&key, at));
        *factor = named(&key, alias.clone(), at);
        self.relations.push(Relation { key, alias: alias.name.value, at, kind });
        if self.relations.len() > SQL_TABLES_MAX {
            return Err(too_many(at));
        }
        Ok(())
    }
}

pub(super) fn too_many(at: Location) -> Problem {
    Problem::new(at, "the query reads too many tables").hint("split the query, or store a part of it as a table")
}

/// A table of the planner by its key.
pub(super) fn named(key: &str, alias: TableAlias, at: Location) -> TableFactor {
    let quoted = Ident { value: key.to_owned(), quote_style: Some('"'), span: Span::new(at, at) };
    TableFactor::Table {
        name: ObjectName(vec![ObjectNamePart::Identifier(quoted)]),
        alias: Some(alias),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

pub(super) fn plain_alias(name: &str, at: Location) -> TableAlias {
    TableAlias {
        explicit: false,
        name: Ident { value: name.to_owned(), quote_style: Some('"'), span: Span::new(at, at) },
        columns: Vec::new(),
        at: None,
    }
}
