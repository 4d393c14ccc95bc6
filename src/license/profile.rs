//! What a model is to be used for, what a namespace allows, and what it accepts: what a judgement depends on beside
//! lineage and labels.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who gets the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Anybody can download the weights.
    #[default]
    Public,
    /// Nobody outside: duties of distribution sleep.
    Private,
    /// A service without the weights: duties that are tied to distribution or network use.
    Hosted,
}

/// An intended use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Who gets the model; `None`: as its visibility says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Distribution>,
    /// Used to earn money.
    pub commercial: bool,
    /// Used by someone domiciled, or mainly doing business, in the European Union.
    pub eu: bool,
    /// Received as part of a product by its end user.
    pub end_user: bool,
    /// Monthly active users on the release date of the license's version.
    pub mau: u64,
    /// Revenue in a year, in US dollars.
    pub annual_revenue_usd: u64,
}

/// Which licenses a namespace accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Keys of licenses that may be carried; empty: any.
    pub allow: Vec<String>,
    /// Keys of licenses that may not be carried.
    pub deny: Vec<String>,
}

/// What of a namespace a judgement of its models depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Terms {
    /// The intended use.
    pub profile: Profile,
    /// The accepted licenses.
    pub policy: Policy,
}
