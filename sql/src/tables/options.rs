//! `WITH ('key' = 'value', …)` by role of the connector. Invariant: every option is taken by someone, or it is an error that
//! suggests the nearest name.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlparser::tokenizer::Location;
use thalweg_engine::contract::connector::parse_duration;
use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Options, Role};
use thalweg_engine::decode;
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::Name;
use thalweg_engine::limits::{FUTURE_TOLERANCE_MS_DEFAULT, IDLE_TIMEOUT_MS_DEFAULT};
use thalweg_engine::reference;
use thalweg_engine::time::{MILLISECOND, Micros};

use super::definition::{Classification, StreamInput, TableKind, Tier};
use super::infer::SampleFormat;
use super::startup;
use crate::diagnostics::suggestion;

/// How often reference data are looked at again if the table does not say.
const REFRESH_DEFAULT: Duration = Duration::from_secs(30);
/// Format of a stream that names none.
const FORMAT_DEFAULT: &str = "json";

/// What stands in for options that are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults<'a> {
    pub(crate) owner: &'a str,
    pub(crate) description: &'a str,
}

/// Reads the options of a table called `name`. `notices` gets what was assumed.
pub(super) fn table_kind(
    connector: &'static ConnectorSpec,
    name: &Name,
    mut pairs: BTreeMap<String, String>,
    defaults: Defaults<'_>,
    notices: &mut Vec<String>,
) -> Result<TableKind> {
    let reads_stream = matches!(connector.role, Role::Log | Role::Source(_));
    let format = pairs.get("format").map_or(FORMAT_DEFAULT, String::as_str);
    let of_format = decode::FORMATS.iter().find(|f| reads_stream && f.name == format).map_or(&[][..], |f| f.options);
    check_names(connector, of_format, &pairs)?;
    let own = match connector.role {
        Role::Source(_) => Some(connector_options(connector, &mut pairs)),
        _ => None,
    };
    let mut options = Options::new(pairs);
    let kind = match (connector.role, own) {
        (Role::Source(_), own) => {
            TableKind::Source { connector, options: own.unwrap_or_default(), input: stream_input(name, &mut options, of_format)? }
        }
        (Role::Log, _) => TableKind::Log { input: stream_input(name, &mut options, of_format)? },
        (Role::Reference, _) => reference(&mut options, defaults)?,
        (Role::Lake, _) => lake(&mut options, defaults, notices)?,
    };
    options.finish()?;
    Ok(kind)
}

/// The stream and the format that a table's options name; what else they say is not looked at. Errors: the format is not known.
pub(crate) fn stream_of(name: &Name, options: &[(String, String, Location)]) -> Result<(Name, SampleFormat)> {
    let option = |key: &str| options.iter().find(|(k, ..)| k == key).map(|(_, value, _)| value.as_str());
    let stream = match option("stream") {
        Some(text) => Name::new(text).map_err(|e| e.context("option 'stream'"))?,
        None => name.clone(),
    };
    let format = decode::find(option("format").unwrap_or(FORMAT_DEFAULT)).map_err(|e| e.context("option 'format'"))?;
    let own = format.options.iter().filter_map(|o| Some((o.name.to_owned(), option(o.name)?.to_owned()))).collect();
    Ok((stream, SampleFormat { name: format.name.to_owned(), options: own }))
}

fn stream_input(name: &Name, options: &mut Options, of_format: &[OptionSpec]) -> Result<StreamInput> {
    let stream = match options.take("stream") {
        Some(text) => Name::new(&text).map_err(|e| e.context("option 'stream'"))?,
        None => name.clone(),
    };
    let format = options.take("format").unwrap_or_else(|| FORMAT_DEFAULT.to_owned());
    let known = || decode::FORMATS.iter().map(|f| f.name);
    if !known().any(|name| name == format) {
        let hint = suggestion(&format, known()).unwrap_or_else(|| format!("formats: {}", known().collect::<Vec<_>>().join(", ")));
        return Err(Error::invalid(format!("option 'format': '{format}' is not known")).hint(hint));
    }
    let format_options = of_format.iter().filter_map(|o| Some((o.name.to_owned(), options.take(o.name)?))).collect();
    let mut duration = |key: &str, default_ms: i64| -> Result<Micros> {
        match options.take_duration(key)? {
            Some(d) => i64::try_from(d.as_micros()).map_err(|_| Error::invalid(format!("option '{key}' is too long"))),
            None => Ok(default_ms * MILLISECOND),
        }
    };
    let idle_timeout = duration("scan.watermark.idle-timeout", IDLE_TIMEOUT_MS_DEFAULT)?;
    let future_tolerance = duration("scan.future-tolerance", FUTURE_TOLERANCE_MS_DEFAULT)?;
    let [mode, millis, offsets] = [startup::MODE, startup::MILLIS, startup::OFFSETS].map(|key| options.take(key));
    let start = startup::startup(mode.as_deref(), millis.as_deref(), offsets.as_deref())?;
    Ok(StreamInput { stream, format, format_options, idle_timeout, future_tolerance, start })
}

fn reference(options: &mut Options, defaults: Defaults<'_>) -> Result<TableKind> {
    let path = options.take_required("path")?;
    let format = match options.take("format") {
        Some(format) => format,
        None => path.rsplit_once('.').map_or_else(|| "csv".to_owned(), |(_, extension)| extension.to_ascii_lowercase()),
    };
    if !reference::FORMATS.iter().any(|f| f.name == format) {
        let names: Vec<&str> = reference::FORMATS.iter().map(|f| f.name).collect();
        let error = Error::invalid(format!("option 'format': reference data in '{format}' cannot be read"));
        return Err(error.hint(format!("use '{}'", names.join("' or '"))));
    }
    let refresh = options.take_duration("refresh")?.unwrap_or(REFRESH_DEFAULT);
    if refresh.is_zero() {
        return Err(Error::invalid("option 'refresh' is zero").hint("use '30s' or another length of time"));
    }
    let owner = options.take("owner").unwrap_or_else(|| defaults.owner.to_owned());
    Ok(TableKind::Reference { path, format, refresh, owner, about: options.take("description").unwrap_or_default() })
}

fn lake(options: &mut Options, defaults: Defaults<'_>, notices: &mut Vec<String>) -> Result<TableKind> {
    let tier = match options.take("tier").as_deref() {
        Some("warm") | None => Tier::Warm,
        Some("cold") => Tier::Cold,
        Some(other) => return Err(Error::invalid(format!("option 'tier': '{other}' is not known")).hint("use 'warm' or 'cold'")),
    };
    let mut assumed = |key: &str, value: Option<String>, default: &str| {
        value.unwrap_or_else(|| {
            notices.push(format!("{key} not given: using '{default}'"));
            default.to_owned()
        })
    };
    let owner = assumed("owner", options.take("owner"), defaults.owner);
    let description = assumed("description", options.take("description"), defaults.description);
    let classification = match options.take("classification") {
        None => Classification::Internal,
        Some(text) => {
            let known = Classification::ALL.iter().find(|(name, _)| *name == text).map(|(_, c)| *c);
            known.ok_or_else(|| {
                let names = Classification::ALL.map(|(name, _)| name);
                Error::invalid(format!("option 'classification': '{text}' is not known")).hint(format!("use one of {}", names.join(", ")))
            })?
        }
    };
    let retention = match options.take("retention").as_deref() {
        None | Some("forever") => None,
        Some(text) => Some(parse_duration(text).map_err(|e| e.context("option 'retention'"))?),
    };
    Ok(TableKind::Lake { tier, owner, description, classification, retention })
}

/// Errors: an option that neither the connector nor the format knows, or one that it needs is missing.
fn check_names(connector: &ConnectorSpec, of_format: &[OptionSpec], pairs: &BTreeMap<String, String>) -> Result<()> {
    let known = || connector.options.iter().chain(of_format).map(|s| s.name);
    if let Some(extra) = pairs.keys().find(|key| !known().any(|k| k == *key)) {
        let owner = decode::FORMATS.iter().find(|f| f.options.iter().any(|o| o.name == extra.as_str()));
        let hint = match owner {
            Some(format) => format!("it belongs to 'format' = '{}'", format.name),
            None => suggestion(extra, known()).unwrap_or_else(|| format!("known options: {}", known().collect::<Vec<_>>().join(", "))),
        };
        return Err(Error::invalid(format!("option '{extra}' is not known")).hint(hint));
    }
    let missing = |options: &[OptionSpec], whose: String| match options.iter().find(|s| s.required && !pairs.contains_key(s.name)) {
        Some(missing) => {
            let hint = format!("add '{}' = '…': {}", missing.name, missing.about);
            Err(Error::invalid(format!("option '{}' of {whose} is missing", missing.name)).hint(hint))
        }
        None => Ok(()),
    };
    missing(connector.options, format!("connector '{}'", connector.name))?;
    missing(of_format, "the format".to_owned())
}

/// Takes the options that belong to the connector itself, not to the stream that it fills.
fn connector_options(connector: &ConnectorSpec, pairs: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = connector.options.iter().filter(|s| !STREAM_OPTIONS.contains(&s.name));
    own.filter_map(|s| pairs.remove_entry(s.name)).collect()
}

/// Options of every table that is a stream.
const STREAM_OPTIONS: [&str; 7] =
    ["format", "scan.future-tolerance", startup::MODE, startup::OFFSETS, startup::MILLIS, "scan.watermark.idle-timeout", "stream"];
