//! The folder of programs that are built once and shared by all clones: `PRIMEPOOL_TOOLS`, as in
//! `infra/local/lib.sh`.

use std::{env, path::PathBuf};

/// The path of the folder, which may not exist yet.
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
