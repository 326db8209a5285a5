//! EXPLAIN and the fingerprint of a plan. Invariant: two plans whose state can be exchanged print the same state line, and
//! only those do.

use std::fmt;

use super::node::{JobPlan, LookupKind, Stage, Window};

impl JobPlan {
    /// Text that changes when state of an older checkpoint no longer fits: stream, row time, window, keys, aggregates.
    pub fn fingerprint(&self) -> String {
        let window = self.window.as_ref().map(|w| format!("{w} {:?}", w.partial_schema().fields())).unwrap_or_default();
        let text = format!("{}|{:?}|{window}|{:?}", self.scan.stream, self.scan.row_time, self.output.fields());
        format!("{:08x}", crc32c::crc32c(text.as_bytes()))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.parameters.sizes.iter().map(|s| format!("{} ms", s / crate::time::MILLISECOND)).collect();
        let keys: Vec<String> = self.keys.iter().map(|(e, _)| e.to_string()).collect();
        let calls: Vec<&str> = self.aggregates.iter().map(|a| a.name.as_str()).collect();
        write!(f, "window {}({}) keys=[{}] aggregates=[{}]", self.parameters.kind, sizes.join(", "), keys.join(", "), calls.join(", "))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(predicate) => write!(f, "filter {predicate}"),
            Self::Lookup(l) => {
                let kind = match l.kind {
                    LookupKind::Inner => "inner",
                    LookupKind::Left => "left",
                };
                let keys: Vec<String> = l.keys.iter().map(|(e, c)| format!("{e} = {c}")).collect();
                let time = l.time.as_ref().map_or_else(|| "newest version".to_owned(), |t| format!("version at {t}"));
                write!(f, "lookup {kind} {} on [{}] {time} columns=[{}]", l.table, keys.join(", "), l.columns.join(", "))
            }
            Self::Project(p) => {
                let columns: Vec<String> =
                    p.expressions.iter().zip(p.schema.fields()).map(|(e, f)| format!("{e} AS {}", f.name())).collect();
                write!(f, "project {}", columns.join(", "))
            }
        }
    }
}

impl fmt::Display for JobPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.scan.projection.iter().map(|&i| self.scan.columns[i].field.name().as_str()).collect();
        writeln!(f, "scan {} of stream {} ({}) columns=[{}]", self.scan.table, self.scan.stream, self.scan.format, columns.join(", "))?;
        if let Some(t) = self.scan.row_time {
            let name = self.scan.columns[t.column].field.name();
            writeln!(f, "watermark {name} - {} ms, one a partition", t.delay / crate::time::MILLISECOND)?;
        }
        for stage in &self.before {
            writeln!(f, "{stage}")?;
        }
        if let Some(window) = &self.window {
            writeln!(f, "{window}: partial in each partition, merged when all have passed its end")?;
        }
        for stage in &self.after {
            writeln!(f, "{stage}")?;
        }
        Ok(())
    }
}
