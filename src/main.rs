//! The program. All of its code is in the library, where tests can reach it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The allocator. It gives memory back to the system one second after an attack; glibc's allocator keeps most of it until
/// the program ends. Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    latchkey::cli::main()
}
