//! An Avro schema as a table of nodes. Invariant: a name stands for one node, so that a schema that contains itself is a circle in
//! the table and nothing is copied.

use std::collections::HashMap;

use ahash::RandomState;
use apache_avro::Schema;
use apache_avro::schema::{DecimalSchema, Name, Namespace};
use arrow::datatypes::DataType;

/// Digits after the point of a decimal that can be held.
const SCALE_MAX: usize = 38;

/// Digits of a decimal that a column can hold.
const DIGITS_MAX: u8 = 38;

/// Place in the table.
pub(super) type NodeId = usize;

/// How the next bytes are to be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Date,
    /// A time of day; a unit is so many microseconds.
    TimeMillis,
    TimeMicros,
    /// A time since the epoch: numerator and denominator of a unit in microseconds.
    Timestamp(i64, i64),
    /// An unscaled number in bytes, of a fixed number or with their length; `digits` are those that it has at most.
    Decimal {
        size: Option<usize>,
        digits: u8,
        scale: u32,
    },
    Fixed(usize),
    Symbols(Vec<String>),
    List(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<(String, NodeId)>),
}

/// A schema whose first node is a record.
#[derive(Debug)]
pub(super) struct Nodes {
    table: Vec<Node>,
}

impl Nodes {
    /// Errors: the schema is no record, or has a type that cannot be held.
    pub(super) fn new(schema: &Schema) -> Result<Self, String> {
        if !matches!(schema, Schema::Record(_)) {
            return Err("it must be a record".to_owned());
        }
        let mut builder = NodesBuilder::default();
        builder.add(schema, &None)?;
        Ok(Self { table: builder.table })
    }

    /// Fields of the record.
    pub(super) fn fields(&self) -> &[(String, NodeId)] {
        match self.table.first() {
            Some(Node::Record(fields)) => fields,
            _ => &[],
        }
    }

    /// A field of a ROW in `data_type` that no value of a node has: its path from there, its name, and what fields there are. A map
    /// may have any, and so may a union of several types.
    pub(super) fn lacking(&self, id: NodeId, data_type: &DataType) -> Option<(String, String, Vec<&str>)> {
        match (self.get(id), data_type) {
            (Node::Union(branches), _) => {
                let mut values = branches.iter().filter(|branch| *self.get(**branch) != Node::Null);
                match (values.next(), values.next()) {
                    (Some(only), None) => self.lacking(*only, data_type),
                    _ => None,
                }
            }
            (Node::List(item), DataType::List(element)) => self.lacking(*item, element.data_type()),
            (Node::Map(value), DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(pair) => self.lacking(*value, pair.get(1)?.data_type()),
                _ => None,
            },
            (Node::Record(fields), DataType::Struct(wanted)) => wanted.iter().find_map(|field| {
                let name = field.name();
                match fields.iter().find(|(known, _)| known == name) {
                    Some((_, id)) => {
                        let (path, lacked, known) = self.lacking(*id, field.data_type())?;
                        Some((format!(".{name}{path}"), lacked, known))
                    }
                    None => Some((format!(".{name}"), name.clone(), fields.iter().map(|(known, _)| known.as_str()).collect())),
                }
            }),
            _ => None,
        }
    }

    /// A node; the table has every node that another one names.
    pub(super) fn get(&self, id: NodeId) -> &Node {
        self.table.get(id).unwrap_or(&Node::Null)
    }
}

#[derive(Default)]
struct NodesBuilder {
    table: Vec<Node>,
    names: HashMap<Name, NodeId, RandomState>,
}

impl NodesBuilder {
    /// Appends a schema that stands inside of `space`; returns its place.
    fn add(&mut self, schema: &Schema, space: &Namespace) -> Result<NodeId, String> {
        if let Schema::Ref { name } = schema {
            let full = name.fully_qualified_name(space);
            return self.names.get(&full).copied().ok_or_else(|| format!("type {full:?} is not defined"));
        }
        let id = self.table.len();
        self.table.push(Node::Null);
        let mut inside = space.clone();
        if let Schema::Record(_) | Schema::Enum(_) | Schema::Fixed(_) = schema
            && let Some(name) = schema.name()
        {
            let full = name.fully_qualified_name(space);
            inside.clone_from(&full.namespace);
            self.names.insert(full, id);
        }
        let node = self.node(schema, &inside)?;
        self.table[id] = node;
        Ok(id)
    }

    fn node(&mut self, schema: &Schema, space: &Namespace) -> Result<Node, String> {
        Ok(match schema {
            Schema::Null | Schema::Ref { .. } => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes | Schema::BigDecimal => Node::Bytes,
            Schema::String | Schema::Uuid => Node::Text,
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::TimeMillis,
            Schema::TimeMicros => Node::TimeMicros,
            Schema::TimestampMillis | Schema::LocalTimestampMillis => Node::Timestamp(1_000, 1),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Node::Timestamp(1, 1),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Node::Timestamp(1, 1_000),
            Schema::Duration => Node::Fixed(12),
            Schema::Fixed(fixed) => Node::Fixed(fixed.size),
            Schema::Decimal(decimal) => self.decimal(decimal, space)?,
            Schema::Enum(symbols) => Node::Symbols(symbols.symbols.clone()),
            Schema::Array(array) => Node::List(self.add(&array.items, space)?),
            Schema::Map(map) => Node::Map(self.add(&map.types, space)?),
            Schema::Union(union) => {
                let variants = union.variants().iter().map(|v| self.add(v, space));
                Node::Union(variants.collect::<Result<_, String>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|f| Ok((f.name.clone(), self.add(&f.schema, space)?)));
                Node::Record(fields.collect::<Result<_, String>>()?)
            }
        })
    }

    fn decimal(&mut self, decimal: &DecimalSchema, space: &Namespace) -> Result<Node, String> {
        let scale = u32::try_from(decimal.scale).ok().filter(|_| decimal.scale <= SCALE_MAX);
        let scale = scale.ok_or_else(|| format!("a decimal has more than {SCALE_MAX} digits after the point"))?;
        let digits = u8::try_from(decimal.precision).map_or(DIGITS_MAX, |digits| digits.min(DIGITS_MAX));
        let inner = self.add(&decimal.inner, space)?;
        let size = match self.table[inner] {
            Node::Fixed(size) => Some(size),
            _ => None,
        };
        let node = Node::Decimal { size, digits, scale };
        // Whoever says the name of the fixed bytes means the decimal.
        if matches!(*decimal.inner, Schema::Fixed(_)) {
            self.table[inner] = node.clone();
        }
        Ok(node)
    }
}
