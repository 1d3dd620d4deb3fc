//! The kinds of jobs. Each kind has its own file, which defines its jobs, how long they take, and
//! when a result is correct. `work.rs` lists the kinds.

mod certificate;
mod claim;
mod factor;
mod factorization;
mod fields;
mod integers;
mod jobs_trait;
mod method;
mod next_prime;
mod noop;
mod random_prime;
mod share;
mod work;

pub use certificate::{Certificate, FiledCertificate};
pub use claim::{Claims, Finding};
pub use factor::FactorJobs;
pub use factorization::{Factorization, Power, StageCost};
pub use fields::{JobFields, MissingField, WrittenJobs};
pub use integers::Integers;
pub use jobs_trait::Jobs;
pub use method::Method;
pub use next_prime::NextPrimeJobs;
pub use noop::NoopJobs;
pub use random_prime::{PrimeJobs, RandomPrimeJobs, SafePrimeJobs};
pub use share::{MAX_SHARE, Share};
pub use work::{JobKind, Work};
