//! A colour, and whether text in it can be read on another one.

use std::fmt;

/// An opaque colour: red, green, blue.
///
/// The style sheet and emails take what an operator types as this type only, so no other text can get into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour([u8; 3]);

impl Colour {
    pub(super) const BLACK: Self = Self([0; 3]);
    pub(super) const WHITE: Self = Self([255; 3]);

    /// Reads `#rrggbb`, and no other way to write a colour.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix('#')?;
        if hex.len() != 6 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let [_, red, green, blue] = u32::from_str_radix(hex, 16).ok()?.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// Returns the relative luminance, from 0 to 1 (WCAG 2.2, “relative luminance”).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Returns the contrast, from 1 for the same colour to 21 for black on white (WCAG 2.2, “contrast ratio”).
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Returns black or white, the one that is easier to read on this colour. One of them always reaches 4.58:1.
    pub(super) fn ink(self) -> Self {
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
}
