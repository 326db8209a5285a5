//! `SET 'key' = 'value'`. Invariant: key and value are text in quotes; what keys there are is the caller's business.

use sqlparser::tokenizer::Token;

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

/// A setting.
#[derive(Debug)]
pub(crate) struct SetOption {
    pub(crate) key: String,
    pub(crate) value: String,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("SET")?;
    let key = cursor.text("a key")?;
    cursor.expect_symbol(&Token::Eq)?;
    Ok(Parsed::Set(SetOption { key, value: cursor.text("a value")? }))
}
