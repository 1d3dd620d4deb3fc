//! What other work on the machine would disturb: it measures time, or shares of a processor.

mod experiment;
