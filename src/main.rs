//! The program. All of it is in the library, where tests can reach it.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives back to the system what an attack has taken, a second after it; glibc's keeps most of it for ever. Its settings
/// are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    latchkey::cli::main()
}
