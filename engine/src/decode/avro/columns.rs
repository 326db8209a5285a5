//! Columns of an Avro record. Invariant: a column takes every value of its field; a field that has none such is named.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};

use super::schema::{Node, NodeId, Nodes};
use super::{SCHEMA, parse};
use crate::decode::columns::{Room, list, map, refused, row};
use crate::error::{Error, Result};

/// Names and types of the fields. Errors: `Invalid` if the schema is missing or wrong, contains itself, or has unions of several types.
pub(super) fn columns(options: &BTreeMap<String, String>) -> Result<Vec<(String, DataType)>> {
    let Some(text) = options.get(SCHEMA) else {
        return Err(Error::invalid(format!("option '{SCHEMA}' of the format is missing"))
            .hint(format!("add '{SCHEMA}' = '…' with the schema that devices write with, as JSON")));
    };
    let (_, nodes) = parse(text)?;
    // The record is the first node.
    let mut types = Types { nodes: &nodes, inside: vec![0], room: Room::new() };
    let columns = nodes.fields().iter().map(|(name, id)| Ok((name.clone(), types.of(name, *id)?)));
    columns.collect::<Result<_, String>>().map_err(|what| refused(SCHEMA, &what))
}

struct Types<'a> {
    nodes: &'a Nodes,
    /// Records around the field.
    inside: Vec<NodeId>,
    room: Room,
}

impl Types<'_> {
    /// The type of a node, which is that of the field `name` or lies in it.
    fn of(&mut self, name: &str, id: NodeId) -> Result<DataType, String> {
        self.room.take()?;
        let nodes = self.nodes;
        Ok(match nodes.get(id) {
            Node::Null | Node::Text | Node::Symbols(_) => DataType::Utf8View,
            Node::Boolean => DataType::Boolean,
            Node::Int => DataType::Int32,
            Node::Long => DataType::Int64,
            Node::Float => DataType::Float32,
            Node::Double => DataType::Float64,
            Node::Bytes | Node::Fixed(_) => DataType::Binary,
            Node::Date => DataType::Date32,
            Node::TimeMillis | Node::TimeMicros => DataType::Time64(TimeUnit::Microsecond),
            Node::Timestamp(..) => crate::time::timestamp_type(),
            Node::Decimal { digits, scale, .. } => DataType::Decimal128(*digits, *scale as i8),
            Node::List(item) => list(self.of(name, *item)?),
            Node::Map(value) => map(self.of(name, *value)?),
            Node::Union(branches) => {
                let mut values = branches.iter().filter(|branch| *nodes.get(**branch) != Node::Null);
                match (values.next(), values.next()) {
                    (None, _) => DataType::Utf8View,
                    (Some(only), None) => self.of(name, *only)?,
                    _ => return Err(format!("field {name} has values of several types")),
                }
            }
            Node::Record(_) if self.inside.contains(&id) => return Err(format!("field {name} contains itself")),
            Node::Record(fields) => {
                self.inside.push(id);
                let fields = fields.iter().map(|(name, id)| Ok((name.clone(), self.of(name, *id)?)));
                let fields = fields.collect::<Result<_, String>>()?;
                self.inside.pop();
                row(name, fields)?
            }
        })
    }
}
