//! Names that look like other names (Unicode TS 39, “Unicode Security Mechanisms”).

use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::skeleton;

/// Returns whether a text mixes scripts in a way that no language does. The most that is allowed is “Highly Restrictive” (TS 39,
/// 5.2): one script, or Latin beside Chinese, Japanese or Korean. One Cyrillic letter in a Latin name is invisible.
pub fn mixes_scripts(text: &str) -> bool {
    if !AugmentedScriptSet::for_str(text).is_empty() {
        return false;
    }
    let (latin, mut others) = (AugmentedScriptSet::for_char('a'), AugmentedScriptSet::default());
    for set in text.chars().map(AugmentedScriptSet::for_char) {
        let mut as_latin = set;
        as_latin.intersect_with(latin);
        if as_latin.is_empty() {
            others.intersect_with(set);
        }
    }
    !(others.hanb || others.jpan || others.kore)
}

/// Returns whether a reader could take a name, given as it was typed and in its canonical form, for `word`.
pub fn looks_like((typed, canonical): (&str, &str), word: &str) -> bool {
    let mut forms = readings(canonical);
    // A capital I among small letters looks like a small L: “AlI”.
    if typed.contains(char::is_lowercase) {
        forms.push(look(&typed.replace('I', "l")));
    }
    let word = readings(word);
    forms.iter().any(|form| word.contains(form))
}

/// Returns what a text looks like, and what it looks like to a reader who takes its digits for letters: “r00t”, “adm1n”.
fn readings(text: &str) -> Vec<String> {
    let with_letters = |one: char| {
        let letter = move |c| match c {
            '0' => 'o',
            '1' => one,
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            other => other,
        };
        look(&text.chars().map(letter).collect::<String>())
    };
    vec![look(text), with_letters('l'), with_letters('i')]
}

/// Returns the skeleton of a text (TS 39, 4): two texts that look alike have the same skeleton. Separators, spaces, accents
/// and case do not count here: “Ad.Mín” looks as official as “admin”.
fn look(text: &str) -> String {
    let small = text.to_lowercase();
    skeleton(&small).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_script_is_no_mixture_nor_is_latin_beside_chinese_japanese_or_korean() {
        for text in ["sam-99", "саманта", "प्रिया", "ᏣᎳᎩ", "张wei", "ニコ大ひniko", "김sam", "ㄅㄆsam", "123", "émile"]
        {
            assert!(!mixes_scripts(text), "{text}");
        }
        for text in ["s\u{430}m", "sαm", "samย", "ニコсам", "김ニコ", "张саша", "sam\u{661}"] {
            assert!(mixes_scripts(text), "{text}");
        }
    }

    #[test]
    fn what_a_reader_could_take_for_a_word_looks_like_it() {
        let like = |name: &str, word| looks_like((name, &name.to_lowercase()), word);
        for name in ["admin", "Admin", "adrnin", "adm1n", "4dmin", "ad.min", "a-d-m-i-n", "ádmin", "ađmin", "admın"]
        {
            assert!(like(name, "admin"), "{name}");
        }
        for (name, word) in
            [("AlI", "all"), ("al1", "all"), ("арі", "api"), ("b1lling", "billing"), ("bi11ing", "billing")]
        {
            assert!(like(name, word), "{name}");
        }
        for (name, word) in [("ali", "all"), ("ALI", "all"), ("Ali", "all"), ("admins", "admin"), ("sam", "admin")] {
            assert!(!like(name, word), "{name}");
        }
        assert!(
            like("route66", "Route 66") && like("4chan", "4chan") && like("acrne", "Acme"),
            "words may have digits"
        );
    }
}
