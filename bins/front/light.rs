//! Programs with networks, linked without libtorch: they answer help, configs and mistakes, and hand everything else over to
//! `podium-torch`, which is the same code with libtorch.
//!
//! The names of libtorch's functions stand in the program itself (`without_libtorch!`), so that the linker takes neither
//! the C++ behind them nor the library. The driver hands over before anything is looked for; whoever calls such a function
//! earlier hands over there.

use std::process::ExitCode;

/// The program with libtorch, which lies beside this one.
#[cfg(without_libtorch)]
const WHOLE: &str = "podium-torch";

/// Runs a program that is linked without libtorch; where the build could not do that, as any other.
pub fn main(program: fn() -> ExitCode) -> ExitCode {
    #[cfg(without_libtorch)]
    common::cli::elsewhere::begin(WHOLE);
    program()
}

/// What stands for every function of libtorch.
pub extern "C" fn called() -> ! {
    let error = match common::cli::elsewhere::hand_over() {
        Err(error) => error,
        Ok(()) => common::Error::failed("a function of libtorch was called in a program without it: this is a bug"),
    };
    common::cli::end(&error)
}

/// Defines the functions of libtorch in the program that this stands in.
#[macro_export]
macro_rules! without_libtorch {
    () => {
        #[cfg(without_libtorch)]
        std::arch::global_asm!(include_str!(env!("PODIUM_WITHOUT_LIBTORCH")), called = sym $crate::front::light::called);
    };
}
