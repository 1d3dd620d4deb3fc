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

/// What a line of the results file says of its job; [`Origin`] gives the rest of the line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// Index of the job in its run.
    pub job: u64,
    /// `ok`, `partial`, `failed` or `rejected`.
    pub outcome: RowOutcome,
    /// The prime.
    #[serde(default)]
    pub prime: Option<Hex>,
    /// Bits of the prime.
    #[serde(default)]
    pub bits: Option<u32>,
    /// For `next-prime`: the integer that was asked about.
    #[serde(default)]
    pub after: Option<Hex>,
    /// For `factor`: the integer and what it is the product of.
    #[serde(default, flatten)]
    pub factored: Option<Factored>,
    /// Why there is no prime, or why not all factors are.
    #[serde(default)]
    pub reason: Option<String>,
    /// The proof of its primes, where that was asked for.
    #[serde(default, flatten)]
    pub proof: Option<Box<Proof>>,
    /// Time of a worker.
    pub compute_ms: f64,
    /// Numbers that were put to a probable-prime test.
    pub candidates: u64,
}

impl Row {
    /// The factorisation, as people write it.
    #[must_use]
    pub(crate) fn factorization(&self) -> Option<String> {
        // Another program may have written the file.
        let why = self.reason.as_ref();
        let why = why.map(|why| format!("   ({})", reason(why)));
        let factored = self.factored.as_ref()?;
        Some(format!("{factored}{}", why.unwrap_or_default()))
    }

    /// Notes which primes the certificate, if there is one, leaves probable, and whether all factors
    /// are proven; for `bound` see [`Proof`].
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

    /// Takes the integer and its factorisation out if the worker has left composites to the pool:
    /// then this is no result yet.
    pub(crate) fn take_left_to_pool(&mut self) -> Option<(HexInteger, Factorization)> {
        let is_left = self.outcome == RowOutcome::Partial && self.reason.is_none();
        let factored = if is_left { self.factored.take() } else { None };
        factored.map(Factored::into_found)
    }
}

/// What a line says of the proof of its primes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Proof {
    /// The proof of those above 2^64, as far as there is one. The producer has checked it.
    pub certificate: FiledCertificate,
    /// Primes above 2^64 that it does not prove.
    #[serde(default)]
    pub probable: Vec<Hex>,
    /// The probability that the producer's own tests let a composite pass as one of them.
    #[serde(default)]
    pub bound: Option<Cow<'static, str>>,
}

impl Proof {
    /// A proof of which it is not known yet what it leaves open.
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self {
            certificate: FiledCertificate(certificate),
            probable: Vec::new(),
            bound: None,
        }
    }
}

/// What a line says of a factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factored {
    /// The integer.
    pub n: Hex,
    /// Its prime factors with their exponents, in rising order.
    pub factors: Vec<(Hex, u32)>,
    /// Composites that are left, with their exponents; none if the factorisation is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub composites: Vec<(Hex, u32)>,
    /// Whether all factors are proven primes; those above 2^64 are without a certificate.
    pub proven: bool,
    /// What each stage cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageCost>,
}

impl Factored {
    /// What was found of `n`.
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
    /// The factorisation as a finding, to be checked.
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

    /// The integer, and what was found of it.
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

/// Up to here the Baillie–PSW test proves (Feitsma and Galway's list of base-2 pseudoprimes, 2013).
const PROVEN_BITS: u32 = 64;

/// The factorisation as people write it, in decimal: `-360 = -1 · 2^3 · 3^2 · 5`. Composites that are left stand in brackets.
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

/// An integer in decimal; one of a word without the arithmetic of large ones.
struct Decimal<'a>(&'a Integer);

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_u64() {
            Some(word) => word.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// What all lines of one answer have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// The node that did the work.
    pub node: String,
    /// Its worker thread.
    pub worker: u32,
    /// From publishing to the answer, on the producer's clock.
    pub latency_ms: f64,
    /// The part of the latency in which nobody worked on the unit: in queues and on the way, there and back.
    pub queue_wait_ms: f64,
    /// Whether the broker had to hand the unit out more than once.
    pub redelivered: bool,
}

/// Appends the lines of one answer.
///
/// # Errors
/// None in practice: all of it has a JSON form.
pub fn write_lines(origin: &Origin, rows: &[Row], text: &mut Vec<u8>) -> io::Result<()> {
    let writer = LineWriter::new(origin)?;
    rows.iter().try_for_each(|row| writer.write(row, text))
}

/// Writes the lines of one answer. What they have in common is put into JSON once, and the rest
/// without serde's detours: they may be thousands.
pub(crate) struct LineWriter {
    tail: Vec<u8>,
}

impl LineWriter {
    /// For lines of this origin.
    ///
    /// # Errors
    /// None in practice: it has a JSON form.
    pub(crate) fn new(origin: &Origin) -> io::Result<Self> {
        let tail = serde_json::to_vec(origin)?;
        Ok(Self { tail })
    }

    /// Appends the line of a row, with its end.
    ///
    /// # Errors
    /// None in practice: all of it has a JSON form.
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
        // One object of two: `…` and `{…}` become `…,…}`.
        text.push(b',');
        text.extend_from_slice(&self.tail[1..]);
        text.push(b'\n');
        Ok(())
    }
}

/// The fields of a factorisation, as serde would write them.
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
    /// Done.
    Ok,
    /// A part of the factors was found.
    Partial,
    /// The engine could not do it, or its result was wrong.
    Failed,
    /// The job is invalid.
    Rejected,
}

impl RowOutcome {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Partial, Self::Failed, Self::Rejected];

    /// The outcome of a job whose factorisation is this.
    pub(crate) fn of(found: &Factorization) -> Self {
        if found.is_complete() {
            Self::Ok
        } else {
            Self::Partial
        }
    }

    /// The word that stands for it in results and metrics.
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

/// What has to be known of a line to go on: a small part, since there may be millions.
#[derive(Deserialize)]
struct Ended {
    job: u64,
    outcome: RowOutcome,
}

/// The job of a line; nothing if it is not a line of ours.
#[must_use]
pub(crate) fn job_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Ended>(line)
        .ok()
        .map(|row| row.job)
}

/// The factorisation in a line, as people write it.
#[must_use]
pub fn factorization(line: &[u8]) -> Option<String> {
    let row: Row = serde_json::from_slice(line).ok()?;
    row.factorization()
}

/// Which jobs the results of earlier sessions answer.
#[derive(Debug, PartialEq, Eq)]
pub struct EndedJobs {
    /// The jobs that have ended.
    pub done: JobSet,
    /// How many have ended well.
    pub ok: u64,
    /// Lines so far.
    lines: u64,
}

impl EndedJobs {
    /// Of a run with so many jobs, before its first line.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self {
            done: JobSet::none_of(count),
            ok: 0,
            lines: 0,
        }
    }

    /// Adds a line of the results.
    ///
    /// # Errors
    /// It is none of ours, with its number.
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
