//! `'connector' = 'lake'`: a table of the lake that a query writes. Invariant: what the catalog says about the table comes
//! from here or is left out.

use thalweg_engine::contract::{ConnectorSpec, OptionSpec, Role};

/// The connector.
pub(crate) static SPEC: ConnectorSpec = ConnectorSpec {
    name: "lake",
    about: "Writes a Delta table of the lake that other tools can read.",
    role: Role::Lake,
    options: &[
        OptionSpec { name: "classification", required: false, default: Some("internal"), about: "who may see the data, for the catalog" },
        OptionSpec { name: "description", required: false, default: None, about: "what the table means, for the catalog" },
        OptionSpec { name: "owner", required: false, default: None, about: "who answers for the table, for the catalog" },
        OptionSpec {
            name: "retention",
            required: false,
            default: Some("forever"),
            about: "how long rows should be kept, for the catalog: a duration such as 90d, or forever; rows are not removed yet",
        },
        OptionSpec { name: "tier", required: false, default: Some("warm"), about: "warm (fresh, queried often) or cold (kept for long)" },
    ],
};
