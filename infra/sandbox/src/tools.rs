//! The folder of programs that are made once for all clones: `PRIMEPOOL_TOOLS`, as in
//! `infra/local/lib.sh`.

use std::{env, path::PathBuf};

/// The folder, which need not be there.
pub(crate) fn tools() -> PathBuf {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    variable("PRIMEPOOL_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let home =
                || PathBuf::from(variable("HOME").unwrap_or_else(|| "/root".into())).join(".cache");
            cache.unwrap_or_else(home).join("primepool/tools")
        })
}
