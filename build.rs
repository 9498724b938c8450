//! Makes a typed function of every message in `locales/`. A message that one language lacks gets no function, so code that
//! uses it does not compile.

use std::env;
use std::process::ExitCode;

use fluent_typed::{BuildOptions, FtlOutputOptions, LintLevel, build_from_locales_folder};

fn main() -> ExitCode {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    build_from_locales_folder(
        BuildOptions::default()
            .with_prefix("")
            .with_lint_level(LintLevel::Strict)
            // Values in a message get no invisible marks around them. Pages isolate values with <bdi>, and subjects, titles
            // and plain-text emails must have no such marks.
            .without_bidi_isolation()
            .without_format()
            .with_ftl_output(FtlOutputOptions::single_file(&format!("{out}/translations.ftl")))
            .with_output_file_path(&format!("{out}/translations.rs")),
    )
}
