//! The figures, tables and words that an experiment's records give.
