//! Errors of the libraries below, as ours. Invariant: a lost race is a `Conflict`, damaged bytes are `Corrupt`, and nothing else
//! pretends to be one of them.

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::TransactionError;
use parquet::errors::ParquetError;

use crate::error::{Error, ErrorKind};

impl From<DeltaTableError> for Error {
    fn from(e: DeltaTableError) -> Self {
        let kind = match &e {
            DeltaTableError::Transaction { source: TransactionError::CommitConflict(_) } => ErrorKind::Conflict,
            DeltaTableError::ObjectStore { source: object_store::Error::NotFound { .. } } => ErrorKind::NotFound,
            DeltaTableError::InvalidJsonLog { .. } | DeltaTableError::InvalidStatsJson { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("delta: {e}"))
    }
}

impl From<ParquetError> for Error {
    fn from(e: ParquetError) -> Self {
        match e {
            ParquetError::EOF(_) => Self::corrupt(format!("parquet: {e}")),
            _ => Self::internal(format!("parquet: {e}")),
        }
    }
}
