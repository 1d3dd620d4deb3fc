//! Stacks for threads that others start.
#![allow(
    unsafe_code,
    reason = "the standard library has no other way to say how large the stacks of threads are that a library starts"
)]

use std::{env, fs};

/// The standard library reads it when the first thread is started.
const VARIABLE: &str = "RUST_MIN_STACK";

/// lapin reads tables and arrays in the headers of messages by recursion, 2 kB a level, and an empty level takes five or six bytes:
/// those of one frame of 16 KiB need 5 MB. On the 2 MiB that threads have otherwise a message of 7 kB, from whoever may publish,
/// would end the process of each who receives it. Only what is used takes memory.
const STACK_BYTES: u32 = 16 << 20;

/// Gives threads without a size of their own, that of lapin's reader among them, a stack on which every message can be read. The
/// user's own setting stays. To be called at the start of `main`: where other threads run already, it does nothing.
pub fn make_room() {
    let alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && env::var_os(VARIABLE).is_none() {
        // SAFETY: this is the only thread, so nobody reads or writes the environment meanwhile.
        unsafe { env::set_var(VARIABLE, STACK_BYTES.to_string()) };
    }
}
