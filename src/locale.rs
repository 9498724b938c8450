//! Languages: which there are, which one a person gets, and how each writes its dates.
//!
//! The messages are in `locales/`, a folder a language; `build.rs` makes a function of each. Its name is the
//! message's: `sign-up` is [`Translation::sign_up`].

use std::sync::LazyLock;

use time::OffsetDateTime;
use time::macros::format_description;

pub use translations::{L10n as Locale, L10nLanguage as Translation};

#[expect(missing_docs, clippy::unwrap_used, clippy::allow_attributes, clippy::derivable_impls, reason = "generated")]
mod translations {
    include!(concat!(env!("OUT_DIR"), "/translations.rs"));
}

static TRANSLATIONS: LazyLock<Vec<Translation>> = LazyLock::new(|| Locale::iter().map(Locale::load).collect());

impl Locale {
    /// Its messages.
    pub fn t(self) -> &'static Translation {
        &TRANSLATIONS[self as usize]
    }

    /// Its BCP 47 tag, such as `zh-CN`.
    pub fn tag(self) -> &'static str {
        // The generated `Deref` lends the text for no longer than the value lives.
        Self::iter().find(|locale| **locale == self).map_or("en", |locale| locale)
    }

    /// The language of an `Accept-Language` that is wanted most among those that we have (RFC 9110, 12.5.4).
    pub fn accepted(header: &str) -> Option<Self> {
        let wanted = header.split(',').filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            (weight > 0.0).then_some((weight, Self::nearest(tag.trim())?))
        });
        // From the end: of several that are wanted as much, `max_by` takes the last, and the first is meant.
        wanted.rev().max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, locale)| locale)
    }

    /// The language of a tag. One that we lack in its script or region gets its sister: zh-TW gets zh-CN until it
    /// has a folder of its own.
    fn nearest(tag: &str) -> Option<Self> {
        let language = |tag: &str| tag.find(['-', '_']).unwrap_or(tag.len());
        let sister = |ours: &str| ours[..language(ours)].eq_ignore_ascii_case(&tag[..language(tag)]);
        let exact = Self::iter().find(|locale| locale.eq_ignore_ascii_case(tag));
        exact.or_else(|| Self::iter().find(|locale| sister(locale))).copied()
    }

    /// Returns a name as it stands inside a sentence. Chinese text has a blank between a Chinese and a Latin character,
    /// and none between two Chinese characters (W3C, Requirements for Chinese Text Layout, 3.2.2), so its messages
    /// have no blanks and the name brings them.
    pub fn inside(self, name: &str) -> String {
        if self != Self::ZhCN {
            return name.to_owned();
        }
        let blank = |end: Option<char>| if end.is_some_and(|c| c.is_ascii_alphanumeric()) { " " } else { "" };
        format!("{}{name}{}", blank(name.chars().next()), blank(name.chars().next_back()))
    }

    /// A day, in the language's own form.
    pub fn date(self, at: &OffsetDateTime) -> String {
        self.t().date(at.day().to_string(), u8::from(at.month()), at.year().to_string())
    }

    /// A day and a time, in the language's own form.
    pub fn moment(self, at: &OffsetDateTime) -> String {
        let time = at.format(format_description!("[hour]:[minute]")).unwrap_or_default();
        self.t().moment(self.date(at), time)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_browser_gets_the_first_language_that_we_have() {
        let accepted = |header| Locale::accepted(header).map(Locale::tag);
        assert_eq!(accepted("zh-CN,zh;q=0.9,en;q=0.8"), Some("zh-CN"));
        assert_eq!(accepted("fr, en;q=0.5, zh;q=0.9"), Some("zh-CN"));
        assert_eq!(accepted("en-GB"), Some("en"));
        for tag in ["zh", "zh-SG", "zh-TW", "zh-HK", "zh-Hant-TW", "ZH-cn"] {
            assert_eq!(accepted(tag), Some("zh-CN"), "{tag}");
        }
        for none in ["", "fr-FR, de;q=0.7", "en;q=0", "*", ";;;,,q=", "en;q=x", "eng", "zhx-CN"] {
            assert_eq!(accepted(none), None, "{none}");
        }
    }

    #[test]
    fn chinese_has_blanks_beside_latin_names_only() {
        for (name, inside) in [("Acme", " Acme "), ("示例", "示例"), ("示例 Pro", "示例 Pro "), ("Acme！", " Acme！")]
        {
            assert_eq!(Locale::ZhCN.inside(name), inside);
            assert_eq!(Locale::En.inside(name), name);
        }
    }

    #[test]
    fn each_language_writes_dates_in_its_own_form() {
        let at = datetime!(2026-11-05 06:15 UTC);
        assert_eq!(Locale::En.moment(&at), "5 November 2026 at 06:15 UTC");
        assert_eq!(Locale::ZhCN.moment(&at), "2026年11月5日 06:15（UTC）");
    }
}
