//! `SET 'key' = 'value'`, `SET`, `RESET 'key'` and `RESET`. Invariant: key and value are text in quotes; what keys there are is decided
//! where settings are kept.

use sqlparser::tokenizer::{Location, Token};

use super::{Cursor, Parsed};
use crate::diagnostics::Result;

/// What is asked of the settings.
#[derive(Debug)]
pub(crate) enum Setting {
    /// `SET`: list them.
    List,
    /// `SET 'key' = 'value'`, and where both stand.
    Set { key: (String, Location), value: (String, Location) },
    /// `RESET 'key'`: as it is by default.
    Reset { key: (String, Location) },
    /// `RESET`: all of them.
    ResetAll,
}

pub(super) fn parse(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("SET")?;
    if cursor.at_end() {
        return Ok(Parsed::Setting(Setting::List));
    }
    let key = placed(cursor, "a key")?;
    cursor.expect_symbol(&Token::Eq)?;
    Ok(Parsed::Setting(Setting::Set { key, value: placed(cursor, "a value")? }))
}

pub(super) fn parse_reset(cursor: &mut Cursor) -> Result<Parsed> {
    cursor.expect("RESET")?;
    if cursor.at_end() {
        return Ok(Parsed::Setting(Setting::ResetAll));
    }
    Ok(Parsed::Setting(Setting::Reset { key: placed(cursor, "a key")? }))
}

fn placed(cursor: &mut Cursor, what: &str) -> Result<(String, Location)> {
    let at = cursor.at();
    Ok((cursor.text(what)?, at))
}
