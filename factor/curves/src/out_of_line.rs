//! A field for operations that are rarely needed.

use super::field::{Field, Task};

/// A field whose operations are called instead of inlined, unless the field is small. If operations
/// needed once per curve were inlined, they would be most of the code of each size of numbers, and
/// of its compile time.
pub(crate) struct OutOfLine<'a, F>(pub(crate) &'a F);

#[inline(always)]
fn run_task<F: Field, T: Task<F>>(f: &F, task: T) -> T::Output {
    if F::IS_SMALL {
        task.run(f)
    } else {
        run_out_of_line(f, task)
    }
}

#[inline(never)]
fn run_out_of_line<F: Field, T: Task<F>>(f: &F, task: T) -> T::Output {
    f.call(task)
}

/// Defines operations by task type, method name, operands and result.
macro_rules! operations {
    ($($task:ident: $name:ident($($arg:ident: $type:ident),*) -> $out:ident;)*) => {
        $(
            struct $task<'a, F: Field>($(&'a F::$type),*);

            impl<F: Field> Task<F> for $task<'_, F> {
                type Output = F::$out;

                #[inline(always)]
                fn run(self, f: &F) -> F::$out {
                    let Self($($arg),*) = self;
                    f.$name($($arg),*)
                }
            }
        )*

        impl<F: Field> Field for OutOfLine<'_, F> {
            type Factor = F::Factor;
            type Product = F::Product;

            const IS_SMALL: bool = F::IS_SMALL;

            $(
                #[inline(always)]
                fn $name(&self, $($arg: &F::$type),*) -> F::$out {
                    run_task(self.0, $task::<F>($($arg),*))
                }
            )*

            #[inline(always)]
            fn integer(&self, integer: i32) -> F::Product {
                run_task(self.0, Integer(integer))
            }

            #[inline(always)]
            fn one(&self) -> F::Factor {
                self.0.one()
            }

            #[inline(always)]
            fn zero(&self) -> F::Product {
                self.0.zero()
            }

            fn call<T: Task<Self>>(&self, task: T) -> T::Output {
                task.run(self)
            }

            #[inline(always)]
            fn load(&self, words: &[u64]) -> F::Product {
                self.0.load(words)
            }

            #[inline(always)]
            fn store(&self, product: &F::Product, words: &mut [u64]) {
                self.0.store(product, words);
            }
        }
    };
}

operations! {
    Multiply: multiply(a: Factor, b: Factor) -> Product;
    Square: square(a: Factor) -> Product;
    AsFactor: factor(a: Product) -> Factor;
    Add: add(a: Product, b: Product) -> Factor;
    Subtract: subtract(a: Product, b: Product) -> Factor;
    SubtractBoth: subtract_both(a: Product, b: Product, c: Product) -> Factor;
    SubtractAddTwice: subtract_add_twice(a: Product, b: Product, c: Product) -> Factor;
}

struct Integer(i32);

impl<F: Field> Task<F> for Integer {
    type Output = F::Product;

    #[inline(always)]
    fn run(self, f: &F) -> F::Product {
        f.integer(self.0)
    }
}
