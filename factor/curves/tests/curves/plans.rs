//! Tests of the plans of curves.

use primepool_curves::plan::{CurveBounds, CurvePlan};
use primepool_curves::{Cancel, Error, Integer};
use primepool_engine::small;

const ALL: [u32; 8] = [2, 30, 50, 180, 600, 2_000, 5_000, 15_000];

#[test]
fn the_exponent_is_what_the_windows_are() {
    for b1 in ALL {
        let plan = CurvePlan::new(CurveBounds::new(b1), &Cancel::new()).unwrap();
        let mut exponent = Integer::from(plan.highest);
        for window in &plan.windows {
            assert!(window.doublings > 0);
            assert!(window.digit == 0 || window.digit % 2 != 0);
            assert!(window.digit.unsigned_abs() < 2 * plan.odd_multiples as u32);
            exponent = (exponent << window.doublings) + window.digit;
        }
        assert_eq!(exponent, plan.exponent);
        for power in 2..=b1 {
            let is_power = !exponent.is_divisible_u(power);
            assert!(!is_power, "{power} of {b1}");
        }
    }
}

#[test]
fn each_prime_between_the_bounds_is_in_a_pair() {
    for b1 in ALL {
        let bounds = CurveBounds::new(b1);
        let plan = CurvePlan::new(bounds, &Cancel::new()).unwrap();
        let mut is_met = vec![false; (bounds.b2 + bounds.step * (bounds.width + 1)) as usize];
        let mut start = 0;
        for (giant, &end) in (plan.first_giant..).zip(&plan.ends) {
            for &baby in &plan.pairs[start as usize..end as usize] {
                let (giant, baby) = (giant * bounds.step, plan.baby_steps[baby as usize]);
                is_met[giant.abs_diff(baby) as usize] = true;
                is_met[(giant + baby) as usize] = true;
            }
            start = end;
        }
        assert_eq!(start as usize, plan.pairs.len());
        let missed: Vec<u32> = (b1 + 1..=bounds.b2)
            .filter(|&p| small::is_prime(p.into()) && !bounds.step.is_multiple_of(p))
            .filter(|&p| !is_met[p as usize])
            .collect();
        assert_eq!(missed, [0_u32; 0], "{b1}");
    }
}

#[test]
fn a_large_plan_is_cancelled() {
    let cancel = Cancel::new();
    cancel.cancel();
    let plan = CurvePlan::new(CurveBounds::new(50_000_000), &cancel);
    assert!(matches!(plan, Err(Error::Cancelled)));
}
