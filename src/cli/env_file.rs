//! The file of `--env-file`: settings as a service manager reads them, for commands in another shell.
//!
//! The rules are those of systemd's `EnvironmentFile=`, without its escapes. Not the crate dotenvy: it replaces `$NAME` in
//! a value, and `$` and `#` may well be part of a password.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Reads the values of settings, by the names of their variables. An empty value is the same as none.
///
/// # Errors
/// One line that names the file and the number of the line. It repeats no value, which may be a secret.
pub(super) fn read(path: &Path, is_setting: impl Fn(&str) -> bool) -> Result<HashMap<String, String>, String> {
    let text = fs::read_to_string(path).map_err(|why| format!("--env-file: {}: {why}", path.display()))?;
    let mut values = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let parsed = parse(line, &is_setting);
        let parsed = parsed.map_err(|why| format!("--env-file: {}, line {number}: {why}", path.display()))?;
        values.extend(parsed);
    }
    values.retain(|_, value| !value.is_empty());
    Ok(values)
}

fn parse(line: &str, is_setting: impl Fn(&str) -> bool) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("it must be NAME=VALUE, or begin with #")?;
    let (name, value) = (name.trim(), value.trim());
    if !is_setting(name) {
        // The text before the = may be a part of a secret whose line was broken.
        let harmless = name.contains("LATCHKEY_") || name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let name = if harmless { name } else { "what stands before the =" };
        return Err(format!("{name} is not a setting; `latchkey serve --help` lists them all"));
    }
    let value = match value.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        Some(quote) => value[1..].strip_suffix(quote).ok_or_else(|| format!("{name} has no closing quote"))?,
        None => value,
    };
    Ok(Some((name.to_owned(), value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_as_it_is_written() {
        let value = |line: &str| parse(line, |name| name == "LATCHKEY_X").map(|parsed| parsed.map(|(_, value)| value));
        for (line, expected) in [
            ("LATCHKEY_X=a b", "a b"),
            ("  LATCHKEY_X = a=b#c $d \\n \r", "a=b#c $d \\n"),
            ("LATCHKEY_X=\"a 'b'\"", "a 'b'"),
            ("LATCHKEY_X=' a '", " a "),
            ("LATCHKEY_X=''", ""),
            ("LATCHKEY_X=", ""),
        ] {
            assert_eq!(value(line), Ok(Some(expected.to_owned())), "{line}");
        }
        for line in ["", "  ", "# LATCHKEY_X=1", "; x", "#LATCHKEY_X=1"] {
            assert_eq!(value(line), Ok(None), "{line}");
        }
        for line in ["LATCHKEY_X", "LATCHKEY_Y=1", "=1", "LATCHKEY_X='", "LATCHKEY_X=\"a", "LATCHKEY_X='a\""] {
            assert!(value(line).is_err(), "{line}");
        }
        let broken_secret = value("qk3P0o7Y0mYb5rVnTt9E6gkZ1yW8cXJfLhRuDsAaBvM=").expect_err("no setting");
        assert!(!broken_secret.contains("qk3P"), "{broken_secret}");
    }
}
