//! Answers to units of campaigns, and the judgement on them.

use primepool_common::message::Factorization;
use primepool_engine::Integer;

/// The judgement on an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts.
    Good,
    /// The unit is answered already, or its stage is over.
    Late,
    /// Its relations have the form of another version.
    OtherForm,
    /// It is wrong; why.
    Wrong(String),
}

/// An answer to a unit.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A whole divisor, as far as one worker takes it apart. The caller has verified it.
    TakenApart(Factorization),
    /// Curves: a divisor or none.
    Curves(Option<Integer>),
    /// A packet of relations.
    Relations(Vec<u8>),
    /// The worker could not do it; why.
    Failed(String),
}
