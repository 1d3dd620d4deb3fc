/// Which results go to standard output while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    /// No results.
    Nothing,
    /// Factorisations in decimal.
    Factorizations,
    /// All lines, as in the results file (`--output -`).
    Rows,
}
