//! What tells the rows of a step apart. Invariant: rows with different keys never meet in the step: each key can be treated by itself.

use std::sync::Arc;

use datafusion_physical_expr_common::physical_expr::PhysicalExpr;

use super::job::StepKind;

/// A part of a key.
#[derive(Debug, Clone)]
pub enum StepKey {
    /// A column, by index.
    Column(usize),
    /// A value over the row.
    Computed(Arc<dyn PhysicalExpr>),
}

impl StepKind {
    /// The keys of each of its inputs; `None` if all its rows belong together, or each stands alone.
    pub fn keys(&self) -> Option<Vec<Vec<StepKey>>> {
        let columns = |of: &[usize]| of.iter().map(|&i| StepKey::Column(i)).collect::<Vec<_>>();
        let computed = |of: &[Arc<dyn PhysicalExpr>]| of.iter().map(|e| StepKey::Computed(e.clone())).collect::<Vec<_>>();
        let inputs = match self {
            Self::Stages(_) | Self::Union => return None,
            Self::Window { window, .. } => vec![window.keys.iter().map(|(e, _)| StepKey::Computed(e.clone())).collect()],
            Self::IntervalJoin(j) => vec![computed(&j.left.keys), computed(&j.right.keys)],
            Self::WindowJoin(j) => vec![computed(&j.left.keys), computed(&j.right.keys)],
            Self::AsofJoin(j) => vec![computed(&j.left.keys), computed(&j.right.keys)],
            Self::RegularJoin(j) => vec![computed(&j.left.keys), computed(&j.right.keys)],
            Self::Rank(r) => vec![columns(&r.partition)],
            Self::Group(g) => vec![g.keys.iter().map(|(e, _)| StepKey::Computed(e.clone())).collect()],
            Self::Over(o) => vec![computed(&o.partition)],
            Self::Upsert(u) => vec![columns(&u.key)],
        };
        inputs.iter().all(|keys| !keys.is_empty()).then_some(inputs)
    }
}
