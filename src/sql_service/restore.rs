//! After a restart: the stored statements again, in their order. Invariant: a statement that cannot be carried out stops the
//! start with its text, rather than leaving a table or a job silently away. Damage of a table in the lake is no such case: the
//! statement holds, and the jobs that write the table have failed.

use thalweg_engine::error::{Error, Result};
use thalweg_sql::Statement;

use super::jobs::Prepared;
use super::problems::Occasion;
use super::{Engine, lock};
use crate::statements::StoredKind;

impl Engine {
    pub(super) fn restore(&self) -> Result<()> {
        self.parts.supervisor.pin_savepoints(&self.logs_by_name())?;
        let stored = lock(&self.statements).all().to_vec();
        for statement in stored {
            let again = || -> Result<()> {
                match (statement.kind, self.parts.session.prepare_stored(&statement.sql)?) {
                    (StoredKind::Table, Statement::CreateTable { definition, .. }) => self.make_table(&definition, Occasion::Restart),
                    (StoredKind::Job, Statement::InsertJob { name, sinks, plan, sql, settings, .. }) => {
                        let job = Prepared { name: &name, sinks: &sinks, sql, settings: &settings };
                        let spec = self.job(job, *plan, Occasion::Restart)?;
                        if statement.stopped {
                            self.parts.supervisor.enlist(spec);
                            return Ok(());
                        }
                        self.parts.supervisor.start(spec)
                    }
                    (kind, other) => Err(Error::corrupt(format!("a stored {kind:?} is now read as {other:?}"))),
                }
            };
            again().map_err(|e| e.context(format!("{} {}", kind_name(statement.kind), statement.name)))?;
        }
        self.catalog_declared_references();
        Ok(())
    }
}

fn kind_name(kind: StoredKind) -> &'static str {
    match kind {
        StoredKind::Table => "stored table",
        StoredKind::Job => "stored job",
    }
}
