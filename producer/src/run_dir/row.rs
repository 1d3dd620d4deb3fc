//! The lines of a results file.

use std::{borrow::Cow, fmt, io};

use primepool_common::{
    jobs::Finding,
    message::{Factorization, FiledCertificate, Hex, HexInteger, Power, StageCost},
    text::{json_error, reason},
};
use primepool_engine::{Certificate, Integer};
use serde::{Deserialize, Serialize};

use super::JobSet;

/// The part of a line of the results file that belongs to its job; [`Origin`] is the rest of the
/// line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// Index of the job in its run.
    pub job: u64,
    /// `ok`, `partial`, `failed` or `rejected`.
    pub outcome: RowOutcome,
    /// The prime that was found.
    #[serde(default)]
    pub prime: Option<Hex>,
    /// Bits of the prime.
    #[serde(default)]
    pub bits: Option<u32>,
    /// For `next-prime`: the integer above which the next prime was requested.
    #[serde(default)]
    pub after: Option<Hex>,
    /// For `factor`: the integer and its factorisation.
    #[serde(default, flatten)]
    pub factored: Option<Factored>,
    /// Why there is no prime, or why the factorisation is not complete.
    #[serde(default)]
    pub reason: Option<String>,
    /// The proof of its primes, if the run requested proofs.
    #[serde(default, flatten)]
    pub proof: Option<Box<Proof>>,
    /// Time that a worker spent on the job, in milliseconds.
    pub compute_ms: f64,
    /// Number of candidates that were put to a probable-prime test.
    pub candidates: u64,
}

impl Row {
    /// The factorisation in decimal, followed by the reason if it is not complete.
    #[must_use]
    pub(crate) fn factorization(&self) -> Option<String> {
        // Another program may have written the file, so the reason is sanitised.
        let why = self.reason.as_ref();
        let why = why.map(|why| format!("   ({})", reason(why)));
        let factored = self.factored.as_ref()?;
        Some(format!("{factored}{}", why.unwrap_or_default()))
    }

    /// Records which primes the certificate, if there is one, does not prove, and whether all
    /// factors are proven. For `bound` see [`Proof`].
    pub(crate) fn sort_by_proof(&mut self, bound: Option<&'static str>) {
        let Some(proof) = &mut self.proof else {
            return;
        };
        let certificate = &proof.certificate.0;
        let is_probable = |n: &&Hex| {
            let n = &n.0.0;
            Certificate::is_needed(n) && !certificate.has_step(n)
        };
        let factors = self.factored.iter().flat_map(|factored| &factored.factors);
        let primes = self.prime.iter().chain(factors.map(|(prime, _)| prime));
        proof.probable = primes.filter(is_probable).cloned().collect();
        let are_proven = proof.probable.is_empty();
        proof.bound = bound.filter(|_| !are_proven).map(Cow::Borrowed);
        if let Some(factored) = &mut self.factored {
            factored.proven = factored.composites.is_empty() && are_proven;
        }
    }

    /// Whether a certificate proves every prime of the result.
    #[must_use]
    pub(crate) fn is_proven(&self) -> bool {
        let proof = self.proof.as_ref();
        self.outcome == RowOutcome::Ok && proof.is_some_and(|proof| proof.probable.is_empty())
    }

    /// Takes out the integer and its factorisation if the worker has left composites to the pool;
    /// the row is then no result yet.
    pub(crate) fn take_left_to_pool(&mut self) -> Option<(HexInteger, Factorization)> {
        let is_left = self.outcome == RowOutcome::Partial && self.reason.is_none();
        let factored = if is_left { self.factored.take() } else { None };
        factored.map(Factored::into_found)
    }
}

/// The fields of a line about the proof of its primes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Proof {
    /// Certificate of the primes above 2^64, as far as they are proven. The producer has checked
    /// it.
    pub certificate: FiledCertificate,
    /// Primes above 2^64 that the certificate does not prove.
    #[serde(default)]
    pub probable: Vec<Hex>,
    /// Bound of the probability that the producer's own tests accept a composite as one of
    /// `probable`.
    #[serde(default)]
    pub bound: Option<Cow<'static, str>>,
}

impl Proof {
    /// A proof whose probable primes are not determined yet.
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self {
            certificate: FiledCertificate(certificate),
            probable: Vec::new(),
            bound: None,
        }
    }
}

/// The fields of a line about a factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factored {
    /// The integer that was factored.
    pub n: Hex,
    /// Its prime factors with their exponents, in ascending order.
    pub factors: Vec<(Hex, u32)>,
    /// Composite divisors that were not factored, with their exponents; empty if the factorisation
    /// is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub composites: Vec<(Hex, u32)>,
    /// Whether all factors are proven primes. Primes above 2^64 count as proven only with a
    /// certificate.
    pub proven: bool,
    /// Cost of each stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageCost>,
}

impl Factored {
    /// The factorisation `found` of `n`, without a certificate.
    #[must_use]
    pub fn new(n: HexInteger, found: Factorization) -> Self {
        let hex = |powers: Vec<Power>| {
            let powers = powers.into_iter();
            powers
                .map(|Power(value, exponent)| (Hex(value), exponent))
                .collect()
        };
        let is_small = |power: &Power| power.0.0.significant_bits() <= PROVEN_BITS;
        Self {
            n: Hex(n),
            proven: found.composites.is_empty() && found.factors.iter().all(is_small),
            factors: hex(found.factors),
            composites: hex(found.composites),
            stages: found.stages,
        }
    }
}

impl Factored {
    /// The factorisation as a finding that can be checked.
    pub(crate) fn finding(&self, is_left_to_pool: bool) -> Finding<'_> {
        fn values(powers: &[(Hex, u32)]) -> Vec<(&Integer, u32)> {
            let powers = powers.iter();
            powers
                .map(|(value, exponent)| (&value.0.0, *exponent))
                .collect()
        }
        Finding::Factors {
            number: &self.n.0.0,
            factors: values(&self.factors),
            composites: values(&self.composites),
            is_left_to_pool,
        }
    }

    /// Splits it into the integer and the factorisation.
    fn into_found(self) -> (HexInteger, Factorization) {
        let powers = |list: Vec<(Hex, u32)>| {
            let list = list.into_iter();
            list.map(|(value, exponent)| Power(value.0, exponent))
                .collect()
        };
        let found = Factorization {
            factors: powers(self.factors),
            composites: powers(self.composites),
            reason: None,
            stages: self.stages,
        };
        (self.n.0, found)
    }
}

/// Size in bits up to which the Baillie–PSW test is a proof (Feitsma and Galway's list of base-2
/// pseudoprimes, 2013).
const PROVEN_BITS: u32 = 64;

/// The factorisation in decimal: `-360 = -1 · 2^3 · 3^2 · 5`. Composites that were not factored
/// stand in parentheses.
impl fmt::Display for Factored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = Decimal(&self.n.0.0);
        write!(f, "{n} = ")?;
        let mut dot = "";
        if n.0.is_negative() {
            f.write_str("-1")?;
            dot = " · ";
        }
        let primes = self.factors.iter().map(|power| (power, "", ""));
        let composites = self.composites.iter().map(|power| (power, "(", ")"));
        for ((value, exponent), open, close) in primes.chain(composites) {
            write!(f, "{dot}{open}{}{close}", Decimal(&value.0.0))?;
            if *exponent != 1 {
                write!(f, "^{exponent}")?;
            }
            dot = " · ";
        }
        if dot.is_empty() {
            write!(f, "{n}")?;
        }
        Ok(())
    }
}

/// An integer in decimal. An integer that fits into 64 bits avoids big-integer arithmetic.
struct Decimal<'a>(&'a Integer);

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_u64() {
            Some(word) => word.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// The fields that all lines of one answer have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// Name of the node that did the work.
    pub node: String,
    /// Number of the worker thread on that node.
    pub worker: u32,
    /// Time from publishing to the answer, on the producer's clock.
    pub latency_ms: f64,
    /// The part of the latency in which no worker had the unit: time in queues and in transit, in
    /// both directions.
    pub queue_wait_ms: f64,
    /// Whether the broker redelivered the unit.
    pub redelivered: bool,
}

/// Appends the lines of one answer to `text`.
///
/// # Errors
/// None in practice: the serialisation of plain data does not fail.
pub fn write_lines(origin: &Origin, rows: &[Row], text: &mut Vec<u8>) -> io::Result<()> {
    let writer = LineWriter::new(origin)?;
    rows.iter().try_for_each(|row| writer.write(row, text))
}

/// Writes the lines of one answer. Since there may be thousands, the common fields are serialised
/// once, and the other fields are written without serde's overhead.
pub(crate) struct LineWriter {
    tail: Vec<u8>,
}

impl LineWriter {
    /// A writer for lines of this origin.
    ///
    /// # Errors
    /// None in practice: the serialisation of plain data does not fail.
    pub(crate) fn new(origin: &Origin) -> io::Result<Self> {
        let tail = serde_json::to_vec(origin)?;
        Ok(Self { tail })
    }

    /// Appends the line of a row, with its line end.
    ///
    /// # Errors
    /// None in practice: the serialisation of plain data does not fail.
    pub(crate) fn write(&self, row: &Row, text: &mut Vec<u8>) -> io::Result<()> {
        text.extend_from_slice(b"{\"job\":");
        serde_json::to_writer(&mut *text, &row.job)?;
        text.extend_from_slice(b",\"outcome\":\"");
        text.extend_from_slice(row.outcome.as_str().as_bytes());
        text.push(b'"');
        if let Some(prime) = &row.prime {
            push_hex(b",\"prime\":\"", prime, text);
        }
        if let Some(bits) = row.bits {
            text.extend_from_slice(b",\"bits\":");
            serde_json::to_writer(&mut *text, &bits)?;
        }
        if let Some(after) = &row.after {
            push_hex(b",\"after\":\"", after, text);
        }
        if let Some(factored) = &row.factored {
            push_factored(factored, text)?;
        }
        if let Some(reason) = &row.reason {
            text.extend_from_slice(b",\"reason\":");
            serde_json::to_writer(&mut *text, reason)?;
        }
        if let Some(proof) = &row.proof {
            push_proof(proof, text)?;
        }
        text.extend_from_slice(b",\"compute_ms\":");
        serde_json::to_writer(&mut *text, &row.compute_ms)?;
        text.extend_from_slice(b",\"candidates\":");
        serde_json::to_writer(&mut *text, &row.candidates)?;
        // Joins two objects: `{…` and `{…}` become `{…,…}`.
        text.push(b',');
        text.extend_from_slice(&self.tail[1..]);
        text.push(b'\n');
        Ok(())
    }
}

/// Writes the fields of a factorisation in the same form as serde.
fn push_factored(factored: &Factored, text: &mut Vec<u8>) -> io::Result<()> {
    push_hex(b",\"n\":\"", &factored.n, text);
    push_powers(b",\"factors\":[", &factored.factors, text)?;
    if !factored.composites.is_empty() {
        push_powers(b",\"composites\":[", &factored.composites, text)?;
    }
    text.extend_from_slice(b",\"proven\":");
    serde_json::to_writer(&mut *text, &factored.proven)?;
    if !factored.stages.is_empty() {
        text.extend_from_slice(b",\"stages\":");
        serde_json::to_writer(&mut *text, &factored.stages)?;
    }
    Ok(())
}

fn push_proof(proof: &Proof, text: &mut Vec<u8>) -> io::Result<()> {
    text.extend_from_slice(b",\"certificate\":");
    serde_json::to_writer(&mut *text, &proof.certificate)?;
    if !proof.probable.is_empty() {
        text.extend_from_slice(b",\"probable\":");
        serde_json::to_writer(&mut *text, &proof.probable)?;
    }
    if let Some(bound) = &proof.bound {
        text.extend_from_slice(b",\"bound\":");
        serde_json::to_writer(&mut *text, bound)?;
    }
    Ok(())
}

fn push_powers(key: &[u8], powers: &[(Hex, u32)], text: &mut Vec<u8>) -> io::Result<()> {
    text.extend_from_slice(key);
    for (place, (value, exponent)) in powers.iter().enumerate() {
        text.extend_from_slice(if place == 0 { b"" } else { b"," });
        push_hex(b"[\"", value, text);
        text.push(b',');
        serde_json::to_writer(&mut *text, exponent)?;
        text.push(b']');
    }
    text.push(b']');
    Ok(())
}

fn push_hex(key: &[u8], value: &Hex, text: &mut Vec<u8>) {
    text.extend_from_slice(key);
    value.0.push_human(text);
    text.push(b'"');
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowOutcome {
    /// The job is done.
    Ok,
    /// Only a part of the factors was found.
    Partial,
    /// The engine could not do the job, or its result was wrong.
    Failed,
    /// The job is invalid.
    Rejected,
}

impl RowOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Partial, Self::Failed, Self::Rejected];

    /// The outcome of a job with this factorisation.
    pub(crate) fn of(found: &Factorization) -> Self {
        if found.is_complete() {
            Self::Ok
        } else {
            Self::Partial
        }
    }

    /// Name of the outcome in results and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// The fields of a line that `resume` needs: only these are parsed, since there may be millions of
/// lines.
#[derive(Deserialize)]
struct Ended {
    job: u64,
    outcome: RowOutcome,
}

/// The job of a line; `None` if the line is not a valid row.
#[must_use]
pub(crate) fn job_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Ended>(line)
        .ok()
        .map(|row| row.job)
}

/// The factorisation in a line, in decimal and with its reason if it is not complete; `None` if the
/// line has no factorisation or is not valid.
#[must_use]
pub fn factorization(line: &[u8]) -> Option<String> {
    let row: Row = serde_json::from_slice(line).ok()?;
    row.factorization()
}

/// The jobs that have ended according to the results of earlier sessions.
#[derive(Debug, PartialEq, Eq)]
pub struct EndedJobs {
    /// The jobs that have ended.
    pub done: JobSet,
    /// Number of jobs with outcome `ok`.
    pub ok: u64,
    /// Number of lines so far.
    lines: u64,
}

impl EndedJobs {
    /// No ended jobs, for a run of `count` jobs.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self {
            done: JobSet::none_of(count),
            ok: 0,
            lines: 0,
        }
    }

    /// Adds a line of the results file.
    ///
    /// # Errors
    /// The line is not valid, or its job is unknown or a duplicate; the text has the number of the
    /// line.
    pub fn add(&mut self, line: &[u8]) -> Result<(), String> {
        self.lines += 1;
        let number = self.lines;
        let row: Ended = serde_json::from_slice(line)
            .map_err(|error| format!("line {number}: {}", json_error(&error)))?;
        let job = row.job;
        if !self.done.is_of_run(job) {
            return Err(format!("line {number}: the run has no job {job}"));
        }
        if self.done.contains(job) {
            return Err(format!("line {number}: job {job} a second time"));
        }
        self.done.insert(job..job + 1);
        self.ok += u64::from(row.outcome == RowOutcome::Ok);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(job: u64, outcome: RowOutcome) -> Row {
        Row {
            job,
            outcome,
            prime: None,
            bits: None,
            after: None,
            factored: None,
            reason: None,
            proof: None,
            compute_ms: 0.25,
            candidates: 3,
        }
    }

    #[test]
    fn factorisations_are_written_for_programs_and_for_people() {
        let power = |value: i64, exponent| Power(HexInteger(value.into()), exponent);
        let line = |n: i64, factors: &[(i64, u32)], composites: &[(i64, u32)]| {
            let list = |powers: &[(i64, u32)]| powers.iter().map(|&(v, e)| power(v, e)).collect();
            let found = Factorization {
                factors: list(factors),
                composites: list(composites),
                reason: None,
                stages: vec![],
            };
            let mut one = row(0, RowOutcome::Ok);
            one.factored = Some(Factored::new(HexInteger(n.into()), found));
            let origin = Origin {
                node: "n".to_owned(),
                worker: 0,
                latency_ms: 1.0,
                queue_wait_ms: 1.0,
                redelivered: false,
            };
            let mut text = Vec::new();
            write_lines(&origin, std::slice::from_ref(&one), &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), one);
            text
        };
        let text = line(-360, &[(2, 3), (3, 2), (5, 1)], &[]);
        assert!(
            text.starts_with(r#"{"job":0,"outcome":"ok","n":"-0x168","factors":[["0x2",3],["0x3",2],["0x5",1]],"proven":true,"compute_ms":0.25,"#),
            "{text}"
        );
        let written = |line: &str| factorization(line.as_bytes()).unwrap();
        assert_eq!(written(&text), "-360 = -1 · 2^3 · 3^2 · 5");
        assert_eq!(written(&line(1, &[], &[])), "1 = 1");
        assert_eq!(written(&line(-1, &[], &[])), "-1 = -1");
        assert_eq!(written(&line(7, &[(7, 1)], &[])), "7 = 7");
        let control =
            line(7, &[(7, 1)], &[]).replace("\"proven\"", "\"reason\":\"a\\u001b\\nb\",\"proven\"");
        assert_eq!(written(&control), "7 = 7   (a  b)");
        let text = line(2 * 91 * 91, &[(2, 1)], &[(91, 2)]);
        assert_eq!(written(&text), "16562 = 2 · (91)^2");
        assert!(text.contains(r#""proven":false"#), "{text}");
    }

    #[test]
    fn a_line_is_one_object_and_can_be_read_back() {
        let origin = Origin {
            node: "a \"b\"".to_owned(),
            worker: 1,
            latency_ms: 7.5,
            queue_wait_ms: 1.0,
            redelivered: false,
        };
        let mut found = row(1, RowOutcome::Ok);
        found.prime = Some(Hex(HexInteger(97.into())));
        let mut lost = row(0, RowOutcome::Failed);
        lost.after = Some(Hex(HexInteger((-5).into())));
        lost.bits = Some(7);
        lost.reason = Some("a \"reason\"\n".to_owned());
        let rows = [found, lost];
        let mut text = Vec::new();
        write_lines(&origin, &rows, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for (line, row) in text.lines().zip(&rows) {
            assert_eq!(&serde_json::from_str::<Row>(line).unwrap(), row);
        }
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"job":1,"outcome":"ok","prime":"0x61","compute_ms":0.25,"candidates":3,"node":"a \"b\"","worker":1,"latency_ms":7.5,"queue_wait_ms":1.0,"redelivered":false}"#
        );
        let read_back = |text: &str, count| {
            let mut ended = EndedJobs::new(count);
            let lines = text.split_inclusive('\n');
            let read: Result<(), String> = lines.map(str::as_bytes).try_for_each(|l| ended.add(l));
            read.map(|()| ended)
        };
        let ended = read_back(&text, 3).unwrap();
        assert_eq!((ended.done, ended.ok), (JobSet::with(3, 0..2), 1));
        assert!(read_back(&text, 1).is_err(), "there is no job 1 of 1");
        assert!(read_back(&text.repeat(2), 3).is_err(), "a job twice");
    }
}
