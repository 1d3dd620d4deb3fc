//! Relations of the quadratic sieve, as they are in a packet after decompression.

use std::{
    io::Write,
    sync::{LazyLock, Mutex},
};

use flate2::{Compression, write::ZlibEncoder};
use primepool_factor::{
    Integer,
    quadratic_sieve::{Collector, RELATIONS_FORM, Start},
};

/// Collector for the product of the first primes above 10^15 and 10^16.
static COLLECTOR: LazyLock<Mutex<Box<Collector>>> = LazyLock::new(|| {
    let above = |digits| Integer::from(Integer::u_pow_u(10, digits)).next_prime();
    match Collector::start(&(above(15) * above(16))) {
        Ok(Start::Ready(collector)) => Mutex::new(collector),
        other => panic!("{other:?}"),
    }
});

pub(crate) fn run(relations: &[u8]) {
    let mut collector = COLLECTOR.lock().expect("no thread has panicked");
    // Bytes that do not have the form of a packet add no relations.
    let before = collector.relations();
    if relations.first() != Some(&(RELATIONS_FORM as u8)) {
        let added = collector.add(relations);
        assert_eq!((added.new, added.known), (0, 0));
    }
    assert_eq!(collector.relations(), before);
    let mut encoder = ZlibEncoder::new(vec![RELATIONS_FORM as u8], Compression::fast());
    encoder.write_all(relations).expect("memory takes it");
    let packet = encoder.finish().expect("memory takes it");
    let first = collector.add(&packet);
    assert!(collector.relations() <= before + first.new);
    // The second time no relation is new, and the wrong ones are still wrong.
    let again = collector.add(&packet);
    assert_eq!((again.new, again.wrong), (0, first.wrong));
    assert_eq!(again.known, first.new + first.known);
}
