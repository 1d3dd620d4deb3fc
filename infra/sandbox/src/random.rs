//! Random text for passwords and cookies.

use crate::error::{Result, failed};

/// Random text in hexadecimal, with two digits for each of `bytes` random bytes.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| failed(format!("no random numbers: {error}")))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
