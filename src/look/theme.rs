//! The colours of pages and emails: those of `static/app.css`, or the operator's if text in them can be read.

use super::STYLE;
use super::colour::Colour;

/// The least contrast between text and its background (WCAG 2.2, 1.4.3).
const CONTRAST_MIN: f64 = 4.5;

/// The text in the style sheet with which the colours for dark screens begin.
const DARK: &str = "@media (prefers-color-scheme: dark)";

/// The colours for light and for dark screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    /// On light screens.
    pub light: Palette,
    /// On dark screens.
    pub dark: Palette,
}

/// The colours for one kind of screen. Each field is the custom property of the same name in `static/app.css`, and prints
/// as `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Palette {
    /// The background of the page.
    pub bg: Colour,
    /// The background of cards, and of the body of an email.
    pub surface: Colour,
    /// The colour of text.
    pub text: Colour,
    /// The colour of less important text.
    pub muted: Colour,
    /// The colour of links, and the background of buttons.
    pub accent: Colour,
    /// The colour of text on a button.
    pub on_accent: Colour,
    // An operator cannot choose these, but they are seen together with the colours that an operator chooses.
    shade: Colour,
    ok_bg: Colour,
    error_bg: Colour,
    error: Colour,
}

impl Theme {
    /// Returns the colours of the style sheet, with those of `LATCHKEY_THEME_LIGHT` and `LATCHKEY_THEME_DARK` in their
    /// place.
    ///
    /// # Errors
    /// One line that names the setting, if it is not a list of colours, or if text in these colours could not be read.
    pub fn new(light: Option<&str>, dark: Option<&str>) -> Result<Self, String> {
        let ours = Self::default();
        Ok(Self {
            light: ours.light.chosen(light).map_err(|why| format!("LATCHKEY_THEME_LIGHT: {why}"))?,
            dark: ours.dark.chosen(dark).map_err(|why| format!("LATCHKEY_THEME_DARK: {why}"))?,
        })
    }

    /// Returns the rules that come after the style sheet: none if the operator chose no colours.
    ///
    /// The rules have all colours, for dark screens too. The last rule wins, so light ones alone would apply on dark screens
    /// as well.
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
    /// Returns the colours in the first rule of a style sheet.
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

    /// Returns these colours with those of a setting in their place, if all text in them can be read.
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
        // Every colour is named here, so one that is not checked does not compile.
        let Self { bg, surface, text, muted, accent, on_accent, shade, ok_bg, error_bg, error } = *self;
        let (bg, surface) = (("bg", bg), ("surface", surface));
        let (text, muted, accent) = (("text", text), ("muted", muted), ("accent", accent));
        let pairs = [
            (text, bg),
            (text, surface),
            (muted, bg),
            (muted, surface),
            (accent, bg),
            (accent, surface),
            (("on-accent", on_accent), accent),
            // Dark colours in place of light ones would pass the checks above, but text on these could not be read.
            (text, ("shade", shade)),
            (text, ("ok-bg", ok_bg)),
            (text, ("error-bg", error_bg)),
            (("error", error), surface),
        ];
        for ((name, colour), (under, ground)) in pairs {
            let contrast = colour.contrast(ground);
            if contrast < CONTRAST_MIN {
                // The number is rounded down, so that 4.46 does not appear as 4.5.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).unwrap()
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
                let accent = colour(&format!("#{red:02x}{green:02x}64"));
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
