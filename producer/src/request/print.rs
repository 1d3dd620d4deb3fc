/// Which results go to standard output while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// None.
    Nothing,
    /// Factorisations, as people write them.
    Factorizations,
    /// All, as in the results file (`--output -`).
    Rows,
}
