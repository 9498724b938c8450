//! Makes a typed function of every message in `locales/`. One that a language lacks gets no function, and whoever
//! calls it does not compile.

use std::env;
use std::process::ExitCode;

use fluent_typed::{BuildOptions, FtlOutputOptions, LintLevel, build_from_locales_folder};

fn main() -> ExitCode {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    build_from_locales_folder(
        BuildOptions::default()
            .with_prefix("")
            .with_lint_level(LintLevel::Strict)
            // No invisible marks around what is filled in: pages isolate it with <bdi>, and subjects, titles and
            // text letters must not have any.
            .without_bidi_isolation()
            .without_format()
            .with_ftl_output(FtlOutputOptions::single_file(&format!("{out}/translations.ftl")))
            .with_output_file_path(&format!("{out}/translations.rs")),
    )
}
