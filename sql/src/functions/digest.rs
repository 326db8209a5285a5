//! `MD5(text)`, `SHA224`, `SHA256`, `SHA384`, `SHA512`, and `SHA2(text, bits)`, which is one of them: digests of the bytes of a text.
//! Invariant: as in Flink they are written in hexadecimal digits with small letters, and NULL of NULL.

use std::sync::Arc;

use arrow::array::StringViewBuilder;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use md5::Md5;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

use super::arguments::{integers, is_integer, is_text, result, rows, texts};

/// Makes the digest of bytes.
type Make = fn(&[u8]) -> String;

/// Names, the bits by which SHA2 knows them, and how they are made.
const DIGESTS: [(&str, Option<i64>, Make); 5] = [
    ("md5", None, |bytes| format!("{:x}", Md5::digest(bytes))),
    ("sha224", Some(224), |bytes| format!("{:x}", Sha224::digest(bytes))),
    ("sha256", Some(256), |bytes| format!("{:x}", Sha256::digest(bytes))),
    ("sha384", Some(384), |bytes| format!("{:x}", Sha384::digest(bytes))),
    ("sha512", Some(512), |bytes| format!("{:x}", Sha512::digest(bytes))),
];

/// The one whose second argument says which.
const BY_BITS: &str = "sha2";

/// The functions.
pub(super) fn digests() -> impl Iterator<Item = Arc<ScalarUDF>> {
    (0..DIGESTS.len()).map(Some).chain([None]).map(|which| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Digest { which, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Digest {
    /// Index into `DIGESTS`; `None` for the one that is told.
    which: Option<usize>,
    signature: Signature,
}

impl ScalarUDFImpl for Digest {
    fn name(&self) -> &str {
        self.which.map_or(BY_BITS, |which| DIGESTS[which].0)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (types, self.which) {
            ([text], Some(_)) if is_text(text) => Ok(types.to_vec()),
            ([text, bits], None) if is_text(text) && is_integer(bits) => Ok(types.to_vec()),
            (_, Some(_)) => plan_err!("{} takes a text", self.name()),
            (_, None) => plan_err!("{BY_BITS} takes a text, and 224, 256, 384 or 512"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = texts(&args, 0)?;
        let told = match self.which {
            Some(_) => None,
            None => Some(integers(&args, 1)?),
        };
        let mut values = StringViewBuilder::with_capacity(rows(&args));
        for row in 0..rows(&args) {
            let make = match (self.which, &told) {
                (Some(which), _) => Some(DIGESTS[which].2),
                (None, Some(told)) => told.at(row).map(by_bits).transpose()?,
                (None, None) => None,
            };
            match (text.at(row), make) {
                (Some(text), Some(make)) => values.append_value(make(text.as_bytes())),
                _ => values.append_null(),
            }
        }
        result(&args, Arc::new(values.finish()))
    }
}

fn by_bits(bits: i64) -> Result<Make> {
    match DIGESTS.iter().find(|(_, of, _)| *of == Some(bits)) {
        Some((_, _, make)) => Ok(*make),
        None => exec_err!("{BY_BITS} makes 224, 256, 384 or 512 bits, not {bits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_empty_text() {
        let begins = |bits| by_bits(bits).unwrap()(b"").chars().take(8).collect::<String>();
        assert_eq!([224, 256, 384, 512].map(begins), ["d14a028c", "e3b0c442", "38b060a7", "cf83e135"]);
        assert_eq!(DIGESTS[0].2(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert!(by_bits(1).is_err());
    }
}
