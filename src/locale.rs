//! Languages: which ones the site has, which one a visitor gets, and how each writes dates.
//!
//! The messages are in `locales/`, with one folder per language. `build.rs` makes a function of each message, with the
//! message's name: `sign-up` is [`Translation::sign_up`].

use std::sync::{LazyLock, OnceLock};

use fluent_typed::prelude::L10nBundle;
use time::OffsetDateTime;
use time::macros::format_description;

pub use translations::{L10n as Locale, L10nLanguage as Translation};

#[expect(missing_docs, clippy::unwrap_used, clippy::allow_attributes, clippy::derivable_impls, reason = "generated")]
mod translations {
    use super::Text;

    include!(concat!(env!("OUT_DIR"), "/translations.rs"));

    pub(super) const LANGUAGES: usize = ALL_LANGS.len();
}

/// A message without arguments, in each language: made when it is needed first, and then kept. A page has fifty of them.
struct Text([OnceLock<String>; translations::LANGUAGES]);

impl Text {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; translations::LANGUAGES])
    }

    /// Returns the message in the language of the bundle.
    fn of(&'static self, bundle: &L10nBundle, id: &str) -> &'static str {
        let language = Locale::iter().position(|locale| **locale == *bundle.lang()).unwrap_or_default();
        self.0[language].get_or_init(|| bundle.msg(id, None).unwrap_or_else(|_| id.to_owned()))
    }
}

static TRANSLATIONS: LazyLock<Vec<Translation>> = LazyLock::new(|| Locale::iter().map(Locale::load).collect());

impl Locale {
    /// Returns the messages of the language.
    pub fn t(self) -> &'static Translation {
        &TRANSLATIONS[self as usize]
    }

    /// Returns the BCP 47 tag, such as `zh-CN`.
    pub fn tag(self) -> &'static str {
        // The text of the generated `Deref` lives only as long as the value, so the value comes from the static list.
        Self::iter().find(|locale| **locale == self).map_or("en", |locale| locale)
    }

    /// Returns the language that an `Accept-Language` prefers among ours, or `None` if it has none of ours (RFC 9110, 12.5.4).
    pub fn accepted(header: &str) -> Option<Self> {
        let wanted = header.split(',').filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            (weight > 0.0).then_some((weight, Self::nearest(tag.trim())?))
        });
        // The list is reversed, because `max_by` takes the last of equal languages, and the browser prefers the first.
        wanted.rev().max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, locale)| locale)
    }

    /// Returns the first language that is ours in a list of tags, or the nearest to one.
    pub fn first_of<'a>(mut tags: impl Iterator<Item = &'a str>) -> Option<Self> {
        tags.find_map(Self::nearest)
    }

    /// Returns the language of a tag, or else ours with the same primary language: zh-TW gets zh-CN until it has a folder of
    /// its own.
    fn nearest(tag: &str) -> Option<Self> {
        let language = |tag: &str| tag.find(['-', '_']).unwrap_or(tag.len());
        let sister = |ours: &str| ours[..language(ours)].eq_ignore_ascii_case(&tag[..language(tag)]);
        let exact = Self::iter().find(|locale| locale.eq_ignore_ascii_case(tag));
        exact.or_else(|| Self::iter().find(|locale| sister(locale))).copied()
    }

    /// Returns a name with the blanks that it needs inside a sentence. Chinese text has a blank between a Chinese and a Latin
    /// character, and none between two Chinese characters (W3C, Requirements for Chinese Text Layout, 3.2.2). So the Chinese
    /// messages have no blanks, and the name brings them.
    pub fn inside(self, name: &str) -> String {
        if self != Self::ZhCN {
            return name.to_owned();
        }
        let blank = |end: Option<char>| if end.is_some_and(|c| c.is_ascii_alphanumeric()) { " " } else { "" };
        format!("{}{name}{}", blank(name.chars().next()), blank(name.chars().next_back()))
    }

    /// Returns a day in the form of the language.
    pub fn date(self, at: &OffsetDateTime) -> String {
        self.t().date(at.day().to_string(), u8::from(at.month()), at.year().to_string())
    }

    /// Returns a time of today in the form of the language.
    pub fn clock(self, at: &OffsetDateTime) -> String {
        self.t().clock(at.format(format_description!("[hour]:[minute]")).unwrap_or_default())
    }

    /// Returns a day and a time in the form of the language.
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
    fn a_list_of_tags_is_in_the_order_of_preference() {
        let first = |list: &str| Locale::first_of(list.split(' ')).map(Locale::tag);
        assert_eq!(first("fr-CA zh-TW en"), Some("zh-CN"));
        assert_eq!(first("en zh-CN"), Some("en"));
        for none in ["", "se", "fr  eo", ";q=1"] {
            assert_eq!(first(none), None, "{none}");
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
