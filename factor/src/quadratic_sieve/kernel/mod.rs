//! The sieve's inner loops, written once for all instruction sets ([`vectors`]). All find the same
//! relations.
//!
//! All `unsafe` code of the crate is in this module: in the implementations of vectors, and in
//! loops that write without a bounds check each time.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod buckets;
mod divisors;
mod portable;
mod roots;
mod vectors;

use std::fmt;

use primepool_engine::Kernel;

#[cfg(target_arch = "x86_64")]
use self::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use self::avx512::Avx512;
pub(super) use self::block::{Block, ModuliRun, ShortModuli, SieveBlock};
pub(super) use self::buckets::{BATCH_LOG2, Buckets, Fill, SECTION_LINES, Section};
pub(super) use self::divisors::{Divisors, LargeDivisors, Score};
use self::portable::Portable;
pub(super) use self::roots::{Change, Inverses, Moduli, Roots, StartRoots};
use self::vectors::{Operation, Vectors};
pub(super) use self::vectors::{SHORTS, Shorts, WORDS, Words};

/// The instruction set of the sieve's inner loops.
#[derive(Clone, Copy)]
pub struct SieveKernel(InstructionSet);

#[derive(Clone, Copy)]
enum InstructionSet {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable(Portable),
}

impl SieveKernel {
    /// All kernels that this processor has, the fastest first. The last one is `portable`.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Avx512::detect().map(InstructionSet::Avx512));
            all.extend(Avx2::detect().map(InstructionSet::Avx2));
        }
        all.push(InstructionSet::Portable(Portable));
        all.into_iter().map(Self).collect()
    }

    /// The fastest kernel that this processor has.
    #[must_use]
    pub fn fastest() -> Self {
        Self::available().swap_remove(0)
    }

    /// The fastest kernel that needs no more processor features than `kernel` of the engine.
    #[must_use]
    pub fn like(kernel: Kernel) -> Self {
        let mut available = Self::available().into_iter();
        let fitting = available.find(|own| own.words() <= words(kernel));
        fitting.unwrap_or(Self(InstructionSet::Portable(Portable)))
    }

    /// The fastest kernel of the engine that needs no more processor features than this one.
    pub(super) fn of_engine(self) -> Kernel {
        let mut fitting = Kernel::ALL
            .into_iter()
            .filter(|&kernel| words(kernel) <= self.words() && kernel.is_available());
        fitting.next().unwrap_or(Kernel::Gmp)
    }

    /// Words of 32 bits in a vector; 0 for the portable kernel.
    fn words(self) -> u32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512(_) => 16,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2(_) => 8,
            InstructionSet::Portable(_) => 0,
        }
    }

    /// The name of the kernel: `avx512` (F, BW, DQ, VL and VBMI2), `avx2` or `portable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2(_) => "avx2",
            InstructionSet::Portable(_) => "portable",
        }
    }

    pub(super) fn run<O: Operation>(self, operation: O) -> O::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512(v) => v.run(operation),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2(v) => v.run(operation),
            InstructionSet::Portable(v) => v.run(operation),
        }
    }
}

/// Words of 32 bits in the vectors of a kernel of the engine; 0 if it has none.
fn words(kernel: Kernel) -> u32 {
    match kernel {
        Kernel::Ifma512 | Kernel::Fma512 => 16,
        Kernel::Ifma256 | Kernel::Fma256 => 8,
        Kernel::Gmp => 0,
    }
}

impl fmt::Debug for SieveKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
