//! Stack size of threads that libraries start.
#![allow(
    unsafe_code,
    reason = "the standard library has no other way to say how large the stacks of threads are that a library starts"
)]

use std::{env, fs};

/// Environment variable with the stack size of new threads, in bytes. The standard library reads it
/// when the first thread is started.
const VARIABLE: &str = "RUST_MIN_STACK";

/// lapin decodes tables and arrays in message headers by recursion, 2 kB of stack per level, and an
/// empty level takes five or six bytes of the message: one frame of 16 KiB can need 5 MB of stack.
/// With the default stack of 2 MiB, a message of 7 kB from any publisher would crash every process
/// that receives it. Only the part of a stack that is used takes memory.
const STACK_BYTES: u32 = 16 << 20;

/// Gives threads without an explicit stack size, lapin's reader among them, a stack large enough to
/// decode any message. A value set by the user is kept. Call it at the start of `main`: if other
/// threads already run, it does nothing.
pub fn make_room() {
    let alone = fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && env::var_os(VARIABLE).is_none() {
        // SAFETY: this is the only thread, so no other thread reads or writes the environment.
        unsafe { env::set_var(VARIABLE, STACK_BYTES.to_string()) };
    }
}
