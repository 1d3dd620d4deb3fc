//! Answers to units of campaigns, and the verdict on them.

use primepool_common::message::Factorization;
use primepool_engine::Integer;

/// The verdict on an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer is accepted.
    Good,
    /// The unit was answered already, or its stage is over.
    Late,
    /// The relations have the format of another version.
    OtherForm,
    /// The answer is wrong, for this reason.
    Wrong(String),
}

/// An answer to a unit of a campaign.
#[derive(Debug)]
pub(crate) enum CampaignAnswer {
    /// The factorisation of a divisor, as far as a single worker can factor it. The caller has
    /// verified it.
    TakenApart(Factorization),
    /// The result of some curves: a divisor or none.
    Curves(Option<Integer>),
    /// A packet of relations.
    Relations(Vec<u8>),
    /// The worker could not do the unit, for this reason.
    Failed(String),
}
