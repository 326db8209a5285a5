//! `'connector' = 'reference'`: a file joined by key. Invariant: a change of the file is seen within `refresh`, as a whole.

use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Role};

/// The connector.
pub(crate) static SPEC: ConnectorSpec = ConnectorSpec {
    name: "reference",
    about: "Reads reference data from a file and joins it by key.",
    role: Role::Reference,
    options: &[
        OptionSpec { name: "description", required: false, default: None, about: "what the table means, for the catalog" },
        OptionSpec { name: "format", required: false, default: Some("csv"), about: "csv (with a header line) or json (one object a line)" },
        OptionSpec { name: "owner", required: false, default: None, about: "who answers for the data, for the catalog" },
        OptionSpec { name: "path", required: true, default: None, about: "path of the file" },
        OptionSpec { name: "refresh", required: false, default: Some("30s"), about: "how often the file is looked at for a new version" },
    ],
};
