//! Thousands of certificates, each also checked by the program in docs/CERTIFICATES.md.

use std::fs;

use rug::{Integer, integer::Order};
use tempfile::tempdir;

use crate::proofs::{check_by_the_documentation, run};

#[test]
fn ten_thousand_random_primes_are_proven() {
    for (bits, count) in [(256, 6000), (512, 3000), (1024, 900), (2048, 100)] {
        let dir = tempdir().unwrap();
        let (bits, count) = (bits.to_string(), count.to_string());
        let args = ["--bits", &bits, "--count", &count, "--method", "provable"];
        let (_, file) = run(dir.path(), &args);
        assert_eq!(check_by_the_documentation(dir.path(), &file), "");
    }
}

#[test]
fn every_factor_of_a_thousand_random_numbers_is_proven() {
    let dir = tempdir().unwrap();
    let mut numbers = String::new();
    for index in 0..1000_u64 {
        let bits = 40 + (index * 160 / 999) as u32;
        let words: Vec<u64> = (0..4).map(|i| hash(index * 4 + i)).collect();
        let mut n = Integer::from_digits(&words, Order::Lsf);
        n.keep_bits_mut(bits);
        n.set_bit(bits - 1, true);
        numbers += &format!("{n}\n");
    }
    fs::write(dir.path().join("numbers.txt"), numbers).unwrap();
    let args = ["factor", "--prove", "--file", "numbers.txt"];
    let (results, file) = run(dir.path(), &args);
    assert_eq!(results.rows.len(), 1000);
    assert!(results.rows.iter().all(|row| row["proven"] == true));
    assert_eq!(check_by_the_documentation(dir.path(), &file), "");
}

/// SplitMix64, so that the numbers are the same every time.
fn hash(n: u64) -> u64 {
    let mut z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
