//! The colours of pages and letters: those of `static/app.css`, or the site's own where they can be read.

use std::fmt;

use super::STYLE;

/// The least contrast between text and what it stands on (WCAG 2.2, 1.4.3).
const CONTRAST_MIN: f64 = 4.5;

/// Where the colours for dark screens begin in the style sheet.
const DARK: &str = "@media (prefers-color-scheme: dark)";

/// The colours for light and for dark screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    /// On light screens.
    pub light: Palette,
    /// On dark screens.
    pub dark: Palette,
}

/// Colours that fit together. Each field is the custom property of its name in `static/app.css`, and prints
/// as `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Around everything.
    pub bg: Colour,
    /// Cards, and the body of a letter.
    pub surface: Colour,
    /// Text.
    pub text: Colour,
    /// Text of less weight.
    pub muted: Colour,
    /// Links, and buttons as a whole.
    pub accent: Colour,
    /// Text on a button.
    pub on_accent: Colour,
    // Not for a site to choose, but seen together with what it chooses.
    shade: Colour,
    ok_bg: Colour,
    error_bg: Colour,
    error: Colour,
}

/// An opaque colour: red, green, blue.
///
/// What an operator types reaches the style sheet and letters as this only, and so can be nothing but a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Theme {
    /// The colours of the style sheet, with what `LATCHKEY_THEME_LIGHT` and `LATCHKEY_THEME_DARK` put in
    /// their place.
    ///
    /// # Errors
    /// One line that names the setting: it cannot be read, or the text in these colours could not.
    pub fn new(light: Option<&str>, dark: Option<&str>) -> Result<Self, String> {
        let ours = Self::default();
        Ok(Self {
            light: ours.light.chosen(light).map_err(|why| format!("LATCHKEY_THEME_LIGHT: {why}"))?,
            dark: ours.dark.chosen(dark).map_err(|why| format!("LATCHKEY_THEME_DARK: {why}"))?,
        })
    }

    /// What follows the style sheet, nothing without colours of the site's own.
    ///
    /// All colours are written, for dark screens too: the last rule wins, and light ones alone would hold on
    /// dark screens as well.
    pub fn css(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        format!("\n:root{{{}}}{DARK}{{:root{{{}}}}}\n", self.light.css(), self.dark.css())
    }
}

impl Default for Theme {
    fn default() -> Self {
        let (light, dark) = STYLE.split_once(DARK).expect("app.css has dark colours");
        Self { light: Palette::read(light), dark: Palette::read(dark) }
    }
}

impl Palette {
    /// The colours in the first rule of a style sheet.
    fn read(css: &str) -> Self {
        let rule = css.split('}').next().unwrap_or_default();
        let declared = |name: &str| {
            let value = rule.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
            let colour = value.and_then(|value| Colour::parse(value.strip_suffix(';')?));
            colour.unwrap_or_else(|| panic!("app.css has no {name} as #rrggbb"))
        };
        Self {
            bg: declared("--bg"),
            surface: declared("--surface"),
            text: declared("--text"),
            muted: declared("--muted"),
            accent: declared("--accent"),
            on_accent: declared("--on-accent"),
            shade: declared("--shade"),
            ok_bg: declared("--ok-bg"),
            error_bg: declared("--error-bg"),
            error: declared("--error"),
        }
    }

    /// The colours with those of a setting in their place, if all text can be read in them.
    fn chosen(mut self, setting: Option<&str>) -> Result<Self, String> {
        let mut names = Vec::new();
        for item in setting.into_iter().flat_map(|text| text.split(',')) {
            let (name, value) = item.split_once('=').ok_or_else(|| format!("{item:?} is not name=#rrggbb"))?;
            let (name, value) = (name.trim(), value.trim());
            let colour = Colour::parse(value).ok_or_else(|| format!("{value:?} is not a colour such as #1b48c4"))?;
            let known = match name {
                "bg" => &mut self.bg,
                "surface" => &mut self.surface,
                "text" => &mut self.text,
                "muted" => &mut self.muted,
                "accent" => &mut self.accent,
                "on-accent" => &mut self.on_accent,
                _ => return Err(format!("{name:?} is none of bg, surface, text, muted, accent, on-accent")),
            };
            if names.contains(&name) {
                return Err(format!("{name} is given twice"));
            }
            *known = colour;
            names.push(name);
        }
        if names.contains(&"accent") && !names.contains(&"on-accent") {
            self.on_accent = self.accent.ink();
        }
        self.check()?;
        Ok(self)
    }

    /// Refuses text that cannot be read.
    fn check(&self) -> Result<(), String> {
        let (bg, surface) = (("bg", self.bg), ("surface", self.surface));
        let (text, muted, accent) = (("text", self.text), ("muted", self.muted), ("accent", self.accent));
        let pairs = [
            (text, bg),
            (text, surface),
            (muted, bg),
            (muted, surface),
            (accent, bg),
            (accent, surface),
            (("on-accent", self.on_accent), accent),
            // Colours that are dark where ours are light would pass by themselves, but not beside the others.
            (text, ("shade", self.shade)),
            (text, ("ok-bg", self.ok_bg)),
            (text, ("error-bg", self.error_bg)),
            (("error", self.error), surface),
        ];
        for ((name, colour), (under, ground)) in pairs {
            let contrast = colour.contrast(ground);
            if contrast < CONTRAST_MIN {
                // Rounded down: 4.46 is not the 4.5 that it lacks.
                let contrast = (contrast * 10.0).floor() / 10.0;
                return Err(format!(
                    "{name} {colour} on {under} {ground} has a contrast of {contrast}:1, and {CONTRAST_MIN}:1 is the least"
                ));
            }
        }
        Ok(())
    }

    fn css(&self) -> String {
        let Self { bg, surface, text, muted, accent, on_accent, .. } = self;
        format!("--bg:{bg};--surface:{surface};--text:{text};--muted:{muted};--accent:{accent};--on-accent:{on_accent}")
    }
}

impl Colour {
    const BLACK: Self = Self([0; 3]);
    const WHITE: Self = Self([255; 3]);

    /// `#rrggbb` and no other way to write a colour.
    fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix('#')?;
        if hex.len() != 6 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(hex, 16).ok()?.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// Relative luminance, 0 to 1 (WCAG 2.2, “relative luminance”).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// From 1, the same, to 21, black on white (WCAG 2.2, “contrast ratio”).
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Black or white, whichever is read better on this colour: one of them always reaches 4.58:1.
    fn ink(self) -> Self {
        if self.contrast(Self::BLACK) > self.contrast(Self::WHITE) { Self::BLACK } else { Self::WHITE }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).unwrap()
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        for (one, two, known) in [
            ("#000000", "#ffffff", 21.0),
            ("#767676", "#ffffff", 4.54),
            ("#777777", "#ffffff", 4.48),
            ("#ff0000", "#ffffff", 4.0),
            ("#0000ff", "#ffffff", 8.59),
            ("#00ff00", "#000000", 15.3),
            ("#1b48c4", "#1b48c4", 1.0),
        ] {
            for (one, two) in [(one, two), (two, one)] {
                let contrast = colour(one).contrast(colour(two));
                assert!((contrast - known).abs() < 0.005, "{one} {two} {contrast}");
            }
        }
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(colour("#1B48c4").to_string(), "#1b48c4");
        for text in ["", "#", "#fff", "1b48c4", "#1b48c", "#1b48c4ff", "#1b48cg", "#+b48c4", "red", "#1b48c4;", "#资料"]
        {
            assert_eq!(Colour::parse(text), None, "{text}");
        }
    }

    #[test]
    fn our_own_colours_can_be_read() {
        let ours = Theme::new(None, None).unwrap();
        assert_eq!((ours.light.accent, ours.dark.accent), (colour("#1b48c4"), colour("#a3c0ff")));
        assert_eq!((ours.light.error_bg, ours.dark.error_bg), (colour("#fdf1f2"), colour("#2c161a")));
        assert_eq!(ours.css(), "");
    }

    #[test]
    fn chosen_colours_take_the_place_of_ours_on_their_screens() {
        let ours = Theme::default();
        let theme = Theme::new(Some("accent=#0B6E4F, bg = #ffffff"), None).unwrap();
        assert_eq!(theme.dark, ours.dark);
        assert_eq!((theme.light.accent, theme.light.bg), (colour("#0b6e4f"), Colour::WHITE));
        assert_eq!(theme.light.text, ours.light.text);
        let css = theme.css();
        let (light, dark) = css.split_once(DARK).unwrap();
        assert!(light.contains(":root{--bg:#ffffff;") && light.contains("--accent:#0b6e4f;"), "{css}");
        assert!(dark.starts_with("{:root{--bg:#0e1116;") && dark.contains("--accent:#a3c0ff;"), "{css}");
    }

    #[test]
    fn text_on_a_button_follows_the_accent() {
        let on = |light: &str| Theme::new(Some(light), None).unwrap().light.on_accent;
        assert_eq!(on("accent=#0b6e4f"), Colour::WHITE);
        assert_eq!(on("accent=#0b6e4f,on-accent=#fffbe6"), colour("#fffbe6"));
        assert_eq!(Theme::new(None, Some("accent=#ffcc00")).unwrap().dark.on_accent, Colour::BLACK);
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                let accent = Colour([red, green, 100]);
                assert!(accent.contrast(accent.ink()) >= CONTRAST_MIN, "{accent}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_one_line() {
        for (setting, why) in [
            ("", "\"\" is not name=#rrggbb"),
            ("accent", "\"accent\" is not name=#rrggbb"),
            ("accent=#0b6e4f,", "\"\" is not name=#rrggbb"),
            ("accent=blue", "\"blue\" is not a colour such as #1b48c4"),
            ("accent=#fff", "\"#fff\" is not a colour such as #1b48c4"),
            ("accent=#0b6e4f}*{display:none", "\"#0b6e4f}*{display:none\" is not a colour such as #1b48c4"),
            ("radius=#0b6e4f", "\"radius\" is none of bg, surface, text, muted, accent, on-accent"),
            ("two\nlines=#0b6e4f", "\"two\\nlines\" is none of bg, surface, text, muted, accent, on-accent"),
            ("bg=#ffffff,bg=#ffffff", "bg is given twice"),
            ("bg=#ffffff,muted=#999999", "muted #999999 on bg #ffffff has a contrast of 2.8:1, and 4.5:1 is the least"),
            (
                "accent=#777777,bg=#ffffff",
                "accent #777777 on bg #ffffff has a contrast of 4.4:1, and 4.5:1 is the least",
            ),
            (
                "accent=#0b6e4f,on-accent=#0b6e4f",
                "on-accent #0b6e4f on accent #0b6e4f has a contrast of 1:1, and 4.5:1 is the least",
            ),
            (
                "bg=#000000,surface=#000000,text=#ffffff,muted=#ffffff,accent=#ffffff",
                "text #ffffff on shade #e7eaef has a contrast of 1.2:1, and 4.5:1 is the least",
            ),
        ] {
            let refused = Theme::new(Some(setting), None);
            assert_eq!(refused, Err(format!("LATCHKEY_THEME_LIGHT: {why}")), "{setting}");
        }
        let refused = Theme::new(None, Some("text=#222222")).unwrap_err();
        assert!(refused.starts_with("LATCHKEY_THEME_DARK: text #222222 on bg #0e1116 "), "{refused}");
    }
}
