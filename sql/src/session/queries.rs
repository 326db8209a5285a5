//! Statements that read: INSERT, statement sets, SELECT, EXPLAIN. Invariant: what is planned here is planned with the settings that hold,
//! and a job's text says which those are.

use std::sync::Arc;

use thalweg_engine::error::Error;
use thalweg_engine::ids::Name;
use thalweg_engine::plan::JobPlan;

use super::{Session, Statement};
use crate::batch;
use crate::bind::{Bound, BoundQuery, bind};
use crate::diagnostics::{Problem, Result};
use crate::lower::{self, JobQuery, Planner};
use crate::parser::{Insert, Parsed, QueryText, Setting};
use crate::settings::{SettingChange, Settings, is_known};
use crate::tables::{self, TableDefinition, TableKind};

impl Session {
    /// One INSERT, or those of a statement set: one job.
    pub(super) fn insert(&self, inserts: Vec<Insert>, sql: &str, settings: &Settings) -> Result<Statement> {
        let (sinks, plan) = self.job(inserts, settings)?;
        let sinks: Vec<Name> = sinks.iter().map(|s| s.name.clone()).collect();
        let first = sinks.first().ok_or_else(|| Error::internal("a job writes no table"))?;
        let name = settings.pipeline_name().unwrap_or(first).clone();
        let fingerprint = plan.fingerprint();
        let sql = settings.before(sql.trim());
        Ok(Statement::InsertJob { name, sinks, plan: Box::new(plan), sql, fingerprint, settings: settings.job() })
    }

    fn job(&self, inserts: Vec<Insert>, settings: &Settings) -> Result<(Vec<Arc<TableDefinition>>, JobPlan)> {
        let bound = inserts.into_iter().map(|insert| self.bind_insert(insert)).collect::<Result<Vec<_>>>()?;
        let relations: Vec<_> = bound.iter().map(|(_, b)| b.relations.clone()).collect();
        let (sinks, queries): (Vec<Arc<TableDefinition>>, Vec<BoundQuery>) = bound.into_iter().unzip();
        let query = |((bound, sink), relations)| {
            let planner = Planner::new(self.sandbox.state(), relations)?;
            Ok(JobQuery { planner, bound, sink: Some(sink) })
        };
        let queries = queries.into_iter().zip(sinks.iter().map(Arc::as_ref)).zip(relations.iter().map(Vec::as_slice)).map(query);
        let mut plan = lower::job(queries.collect::<Result<_>>()?, settings)?;
        begin(&mut plan, settings)?;
        Ok((sinks, plan))
    }

    fn bind_insert(&self, insert: Insert) -> Result<(Arc<TableDefinition>, BoundQuery)> {
        let name = tables::table_name(&insert.sink)?;
        let Some(sink) = self.catalog.declared(name.as_str()) else {
            return Err(self.catalog.unknown(name.as_str(), &insert.sink));
        };
        if !matches!(sink.kind, TableKind::Lake { .. }) {
            return Err(Problem::new(insert.sink.span.start, format!("'{name}' is no table of the lake: a job cannot write it"))
                .hint("declare a table WITH ('connector' = 'lake', 'tier' = 'warm') and insert into that"));
        }
        match bind(insert.query, &self.catalog, &self.functions)? {
            Bound::Stream(bound) => Ok((sink, bound)),
            Bound::Batch(bound) => {
                let at = bound.relations.first().map_or_else(|| bound.tokens.find("SELECT"), |r| r.at);
                let at = if at.line > 0 { at } else { insert.sink.span.start };
                Err(Problem::new(at, "INSERT INTO takes its rows from a stream").hint("write INSERT INTO table SELECT … FROM stream"))
            }
        }
    }

    pub(super) fn query(&self, query: QueryText, sql: &str, settings: &Settings) -> Result<Statement> {
        match bind(query, &self.catalog, &self.functions)? {
            Bound::Stream(bound) => {
                let relations = bound.relations.clone();
                let planner = Planner::new(self.sandbox.state(), &relations)?;
                let mut plan = lower::job(vec![JobQuery { planner, bound, sink: None }], settings)?;
                begin(&mut plan, settings)?;
                Ok(Statement::Tail { plan: Box::new(plan), sql: sql.trim().to_owned() })
            }
            Bound::Batch(bound) => Ok(Statement::Batch(Box::new(batch::batch(&self.sandbox, bound)?))),
        }
    }

    pub(super) fn explain(&self, inner: Parsed, sql: &str, settings: &Settings) -> Result<Statement> {
        let job = |inserts: Vec<Insert>| -> Result<String> {
            let (sinks, plan) = self.job(inserts, settings)?;
            let targets: Vec<String> = sinks.iter().map(|s| format!("into {}", s.name)).collect();
            Ok(lower::explain(&plan, &targets))
        };
        let text = match inner {
            Parsed::Insert(insert) => job(vec![insert]),
            Parsed::StatementSet(inserts) => job(inserts),
            Parsed::Query(query) => match self.query(query, sql, settings)? {
                Statement::Tail { plan, .. } => Ok(lower::explain(&plan, &["show".to_owned()])),
                Statement::Batch(query) => Ok(query.explain()),
                other => Err(Error::internal(format!("a query became {other:?}")).into()),
            },
            other => Err(Error::internal(format!("EXPLAIN of {other:?}")).into()),
        };
        Ok(Statement::Explain { text: text? })
    }

    /// SET and RESET; nothing is set here.
    pub(super) fn setting(&self, setting: Setting, settings: &Settings) -> Result<Statement> {
        let at = match &setting {
            Setting::List => return Ok(Statement::List { rows: settings.rows()? }),
            Setting::ResetAll => None,
            Setting::Set { key, value } if is_known(&key.0) => Some(value.1),
            Setting::Set { key, .. } | Setting::Reset { key } => Some(key.1),
        };
        let change = SettingChange::from(setting);
        match (Settings::default().apply(&change), at) {
            (Err(e), Some(at)) => Err(Problem::from(e).or_at(at)),
            (result, _) => Ok(result.map(|_| Statement::Setting(change))?),
        }
    }
}

/// Lets a job begin where the settings say, whatever its tables do.
fn begin(plan: &mut JobPlan, settings: &Settings) -> Result<()> {
    if let Some(start) = settings.startup()? {
        plan.scans.iter_mut().for_each(|scan| scan.start = Some(start.clone()));
    }
    Ok(())
}
