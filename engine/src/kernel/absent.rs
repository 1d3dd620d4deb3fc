//! In the place of the vector kernel on processors that have no such thing. No value of these types exists.

use rug::Integer;

use crate::{Cancel, Error, Form, Found, Stream};

/// Proof that the processor has the instructions: there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ifma {}

impl Ifma {
    pub(crate) fn detect() -> Option<Self> {
        None
    }
}

/// The searches with the vector kernel.
pub(crate) enum Search {}

impl Search {
    pub(crate) fn new(proof: Ifma) -> Self {
        match proof {}
    }

    pub(crate) fn handles(_bits: u32) -> bool {
        false
    }

    pub(crate) fn primes(
        &mut self,
        _bits: u32,
        _streams: &mut [Stream],
        _cancel: &Cancel,
        _found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn safe_primes(
        &mut self,
        _bits: u32,
        _streams: &mut [Stream],
        _cancel: &Cancel,
        _found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn uniform(
        &mut self,
        _form: Form,
        _bits: u32,
        _streams: &mut [Stream],
        _cancel: &Cancel,
        _found: &mut dyn FnMut(usize, Found),
    ) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn next_prime(
        &mut self,
        _start: &Integer,
        _cancel: &Cancel,
    ) -> Result<Found, Error> {
        match *self {}
    }

    pub(crate) fn verify(
        &mut self,
        _numbers: &mut [(usize, &Integer)],
        _bases: &mut Stream,
        _decided: &mut dyn FnMut(usize, bool),
    ) -> Result<(), Error> {
        match *self {}
    }
}

/// See the vector kernel's.
pub(crate) fn multiply_adds(proof: Ifma, _count: u64) -> u64 {
    match proof {}
}

/// Numbers to test again and again.
pub(crate) enum Work {}

impl Work {
    pub(crate) fn new(proof: Ifma, _bits: u32) -> Option<Self> {
        match proof {}
    }

    pub(crate) fn run(&mut self) -> Result<(u64, u64), Error> {
        match *self {}
    }

    pub(crate) fn confirm(&mut self) -> Result<u64, Error> {
        match *self {}
    }
}
