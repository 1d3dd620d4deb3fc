//! Campaigns without a broker: every stage, lost and late units, forged answers, and resuming after
//! any entry.
#![allow(clippy::unwrap_used)]

use std::num::NonZero;
use std::time::Instant;

use primepool_common::message::{
    Factorization, HexInteger, Packet, Power, Share, StageCost, UnitId,
};
use primepool_factor::{
    Cancel, Integer,
    quadratic_sieve::{Families, RELATIONS_FORM, SieveKernel},
};
use proptest::prelude::*;

use super::{
    answer::{CampaignAnswer, Verdict},
    campaign::{Campaign, Issue, PATIENCE},
    decide::MOST_FAILURES,
    entry::{Entry, Stage},
    state::{CampaignState, StageState},
};
use crate::request::FactoringAims;

const BALANCED: FactoringAims = FactoringAims {
    is_balanced: true,
    effort: 30,
};

/// A product of the first primes with more than 20 and 21 digits.
fn semiprime() -> Integer {
    product(20, 21)
}

/// A product of the first primes above these powers of ten.
fn product(one: u32, other: u32) -> Integer {
    let above = |digits| Integer::from(Integer::u_pow_u(10, digits)).next_prime();
    above(one) * above(other)
}

/// The result of a worker that leaves all of `n` to the pool.
fn left_to_pool(n: &Integer) -> Factorization {
    Factorization {
        composites: vec![Power(HexInteger(n.clone()), 1)],
        ..Factorization::default()
    }
}

/// A campaign whose sieve has begun.
fn at_the_sieve() -> Campaign {
    let mut campaign = Campaign::new(semiprime(), BALANCED);
    campaign.begin(left_to_pool(&semiprime()), 5);
    campaign.advance(|| 1);
    assert!(matches!(
        campaign.state().progress,
        StageState::Sieve(Some(_))
    ));
    campaign
}

fn issue(campaign: &mut Campaign, count: usize, at: Instant) -> Vec<Issue> {
    campaign.issue(count, 1.0, at)
}

fn families(number: &Integer) -> Families {
    Families::new(number, SieveKernel::fastest(), &Cancel::new()).unwrap()
}

/// The answer of an honest worker.
fn work(issue: &Issue) -> (CampaignAnswer, u64) {
    let Some(Share::Sieve { first, count, .. }) = issue.share else {
        // All divisors here are prime.
        let found = Factorization {
            factors: vec![Power(HexInteger(issue.number.clone()), 1)],
            ..Factorization::default()
        };
        return (CampaignAnswer::TakenApart(found), 1);
    };
    let mut families = families(&issue.number);
    let range = first..first + u64::from(count.min(8));
    let (packet, done) = families.sieve(range, &Cancel::new()).unwrap();
    (CampaignAnswer::Relations(packet), done)
}

/// A packet of relations of another number.
fn foreign_relations() -> Vec<u8> {
    let mut families = families(&product(19, 22));
    families.sieve(0..4, &Cancel::new()).unwrap().0
}

fn answer(
    campaign: &mut Campaign,
    issue: &Issue,
    (answer, done): (CampaignAnswer, u64),
) -> Verdict {
    campaign.on_answer(issue.unit, answer, done, 1000)
}

/// Runs a campaign to its end, with one worker that loses every third unit.
fn finish(campaign: &mut Campaign) {
    let mut batches = 100..;
    let mut now = Instant::now();
    for turn in 0.. {
        let (_, collector) = campaign.advance(|| batches.next().unwrap());
        if let Some(mut collector) = collector {
            let solved = collector
                .solve(NonZero::<usize>::MIN, &Cancel::new())
                .map_err(|error| error.to_string());
            campaign.on_solved(collector, solved, 7, batches.next().unwrap());
        }
        if campaign.state().is_over() {
            return;
        }
        for issue in issue(campaign, 1, now) {
            if turn % 3 != 2 {
                let answered = work(&issue);
                assert_eq!(answer(campaign, &issue, answered), Verdict::Good);
            }
        }
        now += PATIENCE;
    }
}

fn replayed(entries: &[Entry]) -> CampaignState {
    let mut state = CampaignState::new(semiprime(), BALANCED);
    for entry in entries {
        state.apply(entry, None).unwrap();
    }
    state
}

#[test]
fn it_ends_with_the_factors_whatever_is_lost() {
    let mut campaign = at_the_sieve();
    finish(&mut campaign);
    let found = campaign.state().factorization();
    assert!(found.is_complete());
    let product: Integer = found.factors.iter().map(|p| p.0.0.clone()).product();
    assert_eq!((found.factors.len(), product), (2, semiprime()));
    let stages: Vec<_> = found.stages.iter().map(|cost| &*cost.stage).collect();
    assert_eq!(stages, ["overhead", "sieve", "linear-algebra"]);
}

#[test]
fn any_prefix_of_the_entries_gives_the_state_of_then() {
    let mut campaign = at_the_sieve();
    let mut entries = campaign.take_entries();
    let mut batches = 100..;
    let mut now = Instant::now();
    let mut compared = 0;
    while !campaign.state().is_over() {
        let (_, collector) = campaign.advance(|| batches.next().unwrap());
        if let Some(mut collector) = collector {
            // The linear algebra of the first batch of the sieve finds nothing.
            let solved = match campaign.state().batch {
                1 => Ok(None),
                _ => collector
                    .solve(NonZero::<usize>::MIN, &Cancel::new())
                    .map_err(|error| error.to_string()),
            };
            campaign.on_solved(collector, solved, 7, batches.next().unwrap());
        }
        let units = issue(&mut campaign, 2, now);
        for (number, unit) in units.iter().enumerate() {
            // Wrong answers and late ones change nothing.
            for wrong in [vec![], vec![1; 100], foreign_relations()] {
                answer(&mut campaign, unit, (CampaignAnswer::Relations(wrong), 1));
            }
            if compared % 5 == 4 && number == 0 {
                let failed = CampaignAnswer::Failed("no memory".to_owned());
                answer(&mut campaign, unit, (failed, 0));
            }
            let answered = work(unit);
            answer(&mut campaign, unit, answered);
            let answered = work(unit);
            assert_eq!(answer(&mut campaign, unit, answered), Verdict::Late);
        }
        now += PATIENCE;
        entries.extend(campaign.take_entries());
        // Replaying a sieve processes all relations again, so it is not done after each of them.
        compared += 1;
        if compared % 8 == 1 || campaign.state().is_over() {
            assert_eq!(replayed(&entries).snapshot(), campaign.state().snapshot());
        }
    }
    let costs = campaign.state().factorization().stages;
    let stage = |name: &str| costs.iter().find(|cost| cost.stage == name);
    assert!(
        stage("failed").is_some_and(|cost| cost.us >= 1000),
        "{costs:?}"
    );
    assert_eq!(
        stage("linear-algebra").map(|cost| cost.us),
        Some(14),
        "that of the one that found nothing, too: {costs:?}"
    );
}

#[test]
fn a_resumed_campaign_goes_on_with_other_units() {
    let mut campaign = at_the_sieve();
    let units = issue(&mut campaign, 3, Instant::now());
    let answered = work(&units[0]);
    assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
    let mut again = Campaign::new(semiprime(), BALANCED);
    for entry in campaign.take_entries() {
        again.replay(&entry).unwrap();
    }
    // Answers to units of the previous session still count, once; new units have other shares.
    for (unit, verdict) in [(1, Verdict::Good), (1, Verdict::Late), (0, Verdict::Late)] {
        let answered = work(&units[unit]);
        assert_eq!(answer(&mut again, &units[unit], answered), verdict);
    }
    let next = issue(&mut again, 1, Instant::now());
    assert_eq!(next[0].unit.index, units[2].unit.index + 1);
    let first = |issue: &Issue| match issue.share {
        Some(Share::Sieve { first, .. }) => first,
        _ => panic!("{issue:?}"),
    };
    assert!(first(&next[0]) > first(&units[2]));
    finish(&mut again);
    assert!(again.state().factorization().is_complete());
}

/// Worker time without a result counts towards `--deadline` after a resume too.
#[test]
fn the_checkpoint_keeps_all_costs() {
    let mut campaign = at_the_sieve();
    let units = issue(&mut campaign, 3, Instant::now());
    let failed = CampaignAnswer::Failed("no memory".to_owned());
    assert_eq!(answer(&mut campaign, &units[0], (failed, 0)), Verdict::Good);
    let (packet, done) = work(&units[1]);
    assert_eq!(
        answer(&mut campaign, &units[1], (packet, done)),
        Verdict::Good
    );
    // The same relations for another unit are known, but their time counts.
    let (packet, done) = work(&units[1]);
    assert_eq!(
        answer(&mut campaign, &units[2], (packet, done)),
        Verdict::Good
    );
    let entries = campaign.take_entries();
    assert_eq!(campaign.state().spent_us(), 3005);
    assert_eq!(replayed(&entries).spent_us(), 3005);
    assert_eq!(replayed(&entries).snapshot(), campaign.state().snapshot());
    let kept =
        |entry: &&Entry| matches!(entry, Entry::Relations { packet, .. } if !packet.0.is_empty());
    assert_eq!(
        entries.iter().filter(kept).count(),
        1,
        "known relations are not kept twice"
    );
}

#[test]
fn a_unit_without_an_answer_is_replaced_and_its_answer_still_counts() {
    let mut campaign = at_the_sieve();
    let start = Instant::now();
    let units = issue(&mut campaign, 2, start);
    assert_eq!(units.len(), 2);
    assert_eq!(issue(&mut campaign, 2, start), []);
    let later = issue(&mut campaign, 2, start + PATIENCE);
    assert_eq!(later.len(), 2);
    let answered = work(&units[0]);
    assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
}

#[test]
fn wrong_answers_cost_nothing_and_leave_room_for_right_ones() {
    let mut campaign = at_the_sieve();
    let units = issue(&mut campaign, 1, Instant::now());
    let (before, entries) = (campaign.state().snapshot(), campaign.take_entries().len());
    for bad in [
        CampaignAnswer::Relations(vec![]),
        CampaignAnswer::Relations(vec![1; 100]),
        CampaignAnswer::Relations(foreign_relations()),
        CampaignAnswer::Curves(None),
        CampaignAnswer::Curves(Some(semiprime())),
        CampaignAnswer::TakenApart(Factorization::default()),
    ] {
        let verdict = answer(&mut campaign, &units[0], (bad, 1));
        assert!(matches!(verdict, Verdict::Wrong(_)), "{verdict:?}");
    }
    // A packet of another version does not count as wrong.
    for other in [0x78, 2, RELATIONS_FORM as u8 + 1] {
        let other = vec![other, 1, 2];
        let verdict = answer(
            &mut campaign,
            &units[0],
            (CampaignAnswer::Relations(other), 1),
        );
        assert_eq!(verdict, Verdict::OtherForm);
    }
    assert_eq!(campaign.state().snapshot(), before);
    assert_eq!((campaign.take_entries().len(), entries > 0), (0, true));
    let answered = work(&units[0]);
    assert_eq!(answer(&mut campaign, &units[0], answered), Verdict::Good);
    // Answers to units and batches that were never issued.
    for unit in [
        UnitId {
            batch: 1,
            index: 99,
        },
        UnitId { batch: 9, index: 0 },
    ] {
        let answered = work(&units[0]);
        let other = Issue {
            unit,
            ..units[0].clone()
        };
        assert_eq!(answer(&mut campaign, &other, answered), Verdict::Late);
    }
}

/// Relations of an earlier version are unusable, but their cost is known.
#[test]
fn a_checkpoint_of_an_earlier_version_goes_on() {
    let mut campaign = at_the_sieve();
    issue(&mut campaign, 1, Instant::now());
    let mut state = replayed(&campaign.take_entries());
    let upto = state.upto;
    let old = Entry::Relations {
        unit: 0,
        families: 3,
        us: 1000,
        packet: Packet(vec![0x78, 1, 2, 3]),
    };
    assert_eq!(state.apply(&old, None).map(|added| added.new), Ok(0));
    assert!(state.answered.contains(&0));
    assert_eq!((state.upto, state.done), (upto, 0.0));
    // A level of curves that this version does not use for this size ends at once.
    let mut campaign = Campaign::new(semiprime(), FactoringAims::default());
    campaign.begin(left_to_pool(&semiprime()), 5);
    for entry in [
        Entry::Begun {
            batch: 1,
            of: HexInteger(semiprime()),
            stage: Stage::Curves { digits: 30 },
            us: 0,
        },
        Entry::Issued { units: 1, upto: 10 },
    ] {
        campaign.replay(&entry).unwrap();
    }
    campaign.advance(|| 2);
    assert!(matches!(
        campaign.state().progress,
        StageState::Sieve(Some(_))
    ));
}

/// A unit is re-issued once per node; otherwise each forged answer would trigger a new unit.
#[test]
fn a_liar_is_replaced_once() {
    let mut campaign = at_the_sieve();
    let now = Instant::now();
    let units = issue(&mut campaign, 1, now);
    for _ in 0..5 {
        campaign.avoid(units[0].unit, "liar");
    }
    let more = issue(&mut campaign, 1, now);
    assert_eq!(more.len(), 1);
    campaign.avoid(more[0].unit, "liar");
    assert_eq!(issue(&mut campaign, 1, now), []);
    assert_eq!(campaign.avoided(), ["liar"]);
}

#[test]
fn batches_are_cancelled_once_and_only_while_units_are_at_work() {
    let mut campaign = at_the_sieve();
    assert_eq!(campaign.give_up("too late"), None, "no unit was issued");

    let mut campaign = at_the_sieve();
    issue(&mut campaign, 1, Instant::now());
    assert_eq!(campaign.give_up("too late"), Some(1));
    assert!(campaign.state().is_over());
    assert_eq!(campaign.advance(|| 2).0, [0; 0]);
    let found = campaign.state().factorization();
    assert_eq!(found.composites, [Power(HexInteger(semiprime()), 1)]);
    assert_eq!(found.reason.as_deref(), Some("too late"));

    // If a stage had only one unit, the answer to it leaves nothing to cancel.
    let mut campaign = Campaign::new(semiprime(), BALANCED);
    campaign.advance(|| 1);
    let units = issue(&mut campaign, 2, Instant::now());
    assert_eq!((units.len(), &units[0].share), (1, &None), "one at a time");
    let found = CampaignAnswer::TakenApart(left_to_pool(&semiprime()));
    assert_eq!(answer(&mut campaign, &units[0], (found, 1)), Verdict::Good);
    assert_eq!(campaign.advance(|| 2).0, [0; 0]);
}

#[test]
fn a_divisor_is_given_up_after_too_many_failures() {
    let mut campaign = at_the_sieve();
    for _ in 0..MOST_FAILURES {
        let units = issue(&mut campaign, 1, Instant::now());
        let failed = CampaignAnswer::Failed("no memory".to_owned());
        assert_eq!(answer(&mut campaign, &units[0], (failed, 0)), Verdict::Good);
    }
    campaign.advance(|| 100);
    assert!(campaign.state().is_over());
    let found = campaign.state().factorization();
    assert_eq!(found.reason.as_deref(), Some("no memory"));
    let stage = "failed".to_owned();
    let us = 1000 * u64::from(MOST_FAILURES);
    assert_eq!(
        found.stages[1],
        StageCost {
            stage,
            us,
            count: 0
        }
    );
}

#[test]
fn a_curve_splits_a_divisor_into_two() {
    let mut campaign = Campaign::new(product(20, 60), FactoringAims::default());
    campaign.begin(left_to_pool(&product(20, 60)), 0);
    campaign.advance(|| 1);
    let units = issue(&mut campaign, 3, Instant::now());
    let divisor = Integer::from(Integer::u_pow_u(10, 20)).next_prime();
    let found = CampaignAnswer::Curves(Some(divisor.clone()));
    assert_eq!(answer(&mut campaign, &units[0], (found, 3)), Verdict::Good);
    assert_eq!(campaign.advance(|| 2).0, [1], "two units are still at work");
    // Both divisors are factored, the last one first.
    let next = issue(&mut campaign, 3, Instant::now());
    assert_eq!((next.len(), &next[0].share), (1, &None));
    assert_eq!(next[0].number.clone() * divisor, product(20, 60));
    finish(&mut campaign);
    assert_eq!(campaign.state().factorization().factors.len(), 2);
}

#[test]
fn a_number_of_unknown_shape_gets_all_levels() {
    let n: Integer = Integer::from(Integer::u_pow_u(2, 500)) - 1;
    let mut campaign = Campaign::new(n.clone(), FactoringAims::default());
    campaign.begin(left_to_pool(&n), 0);
    let mut digits = Vec::new();
    loop {
        campaign.advance(|| 1);
        let StageState::Curves { level, .. } = campaign.state().progress else {
            break;
        };
        digits.push(level.digits);
        let mut done = 0;
        while done < level.curves {
            let units = issue(&mut campaign, 1, Instant::now());
            let Some(Share::Curves { first, count, .. }) = units[0].share else {
                panic!()
            };
            assert_eq!(first, done);
            done += count;
            let nothing = (CampaignAnswer::Curves(None), count.into());
            assert_eq!(answer(&mut campaign, &units[0], nothing), Verdict::Good);
        }
    }
    assert_eq!(digits, [15, 20, 25, 30]);
    assert!(campaign.state().is_over(), "too large for the sieve");
    assert!(!campaign.state().factorization().is_complete());
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let of = || HexInteger(semiprime());
    prop_oneof![
        Just(Entry::TakenApart {
            of: of(),
            found: Factorization::default(),
            us: 0
        }),
        Just(Entry::TakenApart {
            of: of(),
            found: left_to_pool(&semiprime()),
            us: 3
        }),
        Just(Entry::Begun {
            batch: 1,
            of: of(),
            stage: Stage::TakeApart,
            us: 0
        }),
        Just(Entry::Begun {
            batch: 2,
            of: of(),
            stage: Stage::Curves { digits: 20 },
            us: 1
        }),
        (0..9_u32, any::<u64>()).prop_map(|(units, upto)| Entry::Issued { units, upto }),
        any::<(u32, u64, u64)>().prop_map(|(unit, done, us)| Entry::Curves { unit, done, us }),
        any::<(u32, u64)>().prop_map(|(unit, us)| Entry::Failed { unit, us }),
        Just(Entry::Relations {
            unit: 0,
            families: 1,
            us: 1,
            packet: Packet(vec![1])
        }),
        Just(Entry::Split {
            of: of(),
            divisor: HexInteger(7.into()),
            us: 0
        }),
        Just(Entry::Left {
            of: of(),
            reason: String::new(),
            us: 2
        }),
    ]
}

proptest! {
    /// A damaged checkpoint causes an error, not a panic; an entry that does not follow from the
    /// earlier ones changes nothing.
    #[test]
    fn an_entry_that_does_not_follow_changes_nothing(
        entries in proptest::collection::vec(any_entry(), 0..8),
    ) {
        let mut state = CampaignState::new(semiprime(), BALANCED);
        for entry in entries {
            let before = state.snapshot();
            if state.apply(&entry, None).is_err() {
                prop_assert_eq!(state.snapshot(), before);
            }
        }
        let _ = state.factorization();
    }
}
