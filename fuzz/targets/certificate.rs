//! Primality certificates, read as in a file of results, or built from numbers so that their
//! structure is often valid. A number whose certificate is accepted must be prime.

use std::cell::RefCell;

use primepool_common::message::FiledCertificate;
use primepool_engine::{
    Cancel, Certificate, Claim, Engine, Integer,
    certificate::{MAX_STEPS, Step},
    primality::is_probable_prime,
};
use primepool_fuzz::{assert_brief, next_number};

thread_local! {
    // Building the engine's tables takes longer than checking a certificate.
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new());
}

/// Largest size in bits; larger numbers take too long.
const MOST_BITS: u32 = 1024;

/// A chain of numbers n = kq + 1, built from the smallest up; the input gives the sizes and the
/// bases.
fn chain(mut data: &[u8]) -> Certificate {
    let mut q = Integer::from(next_number(&mut data));
    let mut steps = Vec::new();
    while !data.is_empty() && steps.len() < 8 {
        let k = Integer::from(next_number(&mut data)) << (q.significant_bits() / 2);
        let n = k * &q + 1_u32;
        let (base, other) = match data.split_first_chunk() {
            Some((&[base, other], rest)) => {
                data = rest;
                (base, other)
            }
            None => (2, 0),
        };
        let mut factors = vec![q];
        if other > 1 {
            factors.push(other.into());
        }
        steps.push(Step {
            n: n.clone(),
            base: base.into(),
            factors,
        });
        q = n;
    }
    steps.reverse();
    Certificate { steps }
}

pub(crate) fn run(data: &[u8]) {
    let certificate = if data.first() == Some(&b'[') {
        match serde_json::from_slice::<FiledCertificate>(data) {
            Ok(filed) => {
                let text = serde_json::to_vec(&filed).expect("it has a JSON form");
                let again = serde_json::from_slice(&text);
                assert!(again.is_ok_and(|again: FiledCertificate| again == filed));
                filed.0
            }
            Err(_) => return,
        }
    } else {
        chain(data)
    };
    assert!(certificate.steps.len() <= MAX_STEPS);
    let bits = certificate
        .steps
        .iter()
        .map(|step| step.n.significant_bits());
    if bits.max().is_none_or(|most| most > MOST_BITS) {
        return;
    }
    let primes: Vec<Integer> = certificate
        .steps
        .iter()
        .map(|step| step.n.clone())
        .collect();
    let claim = Claim {
        primes: &primes,
        certificate: &certificate,
    };
    let cancel = Cancel::new();
    let verdicts = ENGINE.with_borrow_mut(|engine| engine.check_certificates(&[claim], &cancel));
    match &verdicts.expect("nothing cancels it")[0] {
        Ok(()) => {
            for n in primes {
                assert_eq!(is_probable_prime(&n, &cancel), Ok(true), "{n}");
            }
        }
        Err(flaw) => assert_brief(&flaw.to_string()),
    }
}
