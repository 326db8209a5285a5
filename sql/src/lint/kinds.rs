//! What a script tells about the types of its values. Invariant: a kind is given only where it is sure; where it is not, rules that
//! need one stay silent.

use sqlparser::ast::{DataType, ExactNumberInfo, Expr, Value};

use crate::parser::TypeName;
use crate::types::timestamp_precision;

/// A type, as far as rules ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole numbers of so many bits.
    Integer(u8),
    /// FLOAT and DOUBLE.
    Floating,
    Decimal,
    Boolean,
    Date,
    Timestamp,
    Other,
}

impl Kind {
    /// Of a declared column.
    pub(super) fn declared(data_type: &TypeName) -> Option<Self> {
        match data_type {
            TypeName::Plain(plain) => Some(Self::of(plain)),
            TypeName::Array(_) | TypeName::Map(..) | TypeName::Row(_) => Some(Self::Other),
        }
    }

    /// Of a computed column; it reads others, which are not looked at.
    pub(super) fn computed(expression: &Expr) -> Option<Self> {
        match expression {
            Expr::Nested(inner) => Self::computed(inner),
            Expr::Cast { data_type, .. } => Some(Self::of(data_type)),
            Expr::Function(f) if f.name.to_string().to_lowercase().starts_with("to_timestamp") => Some(Self::Timestamp),
            _ => None,
        }
    }

    /// Of a type.
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::TinyInt(None) => Self::Integer(8),
            DataType::SmallInt(None) => Self::Integer(16),
            DataType::Int(None) | DataType::Integer(None) => Self::Integer(32),
            DataType::BigInt(None) => Self::Integer(64),
            DataType::Float(ExactNumberInfo::None) | DataType::Double(_) | DataType::DoublePrecision => Self::Floating,
            DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_) => Self::Decimal,
            DataType::Boolean => Self::Boolean,
            DataType::Date => Self::Date,
            other if timestamp_precision(other).is_some() => Self::Timestamp,
            _ => Self::Other,
        }
    }

    /// Of a literal.
    pub(super) fn literal(value: &Value) -> Option<Self> {
        match value {
            Value::Number(text, _) if text.contains(['e', 'E']) => Some(Self::Floating),
            Value::Number(text, _) if text.contains('.') => Some(Self::Decimal),
            Value::Number(..) => Some(Self::Integer(32)),
            Value::Boolean(_) => Some(Self::Boolean),
            Value::SingleQuotedString(_) => Some(Self::Other),
            _ => None,
        }
    }

    /// Of what an arithmetic operator makes of two.
    pub(super) fn together(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(Self::Integer(a.max(b))),
            (Self::Floating, Self::Integer(_) | Self::Floating | Self::Decimal) | (Self::Integer(_) | Self::Decimal, Self::Floating) => {
                Some(Self::Floating)
            }
            (Self::Decimal, Self::Integer(_) | Self::Decimal) | (Self::Integer(_), Self::Decimal) => Some(Self::Decimal),
            _ => None,
        }
    }
}
