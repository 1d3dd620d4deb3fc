//! Every kernel gives the same answers.

use std::thread;
use std::time::{Duration, Instant};

use primepool_engine::{
    Cancel, Confirmation, Engine, Error, Form, Integer, Kernel, Method, Stream,
};
use proptest::prelude::*;

/// One engine of each kernel that this processor has, the portable one first.
fn engines() -> Vec<Engine> {
    Kernel::ALL
        .into_iter()
        .rev()
        .filter_map(|kernel| Engine::with_kernel(kernel).ok())
        .collect()
}

fn primes(engine: &mut Engine, form: Form, bits: u32, seed: u64, count: u64) -> Vec<Integer> {
    let mut streams: Vec<Stream> = (0..count)
        .map(|index| Stream::seeded(seed, index))
        .collect();
    let mut primes = vec![Integer::new(); streams.len()];
    engine
        .primes(
            form,
            bits,
            &mut streams,
            &Cancel::new(),
            &mut |index, found| {
                assert_eq!(primes[index], 0, "twice");
                assert!(found.candidates > 0);
                primes[index] = found.prime;
            },
        )
        .unwrap();
    primes
}

fn assert_same(form: Form, bits: u32, seed: u64, count: u64) {
    let found: Vec<Vec<Integer>> = engines()
        .iter_mut()
        .map(|engine| primes(engine, form, bits, seed, count))
        .collect();
    for primes in &found {
        assert!(primes.iter().all(|p| p.significant_bits() == bits));
        assert_eq!(*primes, found[0], "{form:?} {bits} {seed} {count}");
    }
}

#[test]
fn leaving_a_round_to_the_caller_changes_no_prime() {
    for mut engine in engines() {
        for (form, bits) in [
            (Form::Prime, 256),
            (Form::Prime, 1024),
            (Form::SafePrime, 200),
        ] {
            engine.set_confirmation(Confirmation::Complete);
            let complete = primes(&mut engine, form, bits, 3, 20);
            engine.set_confirmation(Confirmation::OneRoundLeft);
            assert_eq!(primes(&mut engine, form, bits, 3, 20), complete, "{bits}");
        }
    }
}

#[test]
fn seeded_primes_are_the_same() {
    for bits in (60..=140).chain((141..=520).step_by(7)) {
        assert_same(Form::Prime, bits, 1, 20);
    }
    for bits in [256, 512] {
        assert_same(Form::Prime, bits, 2, 100);
    }
    for (bits, count) in [
        (768, 9),
        (1000, 9),
        (1024, 11),
        (1036, 3),
        (1037, 3),
        (1537, 3),
    ] {
        assert_same(Form::Prime, bits, 3, count);
    }
    assert_same(Form::Prime, 2048, 4, 2);
}

#[test]
fn any_number_of_streams_gives_the_same() {
    for count in 0..40 {
        assert_same(Form::Prime, 190, 5, count);
    }
}

#[test]
fn seeded_safe_primes_are_the_same() {
    for bits in (60..=140).chain((141..=260).step_by(7)) {
        assert_same(Form::SafePrime, bits, 6, 3);
    }
    assert_same(Form::SafePrime, 400, 7, 1);
}

#[test]
fn next_primes_are_the_same() {
    let mut engines = engines();
    let mut next = |after: &Integer| {
        let found: Vec<Integer> = engines
            .iter_mut()
            .map(|engine| engine.next_prime(after, &Cancel::new()).unwrap().prime)
            .collect();
        assert_eq!(found[0], Integer::from(after.next_prime_ref()));
        for prime in &found {
            assert_eq!(*prime, found[0], "{after:x}");
        }
    };
    for k in (62..=330).chain([511, 512, 1023, 1024]) {
        // 2^k − 1 may be a strong pseudoprime to base 2, after which the search has to go on.
        for offset in [-100, -2, -1, 0, 1] {
            next(&((Integer::from(1) << k) + offset));
        }
    }
    for n in [40_u32, 80, 170] {
        next(&(Integer::from(Integer::factorial(n)) + 1_u32));
    }
}

#[test]
fn verification_sorts_out_sizes() {
    let mut numbers = Vec::new();
    let mut expected = Vec::new();
    for bits in [
        20_u32, 63, 64, 65, 66, 127, 128, 250, 257, 320, 600, 1000, 1100, 1700,
    ] {
        for offset in [0_u32, 5, 17] {
            let p: Integer = ((Integer::from(1) << bits) + (offset << 9)).next_prime();
            numbers.extend([
                Integer::from(&p + 2 * offset),
                Integer::from(&p * 7),
                -p.clone(),
                p.clone(),
            ]);
            expected.extend([offset == 0, false, false, true]);
        }
    }
    for (n, expected) in numbers.iter().zip(&mut expected) {
        // p + 10 and p + 34 may be prime.
        *expected |= *n > 0 && n.is_probably_prime(30) != rug::integer::IsPrime::No;
    }
    for engine in &mut engines() {
        assert_eq!(engine.verify(&numbers).unwrap(), expected);
        assert_eq!(engine.verify(&[]).unwrap(), []);
    }
}

#[test]
fn cancelled_soon_at_any_size() {
    for engine in &mut engines() {
        for (method, form, bits) in [
            (Method::Incremental, Form::SafePrime, 2048),
            (Method::Incremental, Form::SafePrime, 4096),
            (Method::Incremental, Form::Prime, 8316),
            (Method::Incremental, Form::Prime, 16_000),
            (Method::Uniform, Form::SafePrime, 2048),
            (Method::Uniform, Form::Prime, 8316),
            (Method::Uniform, Form::Prime, 16_000),
        ] {
            let cancel = Cancel::new();
            let flag = cancel.clone();
            let setter = thread::spawn(move || {
                thread::sleep(Duration::from_millis(250));
                flag.cancel();
                Instant::now()
            });
            let mut streams: Vec<Stream> = (0..16).map(|i| Stream::seeded(1, i)).collect();
            let result =
                engine.primes_by(method, form, bits, &mut streams, &cancel, &mut |_, _| ());
            let end = Instant::now();
            assert_eq!(result, Err(Error::Cancelled));
            let taken = end.saturating_duration_since(setter.join().unwrap());
            // The promise is 100 ms; a busy machine gets more.
            assert!(
                taken < Duration::from_secs(1),
                "{method:?} {form:?} {bits}: {taken:?}"
            );
        }
    }
}

#[test]
fn an_engine_goes_on_after_a_cancellation() {
    for engine in &mut engines() {
        let expected = primes(engine, Form::Prime, 300, 8, 10);
        let cancel = Cancel::new();
        let flag = cancel.clone();
        let mut streams: Vec<Stream> = (0..200).map(|i| Stream::seeded(8, i)).collect();
        let mut found = 0;
        let result = engine.primes(Form::Prime, 300, &mut streams, &cancel, &mut |_, _| {
            found += 1;
            flag.cancel();
        });
        assert_eq!(result, Err(Error::Cancelled));
        assert!(found > 0 && found < 200);
        assert_eq!(primes(engine, Form::Prime, 300, 8, 10), expected);
    }
}

#[test]
fn a_kernel_that_the_processor_lacks_is_refused() {
    for kernel in Kernel::ALL {
        let engine = Engine::with_kernel(kernel);
        assert_eq!(engine.is_ok(), kernel.is_available());
        match engine {
            Ok(engine) => assert_eq!(engine.kernel(), kernel),
            Err(error) => assert!(error.to_string().contains("does not have"), "{error}"),
        }
    }
    assert_eq!(Engine::new().kernel(), Kernel::fastest());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn kernels_agree(bits in 60_u32..420, seed: u64, count in 1_u64..24) {
        assert_same(Form::Prime, bits, seed, count);
    }

    #[test]
    fn kernels_agree_on_safe_primes(bits in 60_u32..150, seed: u64, count in 1_u64..4) {
        assert_same(Form::SafePrime, bits, seed, count);
    }
}
