//! What is left of a password without the names of the user who chooses it.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// How many letters of a name are compared at a time. Fewer would be found in many honest passwords by chance. With more, a
/// shortened name would not be found.
const PIECE: usize = 5;

/// Returns what is left of a password when the user's own names are taken out of it, or `None` when none is in it.
///
/// An attacker who knows the user guesses the address, the names and the parts of both first: forwards and backwards,
/// shortened, with other separators, in other case and with digits for letters. The whole password is searched, and each
/// place in it costs the same few look-ups, however long the password and the names are.
pub fn taken_out(password: &str, names: &[&str]) -> Option<Zeroizing<String>> {
    let own = pieces(names);
    // The letters, and which character of the password each of them comes from.
    let (mut letters, mut origin) = (Zeroizing::new(Vec::<char>::new()), vec![]);
    for (place, c) in password.chars().enumerate() {
        letters.extend(fold(c));
        origin.resize(letters.len(), place);
    }
    let mut is_own = vec![false; password.chars().count()];
    for at in 0..letters.len() {
        for end in at + 1..=(at + PIECE).min(letters.len()) {
            if own.contains(&letters[at..end]) {
                origin[at..end].iter().for_each(|place| is_own[*place] = true);
            }
        }
    }
    let left = password.chars().zip(&is_own).filter(|(_, is_own)| !**is_own).map(|(c, _)| c);
    is_own.contains(&true).then(|| Zeroizing::new(left.collect()))
}

/// Returns the words of the names in pieces, forwards and backwards.
fn pieces(names: &[&str]) -> HashSet<Vec<char>> {
    let mut pieces = HashSet::new();
    for mut word in names.iter().flat_map(|name| words(name)) {
        for _ in 0..2 {
            pieces.extend(word.windows(word.len().min(PIECE)).map(<[char]>::to_vec));
            word.reverse();
        }
    }
    pieces
}

/// Returns the words of a name, and the whole name as one word, folded. Short words are left out, because they are in every
/// text by chance.
fn words(name: &str) -> Vec<Vec<char>> {
    let word = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(fold).collect::<Vec<_>>();
    let parts = name.split(|c: char| !c.is_alphanumeric());
    let long = |word: &Vec<char>| word.len() >= if word.iter().all(char::is_ascii) { 3 } else { 2 };
    parts.chain([name]).map(word).filter(long).collect()
}

/// Returns a character without case and accents. Digits and signs that stand for letters become these letters. Other signs
/// are left out.
fn fold(c: char) -> impl Iterator<Item = char> {
    let letter = |c| match c {
        '4' | '@' => 'a',
        '8' => 'b',
        '3' => 'e',
        'l' | '1' | '!' | '|' => 'i',
        '0' => 'o',
        '5' | '$' => 's',
        '7' | '+' => 't',
        other => other,
    };
    c.nfkd().flat_map(char::to_lowercase).map(letter).filter(|c| c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [&str; 3] = ["wilhelmina.okonkwo@subsidiary.example.com", "minna", "Wilhelmína Ōkonkwo-Smith"];

    fn left(password: &str) -> Option<String> {
        taken_out(password, &OWN).map(|left| left.to_string())
    }

    #[test]
    fn own_names_are_found_however_they_are_written() {
        for (password, rest) in [
            (OWN[0], ".@.."),
            ("WILHELMINA_OKONKWO", "_"),
            ("okonkwoanimlehliw", ""),
            ("w1lh3lm!n4 0k0nkw0", " "),
            ("wilhelmínaŌkonkwo", ""),
            ("w.i.l.h.e.l.m.i.n.a", "........."),
            ("minnaminna2026", "2026"),
            ("konkwo.subsidi", "."),
            ("my minna is a velvet otter", "my  is a velvet otter"),
        ] {
            assert_eq!(left(password).as_deref(), Some(rest), "{password}");
        }
        assert_eq!(left("velvet otter bakes rye"), None);
        assert_eq!(taken_out("张伟张伟abc", &["张伟"]).as_deref().map(String::as_str), Some("abc"));
        assert_eq!(taken_out("abcd", &["ab", "", "@", "-"]), None, "what is short is in every text by chance");
    }
}
