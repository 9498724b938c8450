//! Makes a typed function of every message in `locales/`. A message that one language lacks gets no function, so code that
//! uses it does not compile.

use std::process::ExitCode;
use std::{env, fs};

use fluent_typed::{BuildOptions, FtlOutputOptions, LintLevel, build_from_locales_folder};

fn main() -> ExitCode {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let ended = build_from_locales_folder(
        BuildOptions::default()
            .with_prefix("")
            .with_lint_level(LintLevel::Strict)
            // Values in a message get no invisible marks around them. Pages isolate values with <bdi>, and subjects, titles
            // and plain-text emails must have no such marks.
            .without_bidi_isolation()
            .without_format()
            .with_ftl_output(FtlOutputOptions::single_file(&format!("{out}/translations.ftl")))
            .with_output_file_path(&format!("{out}/translations.rs")),
    );
    keep_texts(&format!("{out}/translations.rs"));
    ended
}

/// Makes the functions of messages without arguments return a text that is made once (`Text`), and not a new one each time.
fn keep_texts(file: &str) {
    const BEGINS: &str = "(&self) -> String {\n        self.0.msg(\"";
    const ENDS: &str = "\", None).unwrap()";
    let Ok(code) = fs::read_to_string(file) else { return }; // the messages have a mistake, which was reported
    let mut parts = code.split(BEGINS);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (id, rest) =
            part.split_once(ENDS).expect("the generator writes functions in another form now: adapt this one");
        kept += &format!(
            "(&self) -> &'static str {{\n        static TEXT: Text = Text::new();\n        TEXT.of(&self.0, \"{id}\"){rest}"
        );
    }
    fs::write(file, kept).expect("cargo's own folder can be written");
}
