//! The mapping between units and their jobs.

use std::ops::Range;

/// The range of jobs of each unit. Consecutive units of the same size are stored as one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    groups: Vec<EqualUnits>,
    /// Number of units.
    units: u64,
    /// The job after the last one.
    end: u64,
}

/// Consecutive units of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EqualUnits {
    /// First unit.
    unit: u64,
    /// First job of the first unit.
    job: u64,
    /// Number of jobs in each unit.
    size: u64,
}

impl Bounds {
    /// No units yet; the first unit will begin with `job`.
    #[must_use]
    pub const fn from(job: u64) -> Self {
        Self {
            groups: Vec::new(),
            units: 0,
            end: job,
        }
    }

    /// Number of units.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// The job after the last one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Adds `units` units of `size` jobs each; `size` must be at least 1.
    pub fn add(&mut self, units: u64, size: u64) {
        if units == 0 {
            return;
        }
        if self.groups.last().is_none_or(|last| last.size != size) {
            self.groups.push(EqualUnits {
                unit: self.units,
                job: self.end,
                size,
            });
        }
        self.units += units;
        self.end += units * size;
    }

    /// Keeps only the first `units` units.
    pub fn truncate(&mut self, units: u64) {
        if let Some(jobs) = self.jobs(units) {
            (self.units, self.end) = (units, jobs.start);
            self.groups.retain(|group| group.unit < units);
        }
    }

    /// The jobs of a unit, if there is such a unit.
    #[must_use]
    pub fn jobs(&self, unit: u64) -> Option<Range<u64>> {
        let after = self.groups.partition_point(|group| group.unit <= unit);
        let group = self.groups[..after].last().filter(|_| unit < self.units)?;
        let start = group.job + (unit - group.unit) * group.size;
        Some(start..start + group.size)
    }

    /// The unit that contains a job, if there is one.
    #[must_use]
    pub fn unit_of(&self, job: u64) -> Option<u64> {
        let after = self.groups.partition_point(|group| group.job <= job);
        let group = self.groups[..after].last().filter(|_| job < self.end)?;
        Some(group.unit + (job - group.job) / group.size)
    }

    /// The jobs of each unit, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        (0..self.units).filter_map(|unit| self.jobs(unit))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_unit_has_its_jobs_and_every_job_its_unit(
            first in 0..10_u64,
            runs in prop::collection::vec((0..4_u64, 1..4_u64), 0..8),
            kept in 0..30_u64,
        ) {
            let mut bounds = Bounds::from(first);
            let mut expected = Vec::new();
            for (units, size) in runs {
                bounds.add(units, size);
                for _ in 0..units {
                    let start = expected.last().map_or(first, |jobs: &Range<u64>| jobs.end);
                    expected.push(start..start + size);
                }
            }
            for _ in 0..2 {
                prop_assert_eq!(bounds.units(), expected.len() as u64);
                prop_assert_eq!(bounds.end(), expected.last().map_or(first, |jobs| jobs.end));
                prop_assert_eq!(bounds.iter().collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(bounds.jobs(bounds.units()), None);
                for (unit, jobs) in (0..).zip(&expected) {
                    prop_assert!(jobs.clone().all(|job| bounds.unit_of(job) == Some(unit)));
                }
                prop_assert_eq!(bounds.unit_of(bounds.end()), None);
                prop_assert_eq!(bounds.unit_of(first.wrapping_sub(1)), None);
                bounds.truncate(kept);
                expected.truncate(kept as usize);
            }
        }
    }

    #[test]
    fn equal_units_take_no_memory() {
        let mut bounds = Bounds::from(0);
        for _ in 0..1000 {
            bounds.add(1, 7);
        }
        bounds.add(1 << 40, 7);
        assert_eq!(bounds.groups.len(), 1);
    }
}
