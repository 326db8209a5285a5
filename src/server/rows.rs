//! Rows as bytes: NDJSON, CSV or an Arrow stream. Invariant: a reader can tell a whole result from a broken one: NDJSON and Arrow
//! end with an error object, where a row or the end of the stream belongs, CSV with a cut connection.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::StreamWriter;
use arrow::json::LineDelimitedWriter;
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Response};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::json;

use super::error::{ApiError, ApiResult};
use super::services::{Rows, RowsEnd};
use crate::csv::without_formulas;

/// Forms in which rows can be asked for, by media type; the first is the default.
const FORMS: &[(&str, Form)] =
    &[("application/x-ndjson", Form::Ndjson), ("application/vnd.apache.arrow.stream", Form::Arrow), ("text/csv", Form::Csv)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ndjson,
    Arrow,
    Csv,
}

enum Encoder {
    Ndjson,
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(form: Form, schema: &Schema) -> Result<Self> {
        Ok(match form {
            Form::Ndjson => Self::Ndjson,
            Form::Csv => Self::Csv,
            Form::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        })
    }

    /// What stands before the first row.
    fn begin(&mut self, schema: &Schema) -> Result<Bytes> {
        match self {
            Self::Ndjson => Ok(Bytes::new()),
            Self::Csv => {
                let empty = RecordBatch::new_empty(schema.clone().into());
                let mut bytes = Vec::new();
                arrow::csv::WriterBuilder::new().with_header(true).build(&mut bytes).write(&without_formulas(&empty)?)?;
                Ok(bytes.into())
            }
            Self::Arrow(writer) => Ok(std::mem::take(writer.get_mut()).into()),
        }
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<Bytes> {
        let mut bytes = Vec::new();
        match self {
            Self::Ndjson => {
                let mut writer: LineDelimitedWriter<_> = json::builder().with_explicit_nulls(true).build(&mut bytes);
                writer.write(rows)?;
                writer.finish()?;
            }
            Self::Csv => arrow::csv::WriterBuilder::new().with_header(false).build(&mut bytes).write(&without_formulas(rows)?)?,
            Self::Arrow(writer) => {
                writer.write(rows)?;
                bytes = std::mem::take(writer.get_mut());
            }
        }
        Ok(bytes.into())
    }

    /// What stands after the last row.
    fn finish(&mut self) -> Result<Bytes> {
        let Self::Arrow(writer) = self else { return Ok(Bytes::new()) };
        writer.finish()?;
        Ok(std::mem::take(writer.get_mut()).into())
    }

    /// How an error in the middle is told.
    fn fail(&self, error: Error) -> io::Result<Bytes> {
        match self {
            Self::Ndjson | Self::Arrow(_) => Ok(format!("{}\n", ApiError::from(error).to_json()).into()),
            Self::Csv => Err(io::Error::other(error)),
        }
    }
}

/// The response that carries `rows` in the form that the request asks for. An error before the first rows becomes an error of
/// the request. Live rows end with `until`.
pub(crate) async fn respond(
    headers: &HeaderMap,
    rows: Rows,
    until: impl Future<Output = ()> + Send + 'static,
) -> ApiResult<Response<Body>> {
    let (media_type, form) = form(headers);
    let Rows { schema, stream, end } = rows;
    // It is asked again after its end if it holds no row.
    let mut stream = stream.fuse();
    let mut encoder = Encoder::new(form, &schema)?;
    let mut head = vec![encoder.begin(&schema)?];
    if end == RowsEnd::Finite
        && let Some(first) = stream.next().await
    {
        head.push(encoder.encode(&first?)?);
    }
    // A result that a stop cut short would look whole: it goes on until its connection is cut.
    let rest = match end {
        RowsEnd::Finite => stream.boxed(),
        RowsEnd::Live => stream.take_until(until).boxed(),
    };
    let body = stream::iter(head.into_iter().map(Ok)).chain(encoded(encoder, rest)).filter(|chunk| {
        let empty = matches!(chunk, Ok(bytes) if bytes.is_empty());
        async move { !empty }
    });
    let kind = if end == RowsEnd::Live { "live" } else { "finite" };
    let names = [(CONTENT_TYPE, media_type), (HeaderName::from_static("thalweg-rows"), kind)];
    Ok((names, Body::from_stream(body)).into_response())
}

fn encoded(
    encoder: Encoder,
    rows: impl Stream<Item = Result<RecordBatch>> + Send + Unpin + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((encoder, rows)), |state| async move {
        let (mut encoder, mut rows) = state?;
        let Some(next) = rows.next().await else {
            let end = encoder.finish().or_else(|e| encoder.fail(e).map_err(|e| Error::internal(e.to_string())));
            return Some((end.map_err(io::Error::other), None));
        };
        match next.and_then(|batch| encoder.encode(&batch)) {
            Ok(bytes) => Some((Ok(bytes), Some((encoder, rows)))),
            Err(e) => Some((encoder.fail(e), None)),
        }
    })
}

fn form(headers: &HeaderMap) -> (&'static str, Form) {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let mut asked = accept.split(',').map(|part| part.split(';').next().unwrap_or("").trim());
    asked.find_map(|media_type| FORMS.iter().find(|(name, _)| *name == media_type)).copied().unwrap_or(FORMS[0])
}
